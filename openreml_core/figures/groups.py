"""Residuals by a factor (a box for each level) or along a covariate (points with a trend)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from openreml_core.figures import theme
from openreml_core.figures.points import GL_ABOVE, Array, as_floats, index_of
from openreml_core.figures.scatter import residuals_fitted
from openreml_core.figures.words import count, is_number_column, lines, number, plain, shorten

MOST_LEVELS = 60
MOST_NUMBERS = 12
FEW = 5
#: Points beyond the whiskers that are drawn of a level of many.
MOST_OUT = 50


def residuals_by(
    residuals: ArrayLike, groups: pd.Series | ArrayLike, name: str, *, what: str = "residual"
) -> go.Figure:
    """Draw the residuals' spread at each level of a factor, or against a covariate of more than 12 different values.

    Parameters
    ----------
    residuals : array or Series of shape (n,)
        Missing ones are left out.
    groups : Series or array of shape (n,)
        The level, or the covariate's value, of each row. Categories keep their order.
    name : str
        The column's name, for the axis.
    what : str
        What is drawn, for the axis.
    """
    group = groups.reset_index(drop=True) if isinstance(groups, pd.Series) else pd.Series(np.asarray(groups))
    e = as_floats(residuals)
    if len(group) != e.size:
        raise ValueError(f"There are {e.size} residuals but {len(group)} values of {name}.")
    if is_number_column(group) and group.nunique() > MOST_NUMBERS:
        series = residuals if isinstance(residuals, pd.Series) else e
        return residuals_fitted(group, series, against=name, kind=what[:1].upper() + what[1:])
    keep = np.isfinite(e) & group.notna().to_numpy()
    if not keep.any():
        return theme.message("There are no residuals to show.")
    e, group = e[keep], group[keep]
    levels = _ordered(group)
    rows = index_of(residuals, keep.size)[keep]
    places = group.reset_index(drop=True).groupby(group.to_numpy(), observed=True).indices
    by = {level: e[at] for level, at in places.items()}
    shown = levels
    if len(levels) > MOST_LEVELS:
        size = sorted(levels, key=lambda k: -float(np.mean(np.abs(by[k]))))
        chosen = set(size[:MOST_LEVELS])
        shown = [k for k in levels if k in chosen]
    labels = shorten(_text(k) for k in shown)
    fig = go.Figure()
    each = sum(by[k].size for k in shown) <= GL_ABOVE
    scale = float(np.abs(e).max())
    for level, label in zip(shown, labels, strict=True):
        own = rows[places[level]]
        if each or by[level].size < FEW:
            fig.add_trace(_box(by[level], own.tolist(), _text(level), label, name, scale))
        else:
            fig.add_traces(_summary(by[level], own, _text(level), label, name, scale))
    theme.apply(fig, height=max(24 * len(shown) + 20, 90) + 70)
    fig.update_xaxes(title_text=what[:1].upper() + what[1:], zeroline=True, zerolinecolor=theme.INK, zerolinewidth=1)
    fig.update_yaxes(
        title_text=plain(name), type="category", categoryorder="array", categoryarray=labels, range=[len(labels) - 0.4, -0.6],
        tickmode="linear", dtick=1, ticklabelstandoff=4,
    )  # fmt: skip
    if not each:
        theme.note(fig, f"Of each level the {MOST_OUT} points farthest beyond its whiskers are drawn, at most.")
    if len(shown) < len(levels):
        theme.note(
            fig,
            f"{len(shown)} of {count(len(levels), 'level')} are shown: those with the largest residuals on average.",
        )
    return fig


def _box(values: Array, rows: list[Any], level: str, label: str, name: str, scale: float) -> go.Box:
    """Draw one level of few points, each of them, and a box from five points on."""
    few = values.size < FEW
    hover = [
        lines(f"<b>{plain(level)}</b> \u00b7 {plain(name)} \u00b7 row {plain(row)}", f"Residual {number(v, scale=scale)}",
              f"n = {values.size:,}, mean {number(values.mean(), scale=scale)}")
        for row, v in zip(rows, values, strict=True)
    ]  # fmt: skip
    return go.Box(
        x=values, y=[label] * values.size, orientation="h", name=label, customdata=rows, pointpos=0, width=0.62,
        fillcolor=theme.CLEAR if few else theme.tint(theme.RESIDUAL, 0.28), jitter=0 if few else 0.35,
        line=dict(color=theme.CLEAR if few else theme.INK, width=1.2), whiskerwidth=0.4, showlegend=False,
        marker=dict(color=theme.RESIDUAL, size=6 if few else 5, opacity=0.85, line_width=0), boxpoints="all",
        hoveron="points", hoverinfo="text", hovertext=hover,
    )  # fmt: skip


def _summary(
    values: Array, rows: pd.Index, level: str, label: str, name: str, scale: float
) -> list[go.Box | go.Scattergl]:
    """Draw one level of many points: its box, and the farthest of the points beyond the whiskers."""
    q1, middle, q3 = np.quantile(values, [0.25, 0.5, 0.75])
    reach = 1.5 * (q3 - q1)
    inside = (values >= q1 - reach) & (values <= q3 + reach)
    low, high = float(values[inside].min()), float(values[inside].max())
    box = go.Box(
        y=[label], q1=[q1], median=[middle], q3=[q3], lowerfence=[low], upperfence=[high], orientation="h", name=label,
        width=0.62, fillcolor=theme.tint(theme.RESIDUAL, 0.28), line=dict(color=theme.INK, width=1.2), whiskerwidth=0.4,
        showlegend=False, hoverinfo="x",
    )  # fmt: skip
    out = np.flatnonzero(~inside)
    out = out[np.argsort(-np.abs(values[out] - middle), kind="stable")][:MOST_OUT]
    if not out.size:
        return [box]
    mean = number(values.mean(), scale=scale)
    hover = [
        lines(f"<b>{plain(level)}</b> \u00b7 {plain(name)} \u00b7 row {plain(rows[i])}",
              f"Residual {number(values[i], scale=scale)}", f"n = {values.size:,}, mean {mean}")
        for i in out
    ]  # fmt: skip
    points = go.Scattergl(
        x=values[out], y=[label] * out.size, mode="markers", name=label, customdata=[rows[i] for i in out],
        hovertext=hover, hoverinfo="text", showlegend=False,
        marker=dict(color=theme.RESIDUAL, size=5, opacity=0.7, line_width=0),
    )  # fmt: skip
    return [box, points]


def _ordered(group: pd.Series) -> list[object]:
    if isinstance(group.dtype, pd.CategoricalDtype):
        seen = set(group.unique())
        return [c for c in group.cat.categories if c in seen]
    try:
        return sorted(group.unique())
    except TypeError:
        return sorted(group.unique(), key=str)


def _text(level: object) -> str:
    return number(level) if isinstance(level, float) else str(level)
