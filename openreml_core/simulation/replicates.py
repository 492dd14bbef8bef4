"""Refits of simulated responses: all together where the model allows it, else one by one, in an executor where one is given.

A replicate that fails is left out, counted and named with its reason; the others are what they would be without it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openreml_core.errors import FitCancelled, ModelError
from openreml_core.reml import Estimates
from openreml_core.reml.restart import lifted
from openreml_core.repeat import in_portions
from openreml_core.simulation.batch import BatchEquations, can_batch
from openreml_core.simulation.batch_search import maximise_batch
from openreml_core.simulation.refits import Recipe

OnProgress = Callable[[int, int], object]

#: Numbers that a batch keeps at once, and replicates after which progress is told.
AT_ONCE, PORTION = 2**24, 500
#: Replicates that a task of an executor refits.
TASK = 10


@dataclass(frozen=True, eq=False)
class Refits:
    """What was found in the replicates that were fitted, B of them.

    Attributes
    ----------
    number : array of shape (B,)
        Which replicates, counted from 1.
    criterion : array of shape (B,)
    natural : array of shape (B, m)
        Natural parameters, in the order of the model's names.
    beta, beta_error : array of shape (B, p)
        Fixed effects and their standard errors.
    failed : tuple of (int, str)
        Replicates left out, and why.
    together : bool
        Whether they were fitted as one batch.
    """

    number: np.ndarray
    criterion: np.ndarray
    natural: np.ndarray
    beta: np.ndarray
    beta_error: np.ndarray
    failed: tuple[tuple[int, str], ...]
    together: bool


#: Criterion, natural parameters, b and its standard errors of a replicate; or why there are none.
Found = tuple[float, np.ndarray, np.ndarray, np.ndarray] | str


def refit_all(
    estimates: Estimates,
    y: Tensor,
    executor: Any = None,
    on_progress: OnProgress | None = None,
    together: bool | None = None,
) -> Refits:
    """Refit a model to many responses.

    Parameters
    ----------
    estimates : Estimates
        Of the model; searches begin there.
    y : Tensor of shape (n, B)
        The responses, the offset taken off.
    executor : optional
        Anything with ``submit(function, *arguments)`` whose results have ``result()``: of concurrent.futures, or a Dask client.
        It is used where replicates are fitted one by one.
    on_progress : callable, optional
        Called with the number of replicates done and of all; returning False cancels.
    together : bool, optional
        Whether to fit them as one batch; by default where the model allows it.

    Raises
    ------
    FitCancelled
    ModelError
        When no replicate could be fitted.
    """
    batch = can_batch(estimates) if together is None else together
    found: list[Found] = collected(
        _batches(estimates, y) if batch else singly(refit_some, estimates, y, executor), y, on_progress
    )
    good = [(i + 1, f) for i, f in enumerate(found) if not isinstance(f, str)]
    failed = tuple((i + 1, f) for i, f in enumerate(found) if isinstance(f, str))
    if not good:
        raise ModelError(f"None of the {len(found)} replicates could be fitted: {failed[0][1]}")
    criterion, natural, beta, error = (np.array([f[j] for _, f in good]) for j in range(4))
    return Refits(np.array([i for i, _ in good]), criterion, natural, beta, error, failed, batch)


def _batches(estimates: Estimates, y: Tensor) -> Generator[list[Found], None, None]:
    """Portions of replicates, each fitted as a batch; what did not converge there is tried alone."""
    model = estimates.engine.model
    equations = BatchEquations(model)
    start = lifted(model, estimates.at.theta, estimates.free)
    step = int(min(max(AT_ONCE // equations.numbers, 1), PORTION))
    recipe = Recipe.of(estimates)
    for first in range(0, y.shape[1], step):
        own = y[:, first : first + step]
        best = maximise_batch(equations, equations.responses(own), start)
        natural = equations.natural_values(best.theta, best.at.sigma2).numpy()
        errors = best.at.beta_covariance.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt().numpy()
        out: list[Found] = []
        for i, done in enumerate(best.converged.tolist()):
            if done:
                out.append((float(best.at.criterion[i]), natural[i], best.at.beta[i].numpy(), errors[i]))
            else:
                out += refit_some(recipe, own[:, i : i + 1])
        yield out


def collected(portions: Generator[list[Any], None, None], y: Tensor, on_progress: OnProgress | None) -> list[Any]:
    """What the portions have, progress told after each. Raises FitCancelled."""
    found: list[Any] = []
    for portion in portions:
        found += portion
        if on_progress is not None and on_progress(len(found), y.shape[1]) is False:
            portions.close()
            raise FitCancelled()
    return found


def singly(
    function: Callable[..., list[Any]], estimates: Estimates, y: Tensor, executor: Any, *more: Any
) -> Generator[list[Any], None, None]:
    """Portions of replicates, fitted one by one: what ``function(recipe, some of y, *more)`` gives, a text where it failed."""
    size = 1 if executor is None else TASK
    portions = ((y[:, i : i + size].clone(), min(size, y.shape[1] - i)) for i in range(0, y.shape[1], size))
    return in_portions(partial(_given, function, Recipe.of(estimates), more), portions, executor)


def _given(function: Callable[..., list[Any]], recipe: Recipe, more: tuple[Any, ...], y: Tensor) -> list[Any]:
    return function(recipe, y, *more)


def refit_some(recipe: Recipe, y: Tensor) -> list[Found]:
    """Refit to a few responses (n, c)."""
    out: list[Found] = []
    for estimates in refits(recipe, y):
        if isinstance(estimates, str):
            out.append(estimates)
            continue
        at = estimates.at
        natural = estimates.engine.model.natural_values(at.theta, at.sigma2).numpy()
        out.append((at.criterion, natural, at.beta.numpy(), at.beta_covariance.diagonal().clamp_min(0).sqrt().numpy()))
    return out


def refits(recipe: Recipe, y: Tensor) -> Iterator[Estimates | str]:
    """Estimates for each of a few responses (n, c), or why there are none."""
    for i in range(y.shape[1]):
        try:
            estimates = recipe.fit(y[:, i])
        except (ModelError, ArithmeticError, torch.linalg.LinAlgError) as error:
            yield getattr(error, "message", "") or str(error) or type(error).__name__
            continue
        yield estimates if estimates.converged else estimates.message
