"""Several effects per level: blocks of similar size share a *bucket*, arrays padded to one size.

    D_j = Lambda'N_cc Lambda + I = F F',    Y_j = F^-1 Lambda'N_cb

A padded effect has 1 on its diagonal and meets nothing; a padded column of B_j belongs to a border column that is thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from openreml_core.engines.elimination import Elimination
from openreml_core.engines.engine import NotPositiveDefinite
from openreml_core.engines.levels import Factors

#: Sizes that blocks are padded to.
STEPS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256)


def padded(size: np.ndarray) -> np.ndarray:
    """The next step at or above each size; multiples of 64 beyond the last."""
    steps = np.array(STEPS)
    above = -(-size // 64) * 64
    return np.where(size <= steps[-1], steps[np.searchsorted(steps, np.minimum(size, steps[-1]))], above)


@dataclass(frozen=True, eq=False)
class Bucket:
    """Levels with blocks of one padded size.

    Attributes
    ----------
    levels, inner, border : int
        G, b, m: the arrays are (G, b, b) and (G, b, m).
    own : slice
        Where its (G, b) stand among the inner places.
    square, side : slice
        Where N's (G, b, b) and (G, b, m) stand among the entries.
    meets : Tensor of shape (G, m), int64
        The border column of each column of B_j; the border's size where padded.
    blocks : dict of int to (Tensor, Tensor)
        Of every term with effects here: which of its levels, and their flat places (., k, k) in the (G, b, b).
    """

    levels: int
    inner: int
    border: int
    own: slice
    square: slice
    side: slice
    meets: Tensor
    blocks: dict[int, tuple[Tensor, Tensor]]

    def local(self, t: Tensor) -> Tensor:
        """T among what each level meets, (G, m, m)."""
        return t[self.meets[:, :, None], self.meets[:, None, :]]


class BlockedLevels:
    """See :class:`openreml_core.engines.levels.Levels`."""

    def __init__(self, elimination: Elimination) -> None:
        self.elimination = elimination
        self.width = len(elimination.border)
        level, size = elimination.level, elimination.cross.size
        members = np.flatnonzero(elimination.is_inner)
        members = members[np.argsort(level[members], kind="stable")]
        b = np.bincount(level[members])
        self._met_level = elimination.meetings // size
        m = np.bincount(self._met_level, minlength=len(b))
        self._met_rank = np.arange(len(self._met_level)) - np.repeat(np.cumsum(m) - m, m)
        self._b, self._m = padded(b), padded(m)
        shapes = np.unique(np.column_stack([self._b, self._m]), axis=0).tolist()
        # Where each level's effects, its square and its side begin.
        self._own, self._square, self._side = (np.zeros(len(b), dtype=np.int64) for _ in range(3))
        self.size = self.entries = 0
        plans = []
        for size_b, size_m in shapes:
            which = np.flatnonzero((self._b == size_b) & (self._m == size_m))
            count, place = len(which), np.arange(len(which))
            sizes = (count * size_b, count * size_b**2, count * size_b * size_m)
            self._own[which] = self.size + place * size_b
            self._square[which] = self.entries + place * size_b**2
            self._side[which] = self.entries + sizes[1] + place * size_b * size_m
            plans.append((which, size_b, size_m, self.size, self.entries, sizes))
            self.size += sizes[0]
            self.entries += sizes[1] + sizes[2]
        self._position = np.zeros(size, dtype=np.int64)  # of a column within its level
        self._position[members] = np.arange(len(members)) - np.repeat(np.cumsum(b) - b, b)
        self.of_column = np.full(size, -1, dtype=np.int64)
        self.of_column[members] = self._own[level[members]] + self._position[members]
        self.places = {
            u: torch.from_numpy(
                self.of_column[elimination.starts[u] : elimination.starts[u + 1]].reshape(-1, elimination.sizes[u])
            )
            for u in elimination.inner_terms
        }
        self.buckets = tuple(self._bucket(*plan) for plan in plans)

    def _bucket(
        self, which: np.ndarray, size_b: int, size_m: int, own: int, entry: int, sizes: tuple[int, int, int]
    ) -> Bucket:
        meets = np.full((len(which), size_m), self.width, dtype=np.int64)
        mine = np.isin(self._met_level, which)
        row = np.zeros(len(self._b), dtype=np.int64)
        row[which] = np.arange(len(which))
        columns = self.elimination.meetings[mine] % self.elimination.cross.size
        meets[row[self._met_level[mine]], self._met_rank[mine]] = self.elimination.border_place[columns]
        blocks = {}
        for u, place in self.places.items():
            inside = (place[:, 0] >= own) & (place[:, 0] < own + sizes[0])
            local = place[inside] - own
            if len(local):
                flat = local[:, :, None] * size_b + (local % size_b)[:, None, :]
                blocks[u] = (inside.nonzero()[:, 0], flat)
        return Bucket(
            levels=len(which),
            inner=size_b,
            border=size_m,
            own=slice(own, own + sizes[0]),
            square=slice(entry, entry + sizes[1]),
            side=slice(entry + sizes[1], entry + sizes[1] + sizes[2]),
            meets=torch.from_numpy(meets),
            blocks=blocks,
        )

    def targets(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        level = self.elimination.level
        own, within = level[row], level[column] >= 0
        out = np.empty(len(row), dtype=np.int64)
        inside, r, c = own[within], row[within], column[within]
        out[within] = self._square[inside] + self._position[r] * self._b[inside] + self._position[c]
        outside, r, c = own[~within], row[~within], column[~within]
        rank = self._met_rank[np.searchsorted(self.elimination.meetings, outside * self.elimination.cross.size + c)]
        out[~within] = self._side[outside] + self._position[r] * self._m[outside] + rank
        return out

    def prepare(self, entries: Tensor) -> BlockedEquations:
        return BlockedEquations(self, entries)


@dataclass(frozen=True, eq=False)
class BlockedEquations:
    """The inner equations with N in them."""

    levels: BlockedLevels
    entries: Tensor

    @cached_property
    def parts(self) -> list[tuple[Bucket, Tensor, Tensor]]:
        """Every bucket with N within its levels, (G, b, b), and between them and the border, (G, b, m)."""
        return [
            (b, self.entries[b.square].reshape(b.levels, b.inner, b.inner),
             self.entries[b.side].reshape(b.levels, b.inner, b.border))
            for b in self.levels.buckets
        ]  # fmt: skip

    @cached_property
    def typical(self) -> dict[int, float]:
        """The mean of N's diagonal over the effects of every inner term."""
        out = {}
        for u in self.levels.places:
            own = [square.reshape(-1)[b.blocks[u][1]] for b, square, _ in self.parts if u in b.blocks]
            out[u] = float(torch.cat([d.diagonal(dim1=1, dim2=2).reshape(-1) for d in own]).mean())
        return out

    def at(self, factors: Factors) -> BlockedSolved:
        return BlockedSolved(self, factors)


