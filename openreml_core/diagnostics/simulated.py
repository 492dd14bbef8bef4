"""Residuals of responses drawn from the fitted model: what the model itself lets one expect, correlations and all.

    y* = X b^ + Z u + e,   u ~ N(0, G), e ~ N(0, R) at the estimates;   e^* = R P y* with P as it is: variances are not refitted

Every draw has the design's leverages and the model's covariances, so that a sorted residual or a statistic may be compared with
the same of the draws. (Atkinson 1981, Biometrika 68, 13-20; Schuetzenmeister and Piepho 2012, Comput. Stat. Data Anal. 56,
1405-1416.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata, t

from openreml_core.diagnostics.residuals import outside_scale, over
from openreml_core.diagnostics.view import RowView
from openreml_core.errors import ModelError
from openreml_core.simulation import checked_count, draw_responses, generator

#: Rows times draws that are held at once.
MOST = 40_000_000


@dataclass(frozen=True, eq=False)
class Draws:
    """Studentised residuals of the fit and of draws from it, rows that have none left out.

    Attributes
    ----------
    rows : int array of shape (k,)
        Rows that have one.
    observed : array of shape (k,)
    drawn : array of shape (k, B)
    fitted, fitted_drawn : array of shape (k,), (k, B)
        Fitted values of each.
    external : array of shape (n,)
        Externally studentised residuals of the fit.
    """

    rows: np.ndarray
    observed: np.ndarray
    drawn: np.ndarray
    fitted: np.ndarray
    fitted_drawn: np.ndarray
    external: np.ndarray


def draws(view: RowView, simulations: int, seed: object) -> Draws:
    """Draw responses and take their residuals.

    Raises
    ------
    ModelError
        What is no number of draws or no seed; more numbers than are held at once; no row with a residual.
    """
    count = checked_count("simulations", simulations, 19)
    if view.n * count > MOST:
        raise ModelError(
            f"{count} draws of {view.n:,} rows are too many numbers.", hint=f"Ask for {max(MOST // view.n, 19)} draws."
        )
    y = draw_responses(view.model, view.estimates.at, count, generator(seed))
    residuals = view.rows.residual_times(view.rows.times(y))
    known = (~view.lost & (view.rows.both > 0)).nonzero()[:, 0]
    if not len(known):
        raise ModelError("The fixed effects reproduce every row: there are no residuals.")
    scale = view.rows.both.rsqrt()[known]
    fitted = view.model.y - view.conditional
    own = over(view.conditional, view.rows.both, view.lost)
    return Draws(
        rows=known.numpy(),
        observed=own[known].numpy(),
        drawn=(residuals[known] * scale[:, None]).numpy(),
        fitted=fitted[known].numpy(),
        fitted_drawn=(y - residuals)[known].numpy(),
        external=(own / outside_scale(view)).numpy(),
    )


def envelope(found: Draws, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Order, normal quantiles, and the middle ``level`` of each order statistic of the draws: (k,) each."""
    order = np.argsort(found.observed, kind="stable")
    k = len(order)
    quantiles = ndtri((np.arange(1, k + 1) - 0.375) / (k + 0.25))
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(np.sort(found.drawn, axis=0), tails, axis=1)
    return order, quantiles, low, high


def straightness(values: np.ndarray) -> np.ndarray:
    """Squared correlation of sorted values (k, B) with normal quantiles: Shapiro and Francia's W'."""
    k = len(values)
    q = ndtri((np.arange(1, k + 1) - 0.375) / (k + 0.25))
    ordered = np.sort(values, axis=0)
    ordered = ordered - ordered.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (q @ ordered) ** 2 / ((q @ q) * (ordered**2).sum(axis=0))


def growth(values: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Rank correlation (Spearman's) of the size of values (k, B) with fitted values (k, B)."""
    a, b = rankdata(np.abs(values), axis=0), rankdata(fitted, axis=0)
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))


def unequal(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Brown and Forsythe's F of values (k, B): the size about the groups' medians, between groups over within."""
    size = np.empty_like(values)
    groups = [codes == g for g in np.unique(codes)]
    for mine in groups:
        size[mine] = np.abs(values[mine] - np.median(values[mine], axis=0))
    whole = size.mean(axis=0)
    between = sum(mine.sum() * (size[mine].mean(axis=0) - whole) ** 2 for mine in groups)
    within = sum(((size[mine] - size[mine].mean(axis=0)) ** 2).sum(axis=0) for mine in groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (between / (len(groups) - 1)) / (within / (len(values) - len(groups)))


def monte_carlo(observed: float, drawn: np.ndarray, tail: str) -> float:
    """(1 + draws at least as extreme) / (1 + draws); NaN where there is no statistic."""
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(observed) or not len(drawn):
        return np.nan
    above, below = int((drawn >= observed).sum()), int((drawn <= observed).sum())
    if tail == "both":
        return min(1.0, 2 * (1 + min(above, below)) / (1 + len(drawn)))
    return (1 + (above if tail == "upper" else below)) / (1 + len(drawn))


def outlier_p(external: np.ndarray, df: int) -> tuple[int, float, float]:
    """The row of the largest externally studentised residual, it, and Bonferroni's p-value of Student's t with df."""
    known = np.flatnonzero(np.isfinite(external))
    if not len(known) or df < 1:
        return -1, np.nan, np.nan
    row = int(known[np.argmax(np.abs(external[known]))])
    return row, float(external[row]), float(min(1.0, 2 * t.sf(abs(external[row]), df) * len(known)))
