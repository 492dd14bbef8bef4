"""Correlations by distance, d between the positions of two rows, r the range:

    exp      exp(-d / r)
    gau      exp(-(d / r)^2)
    sph      1 - 1.5 d/r + 0.5 (d/r)^3   for d < r, else 0
    matern   nu = 1/2: exp;  3/2: (1 + a) exp(-a), a = sqrt(3) d/r;  5/2: (1 + a + a^2/3) exp(-a), a = sqrt(5) d/r

With ``aniso=True`` the second coordinate has a range of its own: d/r = sqrt((dx/r_x)^2 + (dy/r_y)^2).
(Cressie 1993, Statistics for Spatial Data; Stein 1999, Interpolation of Spatial Data, for matern.)
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from openreml_core.covariance.correlation import Correlation


class Spatial(Correlation):
    """A correlation that is a function of distance over range.

    Parameters
    ----------
    positions : Tensor of shape (k, c)
        Coordinates.
    aniso : bool
        Whether every coordinate has its own range.
    """

    kind = "range"

    def __init__(self, positions: Tensor, *, aniso: bool = False) -> None:
        super().__init__(len(positions))
        positions = positions.to(torch.float64).reshape(len(positions), -1)
        self.squared = (positions[:, None, :] - positions[None, :, :]).square().movedim(-1, 0)
        if not aniso:
            self.squared = self.squared.sum(dim=0, keepdim=True)
        count = len(self.squared)
        self.labels = ("range",) if count == 1 else tuple(f"range{c + 1}" for c in range(count))

    def scaled(self, r: Tensor) -> Tensor:
        """Distance over range, (k, k)."""
        total = (self.squared / r.square()[:, None, None]).sum(dim=0)
        # sqrt has no derivative at zero distance, where nothing depends on the range: step aside and come back.
        apart = total > 0
        return torch.where(apart, torch.where(apart, total, 1.0).sqrt(), 0.0)

    def typical(self) -> Tensor:
        return torch.stack(
            [s[s > 0].sqrt().median() if (s > 0).any() else torch.ones(()).double() for s in self.squared]
        )

    def start(self) -> Tensor:
        return 0.5 * self.typical()

    def bounds(self) -> tuple[Tensor, Tensor]:
        largest = self.squared.amax(dim=(1, 2)).sqrt().clamp_min(1e-12)
        return 1e-4 * largest, 1e5 * largest

    def matrix(self, rho: Tensor) -> Tensor:
        return self.of(self.scaled(rho))

    @abstractmethod
    def of(self, t: Tensor) -> Tensor:
        """The correlation at distance over range t."""


class Exponential(Spatial):
    """exp(-d / r)."""

    keyword = "exp"

    def of(self, t: Tensor) -> Tensor:
        return torch.exp(-t)


class Gaussian(Spatial):
    """exp(-(d / r)^2)."""

    keyword = "gau"

    def of(self, t: Tensor) -> Tensor:
        return torch.exp(-t.square())


class Spherical(Spatial):
    """1 - 1.5 d/r + 0.5 (d/r)^3 within the range, 0 beyond."""

    keyword = "sph"

    def of(self, t: Tensor) -> Tensor:
        near = t.clamp_max(1.0)
        return 1 - 1.5 * near + 0.5 * near**3


class Matern(Spatial):
    """Matern's with nu = 1/2, 3/2 or 5/2."""

    keyword = "matern"

    def __init__(self, positions: Tensor, *, nu: float = 1.5, aniso: bool = False) -> None:
        super().__init__(positions, aniso=aniso)
        if nu not in (0.5, 1.5, 2.5):
            raise ValueError("nu is 0.5, 1.5 or 2.5")
        self.nu = nu

    def of(self, t: Tensor) -> Tensor:
        a = (2 * self.nu) ** 0.5 * t
        if self.nu == 0.5:
            return torch.exp(-a)
        return (1 + a + (a.square() / 3 if self.nu == 2.5 else 0.0)) * torch.exp(-a)
