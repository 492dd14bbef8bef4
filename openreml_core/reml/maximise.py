"""REML (or ML) estimates: a search, other starts where a variance ended at zero, and the estimates put in order."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from openreml_core.engines import Engine, Evaluation, NotPositiveDefinite
from openreml_core.errors import ConvergenceError
from openreml_core.reml.convergence import Verdict
from openreml_core.reml.restart import other_starts
from openreml_core.reml.search import OnIteration, Search, Settings
from openreml_core.reml.ties import Ties
from openreml_core.reml.trace import TraceRow

#: Criterion that another start must gain to be taken.
WORTH = 1e-5


@dataclass(frozen=True, eq=False)
class Estimates:
    """Where the search ended.

    Attributes
    ----------
    engine : Engine
        With the model in it.
    at : Evaluation
        The model at the estimates.
    free : array of shape (m,), bool
        Which parameters were estimated of themselves, neither held nor tied.
    ties : Ties
        Which parameters followed others.
    converged : bool
    message : str
        Why the search stopped, as a sentence.
    rows : tuple of TraceRow
    """

    engine: Engine
    at: Evaluation
    free: np.ndarray
    ties: Ties
    converged: bool
    message: str
    rows: tuple[TraceRow, ...]


def maximise(
    engine: Engine,
    start: Tensor,
    *,
    algorithm: str = "ai",
    max_iterations: int = 100,
    free: np.ndarray | None = None,
    ties: Ties | None = None,
    on_iteration: OnIteration | None = None,
    start_sentence: str = "",
    settings: Settings | None = None,
) -> Estimates:
    """Maximise the likelihood of the engine's model.

    Parameters
    ----------
    engine : Engine
    start : Tensor of shape (m,)
        Starting values of the free-scale parameters.
    algorithm : {"ai", "em", "ai-em"}
        Average information; EM; three EM steps and then average information.
    max_iterations : int
    free : array of shape (m,), bool, optional
        Which parameters move of themselves; all by default.
    ties : Ties, optional
        Which parameters follow others.
    on_iteration : callable, optional
        Called with each TraceRow; returning False cancels.
    start_sentence : str
        What the trace says of the starting values, where they are not the default.
    settings : Settings, optional
        Tolerances and the length of steps.

    Returns
    -------
    Estimates

    Raises
    ------
    ConvergenceError
        When V is not positive definite at the starting values.
    FitCancelled
    """
    free = np.ones(engine.model.n_theta, dtype=bool) if free is None else free
    lower, upper = (b.numpy() for b in engine.model.bounds)
    ties = ties or Ties.none(engine.model.n_theta)
    settings = settings or Settings()
    search = Search(engine, free, ties, lower, upper, algorithm, max_iterations, on_iteration, settings)
    at, verdict = search.run(start, why=start_sentence)
    at = settled(search, at)
    if algorithm != "em":
        at, verdict = _best(search, at, verdict)
    return Estimates(engine, at, free, ties, verdict.converged, verdict.message, tuple(search.rows))


def _best(search: Search, at: Evaluation, verdict: Verdict) -> tuple[Evaluation, Verdict]:
    """The estimates, or better ones from another start, whose rows then follow in the trace."""
    engine = search.engine
    for theta in other_starts(engine, at, search.free):
        other = Search(engine, search.free, search.ties, search.lower, search.upper, "ai", search.max_iterations)
        other.settings, other.began = search.settings, search.began
        theta = search.ties.follow(theta)
        before = at.criterion
        other.target = before - WORTH
        why = f"A variance ended at zero at a criterion of {before:.6g}; from another start the search leads lower."
        try:
            found, ended = other.run(theta, why=why)
        except ConvergenceError:
            continue
        found = settled(search, found)
        if found.criterion < before - WORTH:
            at, verdict = found, ended
            for row in other.rows:
                search.tell(replace(row, iteration=len(search.rows)))
    return at, verdict


def settled(search: Search, at: Evaluation) -> Evaluation:
    """The canonical form of the estimates, what is within 1e-4 of a boundary on it, where that costs no likelihood."""
    model, free = search.engine.model, torch.from_numpy(search.free)
    canonical = model.join(
        [
            c.structure.settle(part, c.scale * model.unit)
            for c, part in zip(model.components, model.split(at.theta), strict=True)
        ]
    )
    # Beside a parameter that is held, the others may have no other form; zeros they may have.
    ends = [search.ties.follow(torch.where(s, canonical, at.theta)) for s in (free, free & (canonical == 0))]
    for theta in (search.to_the_end(ends[0]), *ends):
        if bool((theta == at.theta).all()):
            return at
        try:
            moved = search.engine.evaluate(theta)
        except NotPositiveDefinite:
            continue
        if moved.criterion <= at.criterion + 1e-8:
            return moved
    return at
