"""Sigma = D C(rho) D: a correlation matrix, and standard deviations that are one number or one for every effect.

    Sigma_ab = s_a s_b C_ab(rho),   s_a = s (homogeneous) or one for each a (the ...h forms)

The free parameters are the standard deviations and rho within its bounds; the natural ones are the variances s^2 and rho.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from openreml_core.covariance.correlation import EDGE, Correlation
from openreml_core.covariance.structure import NaturalParameter, Structure


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
        self, names: Sequence[str] | int, correlation: Correlation, *, heterogeneous: bool = False, prefix: str = ""
    ) -> None:
        super().__init__(names)
        self.correlation = correlation
        self.heterogeneous = heterogeneous
        self.prefix = prefix
        self.keyword = correlation.keyword + ("h" if heterogeneous else "")
        self._variances = self.size if heterogeneous else 1

    @property
    def is_linear(self) -> bool:
        """One variance, and a correlation that is free for every pattern: v C has the elements v and v rho."""
        return not self.heterogeneous and self.correlation.is_free

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

    @property
    def powers(self) -> tuple[int, ...]:
        return (*(2,) * self._variances, *(1,) * self.correlation.n_parameters)

    def _split(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        return theta[: self._variances], theta[self._variances :]

    def start(self, scale: Tensor) -> Tensor:
        s = scale if self.heterogeneous else scale.square().mean().sqrt().reshape(1)
        return torch.cat([s, self.correlation.start()])

    def typical(self, scale: Tensor) -> Tensor:
        return torch.cat([self.start(scale)[: self._variances], self.correlation.typical()])

    def bounds(self) -> tuple[Tensor, Tensor]:
        wide = torch.full((self._variances,), torch.inf, dtype=torch.float64)
        # One s of either sign is the same Sigma; of many, two signs would turn the correlations round.
        least = torch.zeros_like(wide) if self.heterogeneous else -wide
        low, high = self.correlation.bounds()
        return torch.cat([least, low]), torch.cat([wide, high])

    @property
    def careful(self) -> tuple[bool, ...]:
        bent = self.correlation.levels_out and not self.heterogeneous
        return (*(False,) * self._variances, *(bent,) * self.correlation.n_parameters)

    def moved(self, theta: Tensor, step: Tensor) -> Tensor:
        """theta after a step that is straight in rho and a = s sqrt(1 - q^2), q the neighbours' correlation.

        Of a trend longer than the trial only a^2 is determined, the variance between neighbours: s and q go to their ends
        together, along a = constant, and straight steps of s would leave that valley at once.
        """
        straight = theta + step
        if not any(self.careful):
            return straight
        s, rho = self._split(theta)
        by_s, by_rho = self._split(step)
        q, slope = self.correlation.adjacent(rho)
        change, moved = float(slope @ by_rho), self.correlation.adjacent(rho + by_rho)[0]
        if not change or not bool(s):
            return straight
        before, after = (1 - q**2) ** 0.5, (1 - moved**2) ** 0.5
        a, by_a = s * before, by_s * before - s * q * change / before
        return torch.cat([(a + by_a) / after, rho + by_rho]) if bool((a + by_a) * a > 0) else straight

    def matrix(self, theta: Tensor) -> Tensor:
        s, rho = self._split(theta)
        return (s[:, None] * s[None, :]) * self.correlation.matrix(rho)

    def derivatives(self, theta: Tensor) -> Iterator[Tensor]:
        s, rho = self._split(theta)
        c = self.correlation.matrix(rho)
        if self.heterogeneous:
            for a in range(self.size):
                half = torch.zeros_like(c)
                half[a] = c[a] * s
                yield half + half.T
        else:
            yield 2 * s * c
        deviations = s[:, None] * s[None, :]
        for by_rho in self.correlation.derivatives(rho):
            yield deviations * by_rho

    def gradient(self, theta: Tensor, m: Tensor) -> Tensor:
        s, rho = self._split(theta)
        by_value, values, slopes = self._sums(theta, m)
        if self.heterogeneous:
            return torch.cat([((m + m.T) * self.correlation.matrix(rho)) @ s, by_value @ slopes])
        return torch.cat([2 * s * (by_value @ values), s.square() * (by_value @ slopes)])

    def curvature(self, theta: Tensor, m: Tensor) -> Tensor:
        s, rho = self._split(theta)
        by_value, values, slopes = self._sums(theta, m)
        own = self._variances
        out = torch.zeros(len(theta), len(theta), dtype=theta.dtype)
        if self.heterogeneous:
            both = m + m.T
            out[:own, :own] = both * self.correlation.matrix(rho)
            for j, by_rho in enumerate(self.correlation.derivatives(rho)):
                out[:own, own + j] = out[own + j, :own] = (both * by_rho) @ s
            out[own:, own:] = self.correlation.bend(rho, by_value)
            return out
        out[0, 0] = 2 * (by_value @ values)
        out[0, 1:] = out[1:, 0] = 2 * s * (by_value @ slopes)
        out[1:, 1:] = s.square() * self.correlation.bend(rho, by_value)
        return out

    def _sums(self, theta: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What M is to each value of C (D M D is, where there are many deviations), the values and their slopes."""
        s, rho = self._split(theta)
        values, slopes = self.correlation.values(rho), self.correlation.slopes(rho)
        weighed = m * (s[:, None] * s[None, :]) if self.heterogeneous else m
        return self.correlation.summed(weighed, len(values)), values, slopes

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

    def natural_derivatives(self, theta: Tensor) -> Iterator[Tensor]:
        for k, derivative in enumerate(self.derivatives(theta)):
            yield derivative / (2 * theta[k]) if k < self._variances else derivative

    def boundary(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> tuple[str, ...]:
        s, rho = self._split(theta)
        low, high = self.correlation.bounds()
        unit = self.start(scale)[: self._variances]
        zero = (s.abs() < tolerance * unit).tolist()
        # A correlation within 1e-3 of its bound, a range within 1 % of where its search ends.
        ranges = self.correlation.kind == "range"
        near = (rho < 1.01 * low if ranges else rho - low < 1e-3 * (1 + low.abs())).tolist()
        far = (rho > 0.99 * high if ranges else high - rho < 1e-3).tolist()
        marks = ["at zero" if z else "" for z in zero]
        for at_low, at_high in zip(near, far, strict=True):
            bound = "no upper bound" if ranges and at_high else "at its bound" if at_low or at_high else ""
            marks.append("no variance" if all(zero) else bound)
        return tuple(marks)

    def is_singular(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> bool:
        return any(self.boundary(theta, scale, tolerance))

    def settle(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> Tensor:
        s, rho = self._split(theta)
        s = s.abs()
        unit = self.start(scale)[: self._variances]
        return torch.cat([torch.where(s < tolerance * unit, 0.0, s), rho])
