"""Transforms between the free scale, on which the optimiser moves, and the natural one that people read.

    natural = f(free),   free = f^-1(natural)

A domain is the open interval (or line) of natural values that f reaches. ``Pow(2)``, the default of variances, is the square
of a standard deviation of either sign: zero is reached, and no bound is needed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from openreml_core.errors import ModelError


class Transform(ABC):
    """natural = f(free), elementwise."""

    #: Natural values that f reaches, ends included where ``closed`` says so.
    domain: tuple[float, float] = (-math.inf, math.inf)
    closed: tuple[bool, bool] = (False, False)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """f(x)."""

    @abstractmethod
    def _inverse(self, y: Tensor) -> Tensor: ...

    @abstractmethod
    def derivative(self, x: Tensor) -> Tensor:
        """f'(x)."""

    def inverse(self, y: Tensor) -> Tensor:
        """f^-1(y).

        Raises
        ------
        ModelError
            Where y lies outside the domain.
        """
        y = torch.as_tensor(y, dtype=torch.float64)
        low, high = self.domain
        inside = ((y > low) | ((y == low) & self.closed[0])) & ((y < high) | ((y == high) & self.closed[1]))
        if not bool(inside.all()):
            value = float(y.reshape(-1)[~inside.reshape(-1)][0])
            raise ModelError(
                f"The value {value:g} is outside the domain of {self}.",
                hint=f"Give a value {'from' if self.closed[0] else 'above'} {low:g}"
                + ("." if high == math.inf else f" {'up to' if self.closed[1] else 'and below'} {high:g}."),
            )
        return self._inverse(y)

    def __repr__(self) -> str:
        held = ", ".join(f"{v:g}" for v in vars(self).values() if isinstance(v, int | float))
        return f"{type(self).__name__}({held})"


class Identity(Transform):
    """natural = free."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        return y

    def derivative(self, x: Tensor) -> Tensor:
        return torch.ones_like(x)


class Exp(Transform):
    """natural = base^free; ``Exp()`` is e^free."""

    domain = (0.0, math.inf)

    def __init__(self, base: float = math.e) -> None:
        if not (base > 0 and base != 1):
            raise ModelError(f"A base of {base:g} makes no exponential.", hint="Give a positive base other than 1.")
        self.base = base

    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(math.log(self.base) * x)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log() / math.log(self.base)

    def derivative(self, x: Tensor) -> Tensor:
        return math.log(self.base) * self.forward(x)


class Exp2(Exp):
    """natural = 2^free."""

    def __init__(self) -> None:
        super().__init__(2.0)


class Exp10(Exp):
    """natural = 10^free."""

    def __init__(self) -> None:
        super().__init__(10.0)


class ExpPow2(Transform):
    """natural = exp(free)^2: a variance by the logarithm of its standard deviation."""

    domain = (0.0, math.inf)

    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(2 * x)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log() / 2

    def derivative(self, x: Tensor) -> Tensor:
        return 2 * self.forward(x)


class Pow(Transform):
    """natural = free^power; of an even power the positive root is the inverse.

    Parameters
    ----------
    power : int
        A whole number from 1 on.
    """

    def __init__(self, power: int = 2) -> None:
        if not (int(power) == power and power >= 1):
            raise ModelError(f"A power of {power:g} has no single root.", hint="Give a whole number from 1 on.")
        self.power = int(power)
        if self.power % 2 == 0:
            self.domain, self.closed = (0.0, math.inf), (True, False)

    def forward(self, x: Tensor) -> Tensor:
        return x**self.power

    def _inverse(self, y: Tensor) -> Tensor:
        return y.abs() ** (1 / self.power) * torch.where(y < 0, -1.0, 1.0)

    def derivative(self, x: Tensor) -> Tensor:
        return self.power * x ** (self.power - 1)


class ScaleShift(Transform):
    """natural = scale free + shift."""

    def __init__(self, scale: float = 1.0, shift: float = 0.0) -> None:
        if scale == 0:
            raise ModelError("A scale of zero cannot be undone.", hint="Give another scale.")
        self.scale, self.shift = scale, shift

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x + self.shift

    def _inverse(self, y: Tensor) -> Tensor:
        return (y - self.shift) / self.scale

    def derivative(self, x: Tensor) -> Tensor:
        return torch.full_like(x, self.scale)


class Sigmoid(Transform):
    """natural = low + (high - low) / (1 + exp(-free)): a range without its ends."""

    def __init__(self, low: float = 0.0, high: float = 1.0) -> None:
        if not low < high:
            raise ModelError(f"A range from {low:g} to {high:g} is empty.", hint="Give the lower end first.")
        self.low, self.high = low, high
        self.domain = (low, high)

    def forward(self, x: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * torch.sigmoid(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return torch.logit((y - self.low) / (self.high - self.low))

    def derivative(self, x: Tensor) -> Tensor:
        s = torch.sigmoid(x)
        return (self.high - self.low) * s * (1 - s)


class Chain(Transform):
    """natural = f_m(... f_2(f_1(free))): the first one is applied to the free value.

    Examples
    --------
    >>> import torch
    >>> log_variance_in_percent = Chain(Exp(), ScaleShift(100.0))
    >>> log_variance_in_percent.forward(torch.tensor(0.0))
    tensor(100.)
    """

    def __init__(self, *transforms: Transform) -> None:
        if not transforms:
            raise ModelError("A chain needs transforms.", hint="Give one or more.")
        self.transforms: Sequence[Transform] = transforms
        low, high = transforms[0].domain
        for t in transforms[1:]:
            ends = [t.forward(torch.tensor(v, dtype=torch.float64)).item() for v in (low, high)]
            low, high = max(min(ends), t.domain[0]), min(max(ends), t.domain[1])
        self.domain, self.closed = (low, high), transforms[-1].closed if len(transforms) == 1 else (True, True)

    def forward(self, x: Tensor) -> Tensor:
        for t in self.transforms:
            x = t.forward(x)
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        for t in reversed(self.transforms):
            y = t.inverse(y)
        return y

    def derivative(self, x: Tensor) -> Tensor:
        out = torch.ones_like(x)
        for t in self.transforms:
            out, x = out * t.derivative(x), t.forward(x)
        return out

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self.transforms))})"
