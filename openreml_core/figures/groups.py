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


def residuals_by(residuals: ArrayLike, groups: pd.Series | ArrayLike, name: str) -> go.Figure:
    """Draw the residuals' spread at each level of a factor, or against a covariate of more than 12 different values.

    Parameters
    ----------
    residuals : array or Series of shape (n,)
        Missing ones are left out.
    groups : Series or array of shape (n,)
        The level, or the covariate's value, of each row. Categories keep their order.
    name : str
        The column's name, for the axis.
    """
    group = groups.reset_index(drop=True) if isinstance(groups, pd.Series) else pd.Series(np.asarray(groups))
    e = as_floats(residuals)
    if len(group) != e.size:
        raise ValueError(f"There are {e.size} residuals but {len(group)} values of {name}.")
    if is_number_column(group) and group.nunique() > MOST_NUMBERS:
        series = residuals if isinstance(residuals, pd.Series) else e
        return residuals_fitted(group, series, against=name, kind="Residual")
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
        fig.add_trace(_box(by[level], rows[places[level]].tolist(), _text(level), label, name, scale, each))
    theme.apply(fig, height=max(24 * len(shown) + 20, 90) + 70)
    fig.update_xaxes(title_text="Residual", zeroline=True, zerolinecolor=theme.INK, zerolinewidth=1)
    fig.update_yaxes(
        title_text=plain(name), type="category", categoryorder="array", categoryarray=labels, range=[len(labels) - 0.4, -0.6],
        tickmode="linear", dtick=1, ticklabelstandoff=4,
    )  # fmt: skip
    if len(shown) < len(levels):
        theme.note(
            fig,
            f"{len(shown)} of {count(len(levels), 'level')} are shown: those with the largest residuals on average.",
        )
    return fig


def _box(values: Array, rows: list[Any], level: str, label: str, name: str, scale: float, each: bool) -> go.Box:
    """Draw one level: every point where ``each``, and a box from five points on."""
    few = values.size < FEW
    hover = [
        lines(f"<b>{plain(level)}</b> \u00b7 {plain(name)} \u00b7 row {plain(row)}", f"Residual {number(v, scale=scale)}",
              f"n = {values.size:,}, mean {number(values.mean(), scale=scale)}")
        for row, v in zip(rows, values, strict=True)
    ]  # fmt: skip
    looks = dict(boxpoints="all", hoveron="points", hoverinfo="text", hovertext=hover)
    return go.Box(
        x=values, y=[label] * values.size, orientation="h", name=label, customdata=rows, pointpos=0, width=0.62,
        fillcolor=theme.CLEAR if few else theme.tint(theme.RESIDUAL, 0.28), jitter=0.35 if each and not few else 0,
        line=dict(color=theme.CLEAR if few else theme.INK, width=1.2), whiskerwidth=0.4, showlegend=False,
        marker=dict(color=theme.RESIDUAL, size=6 if few else 5, opacity=0.85, line_width=0),
        **(looks if each or few else dict(boxpoints="outliers", hoveron="boxes+points", hoverinfo="x")),
    )  # fmt: skip


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
