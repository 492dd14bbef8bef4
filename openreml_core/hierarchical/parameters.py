"""Parameters of a model of one subject: their names, and the transforms to the free scale on which groups are normal.

    native = f(free),   free_i ~ group(mean, covariance)

The transforms are those of :mod:`openreml_core.covariance.transforms`; a pair of functions makes one of the user's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from openreml_core.covariance.transforms import Exp, Identity, Sigmoid, Transform
from openreml_core.errors import ModelError

NAMES = {"identity": Identity, "logit": Sigmoid, "expit": Sigmoid, "log": Exp, "exp": Exp}


class OwnTransform(Transform):
    """native = forward(free), of functions the user gives.

    Parameters
    ----------
    forward, inverse : callable
        Of tensors, elementwise, in torch's operations.
    domain : (float, float)
        Native values that ``forward`` reaches.
    """

    def __init__(
        self,
        forward: Callable[[Tensor], Tensor],
        inverse: Callable[[Tensor], Tensor],
        domain: tuple[float, float] = (-math.inf, math.inf),
    ) -> None:
        self._forward, self._back = forward, inverse
        self.domain = (float(domain[0]), float(domain[1]))

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self._back(y)

    def derivative(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            at = x.detach().clone().requires_grad_(True)
            return torch.autograd.grad(self._forward(at).sum(), at)[0]

    def __repr__(self) -> str:
        return "the user's own transform"


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes
    ----------
    name : str
    transform : Transform
        Native value of a free one.
    start : float, optional
        Native value where the group's mean begins, and about which subjects are simulated; free 0 by default.
    spread : float
        Standard deviation, on the free scale, with which the group begins and is simulated.
    """

    name: str
    transform: Transform = field(default_factory=Identity)
    start: float | None = None
    spread: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ModelError(f"{self.name!r} is no name of a parameter.", hint="Give a text such as 'learning_rate'.")
        if not (math.isfinite(self.spread) and self.spread > 0):
            raise ModelError(f"The spread of *{self.name}* is {self.spread}.", hint="Give a positive number.")

    @property
    def free_start(self) -> float:
        """The start on the free scale."""
        return 0.0 if self.start is None else self.to_free(self.start)

    def to_free(self, native: float) -> float:
        """The free value of a native one.

        Raises
        ------
        ModelError
            Where the native value is outside the transform's domain.
        """
        try:
            value = float(self.transform.inverse(torch.tensor(float(native), dtype=torch.float64)))
        except ModelError as error:
            raise ModelError(f"Parameter *{self.name}*: {error.message}", hint=error.hint) from None
        if not math.isfinite(value):
            raise ModelError(
                f"Parameter *{self.name}*: the transform gives {value} for {native:g}.",
                hint="Give a value inside its domain.",
            )
        return value

    def to_native(self, free: Tensor) -> Tensor:
        """Native values of free ones, of the same shape; NaN where the transform leaves its domain."""
        native = self.transform.forward(free)
        if not isinstance(native, Tensor) or native.shape != free.shape:
            shape = tuple(native.shape) if isinstance(native, Tensor) else type(native).__name__
            raise ModelError(
                f"The transform of *{self.name}* turns a tensor of shape {tuple(free.shape)} into {shape}.",
                hint="A transform works elementwise.",
            )
        low, high = self.transform.domain
        return torch.where((native >= low) & (native <= high), native, torch.nan)


def as_transform(given: Any, name: str) -> Transform:
    """The transform that a user names.

    Parameters
    ----------
    given : Transform, str, (low, high) or (forward, inverse)
        ``"identity"``, ``"logit"`` (0 to 1; also ``"expit"``), ``"log"`` (positive; also ``"exp"``), two numbers for a
        range, two functions for a transform of one's own.
    name : str
        The parameter's, for messages.
    """
    if isinstance(given, Transform):
        return given
    if isinstance(given, str) and given in NAMES:
        return NAMES[given]()
    if isinstance(given, tuple | list) and len(given) == 2:
        if all(callable(g) for g in given):
            return OwnTransform(*given)
        if all(isinstance(g, int | float) and not isinstance(g, bool) for g in given):
            return Sigmoid(float(given[0]), float(given[1]))
    raise ModelError(
        f"The transform {given!r} of *{name}* is not known.",
        hint=f"Give one of {', '.join(NAMES)}, a range (low, high), a Transform, or two functions (forward, inverse).",
    )


def as_parameters(given: Any) -> tuple[Parameter, ...]:
    """Parameters from names, from ``{name: transform}``, or from Parameter objects.

    Raises
    ------
    ModelError
        When there are none, or two of one name.

    Examples
    --------
    >>> [p.transform for p in as_parameters({"learning_rate": "logit", "bias": "identity", "noise": (0, 5)})]
    [Sigmoid(0, 1), Identity(), Sigmoid(0, 5)]
    """
    if isinstance(given, Mapping):
        found = tuple(Parameter(str(name), as_transform(t, str(name))) for name, t in given.items())
    elif isinstance(given, Sequence) and not isinstance(given, str):
        found = tuple(p if isinstance(p, Parameter) else Parameter(p) for p in given)
    else:
        raise ModelError(
            f"{given!r} gives no parameters.", hint="Give {'learning_rate': 'logit', ...} or a list of Parameter."
        )
    names = [p.name for p in found]
    if not names:
        raise ModelError("The model has no parameters.", hint="Give one or more.")
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise ModelError(f"Two parameters are called *{twice}*.", hint="Give each its own name.")
    return found
