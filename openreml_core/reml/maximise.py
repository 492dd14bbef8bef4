"""The search for the REML (or ML) estimates: average information in a trust region, EM, or EM first.

Each step's matrix is H = AI - w C (see engine.py): the average information and the curvature that the parameters add,
the profiled sigma2 eliminated from it. Steps that do not raise the likelihood, or lead where V is not positive definite,
are rejected, shown in the trace, and the region shrinks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from openreml_core.engines import Engine, Evaluation, NotPositiveDefinite
from openreml_core.errors import ConvergenceError, FitCancelled
from openreml_core.reml import convergence
from openreml_core.reml.em import em_step
from openreml_core.reml.trace import AI, EM, NEWTON, REJECTED, SHORTENED, START, TraceRow, sentence
from openreml_core.reml.trust_region import ACCEPT, Array, next_radius, solve_bounded

OnIteration = Callable[[TraceRow], object]
EM_FIRST = 3
#: Where a step brings less or more than this of what the average information promised, the exact second derivatives
#: take its place: far from the optimum AI may not see that a stationary point is a saddle.
TRUST = (0.25, 3.0)


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
        Which parameters were estimated, not held.
    converged : bool
    message : str
        Why the search stopped, as a sentence.
    rows : tuple of TraceRow
    """

    engine: Engine
    at: Evaluation
    free: np.ndarray
    converged: bool
    message: str
    rows: tuple[TraceRow, ...]


@dataclass
class _Search:
    """The state of a search and its trace."""

    engine: Engine
    free: np.ndarray
    on_iteration: OnIteration | None
    radius: float = 1.0
    newton: bool = False
    rows: list[TraceRow] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    def size(self, theta: Tensor) -> Array:
        """Size of each parameter: its own magnitude, but not below a tenth of a typical one."""
        return torch.maximum(theta.abs(), 0.1 * self.engine.model.scale).numpy()

    def scaled_gradient(self, at: Evaluation) -> float:
        """Largest |score| x size over the free parameters."""
        scaled = np.abs(at.score.numpy() * self.size(at.theta))[self.free]
        return float(scaled.max()) if scaled.size else 0.0

    def hessian(self, at: Evaluation) -> Array:
        """H = AI - w C, or the exact -d2l once the search has turned to Newton; the profiled sigma2 eliminated."""
        model = self.engine.model
        m = model.n_theta
        if self.newton:
            information = self.engine.observed_information(at).numpy()
            h = information[:m, :m]
        else:
            information = at.information.numpy()
            w = np.concatenate(
                [[c.structure.curvature_weight] * c.structure.n_parameters for c in model.components] or [[]]
            )
            h = information[:m, :m] - np.sqrt(np.outer(w, w)) * at.curvature.numpy()
        if model.profiled:
            h = h - np.outer(information[:m, m], information[:m, m]) / information[m, m]
        return 0.5 * (h + h.T)

    def record(self, at: Evaluation, step: str, change: float, ratio: float, why: str = "") -> None:
        """Add a row and tell the caller, who may cancel."""
        model = self.engine.model
        values = dict(zip(model.parameter_names, model.natural_values(at.theta, at.sigma2).tolist(), strict=True))
        before = self.rows[-1].parameters if self.rows else {}
        zero = [name for name, v in values.items() if v == 0 and before.get(name, 0) != 0 and ".covariance" not in name]
        row = TraceRow(
            iteration=len(self.rows),
            criterion=at.criterion,
            change=change,
            gradient=self.scaled_gradient(at),
            radius=self.radius,
            ratio=ratio,
            step=step,
            parameters=values,
            seconds=time.perf_counter() - self.began,
            sentence=sentence(step, change=change, ratio=ratio, radius=self.radius, zero=zero, why=why),
        )
        self.rows.append(row)
        if self.on_iteration is not None and self.on_iteration(row) is False:
            raise FitCancelled(self.rows)


