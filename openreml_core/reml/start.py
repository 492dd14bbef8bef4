"""Values that the user gives, natural scale, turned into the free parameters that the optimiser moves.

A key is a term (``"gen"``, with a number where it has one parameter, with a k x k matrix or all its natural parameters in
order otherwise), ``"residual"``, or one parameter's own name (``"gen.variance"``, as in ``fit.parameters``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance import CholeskyStructure, Structure
from openreml_core.errors import ModelError, did_you_mean
from openreml_core.model import Component, MixedModel


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

    Raises
    ------
    ModelError
        An unknown name, a value of the wrong shape, some but not all parameters of a term, or a matrix that is not
        positive semidefinite.
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
        count = components[name].structure.n_parameters
        if len(values) < count:
            raise ModelError(
                f"{what} gives {len(values)} of the {count} parameters of *{name}*.",
                hint="Give all parameters of a term together, or none.",
            )
        out[name] = _natural(components[name], [values[i] for i in range(count)], what)
    return out


def start_theta(model: MixedModel, start: Mapping[str, Any] | None, held: Mapping[str, Tensor]) -> Tensor:
    """theta to start from: the user's values, held values, and the scale-free default for the rest."""
    if not start and not held:
        return model.start()
    given = {**given_values(model, start or {}, what="start"), **held}
    unit = model.typical_deviation**2 / (1 + len(model.terms))
    residual = float(given["residual"][0]) if "residual" in given else unit
    if not residual > 0:
        raise ModelError("The residual variance cannot start at zero.", hint="Give a positive number for *residual*.")
    scale = residual if model.profiled else 1.0
    default = {c.name: c.structure.natural_values(c.structure.start(c.scale * residual**0.5))
               for c in model.all_components}  # fmt: skip
    parts = []
    for component in model.components:
        values = given.get(component.name, default[component.name])
        scales = torch.tensor([scale**-q.degree for q in component.structure.natural], dtype=values.dtype)
        parts.append(component.structure.from_natural(values * scales))
    return model.join(parts)


def free_mask(model: MixedModel, held: Mapping[str, Tensor]) -> np.ndarray:
    """Which elements of theta move."""
    return np.concatenate(
        [np.full(c.structure.n_parameters, c.name not in held) for c in model.components] or [np.zeros(0, dtype=bool)]
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
    try:
        structure.from_natural(values)
    except ValueError as error:
        raise ModelError(
            f"{what} for *{component.name}* is no covariance matrix: {error}.", hint="Variances must not be negative."
        ) from None
    return values


def _from_matrix(structure: Structure, sigma: Tensor) -> Tensor:
    """Natural parameters of a given Sigma, for the structures that are read off it."""
    if not isinstance(structure, CholeskyStructure):
        raise ModelError(
            f"A matrix cannot start the structure {structure.keyword}.", hint="Give its parameters in order instead."
        )
    return sigma[structure.rows, structure.columns]
