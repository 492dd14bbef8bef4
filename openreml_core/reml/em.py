"""EM for variances (Dempster, Laird and Rubin 1977; for REML Harville 1977, JASA 72, 320-338).

With S = dl/dV on the scale of the data and M_t = <S, .> paired to Sigma_t (q_t levels), the E-step's mean of
E[u u' | y] over the levels and the residual's share are

    Sigma_t  <-  Sigma_t + (2 / q_t) Sigma_t M_t Sigma_t
    sigma2_e <-  sigma2_e + (2 / n) sigma2_e^2 <S, R>

Every step raises the likelihood and none leaves the parameter space; near the optimum the steps become very short.
"""

from __future__ import annotations

import torch
from torch import Tensor

from openreml_core.engines import Evaluation
from openreml_core.errors import ModelError
from openreml_core.model import MixedModel


def em_step(model: MixedModel, at: Evaluation) -> Tensor:
    """theta after one EM step from an evaluation; relative to the new residual variance when that is profiled out."""
    sigmas = model.sigmas(at.theta, at.sigma2)
    counts = [c.copies for c in model.all_components]
    updated = []
    for sigma, m, count in zip(sigmas, at.pairings, counts, strict=True):
        # The pairings are with V~ = V / sigma2, hence the division.
        mean = sigma + (2.0 / count) * sigma @ (m / at.sigma2) @ sigma
        updated.append((mean + mean.T) / 2)
    scale = float(updated[-1][0, 0]) if model.profiled else 1.0
    if not scale > 0:
        raise ArithmeticError("the EM step left no residual variance")
    new_parts: list[Tensor] = []
    for component, part, u in zip(model.components, model.split(at.theta), updated, strict=False):
        new = component.structure.em_update(part, u / scale)
        if new is None:
            raise ModelError(
                f"EM has no step for the structure {component.structure.keyword} of *{component.name}*.",
                hint="Fit it with algorithm='ai'.",
            )
        new_parts.append(new)
    return model.join(new_parts).to(torch.float64)
