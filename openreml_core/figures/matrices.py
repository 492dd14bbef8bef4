"""A matrix as a heat map: a design matrix, a covariance, a relationship."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from openreml_core.figures import theme
from openreml_core.figures.words import lines, number, plain, shorten

WRITTEN = 10
MOST_CELLS = 200_000


def effect_labels(names: Iterable[Any]) -> list[str]:
    """Labels of a matrix's rows: ``county[C1]``, ``county[C2]`` are ``C1``, ``C2`` where all belong to one factor.

    Examples
    --------
    >>> effect_labels(["county[C1]", "county[C2]"]), effect_labels(["(Intercept)", "Days"])
    (['C1', 'C2'], ['(Intercept)', 'Days'])
    """
    texts = [str(name) for name in names]
    found = [re.fullmatch(r"(.+?)\[(?:[A-Z]\.)?(.*)\]", text) for text in texts]
    if len({m[1] for m in found if m}) == 1 and all(found):
        return [m[2] for m in found if m]
    return texts


def _limits(z: NDArray[np.float64]) -> dict[str, Any]:
    """Colours about zero where signs differ, else from zero."""
    top = float(np.nanmax(np.abs(z))) or 1.0
    if float(np.nanmin(z)) < -1e-9 * top:
        return dict(zmin=-top, zmax=top, colorscale=theme.DIVERGING)
    return dict(zmin=0.0, zmax=top, colorscale=theme.SEQUENTIAL)


def matrix_thumbnail(matrix: pd.DataFrame, *, size: int = 128) -> go.Figure:
    """Draw a square matrix small and without axes, as the emblem of a structure."""
    z = matrix.to_numpy(dtype=float)
    if not z.size or not np.isfinite(z).any():
        return theme.message("No matrix.", height=size)
    names, top = effect_labels(matrix.index), float(np.nanmax(np.abs(z)))
    hover = [
        [lines(f"{plain(r)}, {plain(c)}", number(v, digits=2, scale=top)) for c, v in zip(names, line, strict=True)]
        for r, line in zip(names, z, strict=True)
    ]
    gap = 1 if len(z) <= WRITTEN else 0
    heat = go.Heatmap(
        z=z, hovertext=hover, hoverinfo="text", showscale=False, xgap=gap, ygap=gap, hoverongaps=False, **_limits(z)
    )
    fig = theme.apply(go.Figure(heat), height=size)
    fig.update_layout(margin=dict(l=0, r=0, t=0, b=0), dragmode=False)
    axis = dict(visible=False, constrain="domain", fixedrange=True)
    fig.update_xaxes(axis, constraintoward="left")
    fig.update_yaxes(axis, autorange="reversed", scaleanchor="x", constraintoward="top")
    return fig


def matrix_heatmap(
    matrix: pd.DataFrame, title: str | None = None, *, rows: str = "", columns: str = "", height: int | None = None,
    names: bool = True, digits: int = 4,
) -> go.Figure:  # fmt: skip
    """Draw a matrix, its first row on top; coloured about zero where signs differ.

    Parameters
    ----------
    matrix : DataFrame of shape (r, c)
        Numbers, labelled.
    title : str, optional
        A heading.
    rows, columns : str
        The axes' titles.
    height : int, optional
        Pixels of a matrix too large to have its numbers written.
    names : bool
        Whether rows and columns are named along the axes; in the hover box they always are.
    digits : int
        Significant digits of the numbers that are written.
    """
    z = matrix.to_numpy(dtype=float)
    if not z.size or not np.isfinite(z).any():
        return theme.message("There is nothing in this matrix to draw.")
    n_rows, n_cols = z.shape
    take = np.arange(n_rows)
    if z.size > MOST_CELLS:
        take = np.unique(np.linspace(0, n_rows - 1, max(MOST_CELLS // n_cols, 2)).round().astype(int))
    z = z[take]
    top = float(np.nanmax(np.abs(z))) or 1.0
    limits = _limits(z)
    every_row, col_names = effect_labels(matrix.index), effect_labels(matrix.columns)
    row_names = [every_row[i] for i in take]
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
        written = [[number(v, digits=digits, scale=top) for v in line] for line in z]
        heat.update(text=written, texttemplate="%{text}", textfont_size=12)
    fig = go.Figure(heat)
    square = matrix.shape[0] == matrix.shape[1]
    height = 44 * n_rows + 60 if small else height or 480 if square else int(np.clip(6 * n_rows, 200, 480)) + 60
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
        update(tickvals=places, ticktext=short, showgrid=False, title_text=words or None, showticklabels=names)
    fig.update_yaxes(range=[len(take) - 0.5, -0.5])
    fig.update_xaxes(range=[-0.5, n_cols - 0.5])
    if square and not small:
        fig.update_yaxes(scaleanchor="x", constrain="domain", constraintoward="top")
        fig.update_xaxes(constrain="domain", constraintoward="left")
    if take.size < n_rows:
        theme.note(fig, f"{take.size:,} of {n_rows:,} rows are drawn, evenly chosen.")
    return fig
