"""A structure by its name in the notation, over the levels it is put on; and products of such structures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from openreml_core.covariance import (
    AR1,
    AR2,
    Antedependence,
    Correlation,
    Diagonal,
    Equicorrelation,
    Exponential,
    FactorAnalytic,
    Gaussian,
    Independent,
    KroneckerStructure,
    Matern,
    ScaledCorrelation,
    Spherical,
    Structure,
    Toeplitz,
    Unstructured,
)
from openreml_core.covariance.ranged import scaled
from openreml_core.covariance.spatial import Spatial
from openreml_core.errors import FormulaError

_SERIAL: dict[str, Callable[[Tensor], Correlation]] = {"ar1": AR1, "ar2": AR2, "toep": lambda p: Toeplitz(len(p))}
_SPATIAL: dict[str, Callable[..., Correlation]] = {"exp": Exponential, "gau": Gaussian, "sph": Spherical}
_CORRELATIONS = ("id", "cs", *_SERIAL, *_SPATIAL, "matern")
_FACTORS = ("fa", "rr")


@dataclass(frozen=True, eq=False)
class Levels:
    """What a structure is put on.

    Attributes
    ----------
    names : sequence of k str
    order : callable
        Places on a line, int64 (k,), for serial structures; asked for where one is meant.
    coordinates : callable
        Positions, float64 (k, c), for spatial ones.
    """

    names: Sequence[str]
    order: Callable[[], Tensor]
    coordinates: Callable[[], Tensor]


@dataclass(frozen=True, eq=False)
class Factor:
    """One structure of the notation: ``ar1(row)``, ``fa(..., k=2)``.

    Attributes
    ----------
    name : str
        ``"ar1"``, ``"exph"``, ``"us"``.
    options : mapping
    levels : Levels
    prefix : str
        Put before the names of correlations and ranges: ``"ar1(row)."``.
    """

    name: str
    options: Mapping[str, Any]
    levels: Levels
    prefix: str = ""

    @property
    def form(self) -> tuple[str, bool]:
        """A correlation's own name, and whether it has a variance per level: ``csh``, ``arh1``, ``exph``."""
        if self.name in ("arh1", "arh2"):
            return f"ar{self.name[-1]}", True
        plain = self.name.removesuffix("h")
        return (plain, True) if plain != self.name and plain in _CORRELATIONS else (self.name, False)

    @property
    def is_correlation(self) -> bool:
        """Whether it has a single variance at most, which a product can leave out."""
        return self.name in _CORRELATIONS

    def correlation(self) -> Correlation:
        """C, without variances."""
        name, k = self.form[0], len(self.levels.names)
        aniso = bool(self.options.get("aniso", False))
        if name == "id":
            return Independent(k)
        if name == "cs":
            return Equicorrelation(k)
        if name in _SERIAL:
            return _SERIAL[name](self.levels.order())
        if name == "matern":
            return Matern(self.levels.coordinates(), nu=float(self.options.get("nu", 1.5)), aniso=aniso)
        return _SPATIAL[name](self.levels.coordinates(), aniso=aniso)

    def structure(self, *, alone: bool = True) -> Structure:
        """Sigma; in a product (``alone=False``) with its variance as the first free parameter.

        Raises
        ------
        ValueError
            More factors, or a higher order, than the levels carry.
        """
        names, order = self.levels.names, int(self.options.get("k", 1))
        whole: dict[str, Callable[[], Structure]] = {
            "us": lambda: Unstructured(names),
            "known": lambda: Unstructured(names),
            "diag": lambda: Diagonal(names),
            "ante": lambda: Antedependence(names, order),
            "fa": lambda: FactorAnalytic(names, order),
            "rr": lambda: FactorAnalytic(names, order, reduced=True),
        }
        if self.name in whole:
            return whole[self.name]()
        correlation, heterogeneous = self.correlation(), self.form[1]
        if alone and isinstance(correlation, Spatial) and not heterogeneous:
            return scaled(names, correlation, prefix=self.prefix)
        return ScaledCorrelation(names, correlation, heterogeneous=heterogeneous, prefix=self.prefix)


def product(
    factors: Sequence[Factor], names: Sequence[str], places: Sequence[Tensor], shown: str
) -> KroneckerStructure:
    """The product of structures over the same k effects.

    The first with variances of its own, or else the first, has them on the scale of the data.

    Parameters
    ----------
    factors : sequence of Factor
    names : sequence of k str
    places : sequence of Tensor of shape (k,), int64
    shown : str
        The term, for the messages.
    """
    own = [place for place, factor in enumerate(factors) if not factor.is_correlation]
    carrier = own[0] if own else 0
    for place in own[1:]:
        if factors[place].name in _FACTORS:
            raise FormulaError(
                f"{factors[place].name} in {shown} stands behind {factors[carrier].name}, and both have variances.",
                hint=f"Put {factors[place].name} first, or take a correlation beside it.",
            )
    return KroneckerStructure(
        names,
        [factor.structure(alone=False) for factor in factors],
        places,
        carrier=carrier,
        prefixes=[factor.prefix for factor in factors],
    )


def whole_numbers(count: int) -> Tensor:
    """0, 1, ..., for levels that have an order but no numbers."""
    return torch.arange(count)
