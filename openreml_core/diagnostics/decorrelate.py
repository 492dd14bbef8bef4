"""Residuals without correlation: F^-1 (y - X b^), V = F F' its Cholesky factor in the order of the rows.

Rows that nothing relates fall into blocks, each with a factor of its own; V as a whole is never needed.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from openreml_core.covariance import BlockResidual, IndependentResidual, SmoothTerm
from openreml_core.diagnostics.between import response_between
from openreml_core.diagnostics.view import RowView
from openreml_core.engines.memory import SHARE, available_bytes
from openreml_core.errors import ModelError
from openreml_core.model import MixedModel

#: Matrices of n x n elements that are held at a time.
MATRICES = 4


def decorrelated(view: RowView) -> Tensor:
    """F^-1 (y - X b^), (n,).

    Raises
    ------
    ModelError
        Where the rows that hang together are too many for their covariance to find room.
    """
    out = torch.empty(view.n, dtype=torch.float64)
    for rows in related_rows(view.model):
        check_room(len(rows))
        factor, failed = torch.linalg.cholesky_ex(response_between(view, rows, rows))
        if int(failed):
            raise ModelError("V is singular at the estimates: it has no Cholesky factor.")
        out[rows] = torch.linalg.solve_triangular(factor, view.marginal[rows][:, None], upper=False)[:, 0]
    return out


def related_rows(model: MixedModel) -> list[Tensor]:
    """The rows that hang together, block by block, each in the order of the table."""
    n = model.n
    if any(isinstance(t, SmoothTerm) or t.kernel is not None for t in model.terms) or not all(
        isinstance(r, IndependentResidual | BlockResidual) for r in model.residuals
    ):
        return [torch.arange(n)]
    links = []
    for term in model.terms:
        columns, _ = term.incidence
        links.append((columns[:, 0] // term.structure.size).numpy())
    for part in model.residuals:
        if isinstance(part, BlockResidual):
            codes = np.arange(n) + int(part.codes.max()) + 1
            codes[part.rows.numpy()] = part.codes.numpy()
            links.append(codes)
    if not links:
        return list(torch.arange(n)[:, None])
    starts = np.cumsum([n, *(int(own.max()) + 1 for own in links)])
    row = np.tile(np.arange(n), len(links))
    column = np.concatenate([start + own for start, own in zip(starts, links, strict=False)])
    graph = sparse.csr_array((np.ones(len(row)), (row, column)), shape=(starts[-1], starts[-1]))
    _, member = connected_components(graph, directed=False)
    order = np.argsort(member[:n], kind="stable")
    ends = np.flatnonzero(np.diff(member[:n][order])) + 1
    return [torch.from_numpy(own) for own in np.split(order, ends)]


def check_room(n: int) -> None:
    """Refuse matrices of n x n elements that would not fit.

    Raises
    ------
    ModelError
    """
    needed, free = 8 * MATRICES * n**2, SHARE * available_bytes()
    if needed > free:
        raise ModelError(
            f"{n:,} rows hang together: their covariance needs about {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free.",
            hint="Residuals of kind 'studentized' need no matrix of all rows.",
        )
