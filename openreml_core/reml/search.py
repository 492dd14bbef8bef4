"""One search: from a start to where no step raises the likelihood any more.

Each step's matrix is H = AI - w C (see engines/engine.py): the average information and the curvature that the parameters
add, the profiled sigma2 eliminated from it. Steps that do not raise the likelihood, or lead where V is not positive
definite, are rejected, shown in the trace, and the region shrinks. Where the average information has misjudged, or is
slow, the exact second derivatives take its place.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance.correlation import EDGE
from openreml_core.engines import Engine, Evaluation, NotPositiveDefinite
from openreml_core.errors import ConvergenceError, FitCancelled
from openreml_core.reml import convergence
from openreml_core.reml.convergence import Verdict
from openreml_core.reml.em import em_step
from openreml_core.reml.learning import learnt
from openreml_core.reml.ties import Ties
from openreml_core.reml.trace import AI, EM, NEWTON, REJECTED, SHORTENED, START, TraceRow, sentence
from openreml_core.reml.trust_region import ACCEPT, Array, Step, next_radius, solve_bounded

OnIteration = Callable[[TraceRow], object]
EM_FIRST = 3
#: Where a step brings less or more than this of what the average information promised, the exact second derivatives
#: take its place: far from the optimum AI may not see that a stationary point is a saddle.
TRUST = (0.25, 3.0)
#: Iterations after which average information is slow enough to be replaced too, and where that is costly.
PATIENCE, LONG_PATIENCE = 10, 30
#: Rejected steps in a row after which costly second derivatives are worth their price.
STUBBORN = 3
#: Log-likelihood that a step promises at most where the search is near enough to learn from it, and how far from the
#: promise it must have been to be worth it.
NEAR, OFF = 0.1, 0.05
#: A change of the criterion that a rejected step has shown to be rounding, unless the likelihood is steep there: where V is
#: nearly singular rounding exceeds its estimate.
FAINT, STEEP = 1e-7, 1e-4
#: Scaled distance from which a step bent along a valley is worth a look (see Structure.moved), and a way to the bound that is so
#: long that valleys are straight.
PARTED, WIDE = 0.01, 0.25
#: Of the way to its bound a careful parameter goes this share in a step, until it is this close.
SHARE, CLOSE = 0.95, 1e-6
#: Way to its bound from which a careful parameter is as good as there.
END = 1e-4
#: A region this small means that rounding decides about steps.
SMALLEST = 1e-10


@dataclass(frozen=True)
class Settings:
    """What a user may set of the search.

    Attributes
    ----------
    gain : float
        Log-likelihood that a further step may still promise when the search ends.
    gradient : float
        Largest scaled gradient then.
    multiplier : float
        What each average-information step is multiplied by; 1 is the whole step.
    """

    gain: float = convergence.GAIN
    gradient: float = convergence.GRADIENT
    multiplier: float = 1.0


@dataclass
class Search:
    """A search and its trace.

    Attributes
    ----------
    engine : Engine
    free : array of shape (m,), bool
        Which parameters move of themselves: f of them. Steps are steps of these.
    ties : Ties
        Which parameters follow others.
    lower, upper : array of shape (m,)
        Bounds.
    algorithm : {"ai", "em", "ai-em"}
    max_iterations : int
    on_iteration : callable, optional
        Called with each row; returning False cancels.
    """

    engine: Engine
    free: np.ndarray
    ties: Ties
    lower: Array
    upper: Array
    algorithm: str = "ai"
    max_iterations: int = 100
    on_iteration: OnIteration | None = None
    settings: Settings = field(default_factory=Settings)
    target: float = np.inf  # a criterion to be undercut: the search is given up where steps no longer promise that
    radius: float = 1.0
    newton: bool = False
    missing: Array | None = None  # what the steps so far say that H lacks, (f, f)
    rejected: int = 0  # steps in a row
    quiet: int = 0  # steps in a row that changed nothing beyond rounding
    level: int = 0  # steps in a row along a valley without end that is as good as level
    rows: list[TraceRow] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        model = self.engine.model
        self.directions = self.ties.directions(self.free)
        self.low, self.high = self.ties.bounds(self.lower, self.upper, self.free)
        careful = [np.array(c.structure.careful, dtype=bool) for c in model.components]
        self.careful = np.concatenate([*careful, np.zeros(0, dtype=bool)])[self.free]
        self.bent = bool(self.careful.any())
        self.least = 0.1 * model.scale.numpy()[self.free]
        root = [np.full(c.structure.n_parameters, c.structure.curvature_weight**0.5) for c in model.components]
        self.weights = np.outer(
            *[np.concatenate([*root, np.zeros(0)])] * 2
        )  # of C: those of two parameters between them

    # -- the steps ----------------------------------------------------------------------------------------------

    def run(self, start: Tensor, why: str = "") -> tuple[Evaluation, Verdict]:
        """Search from ``start``; ``why`` is what the trace says of it.

        Raises
        ------
        ConvergenceError
            When V is not positive definite, or not a number, at the start.
        FitCancelled
        """
        try:
            at = self.engine.evaluate(start)
        except NotPositiveDefinite:
            raise ConvergenceError(
                "V is not positive definite at the starting values.",
                hint="Give other starting values, or bring response and covariates to ordinary units.",
            ) from None
        self.record(at, START, float("nan"), float("nan"), why=why)
        while True:
            em_now = self.algorithm == "em" or (self.algorithm == "ai-em" and self._count < EM_FIRST)
            proposal = self._propose(at, em_now)
            verdict = self._verdict(at, proposal, em_now)
            if verdict is not None:
                return at, verdict
            at = self._advance(at, proposal, em_now)

    def _propose(self, at: Evaluation, em_now: bool) -> Step:
        if not em_now and self._count >= (PATIENCE if self.engine.exact_is_cheap else LONG_PATIENCE):
            self.newton = True
        phi, gradient, radius = at.theta.numpy()[self.free], -self.score(at), 1e3 if em_now else self.radius
        try:
            hessian = self.hessian(at)
            step = solve_bounded(gradient, hessian, self.size(at.theta), radius, phi, *self._within(phi))
        except np.linalg.LinAlgError:
            raise ConvergenceError(
                "The likelihood's derivatives are not numbers.", hint="Bring response and covariates to ordinary units."
            ) from None
        if self.settings.multiplier == 1.0:
            return step
        part = self.settings.multiplier * step.step
        return Step(part, -float(gradient @ part + 0.5 * part @ hessian @ part), step.inside)

    def _verdict(self, at: Evaluation, proposal: Step, em_now: bool) -> Verdict | None:
        count, steepness = self._count, self.scaled_gradient(at)
        near = proposal.inside and proposal.gain < self.settings.gain
        if near and em_now and count:
            return convergence.settled_em(count, proposal.gain)
        if near and steepness < self.settings.gradient:
            return convergence.optimum(count, steepness)
        if proposal.inside and at.criterion - 2 * proposal.gain > self.target:
            return convergence.stuck(count, steepness)
        if self.quiet >= 2:
            return convergence.rounding(count, steepness)
        if self.level >= 3:
            return convergence.endless(count)
        if count >= self.max_iterations:
            return convergence.exhausted(self.max_iterations, proposal.gain, steepness, em_now)
        if self.radius < SMALLEST:
            whole = self._whole_gain(at)
            return convergence.rounding(count, steepness) if whole < 1e-6 else convergence.stuck(count, steepness)
        return None

    def _whole_gain(self, at: Evaluation) -> float:
        """What an unrestricted step promises."""
        kept, self.radius = self.radius, 1e3
        gain = self._propose(at, em_now=False).gain
        self.radius = kept
        return gain

    def _advance(self, at: Evaluation, proposal: Step, em_now: bool) -> Evaluation:
        size = self.size(at.theta)
        length = float(np.linalg.norm(proposal.step / size))
        noise = 1e-13 * max(1.0, abs(at.criterion), float(self.engine.model.n)) * max(1.0, 1e-6 * at.condition)
        if em_now:
            theta = torch.where(torch.from_numpy(self.free), em_step(self.engine.model, at), at.theta)
            kind = EM
        else:
            theta = self._moved(at.theta, torch.from_numpy(self.directions @ proposal.step), size)
            kind = NEWTON if self.newton else AI if proposal.inside else SHORTENED
        try:
            trial: Evaluation | None = self.engine.evaluate(theta)
        except NotPositiveDefinite:
            trial = None
        change = trial.criterion - at.criterion if trial is not None else float("nan")
        promised = 2 * proposal.gain
        ratio = -change / promised if promised > noise else (1.0 if change <= noise else -1.0)
        if trial is None or not np.isfinite(change) or (not em_now and ratio < ACCEPT and change > noise):
            why = f"the criterion would rise by {change:.3g}"
            if trial is None or not np.isfinite(change):
                why = "the covariance matrix is not positive definite there"
            self.radius = next_radius(self.radius, -1.0, length)
            self.record(at, REJECTED, 0.0, ratio, why=why)
            self.rejected += 1
            self.quiet += promised < FAINT and self.scaled_gradient(at) < STEEP
            self.missing = None
            self.newton = self.newton or self.engine.exact_is_cheap or self.rejected >= STUBBORN
            return at
        self.rejected = 0
        if em_now or not proposal.inside or proposal.gain > NEAR or not 0.5 < ratio < 2:
            self.missing = None
        elif abs(ratio - 1) > OFF:
            self._learn(at, trial)
        if not em_now:
            self.radius = next_radius(self.radius, ratio, length)
            if promised > noise and not TRUST[0] <= ratio <= TRUST[1] and self.engine.exact_is_cheap:
                self.newton = True
        faint = abs(change) <= noise and promised <= 10 * noise
        faint |= self.quiet > 0 and max(abs(change), promised) < FAINT and self.scaled_gradient(trial) < STEEP
        self.quiet = self.quiet + 1 if faint else 0
        if self.bent:
            way = self.size(trial.theta)
            going = self.careful & (way < END) & (np.abs(way - size) > 1e-3 * way)
            self.level = self.level + 1 if going.any() and abs(change) < convergence.LEVEL else 0
        self.record(trial, kind, change, ratio if not em_now else float("nan"))
        return trial

    def _within(self, phi: Array) -> tuple[Array, Array]:
        """Bounds of the next step: a share of the way to its bound for a parameter that is to be careful of it."""
        if not self.bent:
            return self.low, self.high
        low, high = (
            np.where(self.careful & (np.abs(bound - phi) > CLOSE), phi + SHARE * (bound - phi), bound)
            for bound in (self.low, self.high)
        )
        return low, high

    def _moved(self, theta: Tensor, step: Tensor, size: Array) -> Tensor:
        """theta after a step: straight, or bent along a valley where the two part and the bent one leads lower."""
        straight = self.ties.follow(theta + step)
        if not self.bent or float(self.size(straight)[self.careful].min()) > WIDE:
            return straight
        free = torch.from_numpy(self.free)
        bent = self.ties.follow(torch.where(free, self.engine.model.moved(theta, step), theta))
        if float(np.abs((bent - straight).numpy()[self.free] / size).max(initial=0.0)) < PARTED:
            return straight
        try:
            return bent if self.engine.criterion(bent) < self.engine.criterion(straight) else straight
        except NotPositiveDefinite:
            return straight

    def _learn(self, before: Evaluation, after: Evaluation) -> None:
        """Keep what H lacked over the last step, unless it is exact."""
        if not self.newton:
            step = (after.theta - before.theta).numpy()[self.free]
            fall = self.score(before) - self.score(after)
            self.missing = learnt(self._average(after), self.missing, step, fall)

    def to_the_end(self, theta: Tensor) -> Tensor:
        """theta moved on along its valley until the first of its careful parameters is at its bound, their ways in proportion."""
        phi = theta.numpy()[self.free]
        way = self.size(theta)
        near = self.careful & (way < END)
        if not near.any():
            return theta
        part = 1 - EDGE / way[near].min()
        step = np.zeros_like(phi)
        step[near] = part * np.where(self.high - phi < phi - self.low, way, -way)[near]
        step = np.clip(step, self.low - phi, self.high - phi)
        moved = self.engine.model.moved(theta, torch.from_numpy(self.directions @ step))
        return self.ties.follow(torch.where(torch.from_numpy(self.free), moved, theta))

    # -- what a step needs --------------------------------------------------------------------------------------

    @property
    def _count(self) -> int:
        return len(self.rows) - 1

    def size(self, theta: Tensor) -> Array:
        """Size (f,) of each moving parameter: its own magnitude, but not below a tenth of a typical one; for one that is to be
        careful of its bounds, the way to the nearer."""
        phi = theta.numpy()[self.free]
        if not self.bent:
            return np.maximum(np.abs(phi), self.least)
        way = np.minimum(self.high - phi, phi - self.low) + EDGE
        return np.where(self.careful, way, np.maximum(np.abs(phi), self.least))

    def score(self, at: Evaluation) -> Array:
        """T' score, (f,)."""
        return at.score.numpy() @ self.directions

    def scaled_gradient(self, at: Evaluation) -> float:
        """Largest |score| x size over the moving parameters, less those that a bound holds against the score."""
        phi, score = at.theta.numpy()[self.free], self.score(at)
        held = ((phi <= self.low) & (score < 0)) | ((phi >= self.high) & (score > 0))
        return float(np.abs(score * self.size(at.theta))[~held].max(initial=0.0))

    def hessian(self, at: Evaluation) -> Array:
        """T'H T (f, f): AI - w C and what it was seen to lack, or the exact -d2l once the search has turned to Newton."""
        if self.newton:
            return self._moving(self.engine.observed_information(at).numpy(), 0.0)
        return self._average(at) if self.missing is None else self._average(at) + self.missing

    def _average(self, at: Evaluation) -> Array:
        """T'(AI - w C) T, (f, f)."""
        return self._moving(at.information.numpy(), self.weights * at.curvature.numpy())

    def _moving(self, information: Array, less: Array | float) -> Array:
        """T'(I - less) T, the profiled sigma2 eliminated from I."""
        m = self.engine.model.n_theta
        h = information[:m, :m] - less
        if self.engine.model.profiled:
            h = h - np.outer(information[:m, m], information[:m, m]) / information[m, m]
        return self.directions.T @ (0.5 * (h + h.T)) @ self.directions

    # -- the trace ----------------------------------------------------------------------------------------------

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
        self.tell(row)

    def tell(self, row: TraceRow) -> None:
        """Keep a row and show it to the caller."""
        self.rows.append(row)
        if self.on_iteration is not None and self.on_iteration(row) is False:
            raise FitCancelled(self.rows)
