"""Correlation matrices C(rho): a few different values, each standing in many places.

    C_ab = c_l(rho),   l = pattern[a, b]

A lag, a distance, or the pair of lags of two plots decides about the correlation of two rows; the pattern says which of the
values c (L,) stands where. Every derivative is one of the short vector c, and what a matrix M is to C is what its sums over
the places of each value are to c:

    <M, C> = sum_l m_l c_l(rho),   m_l = sum of M_ab over pattern[a, b] = l
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from openreml_core.covariance.structure import forward_derivatives, reverse_curvature
from openreml_core.covariance.treelike import Treelike

#: How near a correlation may come to its bound while the search runs.
EDGE = 1e-7


class Correlation(Treelike, ABC):
    """A correlation matrix C(rho), (k, k).

    Parameters
    ----------
    pattern : Tensor of shape (k, k), int64
        Which of the values stands where.

    Attributes
    ----------
    keyword : str
        How formulas call it.
    labels : tuple of str
        Names of rho's elements: ``("rho",)``.
    kind : str
        What they are: ``"correlation"``, ``"range"``, ``"weight"``.
    """

    keyword: str = ""
    kind: str = "correlation"
    labels: tuple[str, ...] = ("rho",)
    #: Whether every value but the diagonal's is a parameter itself.
    is_free: bool = False
    #: Whether it can become constant: then its variance may grow without end beside it.
    levels_out: bool = False

    def __init__(self, pattern: Tensor) -> None:
        self.pattern = pattern

    @property
    def size(self) -> int:
        """k."""
        return self.pattern.shape[0]

    @property
    def n_parameters(self) -> int:
        """Number of elements of rho."""
        return len(self.labels)

    # -- the values -----------------------------------------------------------------------------------------------

    @abstractmethod
    def values(self, rho: Tensor) -> Tensor:
        """c(rho), (L,)."""

    def slopes(self, rho: Tensor) -> Tensor:
        """dc / d rho, (L, m); by forward-mode autograd unless a correlation knows better."""
        return torch.stack(list(forward_derivatives(self.values, rho)), dim=1)

    def bend(self, rho: Tensor, weights: Tensor) -> Tensor:
        """sum_l weights_l d2c_l / d rho2, (m, m); by autograd unless a correlation knows better."""
        return reverse_curvature(self.values, rho, weights)

    def adjacent(self, rho: Tensor) -> tuple[float, Tensor]:
        """Correlation q of nearest neighbours, 1 or -1 where C is constant, and dq / d rho (m,); for those that level out."""
        return 0.0, torch.zeros_like(rho)

    # -- the matrix -----------------------------------------------------------------------------------------------

    def matrix(self, rho: Tensor) -> Tensor:
        """C(rho), (k, k) with ones on its diagonal."""
        return self.values(rho)[self.pattern]

    def summed(self, m: Tensor, count: int) -> Tensor:
        """Sums of M (k, k) over the places of each of ``count`` values."""
        return torch.zeros(count, dtype=m.dtype).index_add(0, self.pattern.reshape(-1), m.reshape(-1))

    def derivatives(self, rho: Tensor) -> Iterator[Tensor]:
        """dC / d rho, a (k, k) matrix for each element."""
        for slope in self.slopes(rho).T if self.n_parameters else ():
            yield slope[self.pattern]

    def gradient(self, rho: Tensor, m: Tensor) -> Tensor:
        """<M, dC / d rho>, (m,)."""
        slopes = self.slopes(rho)
        return self.summed(m, len(slopes)) @ slopes

    def curvature(self, rho: Tensor, m: Tensor) -> Tensor:
        """<M, d2C / d rho2>, (m, m)."""
        return self.bend(rho, self.summed(m, len(self.values(rho))))

    # -- where rho may be -----------------------------------------------------------------------------------------

    @abstractmethod
    def start(self) -> Tensor:
        """rho to start from, (m,)."""

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds of rho; (-1, 1) unless a correlation knows better."""
        high = torch.full((self.n_parameters,), 1.0 - EDGE, dtype=torch.float64)
        return -high, high

    def typical(self) -> Tensor:
        """Size of each element, for the optimiser's region."""
        return torch.full((self.n_parameters,), 0.5, dtype=torch.float64)
