"""The field plan: which level of a factor stands where."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray
from plotly.colors import sample_colorscale

from openreml_core.figures import theme
from openreml_core.figures.field import (
    NARROW,
    NO_POSITIONS,
    cells,
    dress,
    field_map,
    is_tall,
    position,
    shared,
    texts_of,
)
from openreml_core.figures.grid import Grid, lay_out
from openreml_core.figures.words import is_number_column, lines, plain, shorten

LEGEND_LEVELS = len(theme.QUALITATIVE)
LETTER = 5.6  # pixels, at the size of a cell's word
RAINBOW = [[0.0, "#0072B2"], [0.2, "#56B4E9"], [0.4, "#009E73"], [0.6, "#F0E442"], [0.8, "#E69F00"], [1.0, "#CC79A7"]]


def design_map(
    rows: ArrayLike | pd.Series, cols: ArrayLike | pd.Series, labels: ArrayLike | pd.Series, *, name: str = "Level",
    title: str | None = None, aspect: float = 1.0, row_name: str = "Row", col_name: str = "Column",
) -> go.Figure:  # fmt: skip
    """Draw a factor's levels, or a measured column, over the field.

    Parameters
    ----------
    rows, cols : array or Series of shape (n,)
        Each plot's position.
    labels : array or Series of shape (n,)
        The level of each plot: up to eight have a colour and a legend; more are written in their cells where there is room.
        Numbers are drawn from low to high.
    name : str
        The column's name, for the hover box.
    title, aspect, row_name, col_name
        As for :func:`field_map`.
    """
    column = labels.reset_index(drop=True) if isinstance(labels, pd.Series) else pd.Series(np.asarray(labels))
    if is_number_column(column):
        return field_map(rows, cols, column, title=title, what=name, diverging=False, aspect=aspect, row_name=row_name,
                         col_name=col_name)  # fmt: skip
    grid = lay_out(rows, cols, column.notna().to_numpy())
    if not grid.at.size:
        return theme.message(NO_POSITIONS if not lay_out(rows, cols).at.size else "Every value is missing.")
    if is_tall(grid, aspect):
        return design_map(
            cols, rows, column, name=name, title=title, aspect=1 / aspect, row_name=col_name, col_name=row_name
        )
    kept = set(column.iloc[grid.at])
    ordered = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else sorted(kept, key=str)
    levels = [str(k) for k in ordered if k in kept]
    texts = column.astype(str).tolist()
    z = _codes(grid, texts, levels)
    colours = level_colours(len(levels))
    steps = [(edge, colour) for i, colour in enumerate(colours) for edge in (i / len(levels), (i + 1) / len(levels))]
    short = shorten(levels, 8)
    legend = 1 < len(levels) <= LEGEND_LEVELS
    there = grid.texts(texts)
    hover = [
        [lines(f"<b>{plain(there[i, j])}</b> \u00b7 {plain(name)}", position(grid, i, j, row_name, col_name))
         for j in range(len(grid.cols))]
        for i in range(len(grid.rows))
    ]  # fmt: skip
    heat = go.Heatmap(
        z=z, hovertext=hover, showscale=False, colorscale=steps, zmin=-0.5, zmax=len(levels) - 0.5, **cells(grid)
    )
    if not legend and (LETTER * max(map(len, short)) + 1) * len(grid.cols) <= NARROW:
        heat.update(text=texts_of(z, short), texttemplate="%{text}", textfont_size=9)
    fig = go.Figure(heat)
    if legend:
        for level, colour in zip(shorten(levels), colours, strict=True):
            key = dict(symbol="square", size=11, color=colour)
            fig.add_trace(go.Scatter(x=[None], y=[None], mode="markers", name=level, marker=key))
    dress(fig, grid, title, aspect, row_name, col_name, legend=legend)
    if grid.shared:
        theme.note(fig, shared(grid, "The first is coloured."))
    return fig


def level_colours(n: int) -> list[str]:
    """Give n colours: Okabe and Ito's while they last, else steps through them, every second one paler."""
    if n <= LEGEND_LEVELS:
        return list(theme.QUALITATIVE[:n])
    steps = sample_colorscale(RAINBOW, list(np.linspace(0, 1, n)), colortype="tuple")
    pale = [tuple(c + (1 - c) * 0.5 * (i % 2) for c in rgb) for i, rgb in enumerate(steps)]
    return [f"rgb({', '.join(str(round(255 * c)) for c in rgb)})" for rgb in pale]


def _codes(grid: Grid, texts: list[str], levels: list[str]) -> NDArray[np.float64]:
    """Spread the levels' numbers over the grid (r, c); the first plot counts where some share a position."""
    code = {k: i for i, k in enumerate(levels)}
    z = np.full((len(grid.rows), len(grid.cols)), np.nan)
    for i, j, k in zip(grid.row[::-1], grid.col[::-1], grid.at[::-1], strict=True):
        z[i, j] = code[texts[k]]
    return z
