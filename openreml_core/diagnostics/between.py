"""Covariances between some rows and others, at the estimates: of the residuals e, of y, and of what is estimated of them.

Cov(e_i, e_j) = R_ij,    Cov(y_i, y_j) = V_ij,    Var(R P y) = R P R,    Var(y - X b^) = V - X C X'
"""

from __future__ import annotations

import torch
from torch import Tensor

from openreml_core.covariance import BlockResidual, IndependentResidual, PlacedTerm, SmoothTerm
from openreml_core.covariance.kernel import written_out
from openreml_core.diagnostics.view import RowView


def residual_between(view: RowView, i: Tensor, j: Tensor) -> Tensor:
    """R_ij, (a, b), for rows i (a,) and j (b,)."""
    if view.given_r is not None:
        return view.given_r[i[:, None], j]
    model, at, same = view.model, view.estimates.at, i[:, None] == j
    out = torch.zeros(len(i), len(j), dtype=torch.float64)
    for part, sigma in zip(model.residuals, model.sigmas(at.theta, at.sigma2)[len(model.terms) :], strict=True):
        if isinstance(part, IndependentResidual):
            out += sigma[0, 0] * part.variance[i][:, None] * same
        elif isinstance(part, BlockResidual):
            place = torch.full((view.n,), -1, dtype=torch.int64)
            place[part.rows] = torch.arange(len(part.rows))
            a, b = place[i], place[j]
            inside = (a[:, None] >= 0) & (b >= 0) & (part.codes[a][:, None] == part.codes[b])
            out += torch.where(inside, sigma[part.index[a]][:, part.index[b]], 0.0)
        else:
            out += sigma[i[:, None], j]
    return out


def response_between(view: RowView, i: Tensor, j: Tensor) -> Tensor:
    """V_ij, (a, b)."""
    model, at = view.model, view.estimates.at
    if view.given_r is not None:
        return model.sigmas(at.theta, at.sigma2)[0][i[:, None], j]
    out = residual_between(view, i, j)
    for term, sigma in zip(model.terms, model.sigmas(at.theta, at.sigma2), strict=False):
        if isinstance(term, SmoothTerm):
            out += sigma[0, 0] * (term.z[i] @ term.z[j].T)
            continue
        a, b = term.codes[i], term.codes[j]
        together = (a[:, None] == b).double() if term.kernel is None else written_out(term.kernel)[a[:, None], b]
        if isinstance(term, PlacedTerm):
            out += sigma[term.index[i]][:, term.index[j]] * together
        else:
            out += (term.basis[i] @ sigma @ term.basis[j].T) * together
    return out


def estimated_covariance(view: RowView, marginal: bool) -> Tensor:
    """Var of the residuals as estimated, (n, n): R P R of conditional ones, V - X C X' of marginal ones."""
    every = torch.arange(view.n)
    if marginal:
        x = view.model.X
        return response_between(view, every, every) - x @ view.c @ x.T
    r = residual_between(view, every, every)
    return r @ view.rows.times(r)
