"""Roots of the likelihood ratio in responses drawn from a model: what a profile's zeta is held against in few blocks.

The profile of a fixed effect takes zeta, the signed root of the likelihood ratio, for standard normal, which it is in many
blocks only. In replicates y* drawn from the fitted model, in which the effect has the value b^, its distribution is known:

    |zeta*| = sqrt(D*(b^) - D*(b*)),    D* the minimum of -2 l with the effect held

and the interval of level 1 - alpha holds the values whose |zeta| is below that quantile of |zeta*|. Both signs are one, since
normal errors e and -e are alike. (DiCiccio, Martin and Stern 2001, Canadian Journal of Statistics 29, 67-76; for tests, Halekoh
and Hojsgaard 2014, J. Stat. Softw. 59(9).)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openreml_core.engines import same_engine
from openreml_core.reml import Estimates, maximise
from openreml_core.reml.restart import lifted
from openreml_core.simulation.replicates import OnProgress, Refits, refit_all


def roots_of_ratio(
    estimates: Estimates,
    y: Tensor,
    beta: Tensor,
    columns: Sequence[int],
    executor: Any = None,
    on_progress: OnProgress | None = None,
) -> dict[int, np.ndarray]:
    """abs(zeta*) of fixed effects, in the replicates that could be fitted with the effect free and held.

    Parameters
    ----------
    estimates : Estimates
        By ML.
    y : Tensor of shape (n, B)
        Replicates drawn with fixed effects ``beta``, the offset taken off.
    beta : Tensor of shape (p,)
    columns : sequence of int
        The effects, by their column of X.
    executor, on_progress
        As for :func:`refit_all`; progress is told over all refits.

    Raises
    ------
    FitCancelled
    ModelError
        When no replicate could be fitted.
    """
    total = y.shape[1] * (1 + len(columns))

    def refits(of: Estimates, responses: Tensor, part: int) -> Refits:
        def told(done: int, _: int) -> object:
            return on_progress(part * y.shape[1] + done, total) if on_progress is not None else None

        return refit_all(of, responses, executor, told)

    whole = refits(estimates, y, 0)
    out = {}
    for part, column in enumerate(columns, start=1):
        value = float(beta[column])
        x = estimates.engine.model.X[:, column]
        held = refits(without_effect(estimates, column, value), y - value * x[:, None], part)
        _, a, b = np.intersect1d(whole.number, held.number, return_indices=True)
        out[column] = np.sqrt(np.clip(held.criterion[b] - whole.criterion[a], 0.0, None))
    return out


def without_effect(estimates: Estimates, column: int, value: float) -> Estimates:
    """The same model with one fixed effect held at a value: its column out of X, its part taken off y."""
    own = estimates.engine.model
    kept = [j for j in range(own.p) if j != column]
    model = replace(
        own,
        y=own.y - value * own.X[:, column],
        X=torch.as_tensor(own.X[:, kept]),
        fixed_names=tuple(own.fixed_names[j] for j in kept),
    )
    start = estimates.ties.follow(lifted(model, estimates.at.theta, estimates.free))
    return maximise(same_engine(estimates.engine, model), start, free=estimates.free, ties=estimates.ties)
