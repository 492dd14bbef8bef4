"""Full refits without some rows: every variance estimated again, the search begun at the estimates.

The model keeps its columns and codes: contrasts, polynomials and splines mean in every refit what they mean in the fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openreml_core.design.rank import independent_columns, null_directions
from openreml_core.diagnostics.deletion import Deletions
from openreml_core.diagnostics.view import RowView
from openreml_core.errors import FitCancelled, ModelError
from openreml_core.model import MixedModel
from openreml_core.reml.ties import Ties
from openreml_core.repeat import in_portions
from openreml_core.simulation import Recipe
from openreml_core.simulation.subset import kept_parameters, model_of_rows

#: Refits that a task of an executor does.
TASK = 10
OnProgress = Callable[[int, int], object]

#: b^ and C of a refit, and its natural parameters by name; or why there are none.
Found = tuple[np.ndarray, np.ndarray, dict[str, float]] | str


@dataclass(frozen=True, eq=False)
class Refits:
    """Refits without each of c sets of rows.

    Attributes
    ----------
    deletions : Deletions
    parameters : array of shape (c, m)
        Natural variance parameters, NaN where a refit has none.
    failed : tuple of (int, str)
        Which of the sets could not be left out, and why.
    """

    deletions: Deletions
    parameters: np.ndarray
    failed: tuple[tuple[int, str], ...]


def refits_without(
    view: RowView, sets: Sequence[np.ndarray], executor: Any = None, on_progress: OnProgress | None = None
) -> Refits:
    """Refit without each of some sets of rows.

    Parameters
    ----------
    view : RowView
    sets : sequence of int arrays
        Numbers of the rows.
    executor : optional
        Anything with ``submit(function, *arguments)`` whose results have ``result()``.
    on_progress : callable, optional
        Called with the number of refits done and of all; returning False cancels.

    Raises
    ------
    FitCancelled
    ModelError
    """
    if view.given_r is not None:
        raise ModelError(
            "A V built by hand as one tree cannot be refitted without some of its rows.",
            hint="Leave refit out, or fit the model by a formula.",
        )
    recipe, names = Recipe.of(view.estimates), view.model.parameter_names
    found: list[Found] = []
    size = 1 if executor is None else TASK
    portions = [(list(sets[i : i + size]), len(sets[i : i + size])) for i in range(0, len(sets), size)]
    for portion in in_portions(partial(refit_some, recipe), portions, executor):
        found += portion
        if on_progress is not None and on_progress(len(found), len(sets)) is False:
            raise FitCancelled()
    p, parts, failed = view.p, [], []
    parameters = np.full((len(sets), len(names)), np.nan)
    for i, own in enumerate(found):
        if isinstance(own, str):
            failed.append((i, own))
            beta, covariance = torch.full((p,), torch.nan).double(), torch.full((p, p), torch.nan).double()
        else:
            beta, covariance = torch.from_numpy(own[0]), torch.from_numpy(own[1])
            parameters[i] = [own[2].get(name, np.nan) for name in names]
        parts.append(Deletions.of(view, view.estimates.at.beta - beta, covariance))
    return Refits(Deletions.joined(parts, p), parameters, tuple(failed))


def refit_some(recipe: Recipe, sets: Sequence[np.ndarray]) -> list[Found]:
    """Refit without each of a few sets of rows."""
    out: list[Found] = []
    for rows in sets:
        try:
            out.append(_refit(recipe, rows))
        except (ModelError, ArithmeticError, torch.linalg.LinAlgError) as error:
            out.append(getattr(error, "message", "") or str(error) or type(error).__name__)
    return out


def _refit(recipe: Recipe, rows: np.ndarray) -> Found:
    model = recipe.model
    left = torch.ones(model.n, dtype=torch.bool)
    left[torch.from_numpy(rows)] = False
    kept = left.nonzero()[:, 0]
    if not len(kept):
        return "no rows are left"
    free = kept_parameters(model, kept)
    own, columns, known = _full_rank(model_of_rows(model, kept))
    if own.n <= own.p:
        return "fewer rows are left than fixed effects"
    changed = Recipe(
        recipe.engine, own, recipe.theta[torch.from_numpy(free)], recipe.free[free], _ties(recipe.ties, free)
    )
    estimates = changed.fit(own.y)
    if not estimates.converged:
        return estimates.message
    at, p = estimates.at, model.p
    beta, covariance = np.full(p, np.nan), np.full((p, p), np.nan)
    at_known = np.isin(columns, known)
    beta[known] = at.beta.numpy()[at_known]
    covariance[np.ix_(known, known)] = at.beta_covariance.numpy()[np.ix_(at_known, at_known)]
    values = own.natural_values(at.theta, at.sigma2).tolist()
    return beta, covariance, dict(zip(own.parameter_names, values, strict=True))


def _full_rank(model: MixedModel) -> tuple[MixedModel, np.ndarray, np.ndarray]:
    """The model with columns of X that determine the others, which these are, and which coefficients still have an estimate.

    A coefficient has none if X v = 0 for some v that it has a part in: it could be changed without any fitted value changing.
    """
    x = model.X.numpy()
    columns = independent_columns(x)
    if len(columns) == model.p:
        return model, columns, columns
    lost = (np.abs(null_directions(x)[1]) > 1e-7).any(axis=0)
    names = tuple(model.fixed_names[i] for i in columns)
    own = replace(model, X=model.X[:, torch.from_numpy(columns)], fixed_names=names)
    return own, columns, columns[~lost[columns]]


def _ties(ties: Ties, kept: np.ndarray) -> Ties:
    """The ties among the parameters that are left.

    Raises
    ------
    ModelError
        When a parameter follows one that has no rows any more.
    """
    if kept.all():
        return ties
    number: Tensor | np.ndarray = np.cumsum(kept) - 1
    if not kept[ties.source[kept]].all():
        raise ModelError("a parameter is tied to one that has no rows left")
    return Ties(np.asarray(number)[ties.source[kept]], ties.ratio[kept])
