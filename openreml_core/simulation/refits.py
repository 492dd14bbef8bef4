"""The same model fitted to another response: no formula is read and no design built again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance import CholeskyStructure
from openreml_core.engines import Engine, HendersonEngine, MarginalEngine
from openreml_core.errors import DataError
from openreml_core.model import MixedModel
from openreml_core.reml import Estimates, OnIteration, maximise

#: Deviations below this share of a typical one are lifted to it for a start: at zero the likelihood has no slope.
LIFT = 0.1
_ENGINES: dict[str, type[MarginalEngine] | type[HendersonEngine]] = {
    "marginal": MarginalEngine,
    "henderson": HendersonEngine,
}


def engine_for(name: str, model: MixedModel) -> Engine:
    """An engine by its own name, for a model that such an engine has taken before."""
    return _ENGINES[name](model)


def with_response(model: MixedModel, y: Tensor) -> MixedModel:
    """The model of another response (n,), X and Z shared.

    Raises
    ------
    DataError
        When the fixed effects reproduce it.
    """
    other = replace(model, y=y)
    total = float((y - y.mean()).square().sum())
    if total == 0 or float(other.centred.square().sum()) <= 1e-22 * total:
        raise DataError(
            "The fixed effects reproduce the response exactly: nothing is left for variances.",
            hint="Give a response that varies.",
        )
    return other


def lifted(model: MixedModel, theta: Tensor, free: np.ndarray) -> Tensor:
    """theta as a start: what stands at zero moved off it, to a tenth of its typical size."""
    parts = []
    for component, part in zip(model.components, model.split(theta), strict=True):
        structure, scale = component.structure, component.scale * model.unit
        if isinstance(structure, CholeskyStructure) and not structure.log:
            small = (structure.rows == structure.columns) & (part.abs() < LIFT * scale[structure.rows])
            part = torch.where(small, LIFT * scale[structure.rows], part)
        elif "at zero" in structure.boundary(part, scale):
            part = structure.start(scale)
        parts.append(part)
    return torch.where(torch.from_numpy(free), model.join(parts), theta)


def refitted(
    estimates: Estimates,
    y: Tensor,
    *,
    start: Tensor | None = None,
    algorithm: str = "ai",
    max_iterations: int = 100,
    on_iteration: OnIteration | None = None,
) -> Estimates:
    """Estimates of the same model, with the same parameters held and tied, for another response.

    Parameters
    ----------
    estimates : Estimates
        The model's, where the search begins.
    y : Tensor of shape (n,)
        The response, the offset taken off.
    start : Tensor of shape (m,), optional
        Where the search begins instead.
    algorithm, max_iterations, on_iteration
        As for :func:`openreml_core.fit`.

    Raises
    ------
    DataError
        A response that the fixed effects reproduce.
    ConvergenceError, FitCancelled
    """
    engine = estimates.engine
    model = with_response(engine.model, y)
    theta = lifted(model, estimates.at.theta, estimates.free) if start is None else start
    return maximise(
        engine_for(engine.name, model),
        estimates.ties.follow(theta),
        algorithm=algorithm,
        max_iterations=max_iterations,
        free=estimates.free,
        ties=estimates.ties,
        on_iteration=on_iteration,
        start_sentence="Starting values are the estimates for the response before.",
    )
