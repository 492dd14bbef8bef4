"""Correlations by distance, d between the positions of two rows, r the range, t = d / r:

    exp      exp(-t)
    gau      exp(-t^2)
    sph      1 - 1.5 t + 0.5 t^3   for t < 1, else 0
    matern   2^(1 - nu) / Gamma(nu) a^nu K_nu(a),   a = sqrt(2 nu) t
             nu = 1/2: exp(-a);  3/2: (1 + a) exp(-a);  5/2: (1 + a + a^2/3) exp(-a)

With ``aniso=True`` every coordinate has a range of its own: t^2 = sum_c (d_c / r_c)^2. With q = t^2 and s_c = d_c^2,

    dq / dr_c = -2 s_c / r_c^3,     d2q / dr_c2 = 6 s_c / r_c^4

so that only the derivatives of the correlation in q are each structure's own.

As the range grows, s^2 (1 - c) tends to s^2 t^power times a constant: only s^2 / r^power, the slope of the variogram at zero,
matters to contrasts, and the likelihood may rise without end along that ridge (Zhang 2004, J Am Stat Assoc 99, 250-261).
(Cressie 1993, Statistics for Spatial Data; Stein 1999, Interpolation of Spatial Data, for matern.)
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance.bessel import power_bessel
from openreml_core.covariance.correlation import Correlation
from openreml_core.errors import StructureError

#: Squared distances are told apart to this many digits of the largest.
DIGITS = 12
#: Where ranges end, in units of the longest distance, for power = 1.
END = 1e5
#: Smoothness for which Matern's needs no Bessel function.
SIMPLE = (0.5, 1.5, 2.5)


class Spatial(Correlation):
    """A correlation that is a function of distance over range.

    Parameters
    ----------
    positions : tensor, array or DataFrame of shape (k, c)
        Coordinates.
    aniso : bool
        Whether every coordinate has its own range.
    """

    kind = "range"
    #: p of 1 - C ~ t^p near zero distance.
    power: float = 1.0

    def __init__(self, positions: Any, *, aniso: bool = False) -> None:
        array = positions if isinstance(positions, Tensor) else torch.from_numpy(np.array(positions, dtype=np.float64))
        positions = array.to(torch.float64).reshape(len(array), -1)
        squared = (positions[:, None, :] - positions[None, :, :]).square()
        if not aniso:
            squared = squared.sum(dim=-1, keepdim=True)
        unit = squared.amax().clamp_min(1e-300) * 10.0**-DIGITS
        pattern = torch.zeros(1, dtype=torch.int64)
        for one in (squared / unit).round().reshape(-1, squared.shape[-1]).T:
            met, place = torch.unique(one, return_inverse=True)
            _, pattern = torch.unique(pattern * len(met) + place, return_inverse=True)
        super().__init__(pattern.reshape(len(positions), -1))
        #: Squared distances by coordinate, (L, c), a row for each that occurs.
        self.squared = torch.zeros(int(pattern.max()) + 1, squared.shape[-1], dtype=torch.float64)
        self.squared[pattern.reshape(-1)] = squared.reshape(-1, squared.shape[-1])
        count = squared.shape[-1]
        self.labels = ("range",) if count == 1 else tuple(f"range{c + 1}" for c in range(count))

    def _q(self, r: Tensor) -> Tensor:
        return (self.squared / r.square()).sum(dim=1)

    def values(self, rho: Tensor) -> Tensor:
        return self.of(self._q(rho))

    def slopes(self, rho: Tensor) -> Tensor:
        return self.first(self._q(rho))[:, None] * (-2 * self.squared / rho**3)

    def bend(self, rho: Tensor, weights: Tensor) -> Tensor:
        q = self._q(rho)
        by_range = -2 * self.squared / rho**3
        out = by_range.T @ ((weights * self.second(q))[:, None] * by_range)
        return out + torch.diag((weights * self.first(q)) @ (6 * self.squared / rho**4))

    @abstractmethod
    def of(self, q: Tensor) -> Tensor:
        """The correlation at q = (distance over range)^2."""

    @abstractmethod
    def first(self, q: Tensor) -> Tensor:
        """Its derivative in q; anything finite at q = 0, where nothing depends on the range."""

    @abstractmethod
    def second(self, q: Tensor) -> Tensor:
        """Its second derivative in q; anything finite at q = 0."""

    def typical(self) -> Tensor:
        apart = self.squared[self.pattern].reshape(-1, self.squared.shape[1])
        middle = [d[d > 0].sqrt().median() if (d > 0).any() else torch.ones(()).double() for d in apart.T]
        return torch.stack(middle)

    def start(self) -> Tensor:
        return 0.5 * self.typical()

    def bounds(self) -> tuple[Tensor, Tensor]:
        largest = self.squared.amax(dim=0).sqrt().clamp_min(1e-12)
        return 1e-4 * largest, END ** (1 / self.power) * largest


def _apart(q: Tensor) -> Tensor:
    """q, with 1 in the place of 0: the square root has no derivative there, and none is needed."""
    return torch.where(q > 0, q, 1.0)


class Exponential(Spatial):
    """exp(-t)."""

    keyword = "exp"

    def of(self, q: Tensor) -> Tensor:
        return torch.exp(-torch.where(q > 0, _apart(q).sqrt(), 0.0))

    def first(self, q: Tensor) -> Tensor:
        t = _apart(q).sqrt()
        return -torch.exp(-t) / (2 * t)

    def second(self, q: Tensor) -> Tensor:
        t = _apart(q).sqrt()
        return torch.exp(-t) * (1 + t) / (4 * t**3)


class Gaussian(Spatial):
    """exp(-t^2)."""

    keyword = "gau"
    power = 2.0

    def of(self, q: Tensor) -> Tensor:
        return torch.exp(-q)

    def first(self, q: Tensor) -> Tensor:
        return -torch.exp(-q)

    def second(self, q: Tensor) -> Tensor:
        return torch.exp(-q)


class Spherical(Spatial):
    """1 - 1.5 t + 0.5 t^3 within the range, 0 beyond."""

    keyword = "sph"

    def of(self, q: Tensor) -> Tensor:
        near = torch.where(q > 0, _apart(q).sqrt(), 0.0).clamp_max(1.0)
        return 1 - 1.5 * near + 0.5 * near**3

    def first(self, q: Tensor) -> Tensor:
        t = _apart(q).sqrt()
        return torch.where(t < 1, -0.75 / t + 0.75 * t, 0.0)

    def second(self, q: Tensor) -> Tensor:
        t = _apart(q).sqrt()
        return torch.where(t < 1, 0.375 / t**3 + 0.375 / t, 0.0)


class Matern(Spatial):
    """Matern's, of smoothness nu > 0; without Bessel functions for nu = 1/2, 3/2 and 5/2."""

    keyword = "matern"

    def __init__(self, positions: Any, *, nu: float = 1.5, aniso: bool = False) -> None:
        if not 0 < nu < math.inf:
            raise StructureError(f"nu is {nu:g}, not above zero")
        super().__init__(positions, aniso=aniso)
        self.nu = float(nu)
        self.power = min(max(2 * self.nu, 0.5), 2.0)

    def _a(self, q: Tensor) -> Tensor:
        return (2 * self.nu * _apart(q)).sqrt()

    def _bessel(self, a: Tensor, less: int) -> Tensor:
        """2^(1 - nu) / Gamma(nu) a^(nu - less) K_(nu - less)(a); dq/da = a / nu brings each derivative in q down to the next."""
        return math.exp((1 - self.nu) * math.log(2) - math.lgamma(self.nu)) * power_bessel(a, self.nu - less)

    def of(self, q: Tensor) -> Tensor:
        a = self._a(q)
        if self.nu not in SIMPLE:
            return torch.where(q > 0, self._bessel(a, 0), 1.0)
        a = torch.where(q > 0, a, 0.0)
        rest = {0.5: torch.ones_like(a), 1.5: 1 + a, 2.5: 1 + a + a.square() / 3}[self.nu]
        return rest * torch.exp(-a)

    def first(self, q: Tensor) -> Tensor:
        a = self._a(q)
        if self.nu not in SIMPLE:
            return -self.nu * self._bessel(a, 1)
        rest = {0.5: -0.5 / a, 1.5: torch.full_like(a, -1.5), 2.5: -5 / 6 * (1 + a)}[self.nu]
        return rest * torch.exp(-a)

    def second(self, q: Tensor) -> Tensor:
        a = self._a(q)
        if self.nu not in SIMPLE:
            return self.nu**2 * self._bessel(a, 2)
        rest = {0.5: (1 + a) / (4 * a**3), 1.5: 2.25 / a, 2.5: torch.full_like(a, 25 / 12)}[self.nu]
        return rest * torch.exp(-a)
