"""Correlated residuals: R is block diagonal, a block for each trial, subject, or whatever rows hang together.

    N = sum_g W_g' R_g^-1 W_g,    (P y)_g = R_g^-1 W_g e,    P_gg = R_g^-1 - R_g^-1 W_g M W_g' R_g^-1

Blocks with the same places have the same R_g: they share a *shape*, and R is factorised once for all of them. Within a shape the
columns that a block's rows meet are gathered densely, D_g = W_g without its empty columns; blocks that meet about as many are
multiplied as one batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from openreml_core.covariance import BlockResidual, IndependentResidual
from openreml_core.engines.blocked_levels import padded
from openreml_core.engines.crossproducts import wide_design
from openreml_core.engines.engine import NotPositiveDefinite
from openreml_core.engines.errors import Directions
from openreml_core.engines.inverse import cholesky_inverse
from openreml_core.model import MixedModel


@dataclass(frozen=True, eq=False)
class Share:
    """One part of R in the blocks of a shape.

    Attributes
    ----------
    part : int
        Which part.
    where : Tensor of shape (s,), int64
        The rows of a block that it is in.
    index : Tensor of shape (s,), int64
        Their places in Sigma.
    mask : Tensor of shape (s, s), optional
        What Sigma's elements are multiplied by: zero between blocks of the part, 1 / w on the diagonal of independent ones.
    """

    part: int
    where: Tensor
    index: Tensor
    mask: Tensor | None

    def spread(self, sigma: Tensor, size: int) -> Tensor:
        """The part's matrix over a block's rows, (m, m)."""
        own = sigma[self.index[:, None], self.index]
        if self.mask is not None:
            own = own * self.mask
        if len(self.where) == size:
            return own
        out = torch.zeros(size, size, dtype=torch.float64)
        out[self.where[:, None], self.where] = own
        return out

    def pair(self, s: Tensor, k: int) -> Tensor:
        """M (k, k) with <S, spread(Sigma)> = <M, Sigma>."""
        own = s if len(self.where) == len(s) else s[self.where[:, None], self.where]
        if self.mask is not None:
            own = own * self.mask
        left = torch.zeros(k, len(self.index), dtype=torch.float64).index_add(0, self.index, own)
        return torch.zeros(k, k, dtype=torch.float64).index_add(1, self.index, left)


@dataclass(frozen=True, eq=False)
class Batch:
    """Blocks of one shape that meet about as many columns.

    Attributes
    ----------
    columns : Tensor of shape (G, c), int64
        W's columns that each block meets, Q where padded.
    design : Tensor of shape (G, m, c)
        D_g.
    entries : slice
        Where its (G, c, c) stand among N's entries.
    rows : Tensor of shape (G, m), int64
        The rows of each block.
    """

    columns: Tensor
    design: Tensor
    entries: slice
    rows: Tensor

    def times(self, x: Tensor) -> Tensor:
        """D_g x, (G, m) or (G, m, r), for x (Q + 1,) or (Q + 1, r)."""
        own = x[self.columns]
        return (self.design @ own[..., None])[..., 0] if x.ndim == 1 else self.design @ own


@dataclass(frozen=True, eq=False)
class Shape:
    """Blocks with the same R."""

    rows: int
    count: int
    shares: tuple[Share, ...]
    batches: tuple[Batch, ...]


class BlockErrors:
    """See :class:`openreml_core.engines.errors.Errors`."""

    def __init__(self, model: MixedModel) -> None:
        self.sizes = tuple(part.structure.size for part in model.residuals)
        design = wide_design(model)
        self.size = design.shape[1]
        shapes, places, start = [], [], 0
        for shares, rows in shapes_of(model):
            batches = []
            for chosen, columns, dense in _gathered(design, rows):
                count, c = columns.shape
                entries, own = slice(start, start + count * c * c), torch.from_numpy(rows[chosen])
                batches.append(Batch(torch.from_numpy(columns), dense, entries, own))
                start += count * c * c
                full = np.broadcast_to(columns[:, :, None], (count, c, c))
                places.append((full.reshape(-1), full.transpose(0, 2, 1).reshape(-1)))
            shapes.append(Shape(rows.shape[1], len(rows), shares, tuple(batches)))
        self.shapes = tuple(shapes)
        row, column = (np.concatenate([p[i] for p in places]) for i in (0, 1))
        # Padded columns meet nothing: their entries, zeros, are counted at the last place.
        padding = (row == self.size) | (column == self.size)
        row, column = (np.where(padding, self.size - 1, x) for x in (row, column))
        # Effects whose values are zero meet as well, as far as the elimination is concerned.
        ones = sparse.csr_array((np.ones(design.nnz), design.indices, design.indptr), shape=design.shape)
        met = sparse.coo_array(ones.T @ ones)
        self.row = np.concatenate([row, met.coords[0].astype(np.int64)])
        self.column = np.concatenate([column, met.coords[1].astype(np.int64)])
        self.zeros = np.zeros(met.nnz)

    def at(self, sigmas: Sequence[Tensor]) -> SolvedBlocks:
        return SolvedBlocks(self, sigmas)


class SolvedBlocks:
    """See :class:`openreml_core.engines.errors.SolvedErrors`."""

    def __init__(self, errors: BlockErrors, sigmas: Sequence[Tensor]) -> None:
        self.errors = errors
        self.log_det, values = 0.0, []
        self.inverse: list[Tensor] = []
        for shape in errors.shapes:
            r = sum(s.spread(sigmas[s.part], shape.rows) for s in shape.shares)
            factor, failed = torch.linalg.cholesky_ex(r)
            if int(failed) or not bool(torch.isfinite(factor.diagonal()).all()):
                raise NotPositiveDefinite
            self.log_det += 2 * shape.count * float(factor.diagonal().log().sum())
            self.inverse.append(cholesky_inverse(factor))
            for batch in shape.batches:
                white = torch.linalg.solve_triangular(factor, batch.design, upper=False)
                values.append((white.mT @ white).reshape(-1).numpy())
        self.values = np.concatenate([*values, errors.zeros])

    def _shapes(self) -> Iterator[tuple[Shape, Tensor]]:
        return zip(self.errors.shapes, self.inverse, strict=True)

    def _parts(self, pairs: Iterator[tuple[Shape, Tensor]]) -> list[Tensor]:
        """M (k, k) of every part from S (m, m) of every shape."""
        out = [torch.zeros(k, k, dtype=torch.float64) for k in self.errors.sizes]
        for shape, s in pairs:
            for share in shape.shares:
                out[share.part] += share.pair(s, self.errors.sizes[share.part])
        return out

    def squares(self, e: Tensor) -> list[Tensor]:
        e = torch.nn.functional.pad(e, (0, 1))
        pairs = []
        for shape, inverse in self._shapes():
            py = torch.cat([batch.times(e) for batch in shape.batches]) @ inverse
            pairs.append((shape, py.T @ py))
        return self._parts(iter(pairs))

    def traces(self, m: Tensor) -> list[Tensor]:
        pairs = []
        for shape, inverse in self._shapes():
            inside = torch.zeros(shape.rows, shape.rows, dtype=torch.float64)
            for batch in shape.batches:
                c = batch.columns.shape[1]
                product = batch.design @ m[batch.entries].reshape(-1, c, c)
                inside += torch.einsum("gac,gbc->ab", product, batch.design)
            pairs.append((shape, shape.count * inverse - inverse @ inside @ inverse))
        return self._parts(iter(pairs))

    def _spread(self, shape: Shape, directions: Directions) -> Iterator[tuple[int, Tensor]]:
        """R_k over the shape's rows for every parameter in it, with the parameter's number."""
        starts = np.cumsum([0, *(len(own) for own in directions)])
        for share in shape.shares:
            for j, direction in enumerate(directions[share.part]):
                yield int(starts[share.part]) + j, share.spread(direction, shape.rows)

    def variates(self, e: Tensor, directions: Directions) -> tuple[Tensor, Tensor]:
        e = torch.nn.functional.pad(e, (0, 1))
        count = sum(len(own) for own in directions)
        out = torch.zeros(self.errors.size + 1, count, dtype=torch.float64)
        square = torch.zeros(count, count, dtype=torch.float64)
        for shape, inverse in self._shapes():
            numbers, spread = zip(*self._spread(shape, directions), strict=True)
            for batch in shape.batches:
                py = batch.times(e) @ inverse
                f = torch.stack([py @ d for d in spread], dim=2)  # (G, m, own parameters)
                solved = torch.einsum("ab,gbk->gak", inverse, f)
                into = torch.zeros(self.errors.size + 1, len(numbers), dtype=torch.float64)
                into.index_add_(0, batch.columns.reshape(-1), (batch.design.mT @ solved).reshape(-1, len(numbers)))
                out[:, list(numbers)] += into
                place = torch.tensor(numbers)
                square[place[:, None], place] += torch.einsum("gak,gal->kl", f, solved)
        return out[:-1], square

    def sandwiches(self, x: Tensor, directions: Directions) -> list[Tensor]:
        x = torch.nn.functional.pad(x, (0, 0, 0, 1))
        count = sum(len(own) for own in directions)
        out = [torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64) for _ in range(count)]
        for shape, inverse in self._shapes():
            for batch in shape.batches:
                own = inverse @ batch.times(x)  # (G, m, c)
                for k, direction in self._spread(shape, directions):
                    out[k] += torch.einsum("gac,gad->cd", own, direction @ own)
        return out

    def combined(self, x: Tensor, directions: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        count = x.shape[1]
        over = torch.zeros(self.errors.size + 1, count, dtype=torch.float64)
        square = torch.zeros(count, count, dtype=torch.float64)
        x = torch.nn.functional.pad(x, (0, 0, 0, 1))
        for shape, inverse in self._shapes():
            spread = [s.spread(directions[s.part], shape.rows) for s in shape.shares]
            direction = torch.stack(spread).sum(dim=0)
            for batch in shape.batches:
                f = direction @ (inverse @ batch.times(x))
                solved = inverse @ f
                over.index_add_(0, batch.columns.reshape(-1), (batch.design.mT @ solved).reshape(-1, count))
                square += torch.einsum("gac,gad->cd", f, solved)
        return over[:-1], square


def blocks_of(model: MixedModel) -> tuple[int, np.ndarray]:
    """The number of R's blocks, and each row's: rows that any part of R correlates are in one block."""
    first, second = [], []
    for part in model.residuals:
        if isinstance(part, BlockResidual):
            rows, codes = part.rows.numpy(), part.codes.numpy()
            leader = np.zeros(codes.max() + 1, dtype=np.int64)
            leader[codes[::-1]] = rows[::-1]
            first.append(rows)
            second.append(leader[codes])
    n = model.n
    if not first:
        return n, np.arange(n)
    links = (np.concatenate(first), np.concatenate(second))
    count, member = connected_components(
        sparse.csr_array((np.ones(len(links[0])), links), shape=(n, n)), directed=False
    )
    return int(count), member.astype(np.int64)


def shapes_of(model: MixedModel) -> list[tuple[tuple[Share, ...], np.ndarray]]:
    """The shapes of R: their parts, and the rows (G, m) of the blocks."""
    count, member = blocks_of(model)
    #: Of every part and row: the place in Sigma (-1 where it is not), the part's own block, the factor on the diagonal.
    place = np.full((len(model.residuals), model.n), -1, dtype=np.int64)
    block, weight = np.zeros_like(place), np.ones((len(model.residuals), model.n))
    for u, part in enumerate(model.residuals):
        assert isinstance(part, IndependentResidual | BlockResidual)
        rows = part.rows.numpy()
        if isinstance(part, IndependentResidual):
            place[u, rows], block[u, rows] = 0, np.arange(len(rows))
            weight[u, rows] = part.variance.numpy()[rows]
        else:
            place[u, rows], block[u, rows] = part.index.numpy(), part.codes.numpy()
    # Rows of a block in the order of their places, so that equal blocks look equal.
    order = np.lexsort((*place[::-1], member))
    ends = np.cumsum(np.bincount(member, minlength=count))
    found: dict[bytes, list[np.ndarray]] = {}
    for rows in np.split(order, ends[:-1]):
        own = block[:, rows]
        # A part's own blocks by their first row.
        same = np.argmax(own[:, :, None] == own[:, None, :], axis=2)
        key = place[:, rows].tobytes() + b"|" + same.tobytes() + weight[:, rows].tobytes()
        found.setdefault(key, []).append(rows)
    out = []
    for blocks in found.values():
        rows = blocks[0]
        shares = []
        for u, part in enumerate(model.residuals):
            where = np.flatnonzero(place[u, rows] >= 0)
            if not len(where):
                continue
            own = rows[where]
            if isinstance(part, IndependentResidual):
                mask: Tensor | None = torch.diag(torch.from_numpy(weight[u, own]))
            else:
                together = block[u, own][:, None] == block[u, own]
                mask = None if together.all() else torch.from_numpy(together.astype(float))
            shares.append(Share(u, torch.from_numpy(where), torch.from_numpy(place[u, own]), mask))
        out.append((tuple(shares), np.stack(blocks)))
    return out


def _gathered(design: sparse.csr_array, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, Tensor]]:
    """Blocks (G,) that meet about as many columns, these columns (G, c), and D_g (G, m, c)."""
    count, m = rows.shape
    own = design[rows.reshape(-1)]
    entries = np.flatnonzero(own.data)
    block = np.repeat(np.arange(count * m), np.diff(own.indptr))[entries]
    row, block, column, value = block % m, block // m, own.indices[entries].astype(np.int64), own.data[entries]
    size = design.shape[1]
    met, which = np.unique(block * size + column, return_inverse=True)
    met_block, met_column = met // size, met % size
    c = np.bincount(met_block, minlength=count)
    rank = np.arange(len(met)) - np.repeat(np.cumsum(c) - c, c)
    widths = padded(c)
    for width in np.unique(widths).tolist():
        chosen = np.flatnonzero(widths == width)
        place = np.full(count, -1, dtype=np.int64)
        place[chosen] = np.arange(len(chosen))
        columns = np.full((len(chosen), width), size, dtype=np.int64)
        mine = place[met_block] >= 0
        columns[place[met_block[mine]], rank[mine]] = met_column[mine]
        dense = np.zeros((len(chosen), m, width))
        inside = place[block] >= 0
        dense[place[block[inside]], row[inside], rank[which[inside]]] = value[inside]
        yield chosen, columns, torch.from_numpy(dense)
