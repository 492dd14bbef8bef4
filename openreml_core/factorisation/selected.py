"""The inverse of a sparse matrix where its Cholesky factor has entries.

    M = A^-1,   Y = L_RJ L_JJ^-1:     M_RJ = -M_RR Y,   M_JJ = (L_JJ L_JJ')^-1 + Y'M_RR Y

for a supernode J with rows R below, parents before children: M_RR is then known, its entries are all on the pattern of L.
No other entry of the inverse is ever computed.

(Takahashi, Fagan and Chen 1973, Proc. 8th PICA Conference, 63-69; Erisman and Tinney 1975, Commun. ACM 18, 177-179.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from openreml_core.factorisation.cholesky import SparseCholesky, blocks_above, spread
from openreml_core.factorisation.symbolic import Batch, Symbolic


def selected_inverse(factor: SparseCholesky) -> Tensor:
    """M on the pattern of L, in blocks: (entries + 1,), the blocks' own squares whole."""
    symbolic = factor.symbolic
    m = torch.zeros_like(factor.flat)
    for batch in reversed(symbolic.batches):
        w, block, out = batch.width, batch.view(factor.flat), batch.view(m)
        own = block[:, :w]
        if w == 1:
            within = own.square().reciprocal()
        else:
            within = torch.cholesky_inverse(own)
        if not batch.below:
            out.copy_(within)
            continue
        y = block[:, w:] / own if w == 1 else torch.linalg.solve_triangular(own, block[:, w:], upper=False, left=False)
        if batch.lower is not None:
            side = m[batch.lower] @ y
        else:
            side = _times(symbolic, m, batch, y[0])[None]
        out[:, w:] = -side
        out[:, :w] = within + y.mT @ side
    return m


def _times(symbolic: Symbolic, m: Tensor, batch: Batch, y: Tensor) -> Tensor:
    """M_RR y, y (r, w), block by block of R's columns: what stands below a block's columns also stands to their right."""
    out = torch.zeros_like(y)
    for block, cut, local, columns in blocks_above(symbolic, m, batch):
        rows, beyond = block[local], cut.stop - cut.start
        out[cut.start :] += rows @ spread(y[cut], columns, block.shape[1])
        out[cut] += (rows[beyond:].T @ y[cut.stop :])[columns]
    return out