class Block:
    """A bucket at one theta.

    Attributes
    ----------
    square, side : Tensor of shape (G, b, b), (G, b, m)
        N within the levels, and between them and the border.
    factor, y, back : Tensor of shape (G, b, b), (G, b, m), (G, b, b)
        F, Y and Lambda F^-T.
    """

    def __init__(self, bucket: Bucket, square: Tensor, side: Tensor, factors: Factors) -> None:
        self.bucket, self.square, self.side = bucket, square, side
        scale = torch.eye(bucket.inner, dtype=torch.float64).repeat(bucket.levels, 1, 1)
        for u, (_, flat) in bucket.blocks.items():
            scale.view(-1)[flat] = factors[u].expand(len(flat), -1, -1)
        d = scale.mT @ self.square @ scale
        d.diagonal(dim1=1, dim2=2).add_(1.0)
        self.factor, failed = torch.linalg.cholesky_ex(d)
        if bool(failed.any()):
            raise NotPositiveDefinite
        half = torch.linalg.solve_triangular(self.factor, scale.mT, upper=False)  # F^-1 Lambda'
        self.y, self.back = half @ self.side, half.mT

    def shape(self, t: Tensor) -> Tensor:
        """I + Y T Y', (G, b, b)."""
        out = self.y @ self.bucket.local(t) @ self.y.mT
        out.diagonal(dim1=1, dim2=2).add_(1.0)
        return out

    def spherical(self, t: Tensor) -> Tensor:
        """M = F^-T (I + Y T Y') F^-1."""
        left = torch.linalg.solve_triangular(self.factor.mT, self.shape(t), upper=True)
        return torch.linalg.solve_triangular(self.factor.mT, left.mT, upper=True)

    def covariance(self, t: Tensor) -> Tensor:
        """Lambda M Lambda'."""
        return self.back @ self.shape(t) @ self.back.mT

    def zpz(self, t: Tensor) -> Tensor:
        """Z'P Z = N_cc - N_cc Sigma N_cc ... by differences."""
        half = self.back.mT @ self.square
        side = self.side - half.mT @ self.y
        return self.square - half.mT @ half - side @ self.bucket.local(t) @ side.mT


