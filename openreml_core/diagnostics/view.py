"""A fit seen from its rows: what residuals, leverages and deletions are made of.

    P = V^-1 - V^-1 X C X'V^-1,    Y = V^-1 X C,    C = (X'V^-1 X)^-1

all on the scale of the data and at the estimated variances.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from openreml_core.covariance import BlockResidual, IndependentResidual
from openreml_core.engines import MarginalEngine, Rows, random_variances, rows_of
from openreml_core.engines.rows import DenseRows
from openreml_core.model import MixedModel
from openreml_core.reml import Estimates


@dataclass(frozen=True, eq=False)
class RowView:
    """A fit seen from its rows.

    Attributes
    ----------
    estimates : Estimates
    given_r : Tensor of shape (n, n), optional
        R, of a V built by hand.
    """

    estimates: Estimates
    given_r: Tensor | None = None

    @property
    def model(self) -> MixedModel:
        """The model."""
        return self.estimates.engine.model

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.model.y)

    @property
    def p(self) -> int:
        """Number of fixed effects."""
        return self.model.p

    @cached_property
    def rows(self) -> Rows:
        """P at single rows."""
        engine, at = self.estimates.engine, self.estimates.at
        len(self.model.y)  # where the rows stayed in files this says so
        if self.given_r is not None:
            assert isinstance(engine, MarginalEngine)
            return DenseRows(engine, at, self.given_r)  # type: ignore[arg-type]
        return rows_of(engine, at)

    @property
    def c(self) -> Tensor:
        """C = Cov(b^), (p, p)."""
        return self.estimates.at.beta_covariance

    @cached_property
    def residual_variance(self) -> Tensor:
        """R_ii, (n,)."""
        if self.given_r is not None:
            return self.given_r.diagonal()
        model, at = self.model, self.estimates.at
        out = torch.zeros(self.n, dtype=torch.float64)
        parts = zip(model.residuals, model.sigmas(at.theta, at.sigma2)[len(model.terms) :], strict=True)
        for part, sigma in parts:
            if isinstance(part, IndependentResidual):
                out += sigma[0, 0] * part.variance
            elif isinstance(part, BlockResidual):
                out[part.rows] += sigma.diagonal()[part.index]
            else:
                out += sigma.diagonal()
        return out

    @cached_property
    def random_variance(self) -> Tensor:
        """(Z G Z')_ii, (n,)."""
        model, at = self.model, self.estimates.at
        if self.given_r is not None:
            return (model.sigmas(at.theta, at.sigma2)[0].diagonal() - self.residual_variance).clamp_min(0)
        return random_variances(model, at.theta, at.sigma2)

    @property
    def correlated(self) -> bool:
        """Whether residuals of different rows are correlated."""
        return self.given_r is not None or not all(isinstance(r, IndependentResidual) for r in self.model.residuals)

    @cached_property
    def conditional(self) -> Tensor:
        """R P y, (n,): y - X b^ - Z u^."""
        return self.rows.residual_times(self.rows.py[:, None])[:, 0]

    @cached_property
    def marginal(self) -> Tensor:
        """y - X b^, (n,)."""
        model = self.model
        return model.y - model.X @ self.estimates.at.beta

    @cached_property
    def fixed_leverage(self) -> Tensor:
        """(X C X'V^-1)_ii, (n,)."""
        return (self.model.X * self.rows.beta_weights).sum(dim=1)

    @cached_property
    def marginal_variance_of_residual(self) -> Tensor:
        """Var(y - X b^)_ii = V_ii - (X C X')_ii, (n,)."""
        x = self.model.X
        held = ((x @ self.c) * x).sum(dim=1)
        return (self.random_variance + self.residual_variance - held).clamp_min(0)

    @cached_property
    def lost(self) -> Tensor:
        """Rows that the fixed effects reproduce, whatever their response: P_ii is zero."""
        total = self.random_variance + self.residual_variance
        return self.rows.diagonal * total <= 1e-10
