"""The normal quantile plot with an envelope by simulation.

Sorted residuals e_(i) against q_i = Phi^-1((i - a) / (n + 1 - 2a)), Blom's a = 3/8. The line is mean + sd q. The envelope
is the middle 95 % of each order statistic over normal samples of the same size, standardised as the residuals are.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from scipy.special import ndtri
from scipy.stats import beta

from openreml_core.figures import theme
from openreml_core.figures.points import THIN_ABOVE, Array, as_floats, cloud, index_of, row_text
from openreml_core.figures.words import lines, number

SIMULATED_VALUES = 4_000_000
#: Values above which the envelope follows from the order statistics' law.
BY_LAW_ABOVE = 20_000


def qq(
    residuals: ArrayLike, *, seed: int = 1, samples: int = 1_000, level: float = 0.95, what: str = "residual",
    hover: pd.DataFrame | None = None, colour: str = theme.RESIDUAL,
    row_word: str = "Row",
) -> go.Figure:  # fmt: skip
    """Draw sorted values against normal quantiles, with an envelope.

    Parameters
    ----------
    residuals : array or Series of shape (n,)
        Missing ones are left out.
    seed : int
        Seed of the envelope's samples: the same residuals give the same figure.
    samples : int
        Normal samples to draw; fewer (at least 200) for many residuals.
    level : float
        Share of the samples within the envelope, at each point.
    what : str
        What is drawn, for the words: ``"residual"`` or ``"predicted effect"``.
    hover : DataFrame of n rows, optional
        What else to say about a row.
    colour : str
        Colour of the points.
    row_word : str
        What the values' labels name, for the hover box.
    """
    full = as_floats(residuals)
    order = np.argsort(full, kind="stable")
    order = order[np.isfinite(full[order])]
    e = full[order]
    n = e.size
    if n < 3:
        return theme.message(
            f"A quantile plot needs three {what}s or more; there {'is' if n == 1 else 'are'} {n or 'none'}."
        )
    mean, sd = float(e.mean()), float(e.std(ddof=1))
    if sd <= 1e-12 * abs(mean) or sd == 0:
        return theme.message(f"All {what}s are equal: there is no spread to compare with a normal distribution.")
    q = normal_quantiles(n)
    drawn = _drawn(n)
    low, high = envelope(n, seed=seed, samples=samples, level=level, at=drawn)
    low, high = mean + sd * low, mean + sd * high
    fig = go.Figure()
    band = dict(mode="lines", hoverinfo="skip", showlegend=False)
    fig.add_trace(go.Scatter(x=q[drawn], y=low, line=dict(width=0), name="Envelope, low", **band))
    fig.add_trace(go.Scatter(x=q[drawn], y=high, line=dict(width=0), fill="tonexty", fillcolor=theme.GRID,
                             name="Envelope, high", **band))  # fmt: skip
    ends = np.array([q[0], q[-1]])
    fig.add_trace(go.Scatter(x=ends, y=mean + sd * ends, line=dict(color=theme.INK, width=1.5), name="Normal", **band))
    index = index_of(residuals, full.size)
    first = row_text(index, hover, order[drawn], row_word)
    outside = (e[drawn] < low) | (e[drawn] > high)
    text = [
        lines(t, f"{what.capitalize()} {number(v, scale=sd)}", f"Normal quantile {number(k, digits=3, scale=1)}",
              "Outside the envelope" if o else None)
        for t, v, k, o in zip(first, e[drawn], q[drawn], outside, strict=True)
    ]  # fmt: skip
    fig.add_trace(cloud(q[drawn], e[drawn], colour=colour, hover=text, rows=[index[i] for i in order[drawn]]))
    theme.apply(fig, height=400)
    fig.update_xaxes(title_text="Standard normal quantile")
    fig.update_yaxes(title_text=what.capitalize())
    theme.note(fig, f"Band: {100 * level:g} % of normal samples")
    if drawn.size < n:
        theme.note(fig, f"{drawn.size:,} of {n:,} points are drawn, both tails in full.")
    return fig


def qq_simulated(
    table: pd.DataFrame, *, level: float = 0.95, simulations: int | None = None, what: str = "studentised residual",
    hover: pd.DataFrame | None = None,
) -> go.Figure:  # fmt: skip
    """Draw sorted residuals against normal quantiles, with the envelope of draws from the fitted model.

    Parameters
    ----------
    table : DataFrame
        Indexed by row, sorted: quantile, residual, lower, upper, as ``fit.residual_envelope()`` gives it.
    level : float
        Share of the draws within the envelope.
    simulations : int, optional
        Number of draws, for the note.
    what : str
        What is drawn, for the words.
    hover : DataFrame, optional
        What else to say about a row, by the same labels.
    """
    n = len(table)
    if n < 3:
        return theme.message(f"A quantile plot needs three {what}s or more; there are {n or 'none'}.")
    drawn = _drawn(n)
    own = table.iloc[drawn]
    q, e, low, high = (own[name].to_numpy(float) for name in ("quantile", "residual", "lower", "upper"))
    band = dict(mode="lines", hoverinfo="skip", showlegend=False)
    fig = go.Figure()
    fig.add_trace(go.Scatter(x=q, y=low, line=dict(width=0), name="Envelope, low", **band))
    fig.add_trace(
        go.Scatter(x=q, y=high, line=dict(width=0), fill="tonexty", fillcolor=theme.GRID, name="Envelope, high", **band)
    )
    fig.add_trace(go.Scatter(x=q[[0, -1]], y=q[[0, -1]], line=dict(color=theme.INK, width=1.5), name="Normal", **band))
    more = None if hover is None or not hover.index.is_unique else hover.loc[own.index]
    first = row_text(own.index, more, np.arange(len(own)))
    text = [
        lines(t, f"{what.capitalize()} {number(v, scale=1)}", f"Normal quantile {number(k, digits=3, scale=1)}",
              "Outside the envelope" if v < a or v > b else None)
        for t, v, k, a, b in zip(first, e, q, low, high, strict=True)
    ]  # fmt: skip
    fig.add_trace(cloud(q, e, colour=theme.RESIDUAL, hover=text, rows=list(own.index)))
    theme.apply(fig, height=400)
    fig.update_xaxes(title_text="Standard normal quantile")
    fig.update_yaxes(title_text=what.capitalize())
    outside = int(((table["residual"] < table["lower"]) | (table["residual"] > table["upper"])).sum())
    draws = f"{simulations} draws from the model" if simulations else "draws from the model"
    theme.note(fig, f"Band: {100 * level:g} % of {draws}; {outside} of {n:,} points lie outside")
    if len(drawn) < n:
        theme.note(fig, f"{len(drawn):,} of {n:,} points are drawn, both tails in full.")
    return fig


def normal_quantiles(n: int) -> Array:
    """Blom's approximation (n,) to the expected order statistics of n standard normal values."""
    return np.asarray(ndtri((np.arange(1, n + 1) - 0.375) / (n + 0.25)))


