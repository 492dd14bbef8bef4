"""One effect per level, of one term: every block is a number, and what levels meet is kept as a ragged list.

With lambda = L_t, d_g = lambda^2 N_gg + 1 and N_gi what level g has in common with border column i,

    sum_g Y_g'Y_g   = sum_g (lambda^2 / d_g) N_gi N_gj     = K (lambda^2 / d),    K = [N_gi N_gj], a row for each (i, j)
    Y_g T Y_g'      = (lambda^2 / d_g) sum_ij N_gi T_ij N_gj = (lambda^2 / d) K'vec(T)
    [Z'P Z]_gg      = N_gg / d_g - K'vec(T)_g / d_g^2

K is sparse and, where N is fixed, computed once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from openreml_core.engines.elimination import Elimination
from openreml_core.engines.levels import Factors

#: Beyond so many pairs K would take too much memory: N_cb is then multiplied densely, some levels at a time.
MOST_PAIRS = 3e7


class ScalarLevels:
    """See :class:`openreml_core.engines.levels.Levels`."""

    def __init__(self, elimination: Elimination) -> None:
        (self.term,) = elimination.inner_terms
        self.elimination = elimination
        self.size = int(elimination.starts[self.term + 1] - elimination.starts[self.term])
        self.places = {self.term: torch.arange(self.size)[:, None]}
        self.of_column = np.where(elimination.is_inner, elimination.level, -1)
        size = elimination.cross.size
        self.level = elimination.meetings // size
        self.column = elimination.border_place[elimination.meetings % size]
        self.entries = self.size + len(self.level)
        self.width = len(elimination.border)

    def targets(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        level = self.elimination.level
        within = level[column] >= 0
        out = np.empty(len(row), dtype=np.int64)
        out[within] = level[row[within]]
        key = level[row[~within]] * self.elimination.cross.size + column[~within]
        out[~within] = self.size + np.searchsorted(self.elimination.meetings, key)
        return out

    @cached_property
    def few_pairs(self) -> bool:
        """Whether K finds room."""
        counts = np.bincount(self.level, minlength=self.size).astype(float)
        return bool((counts * (counts + 1)).sum() / 2 <= MOST_PAIRS)

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray, sparse.csr_array]:
        """Pairs of what a level meets, i <= j, in the order of K's entries; K's pattern."""
        counts = np.bincount(self.level, minlength=self.size)
        ends = np.cumsum(counts)
        own = np.arange(len(self.level))
        later = ends[self.level] - own  # how many entries of its level stand at or behind each
        first = np.repeat(own, later)
        second = first + np.arange(len(first)) - np.repeat(np.cumsum(later) - later, later)
        row = self.column[first] * self.width + self.column[second]
        k = sparse.csr_array(
            (np.arange(len(first), dtype=np.float64), (row, self.level[first])), shape=(self.width**2, self.size)
        )
        order = k.data.astype(np.int64)
        return first[order], second[order], k

    def prepare(self, entries: Tensor) -> Meetings:
        square, side = entries[: self.size], entries[self.size : self.entries]
        meeting = sparse.csr_array((side.numpy(), (self.level, self.column)), shape=(self.size, self.width))
        return Meetings(self, square, side, meeting)


@dataclass(frozen=True, eq=False)
class Meetings:
    """N_cc (size,), and N_cb as a ragged list and as a sparse matrix (size, B)."""

    levels: ScalarLevels
    square: Tensor
    side: Tensor
    meeting: sparse.csr_array

    def at(self, factors: Factors) -> ScalarSolved:
        return ScalarSolved(self, float(factors[self.levels.term][0, 0]))

    @cached_property
    def _products(self) -> sparse.csr_array:
        """K."""
        first, second, k = self.levels.pairs
        value = self.side.numpy()
        return sparse.csr_array((value[first] * value[second], k.indices, k.indptr), shape=k.shape)

    def _portions(self) -> Iterator[tuple[slice, Tensor]]:
        """N_cb densely, some levels at a time."""
        step = max(2**22 // self.levels.width, 1)
        for start in range(0, self.levels.size, step):
            where = slice(start, min(start + step, self.levels.size))
            yield where, torch.from_numpy(self.meeting[where].toarray())

    def weighed(self, weight: Tensor) -> Tensor:
        """N_bc diag(weight) N_cb, (B, B)."""
        width = self.levels.width
        if not self.levels.few_pairs:
            out = torch.zeros(width, width, dtype=torch.float64)
            for where, n in self._portions():
                out.addmm_(n.T, weight[where][:, None] * n)
            return out
        upper = torch.from_numpy(self._products @ weight.numpy()).reshape(width, width)
        return upper + upper.T - torch.diag(upper.diagonal())

    def through(self, t: Tensor) -> Tensor:
        """sum_ij N_gi T_ij N_gj of every level, (size,), for T (B + 1, B + 1)."""
        width = self.levels.width
        t = t[:width, :width]
        if not self.levels.few_pairs:
            return torch.cat([((n @ t) * n).sum(dim=1) for _, n in self._portions()])
        upper = 2 * t
        upper.diagonal().mul_(0.5)
        return torch.from_numpy(self._products.T @ upper.reshape(-1).numpy())

    def across(self, t: Tensor) -> Tensor:
        """sum_j N_gj T_ji for every level g and every i that it meets, as the ragged list has them."""
        level, column = self.levels.level, self.levels.column
        if not self.levels.few_pairs:
            width, parts = self.levels.width, []
            for where, n in self._portions():
                mine = slice(*np.searchsorted(level, [where.start, where.stop]).tolist())
                parts.append((n @ t[:width, :width])[level[mine] - where.start, column[mine]])
            return torch.cat(parts)
        first, second, _ = self.levels.pairs
        value, met = self.side.numpy(), t.numpy()[column[first], column[second]]
        out = np.bincount(first, weights=met * value[second], minlength=len(value))
        apart = first != second
        out += np.bincount(second[apart], weights=(met * value[first])[apart], minlength=len(value))
        return torch.from_numpy(out)


class ScalarSolved:
    """See :class:`openreml_core.engines.levels.Solved`."""

    def __init__(self, n: Meetings, scale: float) -> None:
        self.n, self.levels, self.square = n, n.levels, n.square
        self.d = scale**2 * self.square + 1
        #: lambda^2 / d
        self.ratio = scale**2 / self.d
        self.log_det = float(self.d.log().sum())
        self.absorbed = n.weighed(self.ratio)

    def _cb(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.n.meeting @ x.numpy())

    def _bc(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.n.meeting.T @ x.numpy())

    def solution(self, known: Tensor) -> tuple[Tensor, Tensor]:
        met = self._cb(known[:-1])
        u = -self.ratio * met
        return u, -(met + self.square * u)

    def times(self, inner: Tensor, border: Tensor) -> tuple[Tensor, Tensor]:
        return self.square[:, None] * inner + self._cb(border), self._bc(inner)

    def carry(self, inner: Tensor) -> tuple[Tensor, Tensor]:
        weighed = self.ratio[:, None] * inner
        return inner.T @ weighed, self._bc(weighed)

    def reduce(self, inner: Tensor) -> tuple[Tensor, Tensor]:
        weighed = self.ratio[:, None] * inner
        return weighed, self._bc(weighed)

    def back(self, border: Tensor) -> Tensor:
        return -self.ratio[:, None] * self._cb(border)

    def traces(self, t: Tensor) -> dict[int, Tensor]:
        zpz = self.square / self.d - self.n.through(t) / self.d.square()
        return {self.levels.term: zpz.sum().reshape(1, 1)}

    def level_blocks(self, t: Tensor) -> dict[int, Tensor]:
        blocks = self.ratio + self.ratio.square() * self.n.through(t)
        return {self.levels.term: blocks[:, None, None]}

    def on_pattern(self, t: Tensor) -> Tensor:
        side = -self.ratio[torch.from_numpy(self.levels.level)] * self.n.across(t)
        return torch.cat([self.level_blocks(t)[self.levels.term][:, 0, 0], side])
