"""Least confounded residuals: combinations of the conditional residuals that random effects touch least.

With R = H H' and H'P H = sum_k l_k w_k w_k' (n - p eigenvalues above zero, in falling order),

    r_k = l_k^(-1/2) w_k'H^-1 (R P y)      has variance 1, and no correlation with the others
    l_k                                    is the share of its variance that is the residual's own; 1 - l_k the random effects'

(Hilden-Minton 1995, PhD thesis, University of California; Nobre and Singer 2007, Biometrical Journal 49, 863-875.)
Residuals with equal l_k, as all those with l_k = 1, may be turned among themselves. Of these the basis is taken that follows the
rows: each one the part of the next row's unit vector in their space that the ones before have not taken.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from openreml_core.design.rank import independent_columns
from openreml_core.diagnostics.decorrelate import check_room
from openreml_core.diagnostics.view import RowView
from openreml_core.errors import ModelError

#: Eigenvalues that differ by less are taken to be equal.
SAME = 1e-7


def least_confounded(view: RowView) -> tuple[Tensor, Tensor]:
    """The residuals (n - p,), least confounded first, and the shares l (n - p,) that are free of random effects.

    Raises
    ------
    ModelError
        Where a matrix of all rows does not find room; where R is singular.
    """
    check_room(view.n)
    r = view.rows.residual_times(torch.eye(view.n, dtype=torch.float64))
    factor, failed = torch.linalg.cholesky_ex((r + r.T) / 2)
    if int(failed):
        raise ModelError(
            "The residual's covariance is singular at the estimates: conditional residuals have no basis.",
            hint="Choose kind='marginal' or kind='cholesky'.",
        )
    turned = factor.T @ view.rows.times(factor)
    values, vectors = torch.linalg.eigh((turned + turned.T) / 2)
    kept = view.n - view.p
    values, vectors = values.flip(0)[:kept].clamp(0, 1), vectors.flip(1)[:, :kept]
    vectors = _settled(values, vectors)
    scores = vectors.T @ (factor.T @ view.rows.py)
    return torch.where(values > 1e-10, scores * values.clamp_min(1e-10).rsqrt(), torch.nan), values


def _settled(values: Tensor, vectors: Tensor) -> Tensor:
    """Eigenvectors (n, k) of falling eigenvalues with nothing arbitrary left: bases by row, the largest element positive."""
    out = vectors.clone()
    ends = [0, *((values[:-1] - values[1:] > SAME).nonzero()[:, 0] + 1).tolist(), len(values)]
    for start, stop in pairwise(ends):
        own = vectors[:, start:stop]
        if stop - start > 1:
            projected = own @ own.T
            rows = torch.from_numpy(independent_columns(projected.numpy(), tolerance=1e-5))
            if len(rows) != stop - start:
                continue
            q, r = torch.linalg.qr(projected[:, rows])
            out[:, start:stop] = q * r.diagonal().sign()
        else:
            out[:, start:stop] = own * own[own.abs().argmax(), 0].sign()
    return out