def envelope(
    n: int, *, seed: int, samples: int = 1_000, level: float = 0.95, at: np.ndarray | None = None
) -> tuple[Array, Array]:
    """Give the middle ``level`` of each order statistic of n standardised normal values.

    Above 20,000 values, where mean and standard deviation are as good as known, from the order statistics' own law:
    Phi(z_(i)) is Beta(i, n + 1 - i).

    Returns
    -------
    low, high : array of shape (n,), or of the shape of ``at``, the order statistics asked for, from 0
    """
    tails = [(1 - level) / 2, (1 + level) / 2]
    if n > BY_LAW_ABOVE:
        i = np.arange(1, n + 1) if at is None else at + 1
        low, high = (np.asarray(ndtri(beta.ppf(p, i, n + 1 - i))) for p in tails)
        return low, high
    draws = max(min(samples, SIMULATED_VALUES // n), 200)
    z = np.random.default_rng(seed).standard_normal((draws, n))
    z = (z - z.mean(axis=1, keepdims=True)) / z.std(axis=1, ddof=1, keepdims=True)
    z.sort(axis=1)
    low, high = np.quantile(z if at is None else z[:, at], tails, axis=0)
    return low, high


def _drawn(n: int) -> np.ndarray:
    """Choose the order statistics to draw: all, or the 1,000 at either end and an even choice between."""
    if n <= THIN_ABOVE:
        return np.arange(n)
    middle = np.linspace(1_000, n - 1_001, THIN_ABOVE - 2_000).round().astype(int)
    return np.unique(np.concatenate([np.arange(1_000), middle, np.arange(n - 1_000, n)]))
