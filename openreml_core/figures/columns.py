"""Small pictures of a table's columns: a histogram for numbers, bars for levels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from openreml_core.figures import theme
from openreml_core.figures.distribution import bins
from openreml_core.figures.words import count, is_number_column, lines, number, plain, shorten

MOST_BARS = 30
FILL = "rgba(128, 134, 145, 0.6)"


def column_histogram(series: pd.Series, *, height: int = 96) -> go.Figure:
    """Draw a column small: a histogram where it holds numbers, else its levels' counts.

    Parameters
    ----------
    series : Series of shape (n,)
        Missing values are left out.
    height : int
        Pixels.
    """
    if not is_number_column(series):
        return column_bars(series, height=height)
    values = series.to_numpy(dtype=float, na_value=np.nan)
    values = values[np.isfinite(values)]
    if not values.size:
        return theme.message("All missing.", height=height)
    counts, edges = bins(values, most=24)
    low, high = float(values.min()), float(values.max())
    hover = [
        lines(f"<b>{number(a)} to {number(b)}</b>", count(int(c), "row"))
        for a, b, c in zip(edges, edges[1:], counts, strict=False)
    ]
    fig = _small((edges[:-1] + edges[1:]) / 2, counts, hover, height, width=np.diff(edges) * 0.94)
    ends = [low] if high == low else [low, high]
    middle, half = float(edges.mean()), float(np.ptp(edges)) * (0.5 if high > low else 2)
    fig.update_xaxes(tickvals=ends, ticktext=[number(v) for v in ends], range=[middle - half, middle + half])
    return fig


def column_bars(series: pd.Series, *, height: int = 96) -> go.Figure:
    """Draw how often each level occurs, in the levels' order; the most frequent 30 where there are more."""
    kept = series.dropna()
    if kept.empty:
        return theme.message("All missing.", height=height)
    counts = kept.astype(str).value_counts(sort=False)
    if isinstance(series.dtype, pd.CategoricalDtype):
        counts = counts.reindex([str(c) for c in series.cat.categories if str(c) in counts.index])
    else:
        counts = counts.sort_index()
    n_levels = len(counts)
    if n_levels > MOST_BARS:
        counts = counts.sort_values(ascending=False, kind="stable").head(MOST_BARS)
    hover = [lines(f"<b>{plain(k)}</b>", count(int(c), "row")) for k, c in counts.items()]
    fig = _small(np.arange(len(counts), dtype=float), counts.to_numpy(float), hover, height, width=0.86)
    if n_levels > MOST_BARS:
        places, text = [(len(counts) - 1) / 2], [f"the {MOST_BARS} most frequent of {n_levels:,}"]
    elif n_levels <= 5:
        places, text = list(range(n_levels)), shorten(counts.index, 9)
    else:
        places, text = [0, n_levels - 1], shorten([counts.index[0], counts.index[-1]], 9)
    fig.update_xaxes(tickvals=places, ticktext=text, range=[-0.6, len(counts) - 0.4], tickangle=0)
    return fig


def _small(x: np.ndarray, y: np.ndarray, hover: list[str], height: int, width: np.ndarray | float) -> go.Figure:
    bar = go.Bar(x=x, y=y, width=width, marker=dict(color=FILL, line_width=0), hovertext=hover, hoverinfo="text")
    fig = theme.apply(go.Figure(bar), height=height)
    fig.update_layout(margin=dict(l=28, r=28, t=6, b=20), bargap=0, dragmode=False)
    fig.update_xaxes(showgrid=False, fixedrange=True, automargin=False, tickfont_size=11)
    fig.update_yaxes(visible=False, fixedrange=True, rangemode="tozero")
    return fig
