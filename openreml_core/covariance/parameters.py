"""Parameters of a tree: a name, a natural value, how it is free, and whether it moves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from openreml_core.covariance.transforms import Identity, Pow, Transform
from openreml_core.errors import ModelError


@dataclass(frozen=True)
class Parameter:
    """One parameter of a node.

    Attributes
    ----------
    name : str
    value : float
        Its natural value to start from.
    transform : Transform
        From the free scale to the natural one.
    kind : str
        ``"variance"``, ``"correlation"``, ``"covariance"``, ``"range"``, ``"loading"``, ``"element"``, ...
    lower, upper : float
        Bounds of the natural value.
    fixed : bool
        Whether it keeps its value.
    given : bool
        Whether the value was given; a fit scales variances that were not to the data.
    """

    name: str
    value: float
    transform: Transform
    kind: str = "element"
    lower: float = -math.inf
    upper: float = math.inf
    fixed: bool = False
    given: bool = False

    def __str__(self) -> str:
        return f"{self.name} = {self.value:.4g}{' (fixed)' if self.fixed else ''}"


def variance(name: str = "sigma2", value: float | None = None) -> Parameter:
    """A variance: the square of a free standard deviation, so that zero is reached."""
    if value is not None and value < 0:
        raise ModelError(f"{name} is {value:g}: a variance is not negative.", hint="Give zero or a positive number.")
    return Parameter(name, 1.0 if value is None else value, Pow(2), "variance", lower=0.0, given=value is not None)


def default_transform(kind: str) -> Transform:
    """Of a parameter by its kind."""
    return Pow(2) if kind.endswith("variance") else Identity()


def number(path: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ModelError(f"{path} is given as {value!r}.", hint="Give a finite number.")
    return number
