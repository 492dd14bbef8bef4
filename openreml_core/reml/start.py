"""Values that the user gives, natural scale, turned into the free parameters that the optimiser moves.

A key is a term (``"gen"``, with a number where it has one parameter, with a k x k matrix or all its natural parameters in
order otherwise), ``"residual"``, or one parameter's own name (``"gen.variance"``, as in ``fit.parameters``) where it stands
alone: not one element of an unstructured matrix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance import CholeskyStructure, Structure
from openreml_core.errors import ModelError, did_you_mean
from openreml_core.model import Component, MixedModel
from openreml_core.reml.ties import Ties, standing_alone


def given_values(model: MixedModel, given: Mapping[str, Any], *, what: str) -> dict[str, Tensor]:
    """Natural parameters per component from a user's dictionary.

    Parameters
    ----------
    model : MixedModel
    given : mapping of str to number, sequence or matrix
    what : str
        ``"start"`` or ``"fixed"``, for the messages.

    Returns
    -------
    dict of component name to Tensor of shape (m_t,)
        NaN where a component's parameter is not given.

    Raises
    ------
    ModelError
        An unknown name, a parameter given twice, a value of the wrong shape, one parameter of a structure in which it does
        not stand alone, or a matrix that is not positive semidefinite.
    """
    out: dict[str, Tensor] = {}
    single: dict[str, dict[int, float]] = {}
    components = {c.name: c for c in model.all_components}
    own_names = _own_names(model)
    for key, value in given.items():
        if key in components:
            out[key] = _natural(components[key], value, what)
        elif key in own_names:
            name, position = own_names[key]
            single.setdefault(name, {})[position] = _number(key, value, what)
        else:
            raise ModelError(
                f"{what} names *{key}*, which is no variance parameter of this model.",
                hint=did_you_mean(key, [*components, *own_names]).replace("columns", "parameters"),
            )
    for name, values in single.items():
        structure = components[name].structure
        if name in out:
            raise ModelError(f"{what} gives parameters of *{name}* twice.", hint="Name the term, or its parameters.")
        if len(values) < structure.n_parameters and not all(structure.powers[i] for i in values):
            raise ModelError(
                f"{what} gives {len(values)} of the {structure.n_parameters} parameters of *{name}*.",
                hint=standing_alone(components[name]),
            )
        out[name] = _some(components[name], values, what)
    return out


def start_theta(model: MixedModel, start: Mapping[str, Any] | None, held: Mapping[str, Tensor], ties: Ties) -> Tensor:
    """theta to start from: the user's values, held values, the scale-free default for the rest; the tied ones follow."""
    if not start and not held:
        theta = model.start()
    else:
        theta = _from_given(model, given_values(model, start or {}, what="start"), held)
    free = free_mask(model, held, ties)
    _check_tied(model, given_values(model, start or {}, what="start"), "start", ties)
    low, high = (b.numpy() for b in model.bounds)
    kept = theta.numpy().copy()
    least, most = ties.bounds(low, high, free)
    moving = kept[free]
    # Where a tie leaves less room than the default start takes, start in the middle of it rather than on its edge.
    beyond = (moving <= least) | (moving >= most)
    narrowed = beyond & ((least > low[free]) | (most < high[free]))
    kept[free] = np.where(narrowed & (least < 0) & (most > 0), np.where(moving > 0, most, least) / 2, moving)
    kept[free] = np.clip(kept[free], least, most)
    theta = ties.follow(torch.from_numpy(kept))
    room = 1e-9 * np.maximum(1.0, np.abs(theta.numpy()))
    for k in np.flatnonzero(ties.tied & ~((low - room <= theta.numpy()) & (theta.numpy() <= high + room))):
        raise ModelError(
            f"*{model.parameter_names[k]}* is tied to a value at which it would be out of bounds.",
            hint="Give another ratio, or hold the other parameter at another value.",
        )
    return theta


