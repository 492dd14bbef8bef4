"""Parameters that are tied to others: theta_k = r_k theta_s(k).

The search moves the parameters phi that are estimated of themselves; the tied ones follow, the held ones stay:

    theta = T phi + held,   score and curvature in phi are T' score and T' H T

A variance is the square of a free parameter, so that a ratio c of two variances is r = sqrt(c); correlations, ranges,
loadings and regressions are free parameters themselves, r = c. A whole term tied to another with ratio c has
Sigma_2 = c Sigma_1: r = sqrt(c) for what has the scale of the response, 1 for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openreml_core.errors import ModelError, did_you_mean
from openreml_core.model import Component, MixedModel
from openreml_core.notation import parse_tie


@dataclass(frozen=True, eq=False)
class Ties:
    """What each free parameter follows.

    Attributes
    ----------
    source : array of shape (m,), int
        The place of the parameter followed; the parameter's own place where it is tied to none.
    ratio : array of shape (m,)
        r_k, 1 where it is tied to none.
    """

    source: np.ndarray
    ratio: np.ndarray

    @classmethod
    def none(cls, count: int) -> Ties:
        """No parameter tied to another."""
        return cls(np.arange(count), np.ones(count))

    @property
    def tied(self) -> np.ndarray:
        """Which parameters follow another, (m,) bool."""
        return self.source != np.arange(len(self.source))

    def follow(self, theta: Tensor) -> Tensor:
        """theta with the tied parameters where they belong."""
        return torch.from_numpy(self.ratio) * theta[torch.from_numpy(self.source)]

    def directions(self, free: np.ndarray) -> np.ndarray:
        """T (m, f): what each of the f parameters that move does to theta."""
        return np.where(self.source[:, None] == np.flatnonzero(free)[None, :], self.ratio[:, None], 0.0)

    def bounds(self, lower: np.ndarray, upper: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bounds (f,) of the parameters that move, within which those that follow keep theirs (m,)."""
        low, high = lower.copy(), upper.copy()
        for k in np.flatnonzero(self.tied):
            ends = sorted((lower[k] / self.ratio[k], upper[k] / self.ratio[k]))
            low[self.source[k]] = max(low[self.source[k]], ends[0])
            high[self.source[k]] = min(high[self.source[k]], ends[1])
        return low[free], high[free]


def tied_parameters(model: MixedModel, ties: Mapping[str, Any]) -> Ties:
    """A user's ties, such as ``{"b.variance": "2 * a.variance"}``, resolved.

    Either side is one parameter's name, or a term's; terms are tied whole.

    Raises
    ------
    ModelError
        An unknown name, another kind of parameter, a ratio that cannot be, a parameter tied twice or in a circle.
    """
    out = Ties.none(model.n_theta)
    said: dict[int, str] = {}
    for key, text in ties.items():
        ratio, name = parse_tie(text)
        if text in (*_components(model), *model.parameter_names):  # a name that begins like a number times something
            ratio, name = 1.0, text
        pairs = _pairs(model, key, name, ratio)
        for follower, leader, r in pairs:
            if follower == leader:
                raise ModelError(f"ties binds *{key}* to itself.", hint="Name two different parameters.")
            if follower in said:
                raise ModelError(
                    f"ties binds *{model.parameter_names[follower]}* twice: to {said[follower]} and to {text}.",
                    hint="Leave one of the two out.",
                )
            said[follower] = text
            out.source[follower], out.ratio[follower] = leader, r
    _unchain(model, out)
    return out


def _unchain(model: MixedModel, ties: Ties) -> None:
    """Let every parameter follow the last of its chain."""
    direct, by = ties.source.copy(), ties.ratio.copy()
    for k in range(len(direct)):
        met, at, ratio = [k], k, 1.0
        while direct[at] != at:
            ratio, at = ratio * by[at], int(direct[at])
            if at in met:
                names = [model.parameter_names[i] for i in met[met.index(at) :]]
                raise ModelError(
                    f"ties go in a circle: {', '.join(names)} each follow the next.", hint="Leave one of them free."
                )
            met.append(at)
        ties.source[k], ties.ratio[k] = at, ratio


