"""Points against the fitted values: residuals, their size, and the observations.

A trend line shows what should not be there: residuals ought to lie level around zero, their size ought not to grow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from openreml_core.figures import theme
from openreml_core.figures.points import Array, cloud, finite_pairs, index_of, row_text, thin, thinned_note
from openreml_core.figures.smooth import local_line
from openreml_core.figures.words import lines, number

Hover: TypeAlias = pd.DataFrame | Sequence[str] | None
HEIGHT = 380


def residuals_fitted(
    fitted: ArrayLike, residuals: ArrayLike, hover: Hover = None, *, kind: str = "Conditional residual",
    against: str = "Fitted value",
) -> go.Figure:  # fmt: skip
    """Draw residuals against fitted values, with a zero line and a trend.

    Parameters
    ----------
    fitted, residuals : array or Series of shape (n,)
        Rows where either is missing are left out.
    hover : DataFrame of n rows or sequence of n texts, optional
        What else to say about a row.
    kind, against : str
        The axes' titles.
    """
    x, y, at = finite_pairs(fitted, residuals)
    if not x.size:
        return theme.message("There are no residuals to show.")
    fig = go.Figure()
    _points(fig, x, y, at, residuals, hover, (against, kind))
    trend = local_line(x, y)
    if trend[0].size and np.ptp(y) > 0:
        fig.add_trace(_line(*trend, name="Trend"))
    theme.apply(fig, height=HEIGHT)
    fig.update_xaxes(title_text=against)
    fig.update_yaxes(title_text=kind, zeroline=True, zerolinecolor=theme.INK, zerolinewidth=1, rangemode="tozero")
    return _with_note(fig, x.size, constant="Every residual is zero." if not y.any() else None)


def scale_location(fitted: ArrayLike, residuals: ArrayLike, hover: Hover = None) -> go.Figure:
    """Draw the root of the residuals' absolute size, in standard deviations, against fitted values.

    Parameters
    ----------
    fitted, residuals : array or Series of shape (n,)
        Residuals of any kind; they are divided by their root mean square.
    hover : DataFrame of n rows or sequence of n texts, optional
        What else to say about a row.
    """
    x, e, at = finite_pairs(fitted, residuals)
    size = float(np.sqrt(np.mean(e**2))) if e.size else 0.0
    if size == 0:
        return theme.message("There are no residuals to show." if not e.size else "Every residual is zero.")
    y = np.sqrt(np.abs(e) / size)
    fig = go.Figure()
    words = "\u221a |residual| in standard deviations"
    _points(fig, x, y, at, residuals, hover, ("Fitted value", "Root of size"))
    trend = local_line(x, y)
    if trend[0].size:
        fig.add_trace(_line(*trend, name="Trend"))
    theme.apply(fig, height=HEIGHT)
    fig.update_xaxes(title_text="Fitted value")
    fig.update_yaxes(title_text=words, rangemode="tozero")
    return _with_note(fig, x.size)


def observed_fitted(
    observed: ArrayLike, fitted: ArrayLike, hover: Hover = None, *, response: str | None = None
) -> go.Figure:
    """Draw observations against fitted values with the line of equality; both axes cover the same range.

    Parameters
    ----------
    observed, fitted : array or Series of shape (n,)
        Rows where either is missing are left out.
    hover : DataFrame of n rows or sequence of n texts, optional
        What else to say about a row.
    response : str, optional
        The response's name, for the axis.
    """
    x, y, at = finite_pairs(fitted, observed)
    if not x.size:
        return theme.message("There are no observations to show.")
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    ends = np.array([low - room, high + room])
    equal = dict(color=theme.INK, width=1.5, dash="dot")
    fig = go.Figure(go.Scatter(x=ends, y=ends, mode="lines", line=equal, hoverinfo="skip", name="Equal"))
    _points(fig, x, y, at, observed, hover, ("Fitted", "Observed"))
    theme.apply(fig, height=HEIGHT + 20)
    fig.update_xaxes(title_text="Fitted value", range=ends)
    fig.update_yaxes(title_text=f"Observed {response}" if response else "Observed value", range=ends)
    return _with_note(fig, x.size)


def _points(
    fig: go.Figure, x: Array, y: Array, at: np.ndarray, source: ArrayLike, hover: Hover, words: tuple[str, str]
) -> None:
    keep = thin(y)
    index = index_of(source, np.size(source))
    scale = float(np.abs(y).max())
    first = row_text(index, hover, at[keep])
    text = [
        lines(t, f"{words[0]} {number(a)}", f"{words[1]} {number(b, scale=scale)}")
        for t, a, b in zip(first, x[keep], y[keep], strict=True)
    ]
    rows = [index[i] for i in at[keep]]
    fig.add_trace(cloud(x[keep], y[keep], colour=theme.RESIDUAL, hover=text, rows=rows))


def _line(x: Array, y: Array, *, name: str) -> go.Scatter:
    return go.Scatter(
        x=x, y=y, mode="lines", name=name, line=dict(color=theme.INK, width=2), hoverinfo="skip", showlegend=False
    )


def _with_note(fig: go.Figure, n: int, constant: str | None = None) -> go.Figure:
    if constant:
        theme.note(fig, constant)
    if thin(np.empty(n)).size < n:
        theme.note(fig, thinned_note(n))
    return fig
