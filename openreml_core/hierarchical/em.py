"""Expectation-maximisation with a Laplace approximation of each subject's posterior.

    E   the modes m_i of the subjects' posteriors, and the curvature there (:mod:`openreml_core.hierarchical.visit`)
    M   the group that these suggest (:mod:`openreml_core.hierarchical.m_step`)

until the evidence stands still (Huys et al. 2011, PLoS Comput. Biol. 7, e1002028). Two EM steps and a squared extrapolation
alternate; means of what does not vary take Newton steps (:mod:`openreml_core.hierarchical.still`). With the Laplace
approximation the fixed point of EM is not exactly the evidence's maximum: near the end the evidence may fall a little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from openreml_core.errors import ConvergenceError, FitCancelled
from openreml_core.hierarchical.bounds import AtZero
from openreml_core.hierarchical.group import Group
from openreml_core.hierarchical.posterior import Likelihood
from openreml_core.hierarchical.squarem import extrapolated, rate
from openreml_core.hierarchical.still import without_variation
from openreml_core.hierarchical.visit import Visit, Visits
from openreml_core.hierarchical.wording import EM, FREED, REJECTED, SQUAREM, START, ZERO, group_values, sentence
from openreml_core.reml.trace import TraceRow

OnIteration = Callable[[TraceRow], object]
CRITERIA = ("evidence", "changes")
#: Evidence that an extrapolation may cost before it is taken back.
SLACK = 0.5
#: E-steps are solved to this part of the square of EM's last step, and never better or worse than these.
PART, FINEST, COARSEST = 1e-3, 1e-13, 1e-7
#: Within this part of the distance asked for, the evidence need not stand still as exactly.
NEARER = 0.01


@dataclass(frozen=True, eq=False)
class Ended:
    """Where EM ended.

    Attributes
    ----------
    visit : Visit
    rows : list of int
        Places of the subjects in it.
    trouble : dict of int to str
        Why others were left out.
    converged : bool
    message : str
    trace : list of TraceRow
    """

    visit: Visit
    rows: list[int]
    trouble: dict[int, str]
    converged: bool
    message: str
    trace: list[TraceRow]

    def selected(self, visits: Visits, keep: list[int]) -> tuple[Likelihood, Visit, Tensor]:
        """Likelihood, visit and covariates of the subjects that have a mode at the end."""
        if len(keep) == visits.likelihood.n:
            return visits.likelihood, self.visit, visits.covariates
        rows = torch.tensor(keep)
        return visits.likelihood.only(keep), self.visit.select(rows), visits.covariates[rows]


@dataclass
class ExpectationMaximisation:
    """EM and its trace.

    Attributes
    ----------
    visits : Visits
        Of the subjects; in the end, of those that are not left out.
    names, terms : sequence of str
        Of the d parameters and of the q covariates.
    criterion : {"evidence", "changes"}
        What has to stand still: the evidence (by ``tolerance`` of itself, and what is left of EM's way by its root, in
        standard deviations of the group; a hundredth of that is enough by itself), or the sum of absolute changes of means
        and variances.
    tolerance : float
    max_iterations : int
    accelerate : bool
    on_iteration : callable, optional
        Called with each row; returning False cancels.
    """

    visits: Visits
    names: Sequence[str]
    terms: Sequence[str]
    criterion: str = "evidence"
    tolerance: float = 1e-10
    max_iterations: int = 100
    accelerate: bool = True
    on_iteration: OnIteration | None = None
    rows: list[TraceRow] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.places = list(range(self.visits.likelihood.n))
        self.trouble: dict[int, str] = {}
        self._fails = np.zeros(len(self.places), dtype=int)
        self._zero = AtZero(self.visits)
        self._left = 0.0  # part of the distance that an EM step leaves

    # -- the loop -------------------------------------------------------------------------------------------------

    def run(self, group: Group) -> Ended:
        """EM from a group.

        Raises
        ------
        ConvergenceError
            When no subject can be fitted.
        FitCancelled
        """
        at = self._visit(group, None)
        self._record(at, START, None)
        while True:
            verdict = self._verdict(at)
            freed = self._zero.from_zero(at) if verdict is not None and verdict[0] else None
            if freed is not None:
                self._record(freed, FREED, at)
                at = freed
                continue
            if verdict is not None:
                return Ended(at, self.places, self.trouble, verdict[0], verdict[1], self.rows)
            first = at
            at = self._plain(at)
            if self._finished(at):
                continue
            middle, after = at, at.following
            if without_variation(at.group).shape[1]:  # what follows is known with its Newton step only
                at = self._plain(at)
                after = at.group
                if self._finished(at) or len(middle.modes.at) != len(at.modes.at):
                    continue
            x0, x1, x2 = (self._vector(g, at) for g in (first.group, middle.group, after))
            self._left = rate(x0, x1, x2)
            if not self.accelerate or len(first.modes.at) != len(at.modes.at):
                continue
            shorter = self._zero.to_zero(at)
            if shorter is not None:
                self._record(shorter, ZERO, at)
                at = shorter
                continue
            x, length = extrapolated(x0, x1, x2)
            trial = self._try(at, x) if length > 1 else None
            if trial is not None:
                self._record(trial, SQUAREM, at, length)
                at = trial
            elif length > 1:
                self._record(at, REJECTED, at, length)
                at = self._plain(at)

    def _plain(self, at: Visit) -> Visit:
        following = self._zero.raised(self._visit(at.following, at))
        comparable = len(following.modes.at) == len(at.modes.at)
        self._record(following, EM, at if comparable else None)
        return following

    def _try(self, at: Visit, x: Tensor) -> Visit | None:
        """The visit of an extrapolated group, if it is a good one."""
        size = self._size(at)
        if not bool(x.isfinite().all()) or float((x / size).abs().max()) > 1e6:
            return None
        trial = self.visits.to(at.group.of_vector(x / size), at)
        return trial if trial is not None and trial.keeps(at) and trial.total > at.total - SLACK else None

    def _finished(self, at: Visit) -> bool:
        return self._verdict(at) is not None

    def _verdict(self, at: Visit) -> tuple[bool, str] | None:
        count = len(self.rows) - 1
        row = self.rows[-1]
        steps = f"{count} iteration{'' if count == 1 else 's'}"
        measured = row.step == EM or not without_variation(at.group).shape[1]
        if count >= 2 and row.step != REJECTED and measured:
            if self.criterion == "changes":
                changes = self._sum_of_changes(at)
                if changes < self.tolerance:
                    return True, f"Converged after {steps}: means and variances change by {changes:.1g} in sum."
            else:
                change, left = abs(row.change) / (1 + abs(at.total)), row.gradient / (1 - self._left)
                near = self.tolerance**0.5
                if (change <= self.tolerance and left <= near) or left <= NEARER * near:
                    return True, (
                        f"Converged after {steps}: the evidence changes by {change:.1g} of itself, and the group's parameters "
                        f"are within {left:.1g} standard deviations of where EM ends."
                    )
        if count >= self.max_iterations:
            return False, (
                f"Not converged after {steps}: EM's last step was {row.gradient:.1g} standard deviations of the group. "
                "Raise max_iterations, or look whether a variance goes to zero."
            )
        return None

    # -- a visit --------------------------------------------------------------------------------------------------

    def _visit(self, group: Group, before: Visit | None) -> Visit:
        """E-step and M-step at a group; subjects that fail twice in a row are left out from then on."""
        found = self.visits.to(group, before)
        if found is None:
            first = next(iter(self.visits.reasons), "")
            raise ConvergenceError(
                f"No subject can be fitted. The first one: {first or 'its log-likelihood is not finite'}.",
                hint="Check the model at its starting values.",
            )
        fails = (~found.modes.found).numpy()
        self._fails[self.places] = np.where(fails, self._fails[self.places] + 1, 0)
        lost = [k for k, place in enumerate(self.places) if self._fails[place] >= 2]
        if not lost:
            return found
        for k in lost:
            self.trouble[self.places[k]] = found.modes.trouble[k]
        keep = [k for k in range(len(self.places)) if k not in set(lost)]
        self.visits.only(keep)
        self.places = [self.places[k] for k in keep]
        return found.select(torch.tensor(keep))

    # -- sizes ----------------------------------------------------------------------------------------------------

    def _size(self, at: Visit) -> Tensor:
        """Multipliers that bring means to standard deviations of the group; logarithms of variances stay as they are."""
        group, q = at.group, len(self.terms)
        per = self.visits.sizes[:, None] / self.visits.units(at)
        return torch.cat([per.reshape(-1), torch.ones(len(group.vector()) - q * group.d, dtype=torch.float64)])

    def _vector(self, group: Group, by: Visit) -> Tensor:
        return group.vector() * self._size(by)

    def _step(self, at: Visit) -> float:
        step = self._vector(at.following, at) - self._vector(at.group, at)
        newton = self._zero.newton * self.visits.sizes[:, None] / self.visits.units(at)
        return max(float(step.abs().max()), float(newton.abs().max()))

    def _sum_of_changes(self, at: Visit) -> float:
        means = (at.following.coefficients - at.group.coefficients).abs().sum() + self._zero.newton.abs().sum()
        lower = torch.tril(at.following.scale - at.group.scale).abs().sum()
        return float(means + lower)

    # -- the trace ------------------------------------------------------------------------------------------------

    def _record(self, at: Visit, step: str, before: Visit | None, length: float = 1.0) -> None:
        moved = self._step(at)
        self.visits.tolerance = min(max(PART * moved**2, FINEST), COARSEST)
        change = -2 * (at.total - before.total) if before is not None else float("nan")
        lost = sorted(set(self.trouble) - self._told)
        row = TraceRow(
            iteration=len(self.rows),
            criterion=-2 * at.total,
            change=change,
            gradient=moved,
            radius=float("nan"),
            ratio=float("nan"),
            step=step,
            parameters=group_values(at.group, self.names, self.terms),
            seconds=time.perf_counter() - self.began,
            sentence=sentence(step, change=change, length=length, lost=len(lost)),
        )
        self._told.update(lost)
        self.rows.append(row)
        if self.on_iteration is not None and self.on_iteration(row) is False:
            raise FitCancelled(self.rows)

    _told: set[int] = field(default_factory=set)
