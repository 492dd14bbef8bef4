"""The same model with a random term as a fixed factor: the variance of its best linear unbiased estimates.

X becomes [Z X], the columns of X that Z and others determine left out, and the term's covariance is gone. The variance parameters
are estimated again.
"""

from __future__ import annotations

import numpy as np
import torch

from openreml_core.design.rank import independent_columns, null_directions
from openreml_core.engines import choose_engine
from openreml_core.errors import DataError, ModelError
from openreml_core.inference.entries import Entries, mean_difference
from openreml_core.model import MixedModel
from openreml_core.reml import Estimates, maximise
from openreml_core.reml.ties import Ties

#: Elements of X that find room.
MAX_CELLS = 100_000_000


def fitted_as_fixed(entries: Entries) -> Estimates:
    """The estimates with the term of ``entries`` fixed; its tested levels are the first columns of X.

    Raises
    ------
    DataError
        Differences between the levels that other fixed effects determine too, or rows that do not suffice.
    ModelError
        Parameters that are tied to the term's.
    """
    estimates, place = entries.estimates, entries.place
    model = estimates.engine.model
    tested, term = entries.tested, entries.term
    column = np.full(len(term.levels), -1)
    column[tested] = np.arange(len(tested))
    if model.n * (len(tested) + model.p) > MAX_CELLS:
        raise DataError(
            f"a fixed effect of each of the {len(tested):,} levels over {model.n:,} rows is too large to hold"
        )
    z = np.eye(len(tested))[column[term.codes.numpy()]]
    wide = np.column_stack([z, model.X.numpy()])
    kept = independent_columns(wide)
    _check_apart(wide, len(tested), term.name)
    if model.n <= len(kept) + len(model.parameter_names):
        raise DataError(f"there are too few rows for a fixed effect of each of the {len(tested)} levels")
    names = [*(f"{term.name}[{term.levels[j]}]" for j in tested), *model.fixed_names]
    fixed = MixedModel(
        model.y,
        torch.from_numpy(np.ascontiguousarray(wide[:, kept])),
        tuple(names[j] for j in kept),
        tuple(t for u, t in enumerate(model.terms) if u != place),
        model.residuals,
        model.method,
        model.profiled,
    )
    out = np.zeros(model.n_theta, dtype=bool)
    out[model.slices[place]] = True
    free, ties = estimates.free[~out], _without(estimates.ties, out, term.name)
    rest = estimates.at.theta[torch.from_numpy(~out)]
    theta = ties.follow(torch.where(torch.from_numpy(free), fixed.start(), rest))
    found = maximise(choose_engine("auto", fixed), theta, free=free, ties=ties)
    if not found.converged:
        raise ModelError(f"the fit with *{term.name}* fixed did not converge: {found.message}")
    return found


def mean_difference_of_estimates(fixed: Estimates, q: int) -> float:
    """Mean variance of a difference between two of the q first fixed effects."""
    c = fixed.at.beta_covariance[:q, :q]
    return mean_difference(float(c.trace()), float(c.sum()), q)


def _check_apart(wide: np.ndarray, q: int, name: str) -> None:
    """Refuse levels whose differences other fixed effects determine too: [Z X] is zero in a direction of unequal parts of Z."""
    size, directions = null_directions(wide)
    nothing = directions[:, :q] / size[:q]
    if len(nothing) and np.abs(nothing - nothing.mean(axis=1, keepdims=True)).max() > 1e-7 * np.abs(nothing).max():
        raise DataError(f"fixed effects determine differences between levels of *{name}*")


def _without(ties: Ties, out: np.ndarray, name: str) -> Ties:
    """The ties of the other parameters."""
    if (ties.tied & (out | out[ties.source])).any():
        raise ModelError(f"parameters are tied to those of *{name}*")
    place = np.cumsum(~out) - 1
    return Ties(place[ties.source[~out]], ties.ratio[~out])
