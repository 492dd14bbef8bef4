"""The inner effects, eliminated together by a sparse Cholesky factor.

For models whose border would be too large if only one factor's levels were eliminated: crossed factors of many levels, and
levels whose relationship K is known by its sparse inverse. Of K nothing is ever written out: with u = (I (x) L_t) s the effects
s are N(0, K (x) I), and

    D = Lambda'N_cc Lambda + K^-1 (x) I,   log|V| = log|R| + log|D| + k log|K| + ...,   W = D^-1 Lambda'N_cb

is sparse and stays well-conditioned when a variance goes to zero. The border (X, y, terms with a dense K or a dense Z) follows
by W; M_cc = D^-1 + W T W' is needed on the pattern of D alone (``factorisation.selected``).

K^-1 couples all k effects of two levels: the pattern has k x k blocks. L_t stands for any root of Sigma_t (rotations.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from openreml_core.covariance.kernel import KnownInverse
from openreml_core.engines.elimination import Elimination
from openreml_core.engines.levels import Factors, Solved
from openreml_core.engines.sparse_solved import SparseSolved
from openreml_core.factorisation import Symbolic
from openreml_core.model import MixedModel


@dataclass(frozen=True, eq=False)
class Link:
    """Levels of two terms that meet, or of one term with themselves: blocks (m, k, k') of N.

    Attributes
    ----------
    first, second : int
        The terms.
    i, j : Tensor of shape (m,), int64
        The levels.
    own : slice
        Where the blocks stand among the entries.
    target : Tensor of shape (m, k, k'), int64
        Where they stand in the factor's blocks; a mirror image within a level at no place of its own.
    at : Tensor of shape (m, k, k'), int64
        The same, mirror images at the place of what they mirror.
    """

    first: int
    second: int
    i: Tensor
    j: Tensor
    own: slice
    target: Tensor
    at: Tensor

    def blocks(self, entries: Tensor) -> Tensor:
        """(m, k, k')."""
        return entries[self.own].reshape(self.at.shape)


@dataclass(frozen=True, eq=False)
class Precision:
    """K^-1 of one term: its entries on and below the diagonal.

    Attributes
    ----------
    value : Tensor of shape (m,)
    counts : Tensor of shape (m,)
        2 for entries below the diagonal, 1 on it.
    i, j : Tensor of shape (m,), int64
    at : Tensor of shape (m, k, k), int64
        Where the (i, j) blocks of D stand in the factor's blocks.
    """

    value: Tensor
    counts: Tensor
    i: Tensor
    j: Tensor
    at: Tensor


class SparseLevels:
    """See :class:`openreml_core.engines.levels.Levels`.

    Parameters
    ----------
    elimination : Elimination
        Every inner column a level of its own.
    model : MixedModel
    cholmod : bool
        Whether columns are ordered by cvxopt.
    most : float
        Entries that the factor may have.

    Raises
    ------
    openreml_core.factorisation.TooLarge
    """

    def __init__(self, elimination: Elimination, model: MixedModel, cholmod: bool, most: float = np.inf) -> None:
        self.elimination, self.model = elimination, model
        self.width = len(elimination.border)
        self.places: dict[int, Tensor] = {}
        self.of_column = np.full(elimination.cross.size, -1, dtype=np.int64)
        self.size = 0
        for u in elimination.inner_terms:
            q, k = len(model.terms[u].levels), elimination.sizes[u]
            self.places[u] = self.size + torch.arange(q * k).reshape(q, k)
            self.of_column[elimination.starts[u] : elimination.starts[u + 1]] = self.size + np.arange(q * k)
            self.size += q * k
        self._lists, self._keys, block_entries = self._meetings()
        precisions = {u: self._precision(u) for u in self.places}
        self.symbolic = Symbolic(self._pattern(precisions), cholmod, most)
        self.links = [self._link(*found) for found in self._lists]
        self.precisions = {u: Precision(*found, self._at(u, u, found[2], found[3])) for u, found in precisions.items()}
        self._side = block_entries
        self.entries = block_entries + len(elimination.meetings)
        self.border_column = elimination.border_place[elimination.meetings % elimination.cross.size]
        self.row = self.of_column[elimination.meetings // elimination.cross.size]

    def _term(self, column: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Term, level and effect of columns of W."""
        starts, sizes = self.elimination.starts, np.array(self.elimination.sizes, dtype=np.int64)
        term = np.searchsorted(starts, column, side="right") - 1
        local = column - starts[term]
        return term, local // sizes[term], local % sizes[term]

    def _meetings(
        self,
    ) -> tuple[list[tuple[int, int, np.ndarray, np.ndarray, slice]], dict[tuple[int, int], np.ndarray], int]:
        cross, sizes, terms = self.elimination.cross, self.elimination.sizes, list(self.places)
        inner = self.elimination.is_inner
        both = inner[cross.row] & inner[cross.column]
        (t, i, _), (s, j, _) = self._term(cross.row[both]), self._term(cross.column[both])
        lists, keys, end = [], {}, 0
        for x, first in enumerate(terms):
            for second in terms[: x + 1]:
                q = len(self.model.terms[second].levels)
                if first == second:
                    key = np.arange(q) * (q + 1)
                else:
                    mine = (t == first) & (s == second)
                    key = np.unique(i[mine] * q + j[mine])
                keys[first, second] = key
                length = len(key) * sizes[first] * sizes[second]
                lists.append((first, second, key // q, key % q, slice(end, end + length)))
                end += length
        return lists, keys, end

    def _precision(self, u: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        kernel, q = self.model.terms[u].kernel, len(self.model.terms[u].levels)
        inverse = kernel.inverse if isinstance(kernel, KnownInverse) else sparse.eye_array(q)
        below = sparse.coo_array(sparse.tril(inverse))
        i, j = (torch.from_numpy(c.astype(np.int64)) for c in below.coords)
        return torch.from_numpy(np.array(below.data, dtype=np.float64)), 2.0 - (i == j).double(), i, j

    def _pattern(self, precisions: dict[int, tuple[Tensor, Tensor, Tensor, Tensor]]) -> sparse.csc_array:
        pairs = [(t, s, torch.from_numpy(i), torch.from_numpy(j)) for t, s, i, j, _ in self._lists]
        pairs += [(u, u, found[2], found[3]) for u, found in precisions.items()]
        row, column = [], []
        for t, s, i, j in pairs:
            shape = (len(i), self.elimination.sizes[t], self.elimination.sizes[s])
            row.append(self.places[t][i][:, :, None].expand(shape).reshape(-1).numpy())
            column.append(self.places[s][j][:, None, :].expand(shape).reshape(-1).numpy())
        ends = np.concatenate(row), np.concatenate(column)
        half = sparse.csc_array((np.ones(len(ends[0])), ends), shape=(self.size, self.size))
        return sparse.csc_array(half + half.T)

    def _at(self, t: int, s: int, i: Tensor, j: Tensor) -> Tensor:
        """Where the blocks of levels i of term t and j of term s stand in the factor's blocks, (m, k, k')."""
        shape = (len(i), self.elimination.sizes[t], self.elimination.sizes[s])
        row = self.places[t][i][:, :, None].expand(shape).reshape(-1)
        column = self.places[s][j][:, None, :].expand(shape).reshape(-1)
        return torch.from_numpy(self.symbolic.targets(row.numpy(), column.numpy())).reshape(shape)

    def _link(self, t: int, s: int, i: np.ndarray, j: np.ndarray, own: slice) -> Link:
        first, second = torch.from_numpy(i), torch.from_numpy(j)
        at = self._at(t, s, first, second)
        target = at
        if t == s:
            target = at.clone()
            above = torch.triu_indices(at.shape[1], at.shape[1], offset=1)
            target[:, above[0], above[1]] = self.symbolic.entries
        return Link(t, s, first, second, own, target, at)

    def targets(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Of the two images of a meeting of two terms one is kept: the other goes to the end, unused."""
        sizes, inner = self.elimination.sizes, self.elimination.is_inner
        out = np.full(len(row), self.entries + self.width**2, dtype=np.int64)
        within = inner[column]
        t, i, a = self._term(row)
        s, j, b = self._term(np.where(within, column, row))
        for first, second, _, _, own in self._lists:
            mine = np.flatnonzero(within & (t == first) & (s == second))
            key = i[mine] * len(self.model.terms[second].levels) + j[mine]
            block = np.searchsorted(self._keys[first, second], key)
            out[mine] = own.start + (block * sizes[first] + a[mine]) * sizes[second] + b[mine]
        beside = np.flatnonzero(~within)
        key = self.elimination.level[row[beside]] * self.elimination.cross.size + column[beside]
        out[beside] = self._side + np.searchsorted(self.elimination.meetings, key)
        return out

    def prepare(self, entries: Tensor) -> SparseEquations:
        return SparseEquations(self, entries)


class SparseEquations:
    """N_cc as blocks and as a sparse matrix (size, size), N_cb as a sparse matrix (size, B)."""

    def __init__(self, levels: SparseLevels, entries: Tensor) -> None:
        self.levels, self.entries = levels, entries
        self.blocks = [link.blocks(entries) for link in levels.links]
        shape = (levels.size, levels.width)
        side = entries[levels._side : levels.entries].numpy()
        self.side = sparse.csr_array((side, (levels.row, levels.border_column)), shape=shape)
        places, values = [], []
        for link, block in zip(levels.links, self.blocks, strict=True):
            row = levels.places[link.first][link.i][:, :, None].expand(block.shape).reshape(-1).numpy()
            column = levels.places[link.second][link.j][:, None, :].expand(block.shape).reshape(-1).numpy()
            both = [(row, column), (column, row)] if link.first != link.second else [(row, column)]
            places += both
            values += [block.reshape(-1).numpy()] * len(both)
        rows, columns = (np.concatenate(each) for each in zip(*places, strict=True))
        self.square = sparse.csr_array((np.concatenate(values), (rows, columns)), shape=(levels.size, levels.size))

    def at(self, factors: Factors) -> Solved:
        return SparseSolved(self, factors)
