"""A random term over places: every row shows one of the term's effects, at one of the grouping's levels.

    V_ij = Sigma[a(i), a(j)] K[g(i), g(j)]

with a(i) the place of row i and g(i) its level: Z has a single 1 in a row, and is never written out. So are spatial terms,
``exp(0 + pos(x, y) | block)``, whose effects are the distinct positions, as many of them as there are rows perhaps.
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
class PlacedTerm:
    """A random term's share of V where every row has one effect. The methods are GroupedTerm's.

    Attributes
    ----------
    name : str
    structure : Structure
        Sigma, over the k places.
    levels : tuple of str
        The q levels of the grouping.
    codes, index : Tensor of shape (n,), int64
        The level and the place of each row.
    kernel : Tensor of shape (q, q), optional
        K, the known relationship of the levels; the identity by default.
    """

    name: str
    structure: Structure
    levels: tuple[str, ...]
    codes: Tensor
    index: Tensor
    kernel: Tensor | None = None

    @property
    def copies(self) -> int:
        """How many independent copies of the effects there are, q."""
        return len(self.levels)

    @cached_property
    def _weights(self) -> Tensor:
        """K_gg of each row's level, (n,)."""
        one = torch.ones(len(self.codes), dtype=torch.float64)
        return one if self.kernel is None else self.kernel.diagonal()[self.codes]

    @cached_property
    def scale(self) -> Tensor:
        """Standard deviation (k,) with which the effects contribute a variance of 1 to the average row of V."""
        return self._weights.mean().rsqrt().expand(self.structure.size).clone()

    @cached_property
    def average(self) -> Tensor:
        """A (k, k) with tr(Z (Sigma (x) K) Z') / n = <A, Sigma>."""
        share = torch.zeros(self.structure.size, dtype=torch.float64).index_add(0, self.index, self._weights)
        return torch.diag(share / len(self.codes))

    @cached_property
    def occurs(self) -> Tensor:
        """Whether a level has rows at a place, (q, k)."""
        out = torch.zeros(len(self.levels), self.structure.size, dtype=torch.bool)
        out[self.codes, self.index] = True
        return out

    @cached_property
    def together(self) -> Tensor | None:
        """K between the levels of two rows, (n, n); None where it is 1 everywhere."""
        if self.kernel is not None:
            return self.kernel[self.codes][:, self.codes]
        return None if len(self.levels) == 1 else (self.codes[:, None] == self.codes[None, :]).double()

    def _weighed(self, whole: Tensor) -> Tensor:
        return whole if self.together is None else whole * self.together

    def _whole(self, sigma: Tensor) -> Tensor:
        return self._weighed(sigma[self.index][:, self.index])

    def add_to(self, v: Tensor, sigma: Tensor) -> Tensor:
        """V + Z (Sigma (x) K) Z', written into V."""
        v += self._whole(sigma)
        return v

    def pair(self, s: Tensor) -> Tensor:
        """M (k, k) with <S, Z (Sigma (x) K) Z'> = <M, Sigma>: S summed over the rows that share a place."""
        k, n = self.structure.size, len(self.index)
        rows = torch.zeros(k, n, dtype=s.dtype).index_add(0, self.index, self._weighed(s))
        return torch.zeros(k, k, dtype=s.dtype).index_add(1, self.index, rows)

    def collect(self, w: Tensor) -> Tensor:
        """(I (x) K) Z' w by level: w (n, c) -> (q, k, c)."""
        q, k = len(self.levels), self.structure.size
        out = torch.zeros(q * k, w.shape[1], dtype=w.dtype).index_add(0, self.codes * k + self.index, w)
        out = out.reshape(q, k, -1)
        return out if self.kernel is None else torch.einsum("jl,lkc->jkc", self.kernel, out)

    def spread(self, u: Tensor) -> Tensor:
        """Z u: u (q, k, c) -> (n, c)."""
        return u[self.codes, self.index]

    def apply(self, direction: Tensor, w: Tensor) -> Tensor:
        """Z (D (x) K) Z' w for D (k, k) and w (n, c) -> (n, c)."""
        return self._whole(direction) @ w

    def working_variates(self, directions: Iterable[Tensor], w: Tensor) -> Tensor:
        """Z (D_j (x) K) Z' w for every direction D (k, k) and w (n,) -> (n, m)."""
        return columns((self._whole(d) @ w for d in directions), len(w))

    def frame(self, w: Tensor) -> Tensor:
        """w: the frame is that of the rows."""
        return w

    def inner(self, direction: Tensor, b: Tensor) -> Tensor:
        """Z (D (x) K) Z' b."""
        return self.apply(direction, b)

    def pair_frame(self, m: Tensor) -> Tensor:
        """(k, k): what M (n, n) is to Sigma."""
        return self.pair(m)

    def shrunk(self, sigma: Tensor, inner: Tensor) -> Tensor:
        """K_jj Sigma - [(Sigma (x) K) Z' inner Z (Sigma (x) K)]_jj for every level j: (q, k, k)."""
        out = torch.empty(len(self.levels), *sigma.shape, dtype=sigma.dtype)
        right = sigma[self.index]  # Z Sigma of a level, but for K
        for j in range(len(self.levels)):
            if self.kernel is None:
                own = self.codes == j
                held, within, variance = right[own], inner[own][:, own], 1.0
            else:
                held, within = self.kernel[self.codes, j][:, None] * right, inner
                variance = float(self.kernel[j, j])
            out[j] = variance * sigma - held.T @ (within @ held)
        return out
