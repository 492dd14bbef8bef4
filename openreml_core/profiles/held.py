"""The model with one quantity held at a value, the others free: a point of its profile.

    D(psi) = min { -2 l(b, theta) : g(b, theta) = psi }

The model is written so that g is a free parameter, or a ratio of two, which the search of :mod:`openreml_core.reml` knows how to
hold and to tie. With Sigma = L L' and the effect (or the pair) put first in order,

    sd_1   = L_11                      held
    cor_12 = L_21 / |(L_21, L_22)|     L_21 : L_22 = psi : sqrt(1 - psi^2), a tie

and a fixed effect is held by taking psi x_j off the response. sigma2 is not profiled out here, so that theta is absolute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance import BlockResidual, GroupedTerm, PlacedTerm, Unstructured
from openreml_core.engines import Engine, Evaluation, NotPositiveDefinite, same_engine
from openreml_core.errors import ConvergenceError
from openreml_core.inference.quantities import CORRELATION, SD, Quantity
from openreml_core.model import Component, MixedModel
from openreml_core.reml import Estimates
from openreml_core.reml.restart import lifted
from openreml_core.reml.search import Search, Settings
from openreml_core.reml.ties import Ties

#: A correlation is taken no nearer to 1 than this: what is beyond changes no criterion.
EDGE = 1e-9
ITERATIONS = 100
#: When a search on a profile ends: its criterion is then good to 1e-8, and zeta to as much.
NEAR = Settings(gain=1e-8, gradient=1e-4)


@dataclass(frozen=True, eq=False)
class Point:
    """A point of a profile.

    Attributes
    ----------
    criterion : float
        D(psi).
    theta : Tensor
        Where the others are then: the next search starts from here.
    converged : bool
    """

    criterion: float
    theta: Tensor
    converged: bool


class Held(Protocol):
    """A model in which one quantity is held."""

    #: Ends of the quantity's space.
    lower: float
    upper: float

    def at(self, value: float, warm: Tensor | None) -> Point:
        """D at a value, the search starting from ``warm``. Raises ConvergenceError where the model has no likelihood."""


def minimum(
    engine: Engine, theta: Tensor, free: np.ndarray, ties: Ties, bounds: tuple[np.ndarray, np.ndarray]
) -> tuple[Evaluation, bool]:
    """The lowest criterion, its parameters (m,) between bounds and those that are not free held or tied."""
    lower, upper = bounds
    search = Search(engine, free, ties, lower, upper, "ai", ITERATIONS, settings=NEAR)
    low, high = ties.bounds(lower, upper, free)
    start = theta.numpy().copy()
    start[free] = np.clip(start[free], low, high)
    at, verdict = search.run(ties.follow(torch.from_numpy(start)))
    return at, verdict.converged


def absolute(model: MixedModel, at: Evaluation) -> tuple[MixedModel, Tensor]:
    """The model with its residual variance among the parameters, and theta of the same V."""
    if not model.profiled:
        return model, at.theta
    whole = replace(model, profiled=False)
    values = model.natural_values(at.theta, at.sigma2)
    parts, start = [], 0
    for component in whole.components:
        m = component.structure.n_parameters
        parts.append(component.structure.from_natural(values[start : start + m]))
        start += m
    return whole, whole.join(parts)


class HeldVariance:
    """A standard deviation, a correlation or a structure's own parameter, held.

    Parameters
    ----------
    estimates : Estimates
    quantity : Quantity
        One that :func:`cannot` does not refuse.
    """

    def __init__(self, estimates: Estimates, quantity: Quantity) -> None:
        at, own = estimates.at, estimates.engine.model
        model, theta = absolute(own, at)
        more = model.n_theta - own.n_theta
        free = np.concatenate([estimates.free, np.ones(more, dtype=bool)])
        source = np.concatenate([estimates.ties.source, np.arange(own.n_theta, model.n_theta)])
        ties = Ties(source, np.concatenate([estimates.ties.ratio, np.ones(more)]))
        place = next(i for i, where in enumerate(model.slices) if where.start <= quantity.place < where.stop)
        component, where = model.components[place], model.slices[place]
        self.pair: tuple[int, int] | None = None
        self.column = np.zeros(0, dtype=int)
        self.power = component.structure.powers[quantity.place - where.start]
        if self.power == 0:
            pairs = list(zip(component.structure.rows.tolist(), component.structure.columns.tolist(), strict=True))  # type: ignore[attr-defined]
            a, b = pairs[quantity.place - where.start]
            order = [b, a] if quantity.kind == CORRELATION else [a]
            order += [e for e in range(component.structure.size) if e not in order]
            turned, part = rearranged(component, theta[where], order)
            model = _with_component(model, place, turned)
            theta = theta.clone()
            theta[where] = part
            if quantity.kind == CORRELATION:
                self.pair = (where.start + 1, where.start + 2)
            else:
                self.power = 2
                rows, columns = turned.structure.rows, turned.structure.columns  # type: ignore[attr-defined]
                self.column = where.start + np.flatnonzero(((columns == 0) & (rows != 0)).numpy())
            self.k = where.start
        else:
            self.k = quantity.place
        self.engine, self.model = same_engine(estimates.engine, model), model
        self.theta, self.free, self.ties = theta, free, ties
        low, high = (b.numpy().copy() for b in model.bounds)
        self.bounds = (low, high)
        if self.pair is not None:
            low[self.k], self.lower, self.upper = 0.0, -1.0, 1.0
        elif quantity.kind == SD:
            self.sign = -1.0 if float(theta[self.k]) < 0 else 1.0
            self.lower, self.upper = max(0.0, float(low[self.k])), math.inf
        else:
            ends = sorted(self._natural(float(e)) for e in (low[self.k], high[self.k]))
            self.lower, self.upper = ends

    def _natural(self, free: float) -> float:
        """The natural value of the free parameter."""
        return free if self.power == 1 else math.copysign(math.inf, free) if free == 0 else 1 / free

    def at(self, value: float, warm: Tensor | None) -> Point:
        """See Held."""
        theta = (self.theta if warm is None else warm).clone()
        free, ties = self.free.copy(), Ties(self.ties.source.copy(), self.ties.ratio.copy())
        low, high = self.bounds[0].copy(), self.bounds[1].copy()
        if self.pair is not None:
            self._tie(value, theta, free, ties, low, high)
        else:
            free[self.k] = False
            theta[self.k] = value if self.power == 1 else 1 / value if self.power == -1 else self.sign * value
            if value == 0 and len(self.column):
                free[self.column] = False
                theta[torch.from_numpy(self.column)] = 0.0
        try:
            found, converged = minimum(self.engine, theta, free, ties, (low, high))
        except (ConvergenceError, NotPositiveDefinite):
            found, converged = minimum(self.engine, lifted(self.model, theta, free), free, ties, (low, high))
        if not converged:
            other, also = minimum(self.engine, lifted(self.model, found.theta, free), free, ties, (low, high))
            if other.criterion < found.criterion or also:
                found, converged = other, also
        return Point(found.criterion, found.theta, converged)

    def _tie(
        self, value: float, theta: Tensor, free: np.ndarray, ties: Ties, low: np.ndarray, high: np.ndarray
    ) -> None:
        """L_21 : L_22 = r : sqrt(1 - r^2), the larger of the two leading; L_11, L_22 >= 0."""
        assert self.pair is not None
        r = min(max(value, EDGE - 1), 1 - EDGE)
        rest = math.sqrt(1 - r * r)
        size = float(theta[list(self.pair)].norm())
        below, beside = self.pair
        leader, follower, ratio = (beside, below, r / rest) if abs(r) < 0.7 else (below, beside, rest / r)
        ties.source[follower], ties.ratio[follower] = leader, ratio or 1e-12
        free[follower] = False
        theta[below], theta[beside], theta[self.k] = size * r, size * rest, theta[self.k].abs()
        low[follower], high[follower] = -math.inf, math.inf
        low[leader], high[leader] = (0.0, math.inf) if leader == beside or r > 0 else (-math.inf, 0.0)


class HeldEffect:
    """A fixed effect, held.

    Parameters
    ----------
    estimates : Estimates
        By ML.
    quantity : Quantity
    """

    lower, upper = -math.inf, math.inf

    def __init__(self, estimates: Estimates, quantity: Quantity) -> None:
        self.estimates, self.column = estimates, quantity.place
        model = estimates.engine.model
        kept = [j for j in range(model.p) if j != quantity.place]
        self.rest = replace(model, X=model.X[:, kept], fixed_names=tuple(model.fixed_names[j] for j in kept))

    def at(self, value: float, warm: Tensor | None) -> Point:
        """See Held."""
        estimates, model = self.estimates, self.estimates.engine.model
        engine = same_engine(estimates.engine, replace(self.rest, y=model.y - value * model.X[:, self.column]))
        start = estimates.at.theta if warm is None else warm
        bounds = tuple(b.numpy() for b in model.bounds)
        start = lifted(engine.model, start, estimates.free)
        found, converged = minimum(engine, start, estimates.free, estimates.ties, bounds)  # type: ignore[arg-type]
        return Point(found.criterion, found.theta, converged)


def rearranged(component: Component, part: Tensor, order: Sequence[int]) -> tuple[Component, Tensor]:
    """A component with an unstructured Sigma and its parameters, the effects in another order."""
    structure: Any = component.structure
    names = [structure.names[e] for e in order]
    turned = Unstructured(names)
    sigma = structure.matrix(part)[order][:, order]
    theta = turned.from_natural(sigma[turned.rows, turned.columns])
    if isinstance(component, GroupedTerm):
        return replace(component, structure=turned, basis=component.basis[:, list(order)]), theta
    assert isinstance(component, PlacedTerm | BlockResidual)
    return replace(component, structure=turned, index=torch.tensor(order).argsort()[component.index]), theta


def _with_component(model: MixedModel, place: int, component: Component) -> MixedModel:
    parts: list[Any] = list(model.components)
    parts[place] = component
    terms = len(model.terms)
    return replace(model, terms=tuple(parts[:terms]), residuals=tuple(parts[terms:]))


def cannot(estimates: Estimates, quantity: Quantity) -> str:
    """Why a quantity has no profile; empty where it has one."""
    if quantity.is_fixed:
        return ""
    model, ties = estimates.engine.model, estimates.ties
    if quantity.place >= model.n_theta:
        return ""  # the residual variance that is profiled out
    k = quantity.place
    place = next(i for i, where in enumerate(model.slices) if where.start <= k < where.stop)
    structure, where = model.components[place].structure, model.slices[place]
    own = np.arange(where.start, where.stop)
    if structure.powers[k - where.start]:
        if ties.source[k] != k:
            return f"it follows {model.parameter_names[ties.source[k]]}"
        return "" if estimates.free[k] else "it is held"
    if not isinstance(structure, Unstructured) or structure.log:
        return f"in {structure.keyword} the parameters move together"
    if not estimates.free[own].all() or any(ties.source[i] in own and i not in own for i in np.flatnonzero(ties.tied)):
        return "parameters of its matrix are held or tied"
    return ""
