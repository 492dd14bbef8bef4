"""The observed information where the score is analytic and its derivative is not at hand.

The score's own derivative would need all of Z'PZ, of which the mixed-model equations have the levels' blocks only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from openreml_core.engines.engine import Engine, Evaluation

#: Step of the differences of the score, in units of a parameter's size.
STEP = 1e-4


def observed_by_differences(engine: Engine, at: Evaluation) -> Tensor:
    """-d2l for theta, by central differences of the score; sigma2's row exact, shaped as ``at.information``."""
    model, m = engine.model, engine.model.n_theta
    size = torch.maximum(at.theta.abs(), 0.1 * model.scale)
    rows = []
    for k in range(m):
        step = torch.zeros_like(at.theta)
        step[k] = STEP * size[k]
        rows.append((engine.evaluate(at.theta - step).score - engine.evaluate(at.theta + step).score) / (2 * step[k]))
    profile = torch.stack(rows) if rows else torch.zeros(0, 0, dtype=torch.float64)
    profile = (profile + profile.T) / 2
    if not model.profiled:
        return profile
    # The score is that of the profile likelihood; sigma2's own row is known: d2l / d theta d sigma2 is minus AI's.
    whole = at.information.clone()
    whole[:m, :m] = profile + torch.outer(whole[:m, m], whole[:m, m]) / whole[m, m]
    return whole
