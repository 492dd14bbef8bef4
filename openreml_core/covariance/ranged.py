"""A variance and a range, parametrised by what the data tell: the slope of the variogram, and the inverse of the range.

    Sigma = s^2 C(d / r),   free: a and f = 1 / r,   s = a f^(-p / 2)

Near zero distance s^2 - Sigma is a^2 d^p: p = 1 for exp, sph and matern 1/2, whose variogram leaves the origin in a straight
line, p = 2 for those that leave it in a parabola. Where the field is larger than the trial, s^2 and r go to infinity together
and only a is determined: in (s, r) that is a curved valley without end, in (a, f) it is f = 0, a step away.
(Zhang 2004, JASA 99, 250-261: of s^2 and r only the ratio is estimated consistently within a bounded field.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from openreml_core.covariance.scaled import ScaledCorrelation
from openreml_core.covariance.spatial import Spatial


class RangedCorrelation(ScaledCorrelation):
    """One variance and one range.

    Parameters
    ----------
    names : sequence of str
    correlation : Spatial
        With one range.
    prefix : str
    """

    def __init__(self, names: Sequence[str] | int, correlation: Spatial, *, prefix: str = "") -> None:
        super().__init__(names, correlation, prefix=prefix)
        self._power = correlation.power

    @property
    def powers(self) -> tuple[int, ...]:
        return (0, -1)  # s^2 is made of both

    def _plain(self, theta: Tensor) -> Tensor:
        """(s, r)."""
        a, f = theta[0], theta[1]
        return torch.stack([a * f ** (-self._power / 2), 1 / f])

    def _free(self, plain: Tensor) -> Tensor:
        """(a, f)."""
        s, r = plain[0], plain[1]
        return torch.stack([s * r ** (-self._power / 2), 1 / r])

    def _jacobian(self, theta: Tensor) -> Tensor:
        """d (s, r) / d (a, f)."""
        (a, f), h = theta.tolist(), self._power / 2
        return torch.tensor([[f**-h, -h * a * f ** (-h - 1)], [0.0, -(f**-2)]], dtype=theta.dtype)

    def matrix(self, theta: Tensor) -> Tensor:
        return super().matrix(self._plain(theta))

    def derivatives(self, theta: Tensor) -> Iterator[Tensor]:
        by_s, by_r = super().derivatives(self._plain(theta))
        for to_s, to_r in self._jacobian(theta).T.tolist():
            yield to_s * by_s + to_r * by_r

    def gradient(self, theta: Tensor, m: Tensor) -> Tensor:
        return self._jacobian(theta).T @ super().gradient(self._plain(theta), m)

    def curvature(self, theta: Tensor, m: Tensor) -> Tensor:
        plain, jacobian = self._plain(theta), self._jacobian(theta)
        by_s, by_r = super().gradient(plain, m).tolist()
        (a, f), h = theta.tolist(), self._power / 2
        out = jacobian.T @ super().curvature(plain, m) @ jacobian
        out[0, 1] += by_s * -h * f ** (-h - 1)
        out[1, 0] = out[0, 1]
        out[1, 1] += by_s * h * (h + 1) * a * f ** (-h - 2) + 2 * by_r * f**-3
        return out

    def start(self, scale: Tensor) -> Tensor:
        return self._free(super().start(scale))

    def typical(self, scale: Tensor) -> Tensor:
        return self._free(super().typical(scale))

    def bounds(self) -> tuple[Tensor, Tensor]:
        low, high = self.correlation.bounds()
        wide = torch.full((1,), torch.inf, dtype=torch.float64)
        return torch.cat([-wide, 1 / high]), torch.cat([wide, 1 / low])

    def natural_values(self, theta: Tensor) -> Tensor:
        return super().natural_values(self._plain(theta))

    def from_natural(self, values: Tensor) -> Tensor:
        return self._free(super().from_natural(values))

    def natural_derivatives(self, theta: Tensor) -> Iterator[Tensor]:
        plain = self._plain(theta)
        by_s, by_r = super().derivatives(plain)
        yield by_s / (2 * plain[0])
        yield by_r

    def boundary(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> tuple[str, ...]:
        plain = self._plain(theta)
        unit = super().start(scale)[0]
        low, high = self.correlation.bounds()
        zero = bool(plain[0].abs() < tolerance * unit)
        end = (
            "at its bound"
            if bool(plain[1] < 1.01 * low[0])
            else "no upper bound"
            if bool(plain[1] > 0.99 * high[0])
            else ""
        )
        return ("at zero" if zero else "", "no variance" if zero else end)

    def settle(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> Tensor:
        s = self._plain(theta)[0].abs()
        a = torch.where(s < tolerance * super().start(scale)[0], 0.0, theta[0].abs())
        return torch.stack([a, theta[1]])


def scaled(names: Sequence[str] | int, correlation: Spatial, prefix: str = "") -> ScaledCorrelation:
    """s^2 C of a spatial correlation: by slope and inverse range where there is one range."""
    if correlation.n_parameters == 1:
        return RangedCorrelation(names, correlation, prefix=prefix)
    return ScaledCorrelation(names, correlation, prefix=prefix)
