"""Parameters of a tree: a name, a natural value, how it is free, and whether it moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from openreml_core.covariance.transforms import Identity, Pow, Transform
from openreml_core.errors import ModelError

#: Natural values this near to a bound, relative to what lies between the bounds, are on it.
NEAR = 1e-3


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

    def changed(
        self,
        path: str,
        value: float | None = None,
        fixed: bool | None = None,
        transform: Transform | None = None,
        lower: float | None = None,
        upper: float | None = None,
    ) -> Parameter:
        """The parameter with what is given in the place of what it was; a value that nobody gave moves within new bounds.

        Raises
        ------
        ModelError
            A value that is no number, or not between the bounds.
        """
        p = replace(
            self,
            value=self.value if value is None else number(path, value),
            given=self.given or value is not None,
            fixed=self.fixed if fixed is None else bool(fixed),
            transform=self.transform if transform is None else transform,
            lower=self.lower if lower is None else float(lower),
            upper=self.upper if upper is None else float(upper),
        )
        if not p.given and p.lower <= p.upper:
            p = replace(p, value=min(max(p.value, p.lower), p.upper))
        p.checked(path, p.value)
        return p

    def checked(self, path: str, value: Any) -> float:
        """A natural value as a number between the bounds, to rounding.

        Raises
        ------
        ModelError
            Where it is none, or outside them.
        """
        natural = number(path, value)
        rounding = 1e-9 * abs(natural)
        if not self.lower - rounding <= natural <= self.upper + rounding:
            raise ModelError(
                f"{path} = {natural:g} is not between its bounds {self.lower:g} and {self.upper:g}.",
                hint="Give a value between them; value and bounds can be set together.",
            )
        return natural

    def __str__(self) -> str:
        return f"{self.name} = {self.value:.4g}{', fixed' if self.fixed else ''}"

    def at_bound(self, value: float) -> str:
        """A mark for a natural value that is on a bound: ``"at its bound"``, of a range ``"no upper bound"``."""
        if self.kind == "range":
            low, high = value < 1.01 * self.lower, value > 0.99 * self.upper
            return "no upper bound" if high else "at its bound" if low else ""
        near = NEAR * (self.upper - self.lower if self.upper - self.lower < math.inf else max(1.0, abs(value)))
        return "at its bound" if value - self.lower < near or self.upper - value < near else ""

    def free_bounds(self) -> tuple[float, float]:
        """The bounds of its free value."""
        if self.is_deviation:
            # Of either sign: an upper bound holds on both sides, a lower one above zero keeps it on its own side.
            high = math.sqrt(self.upper) if self.upper < math.inf else math.inf
            return (math.sqrt(self.lower) if self.lower > 0 else -high), high
        ends = []
        for value, outward in ((self.lower, -math.inf), (self.upper, math.inf)):
            low, high = self.transform.domain
            at_end = (value == low and self.transform.closed[0]) or (value == high and self.transform.closed[1])
            inside = math.isfinite(value) and (low < value < high or at_end)
            ends.append(float(self.transform.inverse(torch.tensor(value, dtype=torch.float64))) if inside else outward)
        first, last = ends
        if float(self.transform.derivative(torch.zeros((), dtype=torch.float64))) >= 0:
            return first, last
        return -math.inf if last == math.inf else last, math.inf if first == -math.inf else first

    @property
    def is_variance(self) -> bool:
        """Whether it is a variance of some kind."""
        return is_variance(self.kind)

    @property
    def is_deviation(self) -> bool:
        """Whether it is free as a standard deviation of either sign."""
        return self.is_variance and isinstance(self.transform, Pow) and self.transform.power == 2

    @property
    def degree(self) -> float:
        """The power of a factor on the matrix that it takes: 1 for variances, 1/2 for loadings, 0 for correlations."""
        return (
            1.0 if self.is_variance or self.kind == "covariance" else 0.5 if self.kind in ("loading", "root") else 0.0
        )


class ByPath(dict[str, Any]):
    """What belongs to parameters, by path; steps may be left out as long as one path answers.

    Examples
    --------
    >>> ByPath({"gen/sigma2": 0.14, "block/1/sigma2": 0.07})["block/sigma2"]
    0.07
    """

    def __missing__(self, path: str) -> Any:
        whole = resolve(path, list(self))
        if whole is None:
            raise KeyError(path)
        return self[whole]


def resolve(path: str, known: Sequence[str]) -> str | None:
    """The path that is meant: itself, or the only one that has its steps in order and ends as it does."""
    if path in known:
        return path
    steps = path.split("/")

    def answers(other: str) -> bool:
        held = other.split("/")
        rest = iter(held)
        return held[-1] == steps[-1] and all(step in rest for step in steps)

    found = [other for other in known if answers(other)]
    return found[0] if len(found) == 1 else None


def variance(name: str = "sigma2", value: float | None = None) -> Parameter:
    """A variance: the square of a free standard deviation, so that zero is reached."""
    if value is not None and value < 0:
        raise ModelError(f"{name} is {value:g}: a variance is not negative.", hint="Give zero or a positive number.")
    return Parameter(name, 1.0 if value is None else value, Pow(2), "variance", lower=0.0, given=value is not None)


def default_transform(kind: str) -> Transform:
    """Of a parameter by its kind."""
    return Pow(2) if is_variance(kind) else Identity()


def is_variance(kind: str) -> bool:
    """Whether parameters of a kind are variances: ``"variance"``, ``"specific variance"``; not ``"covariance"``."""
    return kind.split()[-1] == "variance"


def number(path: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ModelError(f"{path} is given as {value!r}.", hint="Give a finite number.")
    return number
