"""What fixed effects and their covariance become without some rows J, at the variances as they are: no refits.

Leaving rows out is giving each a mean of its own, so that with S = P_JJ, g = S^-1 (P y)_J

    b^ - b^_(J) = Y_J'g,      C_(J) = C + Y_J'S^-1 Y_J

exactly, with Y = V^-1 X C. With C = L L' and K = Y_J C^-1 Y_J' of as many rows as J has,

    (b - b_(J))'C^-1 (b - b_(J))        = g'K g
    (b - b_(J))'C_(J)^-1 (b - b_(J))    = g'K (S + K)^-1 S g
    tr(C^-1 C_(J)) - p                  = tr(S^-1 K)
    |C_(J)| / |C|                       = |I + S^-1 K|

(Christensen, Pearson and Johnson 1992, Technometrics 34, 38-45; Haslett and Dillane 2004, Biometrics 60, 1025-1034.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from openreml_core.design.rank import independent_columns
from openreml_core.diagnostics.decorrelate import check_room
from openreml_core.diagnostics.view import RowView
from openreml_core.engines import NotPositiveDefinite, same_engine
from openreml_core.errors import ModelError
from openreml_core.simulation.subset import kept_parameters, model_of_rows

#: Rows of a group beyond which the equations are solved without it.
LARGE = 1_500
#: A pivot of P_JJ, relative to V, below which the fixed effects cannot do without J.
LOST = 1e-10
#: Pairs that are listed at most.
MOST_PAIRS = 2_000_000
_AT_ONCE = 2**20


@dataclass(frozen=True, eq=False)
class Deletions:
    """Fixed effects without each of c sets of rows; NaN where they cannot be estimated without them.

    Attributes
    ----------
    change : Tensor of shape (c, p)
        b^ - b^_(J).
    error : Tensor of shape (c, p)
        Standard errors of b^_(J).
    distance, fits, trace, ratio : Tensor of shape (c,)
        The four quantities of the module, the first two not yet divided by p.
    """

    change: Tensor
    error: Tensor
    distance: Tensor
    fits: Tensor
    trace: Tensor
    ratio: Tensor

    @classmethod
    def joined(cls, parts: Sequence[Deletions], p: int) -> Deletions:
        """Deletions one after the other."""
        if not parts:
            return cls(torch.zeros(0, p), torch.zeros(0, p), *torch.zeros(4, 0))
        names = ("change", "error", "distance", "fits", "trace", "ratio")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    @classmethod
    def of(cls, view: RowView, change: Tensor, covariance: Tensor) -> Deletions:
        """One deletion (1, ...) from b^ - b^_(J), (p,), and C_(J), (p, p)."""
        factor = torch.linalg.cholesky(view.c)
        d = torch.linalg.solve_triangular(factor, change[:, None], upper=False)
        half = torch.linalg.solve_triangular(factor, covariance, upper=False)
        c = torch.linalg.solve_triangular(factor, half.T, upper=False)
        if not bool(torch.isfinite(c).all()) or not bool(torch.isfinite(d).all()):
            nothing = torch.full((1,), torch.nan, dtype=torch.float64)
            error = covariance.diagonal().clamp_min(0).sqrt()[None]
            return cls(change[None], error, nothing, nothing, nothing, nothing)
        return cls(
            change=change[None],
            error=covariance.diagonal().clamp_min(0).sqrt()[None],
            distance=(d.T @ d)[:, 0],
            fits=(d.T @ torch.linalg.solve(c, d))[:, 0],
            trace=(c.trace() - len(c)).reshape(1),
            ratio=torch.linalg.slogdet(c)[1].exp().reshape(1),
        )


def _turned(view: RowView) -> Tensor:
    """Y C^(-1/2), (n, p)."""
    factor = torch.linalg.cholesky(view.c)
    return torch.linalg.solve_triangular(factor, view.rows.beta_weights.T, upper=False).T


def without_rows(view: RowView) -> Deletions:
    """Without every single row."""
    if view.p == 0:
        raise NO_FIXED
    y, pii, lost = view.rows.beta_weights, view.rows.diagonal, view.lost
    pii = torch.where(lost, torch.nan, pii)
    g, k = view.rows.py / pii, _turned(view).square().sum(dim=1)
    return Deletions(
        change=y * g[:, None],
        error=(view.c.diagonal() + y.square() / pii[:, None]).sqrt(),
        distance=g.square() * k,
        fits=g.square() * k / (1 + k / pii),
        trace=k / pii,
        ratio=1 + k / pii,
    )


def without_pairs(view: RowView) -> tuple[np.ndarray, np.ndarray, Deletions]:
    """Without every pair of rows: the first of each, the second, and what is left.

    Raises
    ------
    ModelError
        When there are too many pairs.
    """
    if view.p == 0:
        raise NO_FIXED
    n = view.n
    if n * (n - 1) // 2 > MOST_PAIRS:
        raise ModelError(
            f"{n:,} rows make {n * (n - 1) // 2:,} pairs, more than are listed.",
            hint="Name a group: its levels are then taken in pairs.",
        )
    check_room(n)
    whole = view.rows.among(torch.arange(n))
    first, second = np.triu_indices(n, 1)
    y, turned, py = view.rows.beta_weights, _turned(view), view.rows.py
    total = view.random_variance + view.residual_variance
    parts = []
    for start in range(0, len(first), _AT_ONCE):
        pair = torch.from_numpy(np.stack([first, second], axis=1)[start : start + _AT_ONCE])
        s = whole[pair[:, :, None], pair[:, None, :]]
        own = turned[pair]
        k = own @ own.mT
        det = s[:, 0, 0] * s[:, 1, 1] - s[:, 0, 1].square()
        scale = total[pair].prod(dim=1)
        gone = (det * scale <= LOST) | view.lost[pair].any(dim=1)
        s = torch.where(gone[:, None, None], torch.eye(2, dtype=torch.float64), s)
        g = torch.linalg.solve(s, py[pair][:, :, None])
        ratio = torch.linalg.solve(s, k)
        inside = torch.linalg.solve(s + k, s @ g)
        added = torch.einsum("cmp,cmp->cp", y[pair], torch.linalg.solve(s, y[pair]))
        found = Deletions(
            change=(g.mT @ y[pair])[:, 0],
            error=(view.c.diagonal() + added).sqrt(),
            distance=(g.mT @ k @ g)[:, 0, 0],
            fits=((k @ g).mT @ inside)[:, 0, 0],
            trace=ratio.diagonal(dim1=1, dim2=2).sum(dim=1),
            ratio=torch.linalg.det(torch.eye(2, dtype=torch.float64) + ratio),
        )
        names = ("change", "error", "distance", "fits", "trace", "ratio")
        held = [torch.where(gone if v.ndim == 1 else gone[:, None], torch.nan, v) for v in _fields(found, names)]
        parts.append(Deletions(*held))
    return first, second, Deletions.joined(parts, view.p)


def _fields(found: Deletions, names: Sequence[str]) -> Iterator[Tensor]:
    return (getattr(found, name) for name in names)


def without_sets(view: RowView, sets: Sequence[np.ndarray]) -> Deletions:
    """Without each of some sets of rows (numbers)."""
    if view.p == 0:
        raise NO_FIXED
    parts = []
    for rows in sets:
        small = len(rows) <= LARGE or view.given_r is not None
        change, covariance = (_by_downdate if small else _by_equations)(view, torch.from_numpy(rows))
        parts.append(Deletions.of(view, change, covariance))
    return Deletions.joined(parts, view.p)


def _unknown(view: RowView) -> tuple[Tensor, Tensor]:
    p = view.p
    return torch.full((p,), torch.nan, dtype=torch.float64), torch.full((p, p), torch.nan, dtype=torch.float64)


def _by_downdate(view: RowView, rows: Tensor) -> tuple[Tensor, Tensor]:
    """b^ - b^_(J) and C_(J), from P_JJ."""
    y = view.rows.beta_weights[rows]
    s = view.rows.among(rows)
    total = (view.random_variance + view.residual_variance)[rows].clamp_min(1e-300).sqrt()
    factor, failed = torch.linalg.cholesky_ex(s * total[:, None] * total)
    if int(failed) or bool((factor.diagonal().square() <= LOST).any()):
        return _unknown(view)
    half = torch.linalg.solve_triangular(
        factor, torch.column_stack([y, view.rows.py[rows]]) * total[:, None], upper=False
    )
    return half[:, :-1].T @ half[:, -1], view.c + half[:, :-1].T @ half[:, :-1]


def _by_equations(view: RowView, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The same from the model without these rows: cheaper where they are many."""
    model, at = view.model, view.estimates.at
    left = torch.ones(view.n, dtype=torch.bool)
    left[rows] = False
    kept = left.nonzero()[:, 0]
    if len(kept) <= view.p or len(independent_columns(model.X[kept].numpy())) < view.p:
        return _unknown(view)
    theta = at.theta[torch.from_numpy(kept_parameters(model, kept))]
    try:
        found = same_engine(view.estimates.engine, model_of_rows(model, kept)).evaluate(theta)
    except NotPositiveDefinite:
        return _unknown(view)
    return at.beta - found.beta, found.beta_covariance * (at.sigma2 / found.sigma2)


NO_FIXED = ModelError("This model has no fixed effects that a deletion could change.", hint="Ask for fit.leverage().")
