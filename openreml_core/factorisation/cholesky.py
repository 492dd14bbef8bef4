"""Sparse Cholesky factors in dense blocks.

    P'A P = L L',   block by block of a supernode J with rows R below:

    L_JJ L_JJ' = A_JJ,   L_RJ = A_RJ L_JJ^-T,   A_RR -= L_RJ L_RJ'

the last for all blocks that R's columns lie in: right-looking, children before parents (Rothberg and Gupta 1993, SIAM J. Sci.
Comput. 14, 638-665). Small supernodes of one shape go through it together.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from openreml_core.factorisation.symbolic import Batch, Symbolic


class SparseCholesky:
    """The factor of one positive definite matrix.

    Parameters
    ----------
    symbolic : Symbolic
    flat : Tensor of shape (entries + 1,)
        The lower triangle of P'A P in blocks, as ``Symbolic.targets`` places it; overwritten by L.

    Attributes
    ----------
    log_det : float
        log|A|.
    pivots : Tensor of shape (q,)
        L's diagonal, in the order of elimination.

    Raises
    ------
    numpy.linalg.LinAlgError
        A is not positive definite.
    """

    def __init__(self, symbolic: Symbolic, flat: Tensor) -> None:
        self.symbolic, self.flat = symbolic, flat
        self.pivots = torch.empty(symbolic.size, dtype=torch.float64)
        for batch in symbolic.batches:
            self._eliminate(batch)
        self.log_det = 2 * float(self.pivots.log().sum())
        if not np.isfinite(self.log_det):
            raise np.linalg.LinAlgError

    def _eliminate(self, batch: Batch) -> None:
        w, block = batch.width, batch.view(self.flat)
        if w == 1:
            pivot = block[:, 0, 0]
            if not bool((pivot > 0).all()):
                raise np.linalg.LinAlgError
            root = pivot.sqrt()
            block /= root[:, None, None]
            self.pivots[batch.first] = root
        else:
            factor, failed = torch.linalg.cholesky_ex(block[:, :w])
            if bool(failed.any()):
                raise np.linalg.LinAlgError
            block[:, :w] = factor
            self.pivots[batch.columns] = factor.diagonal(dim1=1, dim2=2)
            if batch.below:
                block[:, w:] = torch.linalg.solve_triangular(factor.mT, block[:, w:], upper=True, left=False)
        if not batch.below:
            return
        if batch.lower is not None:
            own = block[:, w:]
            low = torch.tril_indices(batch.below, batch.below)
            update = (own[:, low[0]] * own[:, low[1]]).sum(dim=2) if w == 1 else (own @ own.mT)[:, low[0], low[1]]
            self.flat.index_add_(0, batch.lower[:, low[0], low[1]].reshape(-1), update.reshape(-1), alpha=-1)
            return
        own = block[0, w:]
        for target, cut, local, columns in blocks_above(self.symbolic, self.flat, batch):
            width = target.shape[1]
            if 2 * len(columns) > width:
                target.index_add_(0, local, own[cut.start :] @ spread(own[cut], columns, width).T, alpha=-1)
            else:
                places = (local[:, None] * width + columns).reshape(-1)
                target.view(-1).index_add_(0, places, (own[cut.start :] @ own[cut].T).reshape(-1), alpha=-1)

    def solve(self, x: Tensor) -> Tensor:
        """A^-1 x, (q, c)."""
        out = x[torch.from_numpy(self.symbolic.order)]
        for batch in self.symbolic.batches:
            w, block, columns = batch.width, batch.view(self.flat), batch.columns
            own = out[columns]
            own = own / block[:, :1] if w == 1 else torch.linalg.solve_triangular(block[:, :w], own, upper=False)
            out[columns] = own
            if batch.below:
                moved = block[:, w:] @ own
                out.index_add_(0, batch.rows.reshape(-1), moved.reshape(-1, x.shape[1]), alpha=-1)
        for batch in reversed(self.symbolic.batches):
            w, block, columns = batch.width, batch.view(self.flat), batch.columns
            own = out[columns]
            if batch.below:
                own = own - block[:, w:].mT @ out[batch.rows]
            out[columns] = (
                own / block[:, :1] if w == 1 else torch.linalg.solve_triangular(block[:, :w].mT, own, upper=True)
            )
        return out[torch.from_numpy(self.symbolic.place)]


def spread(x: Tensor, columns: Tensor, width: int) -> Tensor:
    """x (m, c) in some rows of (width, c)."""
    if len(columns) == width:
        return x
    out = torch.zeros(width, x.shape[1], dtype=x.dtype)
    out[columns] = x
    return out


def blocks_above(symbolic: Symbolic, flat: Tensor, batch: Batch) -> Iterator[tuple[Tensor, slice, Tensor, Tensor]]:
    """The blocks that hold what stands between the rows below of one large supernode.

    Yields
    ------
    block : Tensor of shape (w' + r', w')
        A supernode's block.
    cut : slice
        Which of the rows R are columns of it.
    local : Tensor, int64
        Where R from the cut's start on stands among its rows.
    columns : Tensor, int64
        Where the cut stands among its columns.
    """
    rows = batch.rows[0].numpy()
    owner = symbolic.of_column[rows]
    cuts = np.flatnonzero(np.diff(owner, prepend=-1, append=-2))
    mark = np.empty(symbolic.size, dtype=np.int64)
    for a, b in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        s = int(owner[a])
        first, w, below = int(symbolic.first[s]), int(symbolic.width[s]), symbolic.below[s]
        mark[first : first + w] = np.arange(w)
        mark[below] = np.arange(w, w + len(below))
        start = int(symbolic.start[s])
        block = flat[start : start + w * (w + len(below))].view(w + len(below), w)
        yield block, slice(a, b), torch.from_numpy(mark[rows[a:]]), torch.from_numpy(rows[a:b] - first)
