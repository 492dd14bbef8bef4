"""Example matrices: Sigma(theta) of the structures themselves, over six effects, at parameters that a trial might give."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor

from openreml_core.covariance import (
    AR1,
    AR2,
    Antedependence,
    CholeskyStructure,
    Correlation,
    Diagonal,
    Equicorrelation,
    Exponential,
    FactorAnalytic,
    Gaussian,
    Independent,
    Matern,
    ScaledCorrelation,
    Spherical,
    Structure,
    Toeplitz,
    Unstructured,
)
from openreml_core.relationship import Pedigree

#: Effects of an example matrix.
SIZE = 6


def build(keyword: str, size: int, k: int, nu: float, aniso: bool) -> Structure:
    """The structure over effects at 1, 2, ... on a line; at the points of a grid for two ranges."""
    names = [str(i + 1) for i in range(size)]
    line = torch.arange(size)
    grid = torch.stack([line % 3, line // 3], dim=1).double() if aniso else line.double()
    correlations: dict[str, Callable[[], Correlation]] = {
        "id": lambda: Independent(size),
        "cs": lambda: Equicorrelation(size),
        "ar1": lambda: AR1(line),
        "ar2": lambda: AR2(line),
        "toep": lambda: Toeplitz(size),
        "exp": lambda: Exponential(grid, aniso=aniso),
        "gau": lambda: Gaussian(grid, aniso=aniso),
        "sph": lambda: Spherical(grid, aniso=aniso),
        "matern": lambda: Matern(grid, nu=nu, aniso=aniso),
    }
    plain = {"csh": "cs", "arh1": "ar1", "arh2": "ar2", "toeph": "toep"}.get(keyword, keyword)
    if plain in correlations:
        return ScaledCorrelation(names, correlations[plain](), heterogeneous=plain != keyword)
    if keyword in ("fa", "rr"):
        return FactorAnalytic(names, k, reduced=keyword == "rr")
    if keyword == "ante":
        return Antedependence(names, k)
    return Diagonal(names) if keyword == "diag" else Unstructured(names)


# Typical values: variances that differ, or rise along an order; loadings of two factors; correlations that fall.
_VARIANCES = (1.0, 1.6, 0.7, 1.3, 0.5, 1.1)
_RISING = (0.5, 0.7, 0.9, 1.1, 1.35, 1.6)
_LOADINGS = ((0.9, 1.1, -0.3, 0.8, 0.2, 0.6), (0.0, 0.4, 0.9, -0.5, 0.6, -0.2))
_RHO: dict[str, tuple[float, ...]] = {
    "cs": (0.6,),
    "ar1": (0.7,),
    "ar2": (0.5, -0.4),
    "toep": (0.6, 0.5, 0.2, 0.1, 0.0),
    "exp": (2.0, 0.7),
    "gau": (1.8, 0.8),
    "sph": (4.0, 1.2),
    "matern": (1.2, 0.5),
}


def typical(structure: Structure) -> Tensor:
    """Natural parameters that a trial might give."""
    if isinstance(structure, ScaledCorrelation):
        name = structure.correlation.keyword
        values = _RISING if name in ("ar1", "ar2", "toep") else _VARIANCES
        variances = values if structure.heterogeneous else (1.0,)
        return torch.tensor([*variances, *_RHO.get(name, ())[: structure.correlation.n_parameters]]).double()
    loadings = torch.tensor(_LOADINGS).double()
    sigma = loadings.T @ loadings + 0.3 * torch.eye(SIZE).double()
    if isinstance(structure, CholeskyStructure):
        sigma = torch.diag(torch.tensor(_VARIANCES).double()) if isinstance(structure, Diagonal) else sigma
        return sigma[structure.rows, structure.columns]
    usual = {"innovation variance": 0.4, "specific variance": 0.3}
    out = []
    for q in structure.natural:
        if q.kind == "loading":
            factor = int(q.name2.rpartition(" ")[2]) - 1
            out.append(_LOADINGS[factor % 2][int(q.name1) - 1] * 0.8 ** (factor // 2))
        elif q.kind == "regression":
            out.append(0.8 if int(q.name1) - int(q.name2) == 1 else 0.15)
        else:
            out.append(usual[q.kind])
    return torch.tensor(out).double()


def _pedigree() -> tuple[int, Tensor]:
    """Two founders, two full sibs of them, a child of a sib and an unknown parent, and a child of the sibs."""
    table = pd.DataFrame({"id": list("123456"), "sire": [None, None, "1", "1", "3", "3"],
                          "dam": [None, None, "2", "2", None, "4"]})  # fmt: skip
    return 1, torch.tensor(Pedigree(table).matrix(list("123456")).to_numpy().copy())


def _product() -> tuple[int, Tensor]:
    """Two traits, unstructured, by three times, ar1: the product has one scale, us's."""
    traits, times = Unstructured(["a", "b"]), AR1(torch.arange(3))
    sigma = traits.matrix(traits.from_natural(torch.tensor([1.0, -0.5, 0.8]).double()))
    rho = torch.tensor([0.7]).double()
    return traits.n_parameters + times.n_parameters, torch.kron(sigma, times.matrix(rho))


def _curve(count: int = SIZE) -> Tensor:
    """Covariance of a cubic smoothing spline about its straight part, at equal steps: M C M, Wahba (1990), Spline Models.

    C_st = int_0^min(s, t) (s - u)(t - u) du;   M takes out the straight line.
    """
    t = torch.linspace(0.0, 1.0, count).double()
    low, high = torch.minimum(t[:, None], t[None, :]), torch.maximum(t[:, None], t[None, :])
    straight = torch.linalg.qr(torch.stack([torch.ones_like(t), t], dim=1)).Q
    m = torch.eye(count).double() - straight @ straight.T
    c = m @ (low.square() * (3 * high - low) / 6) @ m
    return c / c.diagonal().mean()


def _surface() -> tuple[int, Tensor]:
    """A surface on a grid of 4 x 4: curves along rows and along columns, a variance each."""
    c, j = _curve(4), torch.ones(4, 4).double()
    return 2, torch.kron(c, j) + torch.kron(j, c)


#: Structures that do not stand on a list of effects: parameters and an example.
EXAMPLES: dict[str, Callable[[], tuple[int, Tensor]]] = {
    "known": _pedigree,
    "kron": _product,
    "spl": lambda: (1, _curve()),
    "spl2d": _surface,
}
