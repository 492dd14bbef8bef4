"""Which random effects are eliminated first, and where everything then stands.

The equations of a mixed model have a block for each level of a grouping factor as soon as every effect in the blocks belongs
to one level of it: genotypes, and with them genotype by year, by site, by site and year; batches, and casks within batches.
Those effects (the *inner* ones) are eliminated level by level; the rest (the *border*: other terms, X, y) is solved densely.

    A = [ D  B ]    D = diag(D_1 ... D_G),    S = C - sum_j B_j' D_j^-1 B_j
        [ B' C ]

B_j has columns only for what level j meets. Levels of similar size share a *bucket*, an array padded to one size: a padded
effect has 1 on its diagonal and meets nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from openreml_core.engines.crossproducts import CrossProducts
from openreml_core.model import MixedModel

#: Sizes that blocks are padded to.
STEPS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256)
#: What an operation on small blocks costs, relative to one in a large dense matrix.
SMALL = 8.0


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
        Where N's (G, b, b) and (G, b, m) stand among the flat entries.
    meets : Tensor of shape (G, m), int64
        The border column of each column of B_j; the border's size where padded.
    """

    levels: int
    inner: int
    border: int
    own: slice
    square: slice
    side: slice
    meets: Tensor

    def pairs(self, width: int) -> Tensor:
        """Flat places (G, m, m) of a (width, width) matrix that the products B_j' B_j belong to."""
        return self.meets[:, :, None] * width + self.meets[:, None, :]


@dataclass(frozen=True, eq=False)
class Layout:
    """Where columns of W and entries of N stand.

    Attributes
    ----------
    buckets : tuple of Bucket
    inner : tuple of int
        Terms whose effects are eliminated level by level.
    places : tuple of Tensor of shape (q, k), int64
        Of every term: among the inner places, or in the border.
    of_column : array of shape (Q,), int64
        The same for every column of W, X and y in the border.
    is_inner : array of shape (Q,), bool
    inner_size, border_size : int
        Number of inner places, padding included; border columns, y last.
    random : int
        Border columns that are random effects; they come first, then X, then y.
    flat : int
        Number of flat entries: buckets' squares and sides, then the border's square.
    target : Tensor of shape (nnz,), int64
        Where each entry of N goes; ``flat`` for those that their mirror image stands for.
    twice : Tensor of shape (nnz,)
        How often each counts in a trace: 2 where it stands for its mirror image, 0 where that stands for it.
    """

    buckets: tuple[Bucket, ...]
    inner: tuple[int, ...]
    places: tuple[Tensor, ...]
    of_column: np.ndarray
    is_inner: np.ndarray
    inner_size: int
    border_size: int
    random: int
    flat: int
    target: Tensor
    twice: Tensor


