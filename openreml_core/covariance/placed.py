"""A random term over places: every row shows one of the term's effects, at one of the grouping's levels.

    V_ij = Sigma[a(i), a(j)] K[g(i), g(j)]

with a(i) the place of row i and g(i) its level: Z has a single 1 in a row, and is never written out. So are spatial terms,
``exp(0 + pos(x, y) | block)``, whose effects are the distinct positions, as many of them as there are rows perhaps, and
products of factors, ``kron(us(trait), ar1(time) | animal)``.

Rows of the same level and place share a *cell*. The component's frame is F (n, c), the rows' cells, of which there are no
more than rows: V_k = F E(D_k) F' with E(D) the directions between cells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from openreml_core.covariance.components import columns
from openreml_core.covariance.kernel import Kernel, related, written_out
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
    kernel : Tensor of shape (q, q) or KnownInverse, optional
        K, the known relationship of the levels; the identity by default.
    everywhere : bool
        Whether every level has an effect at every place, seen or not; else only where it has rows (BLUPs are of these).
    """

    name: str
    structure: Structure
    levels: tuple[str, ...]
    codes: Tensor
    index: Tensor
    kernel: Kernel | None = None
    everywhere: bool = False

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
        """Whether a level has an effect at a place, (q, k)."""
        out = torch.full((len(self.levels), self.structure.size), self.everywhere)
        out[self.codes, self.index] = True
        return out

    @cached_property
    def cells(self) -> tuple[Tensor, Tensor, Tensor]:
        """The cell of each row, (n,), and every cell's level and place, (c,); cells are in the order of their first rows."""
        k, n = self.structure.size, len(self.codes)
        _, own = torch.unique(self.codes * k + self.index, return_inverse=True)
        count = int(own.max()) + 1
        first = torch.full((count,), n).scatter_reduce(0, own, torch.arange(n), "amin")
        order = first.argsort()
        rank = torch.empty_like(order).index_copy(0, order, torch.arange(count))
        return rank[own], self.codes[first[order]], self.index[first[order]]

    @cached_property
    def _single(self) -> bool:
        """Whether every row has a cell of its own: cells then are rows."""
        return len(self.cells[1]) == len(self.codes)

    @cached_property
    def together(self) -> Tensor | None:
        """K between the levels of two cells, (c, c); None where it is 1 everywhere."""
        _, codes, _ = self.cells
        if self.kernel is not None:
            return written_out(self.kernel)[codes][:, codes]
        return None if len(self.levels) == 1 else (codes[:, None] == codes[None, :]).double()

    def _between(self, sigma: Tensor) -> Tensor:
        """E(Sigma) between cells, (c, c)."""
        _, _, index = self.cells
        whole = sigma[index][:, index]
        return whole if self.together is None else whole * self.together

    def add_to(self, v: Tensor, sigma: Tensor) -> Tensor:
        """V + Z (Sigma (x) K) Z', written into V."""
        between, rows = self._between(sigma), self.cells[0]
        v += between if self._single else between[rows][:, rows]
        return v

    def pair(self, s: Tensor) -> Tensor:
        """M (k, k) with <S, Z (Sigma (x) K) Z'> = <M, Sigma>."""
        return self.pair_frame(self.frame(self.frame(s).T))

    def collect(self, w: Tensor) -> Tensor:
        """(I (x) K) Z' w by level: w (n, c) -> (q, k, c)."""
        q, k = len(self.levels), self.structure.size
        out = torch.zeros(q * k, w.shape[1], dtype=w.dtype).index_add(0, self.codes * k + self.index, w)
        return related(self.kernel, out.reshape(q, k, -1))

    def spread(self, u: Tensor) -> Tensor:
        """Z u: u (q, k, c) -> (n, c)."""
        return u[self.codes, self.index]

    def apply(self, direction: Tensor, w: Tensor) -> Tensor:
        """Z (D (x) K) Z' w for D (k, k) and w (n, c) -> (n, c)."""
        return self.inner(direction, self.frame(w))[self.cells[0]]

    def working_variates(self, directions: Iterable[Tensor], w: Tensor) -> Tensor:
        """Z (D_j (x) K) Z' w for every direction D (k, k) and w (n,) -> (n, m)."""
        return columns((self.apply(d, w[:, None])[:, 0] for d in directions), len(w))

    def frame(self, w: Tensor) -> Tensor:
        """F' w: sums over the rows of a cell."""
        rows, codes, _ = self.cells
        return w if self._single else torch.zeros(len(codes), w.shape[1], dtype=w.dtype).index_add(0, rows, w)

    def inner(self, direction: Tensor, b: Tensor) -> Tensor:
        """E(D) b."""
        return self._between(direction) @ b

    def pair_frame(self, m: Tensor) -> Tensor:
        """(k, k): what M (c, c) is to Sigma, sums over the cells that share a place."""
        _, codes, index = self.cells
        m, k = m if self.together is None else m * self.together, self.structure.size
        rows = torch.zeros(k, len(codes), dtype=m.dtype).index_add(0, index, m)
        return torch.zeros(k, k, dtype=m.dtype).index_add(1, index, rows)

    @property
    def incidence(self) -> tuple[Tensor, Tensor]:
        """Z by rows: columns (n, 1), and ones."""
        place = (self.codes * self.structure.size + self.index)[:, None]
        return place, torch.ones(place.shape, dtype=torch.float64)

    def shrunk(self, sigma: Tensor, inner: Tensor) -> Tensor:
        """K_jj Sigma - [(Sigma (x) K) Z' inner Z (Sigma (x) K)]_jj for every level j: (q, k, k)."""
        out = torch.empty(len(self.levels), *sigma.shape, dtype=sigma.dtype)
        _, codes, index = self.cells
        kernel = None if self.kernel is None else written_out(self.kernel)
        right, within = sigma[index], self.frame(self.frame(inner).T)  # F'Z Sigma of a level, but for K
        for j in range(len(self.levels)):
            if kernel is None:
                own = codes == j
                out[j] = sigma - right[own].T @ within[own][:, own] @ right[own]
            else:
                held = kernel[codes, j][:, None] * right
                out[j] = kernel[j, j] * sigma - held.T @ (within @ held)
        return out
