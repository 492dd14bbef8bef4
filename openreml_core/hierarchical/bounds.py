"""Steps of EM at the bound of no variation: variances to zero and from it, and means by Newton steps between.

The equations are in :mod:`openreml_core.hierarchical.still`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from openreml_core.hierarchical.group import SMALLEST, Group
from openreml_core.hierarchical.still import moved, newton_step, variance_to_free, without_variation
from openreml_core.hierarchical.visit import Visit, Visits, told_apart

#: Variances are tried at zero where subjects are told apart less than this.
UNTOLD = 0.05
#: Slopes of the evidence are taken over this part of a mean's unit to either side.
NEARBY = 0.01
#: How often a step is shortened, and the part of the evidence below which a gain is none.
SHORTENINGS, NOISE = 8, 1e-12
#: Variances are let go where the evidence gains this much by it, and so often.
GAIN, RELEASES = 1e-6, 2
NONE = torch.zeros(1, 1, dtype=torch.float64)


@dataclass
class AtZero:
    """Steps at the bound, and what they remember.

    Attributes
    ----------
    visits : Visits
    newton : Tensor of shape (q, d)
        The last step of the coefficients; zero where there was none.
    part : float
        Of a Newton step, to begin with.
    releases : int
        How often variances were let go.
    """

    visits: Visits
    newton: Tensor = NONE
    part: float = 1.0
    releases: int = 0

    def to_zero(self, at: Visit) -> Visit | None:
        """The visit with variances at zero that are on their way there, if it has no less evidence.

        EM approaches a variance of zero ever more slowly; where subjects' posteriors are as wide as the group, and the
        variance falls, the end of that way is tried at once.
        """
        before, after = at.group.scale.diagonal(), at.following.scale.diagonal()
        zero = (told_apart(at) < UNTOLD) & (after <= before) & ~at.group.at_zero
        if not bool(zero.any()):
            return None
        keep = (~zero).to(torch.float64)
        scale = at.group.scale * keep[:, None] * keep + torch.diag(SMALLEST * (1 - keep))
        trial = self.visits.to(Group(at.following.coefficients, scale, at.group.diagonal, at.group.family), at)
        return trial if trial is not None and trial.keeps(at) and trial.total >= at.total else None

    def from_zero(self, at: Visit) -> Visit | None:
        """The visit without variances at zero with which the evidence rises, if there are any."""
        if not at.group.family.is_gaussian or self.releases >= RELEASES:
            return None
        gradient, W = at.modes.gradient[at.modes.found], self.visits.told(at)
        more = variance_to_free(without_variation(at.group), gradient, W)
        for k in range(SHORTENINGS if more is not None else 0):
            scale = at.group.scale + more / 4**k
            trial = self.visits.to(Group(at.group.coefficients, scale, at.group.diagonal, at.group.family), at)
            if trial is not None and trial.keeps(at) and trial.total > at.total + GAIN:
                self.releases += 1
                return trial
        return None

    def raised(self, at: Visit) -> Visit:
        """The visit after a Newton step of the means of what does not vary: the longest that does not cost evidence."""
        N = without_variation(at.group)
        self.newton = NONE
        if not N.shape[1]:
            return at
        found = at.modes.found
        step, gain = newton_step(
            at.group,
            N,
            at.modes.gradient[found],
            self.visits.told(at),
            self.visits.covariates[found],
            self._slope(at, N),
            self.visits.prior,
        )
        step, self.part = self.part * step, min(2 * self.part, 1.0)
        sure = gain <= NOISE * (1 + abs(at.total))  # the evidence cannot tell any more
        for _ in range(SHORTENINGS):
            trial = self.visits.to(moved(at.group, N, step), at)
            if trial is not None and trial.keeps(at) and (sure or trial.total >= at.total):
                self.newton = step @ N.T
                return trial
            step, self.part = step / 2, max(self.part / 2, 0.5**SHORTENINGS)
        return at

    def _slope(self, at: Visit, N: Tensor) -> Tensor:
        """How the terms -log|A_i + P_i| / 2 of the evidence change with the coefficients in the directions N, (q, r)."""
        out = torch.zeros(self.visits.covariates.shape[1], N.shape[1], dtype=torch.float64)
        unit = (N.square().T @ self.visits.units(at).square()).sqrt() / self.visits.sizes[:, None]
        for j, k in torch.cartesian_prod(*map(torch.arange, out.shape)).reshape(-1, 2).tolist():
            step = torch.zeros_like(out)
            step[j, k] = NEARBY * unit[j, k]
            sides = [self.visits.to(moved(at.group, N, side * step), at) for side in (1.0, -1.0)]
            up, down = (math.nan if v is None else v.volume(at.modes.found) for v in sides)
            out[j, k] = (up - down) / (2 * step[j, k])
        return out.where(out.isfinite(), 0.0)
