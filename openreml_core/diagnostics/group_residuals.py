"""Residuals of the levels of a random term.

    eb   u^_j, the BLUP; standardised by sd(u^_j), Var(u^) = Var(u) - Var(u^ - u)
    ls   (Z_j'R_j^-1 Z_j)^-1 Z_j'R_j^-1 (y - X b^ - the other terms' Z u^)_j

The second is what the level's own rows say, nothing shrunk: missing where they do not determine it.
(Snijders and Berkhof 2008, in Handbook of Multilevel Analysis, 141-175; Loy and Hofmann 2014, J. Statistical Software 56(5).)
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.covariance import GroupedTerm, PlacedTerm
from openreml_core.diagnostics.view import RowView
from openreml_core.errors import ModelError
from openreml_core.model import RandomPart

KINDS = ("eb", "ls")


def group_residual_table(view: RowView, place: int, kind: str, blups: pd.DataFrame, sigma: np.ndarray) -> pd.DataFrame:
    """Residuals of a term's levels.

    Parameters
    ----------
    view : RowView
    place : int
        Which random term.
    kind : {"eb", "ls"}
    blups : DataFrame
        Its ``random_effects``.
    sigma : array of shape (k, k)

    Returns
    -------
    DataFrame
        level, effect, residual, std_error; for eb standardized, for ls rows.

    Raises
    ------
    ModelError
        An unknown kind; least squares of a term whose levels are related or that has none.
    """
    if kind not in KINDS:
        raise ModelError(f"Group residuals of kind {kind!r} are not available.", hint="Choose 'eb' or 'ls'.")
    term = view.model.terms[place]
    if kind == "eb":
        table = blups[["level", "effect"]].copy()
        table["residual"], table["std_error"] = blups["blup"], blups["std_error"]
        spread = _prior(term, sigma) - blups["pev"].to_numpy(float)
        known = spread > 1e-12 * _prior(term, sigma)
        table["standardized"] = np.where(known, blups["blup"] / np.sqrt(np.where(known, spread, 1.0)), np.nan)
        return table
    if not isinstance(term, GroupedTerm):
        raise ModelError(
            f"The levels of {term.name} have no residuals by least squares: their effects are not told apart by rows.",
            hint="Ask for kind='eb'.",
        )
    estimate, error, rows = _least_squares(view, place, term)
    table = blups[["level", "effect"]].copy()
    table["residual"], table["std_error"] = estimate.reshape(-1).numpy(), error.reshape(-1).numpy()
    table["rows"] = np.repeat(rows.numpy(), term.structure.size)
    return table


def _prior(term: RandomPart, sigma: np.ndarray) -> np.ndarray:
    """Var(u) of every row of the table of BLUPs."""
    own = np.ones(len(term.levels)) if term.kernel is None else term.kernel.diagonal().numpy()
    variance = np.outer(own, np.diag(sigma)).reshape(-1)
    return variance[term.occurs.reshape(-1).numpy()] if isinstance(term, PlacedTerm) else variance


def _least_squares(view: RowView, place: int, term: RandomPart) -> tuple[Tensor, Tensor, Tensor]:
    """Estimates and standard errors (q, k), and the number of rows (q,)."""
    assert isinstance(term, GroupedTerm)
    k, q = term.structure.size, len(term.levels)
    at = view.estimates.at
    own = term.spread(view.estimates.engine.random_effects(at)[place].blup[:, :, None])[:, 0]
    left = view.conditional + own
    estimate = torch.full((q, k), torch.nan, dtype=torch.float64)
    error = estimate.clone()
    rows = torch.bincount(term.codes, minlength=q)
    r = view.residual_variance
    if not bool((r > 0).all()):
        return estimate, error, rows
    for j in range(q):
        mine = (term.codes == j).nonzero()[:, 0]
        if len(mine) < k:
            continue
        unit = torch.zeros(view.n, len(mine), dtype=torch.float64)
        unit[mine, torch.arange(len(mine))] = 1.0
        within = view.rows.residual_times(unit)[mine] if view.correlated else torch.diag(r[mine])
        z = term.basis[mine]
        solved = torch.linalg.solve(within, z)
        square = z.T @ solved
        if int(torch.linalg.matrix_rank(square, hermitian=True, rtol=1e-10)) < k:
            continue
        inverse = torch.linalg.inv(square)
        estimate[j] = inverse @ (solved.T @ left[mine])
        error[j] = inverse.diagonal().sqrt()
    return estimate, error, rows
