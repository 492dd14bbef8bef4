"""A profile from its minimum outwards, and where it crosses the bound of an interval.

    zeta(psi) = sign(psi - psi^) sqrt(D(psi) - D(psi^))

is about standard normal at the true value, and nearly straight in psi, so that steps of equal size in zeta are easily
foreseen (Bates and Watts 1988, Nonlinear Regression Analysis and its Applications, chapter 6).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from openreml_core.errors import ModelError
from openreml_core.profiles.held import Held, Point

#: Points on a side of a profile.
MOST = 60
#: How exactly the bound of an interval is found, in zeta.
EXACT = 1e-5
#: A criterion this much below the estimates' own is another, better fit.
LOWER = 1e-5


@dataclass
class Side:
    """One side of a profile: psi from the estimate outwards, zeta >= 0, and what was met.

    Attributes
    ----------
    values, zetas : list of float
        The estimate first.
    reached : bool
        Whether zeta got as far as was asked; else the quantity's space ended before, or the profile stayed flat.
    at_end : bool
        Whether it stopped at the end of the quantity's space.
    notes : list of str
    """

    values: list[float]
    zetas: list[float]
    reached: bool = False
    at_end: bool = False
    notes: list[str] = field(default_factory=list)


class Walk:
    """Walks one side of a profile.

    Parameters
    ----------
    held : Held
    estimate, criterion : float
        psi^ and D(psi^).
    direction : int
        1 upwards, -1 downwards.
    before : callable, optional
        Called before every point; what it raises ends the walk.
    """

    def __init__(
        self, held: Held, estimate: float, criterion: float, direction: int, before: Callable[[], None] | None = None
    ) -> None:
        self.held, self.criterion, self.direction, self.before = held, criterion, direction, before
        self.end = held.upper if direction > 0 else held.lower
        self.side = Side([estimate], [0.0])
        self.warm: list[Tensor | None] = [None]
        self.lowest = criterion

    def point(self, value: float, near: int) -> float:
        """zeta at a value, the search starting from what was found at point ``near``; NaN where there is no likelihood."""
        if self.before is not None:
            self.before()
        try:
            found: Point = self.held.at(value, self.warm[near])
        except (ModelError, ArithmeticError):
            return math.nan
        if not found.converged:
            self.side.notes.append(f"the search did not converge at {value:.4g}")
        self.lowest = min(self.lowest, found.criterion)
        zeta = math.sqrt(max(found.criterion - self.criterion, 0.0))
        place = sum(self.direction * v < self.direction * value for v in self.side.values)
        self.side.values.insert(place, value)
        self.side.zetas.insert(place, zeta)
        self.warm.insert(place, found.theta)
        return zeta

    def out_to(self, zeta: float, step: float, size: float) -> Side:
        """Points about ``step`` apart in zeta until ``zeta`` is passed.

        Parameters
        ----------
        zeta, step : float
        size : float
            A first guess of how far psi moves zeta by 1.
        """
        side, h = self.side, step * size
        for _ in range(MOST):
            before, last = side.values[-1], side.zetas[-1]
            value = before + self.direction * h
            if self.direction * (value - self.end) >= 0:
                value = self.end
            if value == before:
                side.at_end = True
                break
            found = self.point(value, -1)
            if math.isnan(found):
                if h < 1e-3 * step * size:
                    side.notes.append(f"there is no likelihood beyond {before:.4g}")
                    break
                h /= 4
                continue
            if found >= zeta:
                side.reached = True
                break
            if value == self.end:
                side.at_end = True
                break
            gained = found - last
            h *= min(max(step / gained, 0.3), 3.0) if gained > 0 else 3.0
        self._remark()
        return side

    def crossing(self, zeta: float) -> float:
        """Where the profile crosses ``zeta``, to 1e-5 of it; NaN where the points do not reach so far."""
        side = self.side
        outer = next((i for i, z in enumerate(side.zetas) if z >= zeta), None)
        if outer is None:
            return math.nan
        if outer == 0:
            return side.values[0]
        (a, b), (za, zb) = side.values[outer - 1 : outer + 1], side.zetas[outer - 1 : outer + 1]
        fa, fb = za - zeta, zb - zeta
        for _ in range(50):
            if abs(fb) < EXACT or abs(b - a) <= 1e-12 * max(abs(a), abs(b)):
                return b
            if abs(fa) < EXACT:
                return a
            value = b - fb * (b - a) / (fb - fa)
            near = min(range(len(side.values)), key=lambda i: abs(side.values[i] - value))
            found = self.point(value, near)
            if math.isnan(found):
                return math.nan
            f = found - zeta
            # Illinois: an end that stays twice is halved, so that both ends close in.
            if (f > 0) == (fb > 0):
                fa *= 0.5
            else:
                a, fa = b, fb
            b, fb = value, f
        return b

    def _remark(self) -> None:
        side = self.side
        if any(later < before - 1e-4 for before, later in zip(side.zetas, side.zetas[1:], strict=False)):
            side.notes.append("the profile is not monotone: the criterion falls again further out")
        if self.lowest < self.criterion - LOWER:
            side.notes.append(
                f"the criterion is lower by {self.criterion - self.lowest:.3g} on it: the fit is no global maximum"
            )
        if not side.reached and not side.at_end and not side.notes:
            side.notes.append("the profile stays below the bound: the data do not limit it on this side")
