"""The same model fitted to another response: no formula is read and no design built again."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from openreml_core.engines import same_engine
from openreml_core.errors import DataError
from openreml_core.model import MixedModel
from openreml_core.reml import Estimates, OnIteration, maximise
from openreml_core.reml.restart import lifted


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
        same_engine(engine, model),
        estimates.ties.follow(theta),
        algorithm=algorithm,
        max_iterations=max_iterations,
        free=estimates.free,
        ties=estimates.ties,
        on_iteration=on_iteration,
        start_sentence="Starting values are the estimates for the response before.",
    )