def _components(model: MixedModel) -> dict[str, tuple[Component, int]]:
    """Every component that carries free parameters, by name, and where they begin in theta."""
    return {c.name: (c, s.start) for c, s in zip(model.components, model.slices, strict=True)}


def _pairs(model: MixedModel, key: str, name: str, ratio: float) -> list[tuple[int, int, float]]:
    """Follower, leader and r of a tie: one, or one for each parameter of a term."""
    components = _components(model)
    free = model.parameter_names[: model.n_theta]
    for side in (key, name):
        if side not in components and side not in free:
            raise ModelError(
                f"ties names *{side}*, which is no variance parameter of this model.",
                hint=did_you_mean(side, [*free, *components]).replace("columns", "parameters"),
            )
    if not np.isfinite(ratio) or ratio == 0:
        raise ModelError(
            f"ties gives *{key}* the ratio {ratio:g}.", hint=f'To hold it at zero write fixed={{"{key}": 0}}.'
        )
    if key in components and name in components and components[key][0].structure.n_parameters > 1:
        return _whole(components[key], components[name], ratio)
    follower, leader = (_single(model, components, side) for side in (key, name))
    kinds = [model.natural[k][1].kind for k in (follower, leader)]
    variances = [k.endswith("variance") for k in kinds]
    if kinds[0] != kinds[1] and not all(variances):
        raise ModelError(
            f"ties binds *{key}*, a {kinds[0]}, to *{name}*, a {kinds[1]}.", hint="Tie parameters of one kind."
        )
    if all(variances) and ratio < 0:
        raise ModelError(f"ties gives the variance *{key}* the ratio {ratio:g}.", hint="Give a positive ratio.")
    return [(follower, leader, ratio**0.5 if all(variances) else ratio)]


def _single(model: MixedModel, components: Mapping[str, tuple[Component, int]], side: str) -> int:
    """The place in theta of a parameter that stands alone, by its name or by that of a term without others."""
    if side in components:
        component, place = components[side]
        if component.structure.n_parameters != 1:
            raise ModelError(
                f"*{side}* has {component.structure.n_parameters} parameters and cannot be tied to one.",
                hint=f"Name one of them, such as *{model.parameter_names[place]}*, or tie it to another term.",
            )
        return place
    place = model.parameter_names.index(side)
    name = model.natural[place][0]
    component, first = components[name]
    if component.structure.powers[place - first] == 0:
        raise ModelError(f"*{side}* cannot be tied alone.", hint=standing_alone(component))
    return place


def standing_alone(component: Component) -> str:
    """What to do where one parameter of a structure is not a free one: the advice of an error."""
    return (
        f"In {component.structure.keyword} all of them move together: name the whole of *{component.name}*, or give it a "
        "structure such as diag, csh or fa, whose parameters stand alone."
    )


def _whole(
    follower: tuple[Component, int], leader: tuple[Component, int], ratio: float
) -> list[tuple[int, int, float]]:
    """Sigma_2 = c Sigma_1."""
    (second, at), (first, beside) = follower, leader
    kinds = [[(q.kind, q.scales) for q in c.structure.natural] for c in (second, first)]
    if type(second.structure) is not type(first.structure) or kinds[0] != kinds[1]:
        raise ModelError(
            f"*{second.name}* and *{first.name}* do not have the same structure and cannot be tied whole.",
            hint="Name single parameters, or give both the same structure over as many effects.",
        )
    if ratio < 0:
        raise ModelError(
            f"ties gives *{second.name}*, a covariance, the ratio {ratio:g}.", hint="Give a positive ratio."
        )
    return [(at + i, beside + i, ratio**0.5 if q.scales else 1.0) for i, q in enumerate(second.structure.natural)]
