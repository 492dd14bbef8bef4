"""Expectation-maximisation with a Laplace approximation of each subject's posterior.

    E   m_i = argmax log p(y_i | h) + log p(h | group),   V_i = (A_i + P_i)^-1
    M   the group that the m_i and V_i suggest (:mod:`openreml_core.hierarchical.m_step`)

until the evidence, sum_i log p(y_i | m_i) + log p(m_i | group) + (d log 2 pi - log|A_i + P_i|) / 2, stands still (Huys et al.
2011, PLoS Comput. Biol. 7, e1002028). Two EM steps and a squared extrapolation alternate. With the Laplace approximation the
fixed point of EM is not exactly the evidence's maximum: near the end the evidence may fall a little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from openreml_core.errors import ConvergenceError, FitCancelled
from openreml_core.hierarchical.group import SMALLEST, Group
from openreml_core.hierarchical.laplace import laplace_terms
from openreml_core.hierarchical.m_step import Known, maximised
from openreml_core.hierarchical.posterior import Likelihood, Modes, Normals, Posteriors
from openreml_core.hierarchical.squarem import extrapolated, rate
from openreml_core.hierarchical.wording import EM, REJECTED, SQUAREM, START, ZERO, group_values, sentence
from openreml_core.reml.trace import TraceRow

OnIteration = Callable[[TraceRow], object]
CRITERIA = ("evidence", "changes")
#: Evidence that an extrapolation may cost before it is taken back.
SLACK = 0.5
#: E-steps are solved to this part of the square of EM's last step, and never better or worse than these.
PART, FINEST, COARSEST = 1e-3, 1e-13, 1e-7
INNER = 30
#: Variances are tried at zero where subjects are told apart less than this.
UNTOLD = 0.05


@dataclass(frozen=True, eq=False)
class Visit:
    """A group, the subjects' posteriors under it, and the group that these suggest.

    Attributes
    ----------
    group : Group
    modes : Modes
    normals : Normals
        What the group says of each subject, as a normal.
    weights, tangent : Tensor of shape (n, 1) or (n, d)
        Of the family; see :mod:`openreml_core.hierarchical.families`.
    evidence : Tensor of shape (n,)
        Log evidence of each subject (for families other than the Gaussian, of the bound); NaN without a mode.
    following : Group
        EM's next.
    """

    group: Group
    modes: Modes
    normals: Normals
    weights: Tensor
    tangent: Tensor
    evidence: Tensor
    following: Group

    @property
    def total(self) -> float:
        """Log evidence of all subjects that have a mode."""
        return float(self.evidence[self.modes.found].sum())


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

    def selected(self, likelihood: Likelihood, covariates: Tensor, keep: list[int]) -> tuple[Likelihood, Visit, Tensor]:
        """Likelihood, visit and covariates of the subjects that have a mode at the end."""
        if len(keep) == likelihood.n:
            return likelihood, self.visit, covariates
        rows = torch.tensor(keep)
        return likelihood.only(keep), _selected(self.visit, rows), covariates[rows]


@dataclass
class ExpectationMaximisation:
    """EM and its trace.

    Attributes
    ----------
    likelihood : Likelihood
    covariates : Tensor of shape (n, q)
    names, terms : sequence of str
        Of the d parameters and of the q covariates.
    prior : tuple, optional
        Of the group; see :func:`maximised`.
    criterion : {"evidence", "changes"}
        What has to stand still: the evidence (by ``tolerance`` of itself, and what is left of EM's way by its root, in
        standard deviations of the group), or the sum of absolute changes of means and variances.
    tolerance : float
    max_iterations : int
    accelerate : bool
    on_iteration : callable, optional
        Called with each row; returning False cancels.
    """

    likelihood: Likelihood
    covariates: Tensor
    names: Sequence[str]
    terms: Sequence[str]
    prior: Known | None = None
    criterion: str = "evidence"
    tolerance: float = 1e-10
    max_iterations: int = 100
    accelerate: bool = True
    on_iteration: OnIteration | None = None
    rows: list[TraceRow] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.places = list(range(self.likelihood.n))
        self.trouble: dict[int, str] = {}
        self._fails = np.zeros(self.likelihood.n, dtype=int)
        self._moved = 1.0
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
            if verdict is not None:
                return Ended(at, self.places, self.trouble, verdict[0], verdict[1], self.rows)
            first = at
            at = self._plain(at, EM)
            if self._finished(at):
                continue
            x0, x1, x2 = (self._vector(g, at.group) for g in (first.group, at.group, at.following))
            self._left = rate(x0, x1, x2)
            if not self.accelerate or len(first.modes.at) != len(at.modes.at):
                continue
            shorter = self._without_variation(at)
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
                at = self._plain(at, EM)

    def _plain(self, at: Visit, kind: str) -> Visit:
        following = self._visit(at.following, at)
        comparable = len(following.modes.at) == len(at.modes.at)
        self._record(following, kind, at if comparable else None)
        return following

    def _try(self, at: Visit, x: Tensor) -> Visit | None:
        """The visit of an extrapolated group, if it is a good one."""
        size = self._size(at.group)
        if not bool(x.isfinite().all()) or float((x / size).abs().max()) > 1e6:
            return None
        trial = self._e_step(at.group.of_vector(x / size), at)
        if trial is None or not bool((trial.modes.found | ~at.modes.found).all()):
            return None
        return trial if trial.total > at.total - SLACK else None

    def _without_variation(self, at: Visit) -> Visit | None:
        """The visit with variances at zero that are on their way there, if it has no less evidence.

        EM approaches a variance of zero ever more slowly; where subjects' posteriors are as wide as the group, and the
        variance falls, the end of that way is tried at once.
        """
        told = told_apart(at)
        before, after = at.group.scale.diagonal(), at.following.scale.diagonal()
        zero = (told < UNTOLD) & (after <= before) & (before > 10 * SMALLEST)
        if not bool(zero.any()):
            return None
        keep = (~zero).to(torch.float64)
        scale = at.group.scale * keep[:, None] * keep + torch.diag(SMALLEST * (1 - keep))
        group = Group(at.following.coefficients, scale, at.group.diagonal, at.group.family)
        trial = self._e_step(group, at)
        if trial is None or not bool((trial.modes.found | ~at.modes.found).all()):
            return None
        return trial if trial.total >= at.total else None

    def _finished(self, at: Visit) -> bool:
        return self._verdict(at) is not None

    def _verdict(self, at: Visit) -> tuple[bool, str] | None:
        count = len(self.rows) - 1
        row = self.rows[-1]
        steps = f"{count} iteration{'' if count == 1 else 's'}"
        if count >= 2 and row.step != REJECTED:
            if self.criterion == "changes":
                changes = self._sum_of_changes(at)
                if changes < self.tolerance:
                    return True, f"Converged after {steps}: means and variances change by {changes:.1g} in sum."
            else:
                change, left = abs(row.change) / (1 + abs(at.total)), row.gradient / (1 - self._left)
                if change <= self.tolerance and left <= self.tolerance**0.5:
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
        found = self._e_step(group, before)
        if found is None:
            first = next(iter(self._reasons), "")
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
        keep = torch.tensor([k for k in range(len(self.places)) if k not in set(lost)])
        self.likelihood = self.likelihood.only(keep.tolist())
        self.covariates = self.covariates[keep]
        self.places = [self.places[k] for k in keep.tolist()]
        return _selected(found, keep)

    def _e_step(self, group: Group, before: Visit | None) -> Visit | None:
        means = group.means(self.covariates)
        n = len(means)
        modes = None if before is None else before.modes
        tolerance = min(max(PART * self._moved**2, FINEST), COARSEST)
        if before is None:
            tangent = torch.full((n, group.d // group.k), float(group.k), dtype=torch.float64)
        else:
            tangent = before.tangent
        for _ in range(INNER):
            weights = group.family.weight(tangent, group.k)
            normals = Normals(means, group.precision(weights))
            modes = self.likelihood.maximise(means, normals, modes, tolerance)
            found = modes.found
            if not bool(found.any()):
                self._reasons = modes.trouble
                return None
            if group.family.is_gaussian:
                break
            covariance = _inverse(modes.hessian(normals), found)
            new = torch.where(found[:, None], group.distances(modes.at - means, covariance), float(group.k))
            if float((new / tangent - 1).abs().max()) < 1e-7:
                break
            tangent = new
        assert modes is not None
        covariance = _inverse(modes.hessian(normals), found)
        evidence = modes.value + group.bound(modes.at - means, weights, tangent)
        evidence = evidence + laplace_terms(modes.hessian(normals), found)
        posteriors = Posteriors(modes.at[found], covariance[found], weights[found], self.covariates[found])
        following = maximised(group, posteriors, self.prior)
        return Visit(group, modes, normals, weights, tangent, evidence.where(found, torch.nan), following)

    # -- sizes ----------------------------------------------------------------------------------------------------

    def _size(self, group: Group) -> Tensor:
        """Multipliers that bring means to standard deviations of the group; logarithms of variances stay as they are."""
        q = len(self.terms)
        per = self.covariates.square().mean(0).sqrt().clamp_min(1e-12)[:, None] / group.standard_deviations
        return torch.cat([per.reshape(-1), torch.ones(len(group.vector()) - q * group.d, dtype=torch.float64)])

    def _vector(self, group: Group, by: Group) -> Tensor:
        return group.vector() * self._size(by)

    def _step(self, at: Visit) -> float:
        return float((self._vector(at.following, at.group) - self._vector(at.group, at.group)).abs().max())

    def _sum_of_changes(self, at: Visit) -> float:
        means = (at.following.coefficients - at.group.coefficients).abs().sum()
        lower = torch.tril(at.following.scale - at.group.scale).abs().sum()
        return float(means + lower)

    # -- the trace ------------------------------------------------------------------------------------------------

    def _record(self, at: Visit, step: str, before: Visit | None, length: float = 1.0) -> None:
        self._moved = self._step(at)
        change = -2 * (at.total - before.total) if before is not None else float("nan")
        lost = sorted(set(self.trouble) - self._told)
        row = TraceRow(
            iteration=len(self.rows),
            criterion=-2 * at.total,
            change=change,
            gradient=self._moved,
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
    _reasons: Sequence[str] = ()


def told_apart(visit: Visit) -> Tensor:
    """How far the trials tell subjects apart in each parameter, (d,): 1 less mean posterior variance over the group's."""
    found = visit.modes.found
    covariance = _inverse(visit.modes.hessian(visit.normals), found)[found]
    prior = _inverse(visit.normals.precision, found)[found]
    own, group = (c.diagonal(dim1=-2, dim2=-1) for c in (covariance, prior))
    return 1 - (own / group).mean(0)


def _inverse(hessian: Tensor, found: Tensor) -> Tensor:
    """Inverses (n, d, d); the identity's where there is no mode."""
    eye = torch.eye(hessian.shape[-1], dtype=torch.float64)
    return torch.linalg.inv(torch.where(found[:, None, None], hessian, eye))


def _selected(visit: Visit, keep: Tensor) -> Visit:
    modes = visit.modes
    some = Modes(
        modes.at[keep],
        modes.value[keep],
        modes.gradient[keep],
        modes.information[keep],
        tuple(modes.trouble[k] for k in keep.tolist()),
    )
    return Visit(
        visit.group,
        some,
        visit.normals.select(keep),
        visit.weights[keep],
        visit.tangent[keep],
        visit.evidence[keep],
        visit.following,
    )
