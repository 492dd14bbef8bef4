"""Where the Cholesky factor of a sparse matrix has entries, and its columns in blocks.

    P'A P = L L'

With struct(j) the rows of L's column j below the diagonal and parent(j) the first of them,

    struct(j) = A's rows below j, and struct(c) less j of every c with parent(c) = j

Columns of one chain c -> parent(c) with the same rows below are a *supernode*: a dense block of w columns and w + r rows. A
child is merged into the parent behind it while that adds few zeros (Ashcraft and Grimes 1989, ACM Trans. Math. Softw. 15,
291-309). Blocks lie in one vector. Those of one height in the tree do not depend on each other, and small ones of one
shape are a *batch*, handled by one operation.

(Liu 1990, SIAM J. Matrix Anal. Appl. 11, 134-172, on the tree.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from openreml_core.factorisation.ordering import elimination_order

#: Largest share of zeros that merging may leave in supernodes of up to so many columns.
MERGED = ((4, 1.0), (16, 0.5), (48, 0.15), (10**9, 0.04))
#: Rows below of a supernode up to which several are a batch.
BATCHED = 48
#: Columns of a supernode: wider ones are cut, so that most of the work is multiplying large matrices.
WIDEST = 384
#: Places that one batch may list.
LISTED = 4_000_000


class TooLarge(ArithmeticError):
    """The factor would have more entries than allowed; ``entries`` says how many were counted up to there."""

    def __init__(self, entries: float) -> None:
        super().__init__(f"more than {entries:,.0f} entries")
        self.entries = entries


@dataclass(frozen=True, eq=False)
class Batch:
    """Supernodes of one height and shape, independent of each other.

    Attributes
    ----------
    first : Tensor of shape (G,), int64
        Their first columns.
    width, below : int
        w, r.
    block : slice
        Where the (G, w + r, w) stand in the vector of blocks.
    rows : Tensor of shape (G, r), int64
    lower : Tensor of shape (G, r, r), int64, or None
        Where the entries between the rows below stand, a mirror image for both of its places; None for one large supernode.
    """

    first: Tensor
    width: int
    below: int
    block: slice
    rows: Tensor
    lower: Tensor | None

    @cached_property
    def columns(self) -> Tensor:
        """Its columns, (G, w)."""
        return self.first[:, None] + torch.arange(self.width)

    def view(self, flat: Tensor) -> Tensor:
        """(G, w + r, w) of a vector of blocks."""
        return flat[self.block].view(len(self.first), self.width + self.below, self.width)


class Symbolic:
    """The pattern of a factor.

    Parameters
    ----------
    pattern : sparse array of shape (q, q)
        Symmetric, the diagonal in it.
    cholmod : bool
        Whether the order is AMD's, from cvxopt.
    most : float
        Entries that the factor may have.

    Attributes
    ----------
    order, place : int64 arrays of shape (q,)
        The column eliminated at each step, and the step of each column.
    entries : int
        Length of the vector of blocks, zeros of merging in it.
    multiplications : float
        About what a factorisation takes.
    batches : tuple of Batch
        Children before parents.

    Raises
    ------
    TooLarge
    """

    def __init__(self, pattern: sparse.sparray, cholmod: bool = False, most: float = np.inf) -> None:
        pattern = sparse.csc_array(pattern)
        self.size = pattern.shape[0]
        self.order = elimination_order(pattern, cholmod)
        first, below = supernodes(sparse.csc_array(pattern[self.order][:, self.order]), most)
        first, below = cut(*merged(first, below, self.size), self.size)
        self.place = np.empty(self.size, dtype=np.int64)
        self.place[self.order] = np.arange(self.size)
        self.first, self.below = first, below
        self.width = np.diff(np.append(first, self.size))
        self.count = np.array([len(rows) for rows in below], dtype=np.int64)
        own = self.width * (self.width + self.count)
        self.entries = int(own.sum())
        w, r = self.width.astype(float), self.count.astype(float)
        self.multiplications = float((w**3 / 3 + w**2 * r + w * r**2).sum() / 2)
        self.of_column = np.repeat(np.arange(len(first)), self.width)
        self.parent = np.array([self.of_column[rows[0]] if len(rows) else -1 for rows in below], dtype=np.int64)
        self._lay_out(own)

    def _lay_out(self, own: np.ndarray) -> None:
        height = np.zeros(len(self.first), dtype=np.int64)
        for s, p in enumerate(self.parent.tolist()):
            if p >= 0:
                height[p] = max(height[p], height[s] + 1)
        large = self.count > BATCHED
        key = np.where(large, np.arange(len(self.first)), -1)
        order = np.lexsort((key, self.count, self.width, height))
        self.start = np.zeros(len(self.first), dtype=np.int64)
        self.start[order] = np.cumsum(own[order]) - own[order]
        # Rows of all supernodes in one sorted list: own columns, then those below.
        every = [
            np.concatenate([np.arange(a, a + w), b]) for a, w, b in zip(self.first, self.width, self.below, strict=True)
        ]
        self._row_start = np.concatenate([[0], np.cumsum(self.width + self.count)])
        owner = np.repeat(np.arange(len(self.first)), self.width + self.count)
        self._rows = owner * self.size + (np.concatenate(every) if every else np.zeros(0, dtype=np.int64))
        same = [a[order][1:] != a[order][:-1] for a in (key, self.count, self.width, height)]
        cuts = np.flatnonzero(np.logical_or.reduce(same)) + 1
        self.batches = tuple(b for which in np.split(order, cuts) if len(which) for b in self._batches(which, large))

    def _batches(self, which: np.ndarray, large: np.ndarray) -> list[Batch]:
        w, r = int(self.width[which[0]]), int(self.count[which[0]])
        each = max(LISTED // max(r * r, w * (w + r)), 1)
        out = []
        for begin in range(0, len(which), each):
            part = which[begin : begin + each]
            rows = np.array([self.below[s] for s in part], dtype=np.int64).reshape(len(part), r)
            lower = None
            if not large[part[0]]:
                high = np.maximum(rows[:, :, None], rows[:, None, :])
                low = np.minimum(rows[:, :, None], rows[:, None, :])
                lower = torch.from_numpy(self.positions(high.reshape(-1), low.reshape(-1)).reshape(high.shape))
            start = int(self.start[part[0]])
            block = slice(start, start + len(part) * w * (w + r))
            first = torch.from_numpy(self.first[part])
            out.append(Batch(first, w, r, block, torch.from_numpy(rows), lower))
        return out

    def positions(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Where entries of the permuted matrix, row >= column and on the pattern of L, stand in the vector of blocks."""
        s = self.of_column[column]
        local = np.searchsorted(self._rows, s * self.size + row) - self._row_start[s]
        return self.start[s] + local * self.width[s] + column - self.first[s]

    def targets(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """The same for entries of A, whichever triangle they are of."""
        a, b = self.place[row], self.place[column]
        return self.positions(np.maximum(a, b), np.minimum(a, b))


def supernodes(pattern: sparse.csc_array, most: float) -> tuple[np.ndarray, list[np.ndarray]]:
    """First columns (S,) of the supernodes of a pattern in its order, and the rows below of each."""
    pattern.sort_indices()
    size, ends, index = pattern.shape[0], pattern.indptr, pattern.indices.astype(np.int32)
    children: list[list[int]] = [[] for _ in range(size)]
    rows: list[np.ndarray] = []
    first, total = [], 0.0
    for j in range(size):
        own = index[ends[j] : ends[j + 1]]
        own = own[np.searchsorted(own, j + 1) :]
        kids = children[j]
        if len(kids) == 1:
            found = rows[kids[0]][1:]
            if len(own):
                place = np.searchsorted(found, own)
                if not (place[-1] < len(found) and (found[place] == own).all()):
                    found = np.union1d(found, own)
        elif kids:
            found = np.unique(np.concatenate([own, *(rows[k][1:] for k in kids)]))
        else:
            found = own
        chained = kids == [j - 1] and len(found) == len(rows[j - 1]) - 1
        if not chained:
            first.append(j)
        rows.append(found)
        total += len(found) + 1
        if total > most:
            raise TooLarge(total)
        if len(found):
            children[found[0]].append(j)
    begin = np.array(first, dtype=np.int64)
    last = np.append(begin[1:], size) - 1
    return begin, [rows[j].astype(np.int64) for j in last.tolist()]


def merged(first: np.ndarray, below: list[np.ndarray], size: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """First columns and rows below with children merged into the parents right behind them."""
    count = len(first)
    width = np.diff(np.append(first, size)).tolist()
    zeros, begin = [0.0] * count, first.tolist()
    gone = [False] * count
    rows = [len(b) for b in below]
    ahead = list(range(-1, count - 1))  # the supernode that ends where each begins
    for p in range(count):
        while (s := ahead[p]) >= 0 and rows[s] and below[s][0] < begin[p] + width[p]:
            w = width[s] + width[p]
            entries = w * (w + 1) / 2 + w * rows[p]
            more = zeros[s] + zeros[p] + width[s] * (width[p] + rows[p] - rows[s])
            if more > entries * next(share for limit, share in MERGED if w <= limit):
                break
            width[p], zeros[p], begin[p], ahead[p], gone[s] = w, more, begin[s], ahead[s], True
    kept = [s for s in range(count) if not gone[s]]
    return np.array([begin[s] for s in kept], dtype=np.int64), [below[s] for s in kept]


def cut(first: np.ndarray, below: list[np.ndarray], size: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """First columns and rows below with wide supernodes cut into several."""
    begin, rows = [], []
    for a, b, own in zip(first.tolist(), np.append(first[1:], size).tolist(), below, strict=True):
        pieces = -(-(b - a) // WIDEST)
        for end in np.linspace(a, b, pieces + 1).round().astype(int)[1:].tolist():
            begin.append(a)
            rows.append(np.concatenate([np.arange(end, b), own]))
            a = end
    return np.array(begin, dtype=np.int64), rows
