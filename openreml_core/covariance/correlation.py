"""Sigma = D C(rho) D: a correlation matrix, and standard deviations that are one number or one for every effect.

    Sigma_ab = s_a s_b C_ab(rho),   s_a = s (homogeneous) or one for each a (the ...h forms)

The free parameters are the standard deviations, of either sign, and rho within its bounds; the natural ones are the
variances s^2 and rho.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from openreml_core.covariance.structure import NaturalParameter, Structure

#: How near a correlation may come to its bound while the search runs.
EDGE = 1e-7


class Correlation(ABC):
    """A correlation matrix C(rho), (k, k).

    Attributes
    ----------
    keyword : str
        How formulas call it.
    size : int
        k.
    labels : tuple of str
        Names of rho's elements: ``("rho",)``.
    kind : str
        What they are: ``"correlation"``, ``"range"``, ``"weight"``.
    """

    keyword: str = ""
    kind: str = "correlation"
    labels: tuple[str, ...] = ("rho",)

    def __init__(self, size: int) -> None:
        self.size = size

    @property
    def n_parameters(self) -> int:
        """Number of elements of rho."""
        return len(self.labels)

    @abstractmethod
    def matrix(self, rho: Tensor) -> Tensor:
        """C(rho), (k, k) with ones on its diagonal."""

    @abstractmethod
    def start(self) -> Tensor:
        """rho to start from, (m,)."""

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds of rho; (-1, 1) unless a correlation knows better."""
        high = torch.full((self.n_parameters,), 1.0 - EDGE, dtype=torch.float64)
        return -high, high

    def typical(self) -> Tensor:
        """Size of each element, for the optimiser's region."""
        return torch.full((self.n_parameters,), 0.5, dtype=torch.float64)

    def derivative(self, rho: Tensor) -> Tensor:
        """dC / d rho, (m, k, k); by forward-mode autograd unless a correlation knows better."""
        if not self.n_parameters:
            return torch.zeros(0, self.size, self.size, dtype=torch.float64)
        return torch.func.jacfwd(self.matrix)(rho).movedim(-1, 0)


class ScaledCorrelation(Structure):
    """Sigma = D C(rho) D.

    Parameters
    ----------
    names : sequence of str
        The k effects.
    correlation : Correlation
        C, of size k.
    heterogeneous : bool
        Whether every effect has a variance of its own.
    prefix : str
        Put before the names of rho's elements: ``"ar1(row)."``.
    """

    curvature_weight = 0.5

    def __init__(
        self, names: Sequence[str], correlation: Correlation, *, heterogeneous: bool = False, prefix: str = ""
    ) -> None:
        super().__init__(names)
        self.correlation = correlation
        self.heterogeneous = heterogeneous
        self.prefix = prefix
        self.keyword = correlation.keyword + ("h" if heterogeneous else "")
        self._variances = self.size if heterogeneous else 1

    @property
    def n_parameters(self) -> int:
        return self._variances + self.correlation.n_parameters

    @property
    def natural(self) -> tuple[NaturalParameter, ...]:
        names = self.names if self.heterogeneous else ("",)
        variances = [NaturalParameter("variance", name, label="" if name else "variance") for name in names]
        kind = self.correlation.kind
        return (
            *variances,
            *(
                NaturalParameter(kind, self.prefix + label, scales=False, label=self.prefix + label)
                for label in self.correlation.labels
            ),
        )

    def _split(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        return theta[: self._variances], theta[self._variances :]

    def start(self, scale: Tensor) -> Tensor:
        s = scale if self.heterogeneous else scale.square().mean().sqrt().reshape(1)
        return torch.cat([s, self.correlation.start()])

    def typical(self, scale: Tensor) -> Tensor:
        return torch.cat([self.start(scale)[: self._variances], self.correlation.typical()])

    def bounds(self) -> tuple[Tensor, Tensor]:
        wide = torch.full((self._variances,), torch.inf, dtype=torch.float64)
        low, high = self.correlation.bounds()
        return torch.cat([-wide, low]), torch.cat([wide, high])

    def matrix(self, theta: Tensor) -> Tensor:
        s, rho = self._split(theta)
        return (s[:, None] * s[None, :]) * self.correlation.matrix(rho)

    def derivative(self, theta: Tensor) -> Tensor:
        s, rho = self._split(theta)
        c = self.correlation.matrix(rho)
        by_rho = (s[:, None] * s[None, :]) * self.correlation.derivative(rho)
        if not self.heterogeneous:
            return torch.cat([(2 * s) * c[None], by_rho])
        half = torch.diag_embed(torch.eye(self.size, dtype=theta.dtype)) @ (c * s[None, :])
        return torch.cat([half + half.mT, by_rho])

    def curvature(self, theta: Tensor, m: Tensor) -> Tensor:
        if self.heterogeneous:
            return super().curvature(theta, m)
        # <M, Sigma> = s^2 g(rho): only g needs autograd.
        s, rho = self._split(theta)
        out = torch.zeros(len(theta), len(theta), dtype=theta.dtype)
        out[0, 0] = 2 * (m * self.correlation.matrix(rho)).sum()
        if len(rho):
            first = (m * self.correlation.derivative(rho)).sum(dim=(1, 2))
            out[0, 1:] = out[1:, 0] = 2 * s * first
            second = torch.func.hessian(lambda r: (m * self.correlation.matrix(r)).sum())(rho)
            out[1:, 1:] = s.square() * second
        return out

    def natural_values(self, theta: Tensor) -> Tensor:
        s, rho = self._split(theta)
        return torch.cat([s.square(), rho])

    def from_natural(self, values: Tensor) -> Tensor:
        variances, rho = self._split(values)
        if (variances < 0).any():
            raise ValueError("a variance is negative")
        low, high = self.correlation.bounds()
        if ((rho < low - EDGE) | (rho > high + EDGE)).any():
            raise ValueError(f"{self.correlation.kind} out of bounds")
        return torch.cat([variances.sqrt(), rho.clamp(low, high)])

    def natural_derivative(self, theta: Tensor) -> Tensor:
        s, _ = self._split(theta)
        out = self.derivative(theta)
        out[: self._variances] /= (2 * s)[:, None, None]
        return out

    def boundary(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> tuple[str, ...]:
        s, rho = self._split(theta)
        low, high = self.correlation.bounds()
        unit = self.start(scale)[: self._variances]
        zero = (s.abs() < tolerance * unit).tolist()
        # A correlation within 1e-3 of its bound, or one that has no variance to act on.
        near = (
            (rho - low < 1e-3 * (1 + low.abs())) & low.isfinite() & (self.correlation.kind == "correlation")
        ).tolist()
        far = ((high - rho < 1e-3) & high.isfinite() & (self.correlation.kind == "correlation")).tolist()
        marks = ["at zero" if z else "" for z in zero]
        for at_low, at_high in zip(near, far, strict=True):
            marks.append("no variance" if all(zero) else "at its bound" if at_low or at_high else "")
        return tuple(marks)

    def is_singular(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> bool:
        return any(self.boundary(theta, scale, tolerance))

    def settle(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> Tensor:
        s, rho = self._split(theta)
        if not self.heterogeneous or bool((s < 0).all()):
            s = s.abs()
        unit = self.start(scale)[: self._variances]
        return torch.cat([torch.where(s.abs() < tolerance * unit, 0.0, s), rho])