def padded(size: np.ndarray) -> np.ndarray:
    """The next step at or above each size; multiples of 64 beyond the last."""
    steps = np.array(STEPS)
    above = -(-size // 64) * 64
    return np.where(size <= steps[-1], steps[np.searchsorted(steps, np.minimum(size, steps[-1]))], above)


@dataclass(frozen=True, eq=False)
class _Columns:
    """Of every random column of W: its term and its level."""

    term: np.ndarray
    level: np.ndarray
    starts: np.ndarray
    sizes: tuple[int, ...]


def _columns(model: MixedModel) -> _Columns:
    sizes = [(len(t.levels), t.structure.size) for t in model.terms]
    term = np.repeat(np.arange(len(sizes)), [q * k for q, k in sizes]).astype(np.int64)
    level = np.concatenate([np.repeat(np.arange(q), k) for q, k in sizes] or [np.zeros(0, dtype=np.int64)])
    starts = np.cumsum([0] + [q * k for q, k in sizes])
    return _Columns(term, level, starts, tuple(k for _, k in sizes))


def lay_out(model: MixedModel, cross: CrossProducts, eliminate: int | None = None) -> Layout:
    """The cheapest elimination for a model, or the one level by level of term ``eliminate``."""
    columns = _columns(model)
    if eliminate is not None:
        return _arrange(model, cross, columns, _clusters(model, cross, columns, eliminate))
    best, cost = None, (cross.size - 1) ** 3.0
    for t in range(len(model.terms)):
        if model.terms[t].kernel is None:
            cluster = _clusters(model, cross, columns, t)
            found = _cost(cross, cluster, model)
            if found < cost:
                best, cost = cluster, found
    return _arrange(model, cross, columns, best)


def _clusters(model: MixedModel, cross: CrossProducts, columns: _Columns, t: int) -> np.ndarray:
    """For every column of W the level of term t that it belongs to, -1 for the border's."""
    out = np.full(cross.size, -1, dtype=np.int64)
    start, k = columns.starts[t], columns.sizes[t]
    first = (cross.column >= start) & (cross.column < columns.starts[t + 1]) & ((cross.column - start) % k == 0)
    row, level = cross.row[first], (cross.column[first] - start) // k
    for u, term in enumerate(model.terms):
        if term.kernel is not None:
            continue
        own = slice(columns.starts[u], columns.starts[u + 1])
        if u == t:
            out[own] = columns.level[own]
            continue
        mine = (row >= own.start) & (row < own.stop) & ((row - own.start) % columns.sizes[u] == 0)
        pairs = np.unique(np.column_stack([(row[mine] - own.start) // columns.sizes[u], level[mine]]), axis=0)
        if len(pairs) == len(term.levels):  # every level of u meets one level of t
            out[own] = np.repeat(pairs[:, 1], columns.sizes[u])
    return out


def _meetings(cross: CrossProducts, cluster: np.ndarray) -> np.ndarray:
    """Which border columns each level meets: (level, column) pairs in order, joined into one number."""
    side = (cluster[cross.row] >= 0) & (cluster[cross.column] < 0)
    return np.unique(cluster[cross.row[side]] * cross.size + cross.column[side])


def _cost(cross: CrossProducts, cluster: np.ndarray, model: MixedModel) -> float:
    """Multiplications of one evaluation, about."""
    b = np.bincount(cluster[cluster >= 0]).astype(float)
    m = np.bincount(_meetings(cross, cluster) // cross.size, minlength=len(b)).astype(float)
    border = float((cluster < 0).sum())
    return float(SMALL * (b**3 + b**2 * m + b * m**2).sum() + border**3)


def _arrange(model: MixedModel, cross: CrossProducts, columns: _Columns, cluster: np.ndarray | None) -> Layout:
    if cluster is None:
        cluster = np.full(cross.size, -1, dtype=np.int64)
    is_inner = cluster >= 0
    of_column = np.empty(cross.size, dtype=np.int64)
    of_column[~is_inner] = np.arange((~is_inner).sum())
    border = int((~is_inner).sum())
    target = np.full(len(cross.value), -1, dtype=np.int64)
    buckets: list[Bucket] = []
    inner_size = flat = 0
    if is_inner.any():
        members = np.flatnonzero(is_inner)
        members = members[np.argsort(cluster[members], kind="stable")]
        b = np.bincount(cluster[members])
        rank = np.arange(len(members)) - np.repeat(np.cumsum(b) - b, b)
        meetings = _meetings(cross, cluster)
        met_level, met_column = meetings // cross.size, meetings % cross.size
        m = np.bincount(met_level, minlength=len(b))
        met_rank = np.arange(len(meetings)) - np.repeat(np.cumsum(m) - m, m)
        shape_b, shape_m = padded(b), padded(m)
        base_own = np.zeros(len(b), dtype=np.int64)  # per level: where its effects, its square and its side begin
        base_square, base_side = base_own.copy(), base_own.copy()
        for size_b, size_m in np.unique(np.column_stack([shape_b, shape_m]), axis=0).tolist():
            which = np.flatnonzero((shape_b == size_b) & (shape_m == size_m))
            count, place = len(which), np.arange(len(which))
            base_own[which] = inner_size + place * size_b
            base_square[which] = flat + place * size_b * size_b
            base_side[which] = flat + count * size_b * size_b + place * size_b * size_m
            meets = np.full((count, size_m), border, dtype=np.int64)
            mine = np.isin(met_level, which)
            row_of = np.zeros(len(b), dtype=np.int64)
            row_of[which] = place
            meets[row_of[met_level[mine]], met_rank[mine]] = of_column[met_column[mine]]
            own, square = count * size_b, count * size_b * size_b
            buckets.append(
                Bucket(
                    levels=count,
                    inner=size_b,
                    border=size_m,
                    own=slice(inner_size, inner_size + own),
                    square=slice(flat, flat + square),
                    side=slice(flat + square, flat + square + own * size_m),
                    meets=torch.from_numpy(meets),
                )
            )
            inner_size += own
            flat += square + own * size_m
        of_column[members] = base_own[cluster[members]] + rank
        position = np.zeros(cross.size, dtype=np.int64)  # within its level
        position[members] = rank
        row_in, column_in = is_inner[cross.row], is_inner[cross.column]
        both = row_in & column_in
        lev = cluster[cross.row]
        target[both] = (
            base_square[lev[both]] + position[cross.row[both]] * shape_b[lev[both]] + position[cross.column[both]]
        )
        side = row_in & ~column_in
        key = lev[side] * cross.size + cross.column[side]
        column_rank = met_rank[np.searchsorted(meetings, key)]
        target[side] = base_side[lev[side]] + position[cross.row[side]] * shape_m[lev[side]] + column_rank
        mirrored = ~row_in & column_in
    else:
        side = mirrored = np.zeros(len(cross.value), dtype=bool)
    dense = ~is_inner[cross.row] & ~is_inner[cross.column]
    target[dense] = flat + of_column[cross.row[dense]] * border + of_column[cross.column[dense]]
    total = flat + border * border
    target[mirrored] = total
    places = tuple(
        torch.from_numpy(of_column[columns.starts[u] : columns.starts[u + 1]].reshape(-1, k))
        for u, k in enumerate(columns.sizes)
    )
    return Layout(
        buckets=tuple(buckets),
        inner=tuple(u for u in range(len(model.terms)) if is_inner[columns.starts[u]]),
        places=places,
        of_column=of_column,
        is_inner=is_inner,
        inner_size=inner_size,
        border_size=border,
        random=border - model.p - 1,
        flat=total,
        target=torch.from_numpy(target),
        twice=torch.from_numpy(np.where(side, 2.0, np.where(mirrored, 0.0, 1.0))),
    )


def spread_factors(layout: Layout, factors: Sequence[Tensor], bucket: Bucket) -> Tensor:
    """Lambda_j (G, b, b) of a bucket's levels: L_t on the diagonal for every effect of term t, 1 where padded."""
    scale = torch.eye(bucket.inner, dtype=torch.float64).repeat(bucket.levels, 1, 1).reshape(-1)
    for u in layout.inner:
        place = layout.places[u]
        mine = (place[:, 0] >= bucket.own.start) & (place[:, 0] < bucket.own.stop)
        local = place[mine] - bucket.own.start  # (levels, k)
        at = local[:, :, None] * bucket.inner + (local % bucket.inner)[:, None, :]
        scale[at] = factors[u].expand(len(local), -1, -1)
    return scale.reshape(bucket.levels, bucket.inner, bucket.inner)
