"""A random term of many effects with one variance, all of them in every row: a spline.

    V = s2 Z Z',   u ~ N(0, s2 I)

Z (n, q) is dense; the model sees a single variance, and each effect is one of its q independent copies.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from openreml_core.covariance.components import columns
from openreml_core.covariance.structure import Structure


@dataclass(frozen=True, eq=False)
class SmoothTerm:
    """A spline's share of V. The methods are GroupedTerm's, its effects being the levels.

    Attributes
    ----------
    name : str
    structure : Structure
        s2, a 1 x 1 matrix.
    levels : tuple of q str
        Names of the effects.
    z : Tensor of shape (n, q)
    """

    name: str
    structure: Structure
    levels: tuple[str, ...]
    z: Tensor
    #: Effects of a spline have no relationship.
    kernel = None

    @property
    def copies(self) -> int:
        """Number of effects, q."""
        return len(self.levels)

    @cached_property
    def together(self) -> Tensor:
        """Z Z', (n, n)."""
        return self.z @ self.z.T

    @cached_property
    def average(self) -> Tensor:
        """tr(Z Z') / n, (1, 1)."""
        return (self.z.square().sum() / len(self.z)).reshape(1, 1)

    @cached_property
    def scale(self) -> Tensor:
        """The standard deviation (1,) that contributes a variance of 1 to the average row of V."""
        return self.average[0].rsqrt()

    def add_to(self, v: Tensor, sigma: Tensor) -> Tensor:
        """V + s2 Z Z', written into V."""
        v += sigma * self.together
        return v

    def pair(self, s: Tensor) -> Tensor:
        """M (1, 1) with <S, s2 Z Z'> = M s2."""
        return (s * self.together).sum().reshape(1, 1)

    def collect(self, w: Tensor) -> Tensor:
        """Z' w: w (n, c) -> (q, 1, c)."""
        return (self.z.T @ w)[:, None, :]

    def spread(self, u: Tensor) -> Tensor:
        """Z u: u (q, 1, c) -> (n, c)."""
        return self.z @ u[:, 0, :]

    def apply(self, direction: Tensor, w: Tensor) -> Tensor:
        """D Z Z' w for D (1, 1) and w (n, c) -> (n, c)."""
        return direction[0, 0] * (self.z @ (self.z.T @ w))

    def working_variates(self, directions: Iterable[Tensor], w: Tensor) -> Tensor:
        """The same for every direction D (1, 1) and w (n,) -> (n, m)."""
        own = self.z @ (self.z.T @ w)
        return columns((d[0, 0] * own for d in directions), len(w))

    def frame(self, w: Tensor) -> Tensor:
        """Z' w: w (n, c) -> (q, c)."""
        return self.z.T @ w

    def inner(self, direction: Tensor, b: Tensor) -> Tensor:
        """D b: b (q, c)."""
        return direction[0, 0] * b

    def pair_frame(self, m: Tensor) -> Tensor:
        """(1, 1): the trace of M (q, q)."""
        return m.trace().reshape(1, 1)

    @property
    def incidence(self) -> tuple[Tensor, Tensor]:
        """Z by rows: columns (n, q), and what stands there."""
        return torch.arange(self.copies).expand(self.z.shape), self.z

    def shrunk(self, sigma: Tensor, inner: Tensor) -> Tensor:
        """s2 - s2 z_j' inner z_j s2 for every effect j: (q, 1, 1)."""
        return sigma - sigma.square() * (self.z * (inner @ self.z)).sum(dim=0).reshape(-1, 1, 1)
