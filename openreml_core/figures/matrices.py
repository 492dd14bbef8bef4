"""A matrix as a heat map: a design matrix, a covariance, a relationship."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from openreml_core.figures import theme
from openreml_core.figures.words import lines, number, plain, shorten

WRITTEN = 10
MOST_CELLS = 200_000


def matrix_heatmap(matrix: pd.DataFrame, title: str | None = None, *, rows: str = "", columns: str = "") -> go.Figure:
    """Draw a matrix, its first row on top; coloured about zero where signs differ.

    Parameters
    ----------
    matrix : DataFrame of shape (r, c)
        Numbers, labelled.
    title : str, optional
        A heading.
    rows, columns : str
        The axes' titles.
    """
    z = matrix.to_numpy(dtype=float)
    if not z.size or not np.isfinite(z).any():
        return theme.message("There is nothing in this matrix to draw.")
    n_rows, n_cols = z.shape
    take = np.arange(n_rows)
    if z.size > MOST_CELLS:
        take = np.unique(np.linspace(0, n_rows - 1, max(MOST_CELLS // n_cols, 2)).round().astype(int))
    z = z[take]
    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    top = max(abs(low), abs(high)) or 1.0
    if low < 0:
        limits = dict(zmin=-top, zmax=top, colorscale=theme.DIVERGING)
    else:
        limits = dict(zmin=0.0, zmax=top, colorscale=theme.SEQUENTIAL)
    row_names, col_names = [str(matrix.index[i]) for i in take], [str(c) for c in matrix.columns]
    small = max(z.shape) <= WRITTEN
    hover = [
        [
            lines(f"<b>{plain(r)}</b>, <b>{plain(c)}</b>", number(v, scale=top))
            for c, v in zip(col_names, line, strict=True)
        ]
        for r, line in zip(row_names, z, strict=True)
    ]
    heat = go.Heatmap(
        z=z, x=list(range(n_cols)), y=list(range(len(take))), hovertext=hover, hoverinfo="text", hoverongaps=False, **limits,
        xgap=2 if small else 0, ygap=2 if small else 0, showscale=not small,
    )  # fmt: skip
    if small:
        written = [[number(v, scale=top) for v in line] for line in z]
        heat.update(text=written, texttemplate="%{text}", textfont_size=12)
    fig = go.Figure(heat)
    square = matrix.shape[0] == matrix.shape[1]
    height = 44 * n_rows + 60 if small else 480 if square else int(np.clip(6 * n_rows, 200, 480)) + 60
    theme.apply(fig, height=height, title=title)
    if not small:
        theme.colour_bar(fig, "")
    for update, labels, words, most in (
        (fig.update_xaxes, col_names, columns, 16),
        (fig.update_yaxes, row_names, rows, 14 if square else 24),
    ):
        step = max(-(-len(labels) // most), 1)
        places = list(range(0, len(labels), step))
        short = shorten([labels[i].replace("(Intercept)", "Intercept") for i in places], 18)
        update(tickvals=places, ticktext=short, showgrid=False, title_text=words or None)
    fig.update_yaxes(range=[len(take) - 0.5, -0.5])
    fig.update_xaxes(range=[-0.5, n_cols - 0.5])
    if square and not small:
        fig.update_yaxes(scaleanchor="x", constrain="domain", constraintoward="top")
        fig.update_xaxes(constrain="domain", constraintoward="left")
    if take.size < n_rows:
        theme.note(fig, f"{take.size:,} of {n_rows:,} rows are drawn, evenly chosen.")
    return fig