def maximise(
    engine: Engine,
    start: Tensor,
    *,
    algorithm: str = "ai",
    max_iterations: int = 100,
    free: np.ndarray | None = None,
    lower: np.ndarray | None = None,
    upper: np.ndarray | None = None,
    on_iteration: OnIteration | None = None,
    start_sentence: str = "",
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
        Which parameters move; all by default.
    lower, upper : array of shape (m,), optional
        Bounds; the structures' own by default.
    on_iteration : callable, optional
        Called with each TraceRow; returning False cancels.
    start_sentence : str
        What the trace says of the starting values, where they are not the default.

    Returns
    -------
    Estimates

    Raises
    ------
    ConvergenceError
        When V is not positive definite at the starting values.
    FitCancelled
    """
    m = engine.model.n_theta
    free = np.ones(m, dtype=bool) if free is None else free
    lower = engine.model.bounds[0].numpy() if lower is None else lower
    upper = engine.model.bounds[1].numpy() if upper is None else upper
    search = _Search(engine, free, on_iteration)
    try:
        at = engine.evaluate(start)
    except NotPositiveDefinite:
        raise ConvergenceError(
            "V is not positive definite at the starting values.", hint="Give other starting values, or leave them out."
        ) from None
    search.record(at, START, float("nan"), float("nan"), why=start_sentence)

    quiet = 0  # accepted steps in a row that changed nothing beyond rounding
    while True:
        count = len(search.rows) - 1
        gradient, hessian = -at.score.numpy(), search.hessian(at)
        theta, size = at.theta.numpy(), search.size(at.theta)
        em_now = algorithm == "em" or (algorithm == "ai-em" and count < EM_FIRST)
        # Parameters that are held are pinned by bounds that meet.
        low, high = np.where(free, lower, theta), np.where(free, upper, theta)
        proposal = solve_bounded(
            np.where(free, gradient, 0.0), hessian, size, 1e3 if em_now else search.radius, theta, low, high
        )
        steepness = search.scaled_gradient(at)
        if proposal.inside and proposal.gain < convergence.GAIN and (em_now or steepness < convergence.GRADIENT):
            verdict = (
                convergence.settled_em(count, proposal.gain)
                if em_now and count
                else convergence.optimum(count, steepness)
            )
            break
        if quiet >= 2:
            verdict = convergence.rounding(count, steepness)
            break
        if count >= max_iterations:
            verdict = convergence.exhausted(max_iterations, proposal.gain, steepness, em_now)
            break
        if search.radius < 1e-10:
            verdict = convergence.stuck(count, steepness)
            break

        noise = 1e-13 * max(1.0, abs(at.criterion), float(engine.model.n))
        if em_now:
            trial_theta, kind = em_step(engine.model, at), EM
            trial_theta = torch.where(torch.from_numpy(free), trial_theta, at.theta)
        else:
            trial_theta = at.theta + torch.from_numpy(proposal.step)
            kind = NEWTON if search.newton else AI if proposal.inside else SHORTENED
        try:
            trial: Evaluation | None = engine.evaluate(trial_theta)
        except NotPositiveDefinite:
            trial = None
        change = trial.criterion - at.criterion if trial is not None else float("nan")
        promised = 2 * proposal.gain
        ratio = -change / promised if promised > noise else (1.0 if change <= noise else -1.0)
        if trial is None or not np.isfinite(change) or (not em_now and ratio < ACCEPT and change > noise):
            why = (
                "the covariance matrix is not positive definite there"
                if trial is None
                else f"the criterion would rise by {change:.3g}"
            )
            search.radius = next_radius(search.radius, -1.0, _length(proposal.step, size))
            search.record(at, REJECTED, 0.0, ratio, why=why)
            search.newton = True
            quiet = quiet + 1 if trial is not None and abs(change) <= noise else 0
            continue
        if not em_now:
            search.radius = next_radius(search.radius, ratio, _length(proposal.step, size))
        if not em_now and promised > noise and not TRUST[0] <= ratio <= TRUST[1]:
            search.newton = True
        quiet = quiet + 1 if abs(change) <= noise and promised <= 10 * noise else 0
        at = trial
        search.record(at, kind, change, ratio if not em_now else float("nan"))

    at = _settled(engine, at, free)
    return Estimates(engine, at, free, verdict.converged, verdict.message, tuple(search.rows))


def _length(step: Array, size: Array) -> float:
    return float(np.linalg.norm(step / size))


def _settled(engine: Engine, at: Evaluation, free: np.ndarray) -> Evaluation:
    """The canonical form of the estimates, what is within 1e-4 of a boundary on it, where that costs no likelihood."""
    model = engine.model
    parts = [
        c.structure.settle(part, c.scale * model.unit)
        for c, part in zip(model.components, model.split(at.theta), strict=True)
    ]
    theta = torch.where(torch.from_numpy(free), model.join(parts), at.theta)
    if bool((theta == at.theta).all()):
        return at
    try:
        settled = engine.evaluate(theta)
    except NotPositiveDefinite:
        return at
    return settled if settled.criterion <= at.criterion + 1e-8 else at
