"""A group, its subjects' posteriors and evidence: what EM sees at one place, and how it is found.

m_i = argmax log p(y_i | h) + log p(h | group),   V_i = (A_i + P_i)^-1
evidence of i = log p(y_i | m_i) + log p(m_i | group) + (d log 2 pi - log|A_i + P_i|) / 2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from openreml_core.hierarchical.group import Group
from openreml_core.hierarchical.laplace import laplace_terms
from openreml_core.hierarchical.m_step import Known, maximised
from openreml_core.hierarchical.posterior import Likelihood, Modes, Normals, Posteriors
from openreml_core.hierarchical.still import told

INNER = 30


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

    def volume(self, which: Tensor) -> float:
        """Sum of -log|A_i + P_i| / 2 over the subjects ``which``; NaN where one of them has no mode."""
        return float(laplace_terms(self.modes.hessian(self.normals), self.modes.found)[which].sum())

    def keeps(self, before: Visit) -> bool:
        """Whether every subject that had a mode before has one here."""
        return bool((self.modes.found | ~before.modes.found).all())

    def select(self, rows: Tensor) -> Visit:
        """The visit of some of the subjects."""
        m = self.modes
        trouble = tuple(m.trouble[k] for k in rows.tolist())
        modes = Modes(m.at[rows], m.value[rows], m.gradient[rows], m.information[rows], trouble)
        normals, evidence = self.normals.select(rows), self.evidence[rows]
        return Visit(self.group, modes, normals, self.weights[rows], self.tangent[rows], evidence, self.following)


@dataclass
class Visits:
    """Of groups of the same subjects.

    Attributes
    ----------
    likelihood : Likelihood
    covariates : Tensor of shape (n, q)
    prior : tuple, optional
        Of the group; see :func:`openreml_core.hierarchical.m_step.maximised`.
    tolerance : float
        Gain of a log posterior that the search for a mode may leave.
    reasons : sequence of str
        Why no subject had a mode, the last time that none had.
    """

    likelihood: Likelihood
    covariates: Tensor
    prior: Known | None
    tolerance: float = 1e-7
    reasons: Sequence[str] = field(default=())

    @property
    def sizes(self) -> Tensor:
        """Root mean squares of the covariates, (q,)."""
        return self.covariates.square().mean(0).sqrt().clamp_min(1e-12)

    def only(self, rows: list[int]) -> None:
        """Go on with some of the subjects."""
        self.likelihood, self.covariates = self.likelihood.only(rows), self.covariates[torch.tensor(rows)]

    def to(self, group: Group, before: Visit | None) -> Visit | None:
        """The visit of a group, searched from where another one found the modes; None where no subject has a mode."""
        means = group.means(self.covariates)
        n = len(means)
        modes = None if before is None else before.modes
        if before is None:
            tangent = torch.full((n, group.d // group.k), float(group.k), dtype=torch.float64)
        else:
            tangent = before.tangent
        for _ in range(INNER):
            weights = group.family.weight(tangent, group.k)
            normals = Normals(means, group.precision(weights))
            modes = self.likelihood.maximise(means, normals, modes, self.tolerance)
            found = modes.found
            if not bool(found.any()):
                self.reasons = modes.trouble
                return None
            if group.family.is_gaussian:
                break
            covariance = inverse(modes.hessian(normals), found)
            new = torch.where(found[:, None], group.distances(modes.at - means, covariance), float(group.k))
            if float((new / tangent - 1).abs().max()) < 1e-7:
                break
            tangent = new
        assert modes is not None
        evidence = modes.value + group.bound(modes.at - means, weights, tangent)
        evidence = (evidence + laplace_terms(modes.hessian(normals), found)).where(found, torch.nan)
        visit = Visit(group, modes, normals, weights, tangent, evidence, group)
        return replace(visit, following=maximised(group, self.posteriors(visit), self.prior))

    def posteriors(self, visit: Visit) -> Posteriors:
        """Of the subjects that have a mode."""
        found = visit.modes.found
        covariance = inverse(visit.modes.hessian(visit.normals), found)
        return Posteriors(visit.modes.at[found], covariance[found], visit.weights[found], self.covariates[found])

    def told(self, visit: Visit) -> Tensor:
        """What each subject with a mode tells of its mean, (n, d, d); see :mod:`openreml_core.hierarchical.still`."""
        return told(visit.modes.information[visit.modes.found], self.posteriors(visit).covariance)

    def units(self, visit: Visit) -> Tensor:
        """What means are measured in, (d,): the group's standard deviations; at zero, those that a subject's trials leave."""
        sd, zero = visit.group.standard_deviations, visit.group.at_zero
        if not bool(zero.any()):
            return sd
        one = self.told(visit).diagonal(dim1=-2, dim2=-1).mean(0).abs().clamp_min(1e-12).rsqrt()
        return torch.where(zero, one, sd)


def told_apart(visit: Visit) -> Tensor:
    """How far the trials tell subjects apart in each parameter, (d,): 1 less mean posterior variance over the group's."""
    found = visit.modes.found
    covariance = inverse(visit.modes.hessian(visit.normals), found)[found]
    prior = inverse(visit.normals.precision, found)[found]
    own, group = (c.diagonal(dim1=-2, dim2=-1) for c in (covariance, prior))
    return 1 - (own / group).mean(0)


def inverse(hessian: Tensor, found: Tensor) -> Tensor:
    """Inverses (n, d, d); the identity's where there is no mode."""
    eye = torch.eye(hessian.shape[-1], dtype=torch.float64)
    return torch.linalg.inv(torch.where(found[:, None, None], hessian, eye))
