"""What P = V^-1 - V^-1 X C X'V^-1 is at single rows, on the scale of the data: all that diagnostics need of an engine.

    P y,   Y = V^-1 X C (b^ = Y'y),   P_ii,   (R P)_ii,   (R P R)_ii,   P_JJ among some rows,   P W

The conditional residuals are R P y with variance R P R, the marginal ones y - X b^ = V P y with variance V P V.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from openreml_core.covariance import SmoothTerm
from openreml_core.engines.henderson import HendersonEngine
from openreml_core.engines.henderson_rows import HendersonRows
from openreml_core.engines.marginal import DenseEvaluation, MarginalEngine
from openreml_core.model import MixedModel


class Rows(Protocol):
    """P at the rows of a model, at its estimates; n rows, p fixed effects."""

    @property
    def py(self) -> Tensor:
        """P y, (n,)."""

    @property
    def beta_weights(self) -> Tensor:
        """Y = V^-1 X C, (n, p)."""

    @property
    def diagonal(self) -> Tensor:
        """P_ii, (n,)."""

    @property
    def left(self) -> Tensor:
        """(R P)_ii, (n,)."""

    @property
    def both(self) -> Tensor:
        """(R P R)_ii, (n,)."""

    def residual_times(self, w: Tensor) -> Tensor:
        """R W, (n, c)."""

    def times(self, w: Tensor) -> Tensor:
        """P W, (n, c)."""

    def among(self, rows: Tensor) -> Tensor:
        """P_JJ, (m, m), for the numbers (m,) of some rows."""


class DenseRows:
    """See :class:`Rows`: from P as an n x n matrix.

    Parameters
    ----------
    engine : MarginalEngine
    at : DenseEvaluation
    r : Tensor of shape (n, n), optional
        R on the scale of the data, where it is another than the model's residuals: of a V built by hand.
    """

    def __init__(self, engine: MarginalEngine, at: DenseEvaluation, r: Tensor | None = None) -> None:
        self.model, self.at, self._given = engine.model, at, r

    @cached_property
    def _p(self) -> Tensor:
        return self.at.projection / self.at.sigma2

    @cached_property
    def py(self) -> Tensor:
        return self._p @ self.model.centred

    @cached_property
    def beta_weights(self) -> Tensor:
        return self.at.v_inverse @ self.model.X @ (self.at.beta_covariance / self.at.sigma2)

    @cached_property
    def diagonal(self) -> Tensor:
        return self._p.diagonal().clamp_min(0)

    @cached_property
    def _rp(self) -> Tensor:
        return self.residual_times(self._p)

    @cached_property
    def left(self) -> Tensor:
        return self._rp.diagonal().clone()

    @cached_property
    def both(self) -> Tensor:
        return self.residual_times(self._rp.T).diagonal().clamp_min(0)

    def residual_times(self, w: Tensor) -> Tensor:
        if self._given is not None:
            return self._given @ w
        model = self.model
        sigmas = model.sigmas(self.at.theta, self.at.sigma2)[len(model.terms) :]
        return sum((r.apply(s, w) for r, s in zip(model.residuals, sigmas, strict=True)), torch.zeros_like(w))

    def times(self, w: Tensor) -> Tensor:
        return self._p @ w

    def among(self, rows: Tensor) -> Tensor:
        return self._p[rows[:, None], rows]


def rows_of(engine: Any, at: Any) -> Rows:
    """P at the rows of an engine's model, at one of its evaluations."""
    return HendersonRows(engine, at) if isinstance(engine, HendersonEngine) else DenseRows(engine, at)


def random_variances(model: MixedModel, theta: Tensor, sigma2: float) -> Tensor:
    """(Z G Z')_ii, (n,), on the scale of the data."""
    out = torch.zeros(model.n, dtype=torch.float64)
    for term, sigma in zip(model.terms, model.sigmas(theta, sigma2), strict=False):
        columns, values = term.incidence
        if isinstance(term, SmoothTerm):
            out += sigma[0, 0] * values.square().sum(dim=1)
            continue
        k = term.structure.size
        effect = columns % k
        within = sigma[effect[:, :, None], effect[:, None, :]]
        own = torch.einsum("na,nab,nb->n", values, within, values)
        out += own if term.kernel is None else own * term.kernel.diagonal()[columns[:, 0] // k]
    return out