class BlockedSolved:
    """See :class:`openreml_core.engines.levels.Solved`."""

    def __init__(self, prepared: BlockedEquations, factors: Factors) -> None:
        self.prepared, self.factors = prepared, factors
        self.levels = levels = prepared.levels
        self.blocks = [Block(*part, factors) for part in prepared.parts]
        self.log_det = sum(2 * float(b.factor.diagonal(dim1=1, dim2=2).log().sum()) for b in self.blocks)
        width = levels.width + 1
        flat = torch.zeros(width**2, dtype=torch.float64)
        for block in self.blocks:
            meets = block.bucket.meets
            place = meets[:, :, None] * width + meets[:, None, :]
            flat.index_add_(0, place.reshape(-1), (block.y.mT @ block.y).reshape(-1))
        self.absorbed = flat.reshape(width, width)[:-1, :-1]

    def _wide(self, x: Tensor) -> Tensor:
        """Border values with a zero for what is padded."""
        return torch.nn.functional.pad(x, (0, 0, 0, 1))

    def solution(self, known: Tensor) -> tuple[Tensor, Tensor]:
        u, w = torch.zeros(2, self.levels.size, dtype=torch.float64)
        for block in self.blocks:
            local = known[block.bucket.meets][:, :, None]
            own = -(block.back @ (block.y @ local))
            u[block.bucket.own] = own.reshape(-1)
            w[block.bucket.own] = -(block.side @ local + block.square @ own).reshape(-1)
        return u, w

    def times(self, inner: Tensor, border: Tensor) -> tuple[Tensor, Tensor]:
        c, known = inner.shape[1], self._wide(border)
        out_c, out_b = torch.zeros_like(inner), torch.zeros_like(known)
        for block in self.blocks:
            bucket = block.bucket
            own = inner[bucket.own].reshape(bucket.levels, bucket.inner, c)
            out_c[bucket.own] = (block.square @ own + block.side @ known[bucket.meets]).reshape(-1, c)
            out_b.index_add_(0, bucket.meets.reshape(-1), (block.side.mT @ own).reshape(-1, c))
        return out_c, out_b[:-1]

    def carry(self, inner: Tensor) -> tuple[Tensor, Tensor]:
        c = inner.shape[1]
        square = torch.zeros(c, c, dtype=torch.float64)
        border = torch.zeros(self.levels.width + 1, c, dtype=torch.float64)
        for block in self.blocks:
            bucket = block.bucket
            v = block.back.mT @ inner[bucket.own].reshape(bucket.levels, bucket.inner, c)
            flat = v.reshape(-1, c)
            square += flat.T @ flat
            border.index_add_(0, bucket.meets.reshape(-1), (block.y.mT @ v).reshape(-1, c))
        return square, border[:-1]

    def reduce(self, inner: Tensor) -> tuple[Tensor, Tensor]:
        c = inner.shape[1]
        local = torch.zeros_like(inner)
        border = torch.zeros(self.levels.width + 1, c, dtype=torch.float64)
        for block in self.blocks:
            bucket = block.bucket
            v = block.back.mT @ inner[bucket.own].reshape(bucket.levels, bucket.inner, c)
            local[bucket.own] = (block.back @ v).reshape(-1, c)
            border.index_add_(0, bucket.meets.reshape(-1), (block.y.mT @ v).reshape(-1, c))
        return local, border[:-1]

    def back(self, border: Tensor) -> Tensor:
        known = self._wide(border)
        out = torch.zeros(self.levels.size, border.shape[1], dtype=torch.float64)
        for block in self.blocks:
            own = block.back @ (block.y @ known[block.bucket.meets])
            out[block.bucket.own] = -own.reshape(-1, border.shape[1])
        return out

    def traces(self, t: Tensor) -> dict[int, Tensor]:
        """From M, L^-T (J I - sum M_jj) L^-1, where L is well away from singular; by differences otherwise."""
        typical = self.prepared.typical
        stable = {u: well_conditioned(self.factors[u], typical[u]) for u in self.levels.places}
        out = {u: torch.zeros_like(self.factors[u]) for u in self.levels.places}
        for block in self.blocks:
            present = block.bucket.blocks
            m = block.spherical(t) if any(stable[u] for u in present) else None
            zpz = block.zpz(t) if not all(stable[u] for u in present) else None
            for u, (_, flat) in present.items():
                if m is not None and stable[u]:
                    out[u] -= m.reshape(-1)[flat].sum(dim=0)
                    out[u].diagonal().add_(len(flat))
                elif zpz is not None:
                    out[u] += zpz.reshape(-1)[flat].sum(dim=0)
        for u in out:
            if stable[u]:
                half = torch.linalg.solve_triangular(self.factors[u].T, out[u], upper=True)
                out[u] = torch.linalg.solve_triangular(self.factors[u].T, half.T, upper=True)
        return out

    def on_pattern(self, t: Tensor) -> Tensor:
        out = torch.zeros(self.levels.entries, dtype=torch.float64)
        for block in self.blocks:
            across = block.y @ block.bucket.local(t)
            out[block.bucket.square] = block.covariance(t).reshape(-1)
            out[block.bucket.side] = -(block.back @ across).reshape(-1)
        return out

    def level_blocks(self, t: Tensor) -> dict[int, Tensor]:
        out = {}
        for u, place in self.levels.places.items():
            out[u] = torch.zeros(len(place), place.shape[1], place.shape[1], dtype=torch.float64)
        for block in self.blocks:
            square = block.covariance(t).reshape(-1)
            for u, (which, flat) in block.bucket.blocks.items():
                out[u][which] = square[flat]
        return out


def well_conditioned(factor: Tensor, typical: float) -> bool:
    """Whether Z'PZ is better had from M than by differences, for L and N's typical diagonal element."""
    smallest = float(factor.diagonal().abs().min())
    return smallest > 1e-3 * float(factor.abs().max()) and smallest**2 * typical > 1e-2
