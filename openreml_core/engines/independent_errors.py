"""Independent residuals: one variance, or one for each section; the rows are summed once.

R_s = sigma2_s R0_s,   N = sum_s N_s / sigma2_s,   tr(P R0_s) = n_s / sigma2_s - <M, N_s> / sigma2_s^2
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from openreml_core.engines.crossproducts import CrossProducts
from openreml_core.engines.engine import NotPositiveDefinite
from openreml_core.engines.errors import Directions


class IndependentErrors:
    """See :class:`openreml_core.engines.errors.Errors`."""

    def __init__(self, cross: CrossProducts) -> None:
        self.cross = cross
        self.row, self.column, self.size = cross.row, cross.column, cross.size

    def at(self, sigmas: Sequence[Tensor]) -> SolvedIndependent:
        precision = 1 / torch.stack([s[0, 0] for s in sigmas])
        if not bool((precision.isfinite() & (precision > 0)).all()):
            raise NotPositiveDefinite
        return SolvedIndependent(self.cross, precision)


class SolvedIndependent:
    """See :class:`openreml_core.engines.errors.SolvedErrors`."""

    def __init__(self, cross: CrossProducts, precision: Tensor) -> None:
        self.cross, self.precision = cross, precision
        p = precision.numpy()
        self.values = cross.value * (p[cross.section] if len(p) > 1 else p[0])
        self.log_det = -float((torch.from_numpy(cross.counts) * precision.log()).sum()) - cross.log_weights

    def _times(self, e: Tensor) -> tuple[Tensor, Tensor]:
        """N_s e (Q, S), e'N_s e (S,)."""
        times = torch.from_numpy(self.cross.times(e.numpy()))
        return times, e @ times

    def squares(self, e: Tensor) -> list[Tensor]:
        return [x.reshape(1, 1) for x in self._times(e)[1] * self.precision.square()]

    def traces(self, m: Tensor) -> list[Tensor]:
        weights = self.cross.value * m.numpy()
        inside = torch.from_numpy(np.bincount(self.cross.section, weights=weights, minlength=self.cross.sections))
        p = self.precision
        return [x.reshape(1, 1) for x in torch.from_numpy(self.cross.counts) * p - inside * p.square()]

    def variates(self, e: Tensor, directions: Directions) -> tuple[Tensor, Tensor]:
        slopes = torch.stack([d[0, 0] for own in directions for d in own])
        times, squares = self._times(e)
        return times * (slopes * self.precision.square()), torch.diag(squares * slopes**2 * self.precision**3)

    def sandwiches(self, x: Tensor, directions: Directions) -> list[Tensor]:
        values, out = x.numpy(), []
        for n, p, own in zip(self.cross.by_section, self.precision, directions, strict=True):
            inside = torch.from_numpy(values.T @ (n @ values)) * p**2
            out += [d[0, 0] * inside for d in own]
        return out

    def combined(self, x: Tensor, directions: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        over, square = torch.zeros_like(x), torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
        for n, p, direction in zip(self.cross.by_section, self.precision, directions, strict=True):
            slope = direction[0, 0]
            if slope:
                own = torch.from_numpy(n @ x.numpy())
                over += slope * p**2 * own
                square += slope**2 * p**3 * (x.T @ own)
        return over, square
