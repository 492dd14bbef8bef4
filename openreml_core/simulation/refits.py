"""The same model fitted to another response: no formula is read and no design built again."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from openreml_core.engines import engine_named
from openreml_core.errors import DataError
from openreml_core.model import MixedModel
from openreml_core.reml import Estimates, OnIteration, maximise
from openreml_core.reml.restart import lifted
from openreml_core.reml.ties import Ties


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


@dataclass(frozen=True, eq=False)
class Recipe:
    """A fitted model as it is needed to fit it to another response, here or in another process.

    Attributes
    ----------
    engine : str
        Name of the engine.
    model : MixedModel
    theta : Tensor of shape (m,)
        Where searches begin.
    free : array of shape (m,), bool
    ties : Ties
    """

    engine: str
    model: MixedModel
    theta: Tensor
    free: np.ndarray
    ties: Ties

    @classmethod
    def of(cls, estimates: Estimates) -> Recipe:
        """The recipe of a fit, with nothing in it that can be computed again."""
        own = estimates.engine.model
        model = replace(
            own, terms=tuple(replace(t) for t in own.terms), residuals=tuple(copy.copy(r) for r in own.residuals)
        )
        theta = estimates.ties.follow(lifted(own, estimates.at.theta, estimates.free))
        return cls(estimates.engine.name, model, theta, estimates.free, estimates.ties)

    def fit(self, y: Tensor, max_iterations: int = 100, on_iteration: OnIteration | None = None) -> Estimates:
        """Estimates for a response (n,), the offset taken off."""
        model = with_response(self.model, y)
        return maximise(
            engine_named(self.engine, model),
            self.theta,
            max_iterations=max_iterations,
            free=self.free,
            ties=self.ties,
            on_iteration=on_iteration,
            start_sentence="Starting values are the estimates for the response before.",
        )


def refitted(
    estimates: Estimates, y: Tensor, *, max_iterations: int = 100, on_iteration: OnIteration | None = None
) -> Estimates:
    """Estimates of the same model, with the same parameters held and tied, for another response.

    Parameters
    ----------
    estimates : Estimates
        The model's, where the search begins.
    y : Tensor of shape (n,)
        The response, the offset taken off.
    max_iterations, on_iteration
        As for :func:`openreml_core.fit`.

    Raises
    ------
    DataError
        A response that the fixed effects reproduce.
    ConvergenceError, FitCancelled
    """
    return Recipe.of(estimates).fit(y, max_iterations, on_iteration)
