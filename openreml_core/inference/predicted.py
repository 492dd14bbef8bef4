"""Linear combinations of fixed effects and predicted random effects, with what tables need of them.

    m = L b^ + sum_t K_t u^_t,    Var(m - L b - sum_t K_t u_t) from the mixed-model equations

Without random effects these are contrasts (contrasts.py). With them the degrees of freedom are Satterthwaite's for that variance,
2 v^2 / (g'A g), g = dv / d theta by central differences of v itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from openreml_core.engines import NotPositiveDefinite
from openreml_core.errors import ModelError
from openreml_core.inference.contrasts import Contrasts, approximation, contrasts
from openreml_core.inference.satterthwaite import Satterthwaite
from openreml_core.reml import Estimates

#: Step of the differences, in units of a parameter's size.
STEP = 1e-4


@dataclass(frozen=True, eq=False)
class Combinations:
    """c combinations.

    Attributes
    ----------
    fixed : array of shape (c, p)
        L.
    offset : array of shape (c,)
        A known part of each.
    estimable : array of shape (c,), bool
    random : tuple of array of shape (c, q, k)
        K_t of every random term; empty where no random effect is in it.
    """

    fixed: np.ndarray
    offset: np.ndarray
    estimable: np.ndarray
    random: tuple[np.ndarray, ...] = ()

    def turned(self, rows: np.ndarray) -> Combinations:
        """The combinations rows (d, c) of these; estimable where all that count in them are."""
        counted = np.where(self.estimable, 0, 1)
        return Combinations(
            rows @ np.where(self.estimable[:, None], self.fixed, 0.0),
            rows @ np.where(self.estimable, self.offset, 0.0),
            (rows != 0) @ counted == 0,
            tuple(np.tensordot(rows, k, 1) for k in self.random),
        )

    def estimates(self, estimates: Estimates, ddf: str) -> Contrasts:
        """Their estimates, covariance and degrees of freedom; NaN where they are not estimable.

        Raises
        ------
        ModelError
            An unknown ddf, or Kenward-Roger with random effects, which it has no adjustment for.
        """
        good = self.estimable
        fixed = np.where(good[:, None], self.fixed, 0.0)
        if any(k.any() for k in self.random):
            found = self._predicted(estimates, fixed, ddf)
        else:
            found = contrasts(estimates, fixed, ddf)
        value = np.where(good, found.estimate + self.offset, np.nan)
        covariance = np.where(good[:, None] & good, found.covariance, np.nan)
        return replace(found, estimate=value, covariance=covariance, df=np.where(good, found.df, np.nan))

    def _predicted(self, estimates: Estimates, fixed: np.ndarray, ddf: str) -> Contrasts:
        if ddf == "kenward-roger":
            raise ModelError(
                "Kenward and Roger's adjustment is for fixed effects; these means hold predicted random effects.",
                hint="Choose ddf='satterthwaite', or leave the random terms out.",
            )
        method, engine, at = approximation(estimates, ddf), estimates.engine, estimates.at
        rows = torch.from_numpy(fixed)
        random = [torch.from_numpy(np.ascontiguousarray(np.moveaxis(k, 0, -1))) for k in self.random]
        value = fixed @ at.beta.numpy()
        for k, effects in zip(self.random, engine.random_effects(at), strict=True):
            value = value + np.tensordot(k, effects.blup.numpy(), 2)
        covariance = engine.prediction_covariance(at, rows, random).numpy()
        if not isinstance(method, Satterthwaite):
            return Contrasts(value, covariance, method.df(fixed))
        slopes = _variance_slopes(estimates, rows, random, np.diag(covariance))
        return Contrasts(value, covariance, method.df_of(np.diag(covariance), slopes @ method.moves))


def _variance_slopes(
    estimates: Estimates, fixed: torch.Tensor, random: Sequence[torch.Tensor], variance: np.ndarray
) -> np.ndarray:
    """d v / d theta, the profiled sigma2 last, to which v is proportional: (c, m)."""
    engine, at = estimates.engine, estimates.at
    model = engine.model
    size = torch.maximum(at.theta.abs(), 0.1 * model.scale)
    columns = []
    for k in range(model.n_theta):
        ends = []
        for sign in (1, -1):
            theta = at.theta.clone()
            theta[k] += sign * STEP * size[k]
            try:
                moved = engine.evaluate(theta)
            except NotPositiveDefinite:
                ends.append((0.0, variance))
                continue
            # The engine has its own best sigma2 there; v is wanted at ours.
            v = engine.prediction_covariance(moved, fixed, random).diagonal().numpy() * (at.sigma2 / moved.sigma2)
            ends.append((float(sign * STEP * size[k]), v))
        (up, high), (down, low) = ends
        columns.append((high - low) / (up - down) if up != down else np.zeros_like(variance))
    if model.profiled:
        columns.append(variance / at.sigma2)
    return np.column_stack(columns) if columns else np.zeros((len(variance), 0))