def _from_given(model: MixedModel, start: Mapping[str, Tensor], held: Mapping[str, Tensor]) -> Tensor:
    unit = model.typical_deviation**2 / (1 + len(model.terms))
    residual = float({**start, **held}.get("residual", torch.tensor([unit]))[0])
    residual = unit if math.isnan(residual) else residual  # other parameters of the residual may be given
    if not residual > 0:
        raise ModelError("The residual variance cannot start at zero.", hint="Give a positive number for *residual*.")
    scale = residual if model.profiled else 1.0
    parts = []
    for component in model.components:
        structure = component.structure
        values = structure.natural_values(structure.start(component.scale * residual**0.5))
        for given in (start, held):
            if component.name in given:
                values = torch.where(given[component.name].isnan(), values, given[component.name])
        scales = torch.tensor([scale**-q.degree for q in structure.natural], dtype=values.dtype)
        parts.append(structure.from_natural(values * scales))
    return model.join(parts)


def free_mask(model: MixedModel, held: Mapping[str, Tensor], ties: Ties) -> np.ndarray:
    """Which elements of theta are estimated of themselves, (m,): neither held nor tied to another."""
    _check_tied(model, held, "fixed", ties)
    return ~(_given_mask(model, held) | ties.tied)


def _given_mask(model: MixedModel, given: Mapping[str, Tensor]) -> np.ndarray:
    none = {c.name: torch.full((c.structure.n_parameters,), torch.nan) for c in model.components}
    return ~torch.cat([*(given.get(name, empty) for name, empty in none.items()), torch.zeros(0)]).isnan().numpy()


def _check_tied(model: MixedModel, given: Mapping[str, Tensor], what: str, ties: Ties) -> None:
    for k in np.flatnonzero(_given_mask(model, given) & ties.tied):
        raise ModelError(
            f"{what} gives *{model.parameter_names[k]}*, which is tied to *{model.parameter_names[ties.source[k]]}*.",
            hint="Give the other one a value, or leave the tie out.",
        )


def _own_names(model: MixedModel) -> dict[str, tuple[str, int]]:
    out: dict[str, tuple[str, int]] = {}
    position: dict[str, int] = {}
    for name, (component, _) in zip(model.parameter_names, model.natural, strict=True):
        out[name] = (component, position.setdefault(component, 0))
        position[component] += 1
    return out


def _number(key: str, value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise ModelError(f"{what} for *{key}* is {value!r}.", hint="Give a finite number.")
    return number


def _natural(component: Component, value: Any, what: str) -> Tensor:
    structure = component.structure
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        array = np.full(1, np.nan)
    if not np.isfinite(array).all():
        raise ModelError(f"{what} for *{component.name}* is not a finite number.", hint="Give numbers only.")
    if array.shape == (structure.size, structure.size) and structure.size > 1:
        if not np.allclose(array, array.T):
            raise ModelError(
                f"{what} for *{component.name}* is not a symmetric matrix.", hint="Give a covariance matrix."
            )
        values = _from_matrix(structure, torch.from_numpy(array))
    elif array.size == structure.n_parameters:
        values = torch.from_numpy(array.reshape(-1).copy())
    else:
        raise ModelError(
            f"{what} for *{component.name}* holds {array.size} numbers; the term has {structure.n_parameters} parameters.",
            hint="Give " + ", ".join(f"{q.kind} {q.name1} {q.name2}".strip() for q in structure.natural) + ".",
        )
    return _possible(component, values, what)


def _some(component: Component, given: Mapping[int, float], what: str) -> Tensor:
    """Natural parameters of which some are given, NaN for the rest."""
    structure = component.structure
    out = torch.full((structure.n_parameters,), torch.nan, dtype=torch.float64)
    out[list(given)] = torch.tensor(list(given.values()), dtype=torch.float64)
    default = structure.natural_values(structure.start(component.scale))
    _possible(component, torch.where(out.isnan(), default, out), what)
    return out


def _possible(component: Component, values: Tensor, what: str) -> Tensor:
    try:
        component.structure.from_natural(values)
    except ValueError as error:
        raise ModelError(
            f"{what} for *{component.name}* is no covariance matrix: {error}.",
            hint="Variances must not be negative, correlations must lie between -1 and 1.",
        ) from None
    return values


def _from_matrix(structure: Structure, sigma: Tensor) -> Tensor:
    """Natural parameters of a given Sigma, for the structures that are read off it."""
    if not isinstance(structure, CholeskyStructure):
        raise ModelError(
            f"A matrix cannot start the structure {structure.keyword}.", hint="Give its parameters in order instead."
        )
    return sigma[structure.rows, structure.columns]
