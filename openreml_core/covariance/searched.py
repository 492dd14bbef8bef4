"""What a search asks of a node's own parameters: how large they are, whether they are on a boundary, their canonical form."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from openreml_core.covariance.parameters import Parameter
from openreml_core.covariance.transforms import Identity, Pow, ScaleShift

#: Transforms that keep a parameter's own scale.
PLAIN = (Identity, ScaleShift, Pow)


class Searched:
    """The part of a node that a search talks to; ``free`` and ``start`` are its own free values, now and at the start."""

    _own: list[Parameter]

    @abstractmethod
    def own_natural(self, free: Tensor) -> Tensor:
        """Its own natural values from the free ones."""

    def own_sizes(self, start: Tensor) -> Tensor:
        """Typical size of each of its own free parameters, given where they start."""
        sizes = []
        for p, x in zip(self._own, start.tolist(), strict=True):
            least = 0.0 if p.is_deviation and x else 0.1
            sizes.append(max(abs(x), least) if isinstance(p.transform, PLAIN) else 0.5)
        return torch.tensor(sizes, dtype=torch.float64)

    def own_marks(self, free: Tensor, start: Tensor, tolerance: float) -> list[str]:
        """A mark for each of its own parameters, empty or in words: ``"at zero"``, ``"at its bound"``."""
        marks = []
        values, starts = self.own_natural(free).tolist(), self.own_natural(start).tolist()
        for p, value, first in zip(self._own, values, starts, strict=True):
            if p.is_variance:
                zero = p.lower <= 0 and abs(value) < tolerance**2 * (first or 1.0)
                bound = p.upper - value < 1e-6 * abs(value) or (p.lower > 0 and value < (1 + 1e-6) * p.lower)
                marks.append("at zero" if zero else "at its bound" if bound else "")
            else:
                marks.append(p.at_bound(value))
        return marks

    def own_settled(self, free: Tensor, start: Tensor, tolerance: float) -> Tensor:
        """Its own free values in their canonical form: deviations not negative, those near zero at zero."""
        out = free.clone()
        for i, (p, mark) in enumerate(zip(self._own, self.own_marks(free, start, tolerance), strict=True)):
            if p.is_deviation:
                out[i] = 0.0 if mark == "at zero" else out[i].abs()
        return out
