"""Power by simulation: how often a test at level alpha finds an effect, in responses drawn from the model that has it.

A fixed term is tested by Wald's F over its coefficients, a random effect by likelihood ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from torch import Tensor

from openreml_core.errors import ModelError
from openreml_core.inference import DDF, boundary_test, joint_test, plain_p
from openreml_core.inference.comparison import NOTHING
from openreml_core.reml import Estimates
from openreml_core.simulation.refits import Recipe
from openreml_core.simulation.replicates import OnProgress, collected, refit_all, refits, singly


@dataclass(frozen=True, eq=False)
class Power:
    """How a test fared.

    Attributes
    ----------
    p_values : array of shape (n,)
        Of the replicates that were fitted.
    failed : tuple of (int, str)
        Replicates left out, counted from 1, and why.
    """

    p_values: np.ndarray
    failed: tuple[tuple[int, str], ...]

    def row(self, alpha: float) -> dict[str, Any]:
        """power, its standard error, and Clopper and Pearson's 95 % interval of it."""
        n, hits = len(self.p_values), int((self.p_values < alpha).sum())
        share = hits / n
        return {
            "power": share,
            "std_error": float(np.sqrt(share * (1 - share) / n)),
            "lower": float(stats.beta.ppf(0.025, hits, n - hits + 1)) if hits else 0.0,
            "upper": float(stats.beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0,
            "n_sim": n,
            "n_failed": len(self.failed),
        }


def tested_some(recipe: Recipe, y: Tensor, columns: Sequence[int], ddf: str) -> list[float | str]:
    """p-values of a few responses (n, c)."""
    rows = np.eye(recipe.model.p)[list(columns)]
    return [e if isinstance(e, str) else joint_test(e, rows, ddf).p_value for e in refits(recipe, y)]


def power_of_fixed(
    estimates: Estimates, y: Tensor, columns: Sequence[int], ddf: str, executor: Any, on_progress: OnProgress | None
) -> Power:
    """Wald tests of fixed effects in responses y (n, B)."""
    if ddf not in DDF:
        raise ModelError(f"ddf={ddf!r} is not available.", hint=f"Choose one of {', '.join(DDF)}.")
    found = collected(singly(tested_some, estimates, y, executor, tuple(columns), ddf), y, on_progress)
    failed = tuple((i + 1, p) for i, p in enumerate(found) if isinstance(p, str))
    values = np.array([p for p in found if not isinstance(p, str)])
    if not len(values):
        raise ModelError(f"None of the {len(found)} replicates could be fitted: {failed[0][1]}")
    return Power(values, failed)


def power_of_random(
    full: Estimates, reduced: Estimates, y: Tensor, df: int, executor: Any, on_progress: OnProgress | None
) -> tuple[Power, str]:
    """Likelihood-ratio tests of what ``reduced`` lacks of ``full``; and by which distribution, in words."""
    whole = refit_all(full, y, executor, on_progress)
    less = refit_all(reduced, y, executor)
    numbers, a, b = np.intersect1d(whole.number, less.number, return_indices=True)
    lrt = less.criterion[b] - whole.criterion[a]
    p, words = np.empty(len(numbers)), ""
    for i, value in enumerate(np.where(np.abs(lrt) < NOTHING, 0.0, lrt)):
        tested = boundary_test(full.engine.model, reduced.engine.model, float(value), df)
        p[i] = plain_p(float(value), df) if np.isnan(tested.p_value) else tested.p_value
        words = tested.words if not np.isnan(tested.p_value) else f"chi2({df})"
    return Power(p, tuple(sorted({*whole.failed, *less.failed}))), words
