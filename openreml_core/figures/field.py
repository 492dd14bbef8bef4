"""Numbers over the field: a cell for each plot, in the plots' proportions, gaps where plots are missing.

Row 1 is at the top, as in a sowing plan; a field much longer than wide is laid on its side. Residuals are coloured about
zero, a response from low to high.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from openreml_core.figures import theme
from openreml_core.figures.grid import Grid, lay_out
from openreml_core.figures.points import as_floats
from openreml_core.figures.words import count, lines, number, plain, shorten

NO_POSITIONS = "No plot has both a row and a column, so there is no field to draw."
TALL = 2.5
WIDTH, NARROW, HIGHEST = 560, 290, 560  # pixels: a map on a page, on a telephone, and the most a map is high


def field_map(
    rows: ArrayLike | pd.Series, cols: ArrayLike | pd.Series, values: ArrayLike | pd.Series, *, title: str | None = None,
    what: str = "Residual", diverging: bool = True, aspect: float = 1.0, labels: pd.Series | None = None,
    row_name: str = "Row", col_name: str = "Column", blocks: ArrayLike | pd.Series | None = None,
) -> go.Figure:  # fmt: skip
    """Draw numbers over the field.

    Parameters
    ----------
    rows, cols : array or Series of shape (n,)
        Each plot's position.
    values : array or Series of shape (n,)
        A missing value is a gap.
    title : str, optional
        A heading.
    what : str
        What the colour shows, for the colour bar and hover box.
    diverging : bool
        Colour about zero (residuals) or from low to high (a response).
    aspect : float
        A plot's length along a field column, divided by its width along a field row.
    labels : Series of shape (n,), optional
        A name for each plot, for the hover box.
    row_name, col_name : str
        The axes' titles.
    blocks : array or Series of shape (n,), optional
        The block of each plot: a line is drawn between plots of different blocks.
    """
    v = as_floats(values)
    grid = lay_out(rows, cols, np.isfinite(v))
    if not grid.at.size:
        return theme.message(NO_POSITIONS if not lay_out(rows, cols).at.size else "Every value is missing.")
    if is_tall(grid, aspect):
        return field_map(cols, rows, v, title=title, what=what, diverging=diverging, aspect=1 / aspect, labels=labels,
                         row_name=col_name, col_name=row_name, blocks=blocks)  # fmt: skip
    z = grid.numbers(v)
    names = None if labels is None else grid.texts([str(k) for k in labels])
    top = float(np.nanmax(np.abs(z)))
    if diverging:
        scale = dict(zmin=-(top or 1.0), zmax=top or 1.0, colorscale=theme.DIVERGING)
    else:
        low, high = float(np.nanmin(z)), float(np.nanmax(z))
        scale = dict(zmin=low, zmax=high if high > low else low + (abs(low) or 1.0), colorscale=theme.SEQUENTIAL)
    hover = [
        [
            lines(
                None if names is None or not names[i, j] else f"<b>{plain(names[i, j])}</b>",
                position(grid, i, j, row_name, col_name),
                f"{plain(what)} {number(z[i, j], scale=top)}",
            )
            for j in range(len(grid.cols))
        ]
        for i in range(len(grid.rows))
    ]
    heat = go.Heatmap(z=z, hovertext=hover, **cells(grid), **scale)
    fig = dress(go.Figure(heat), grid, title, aspect, row_name, col_name)
    theme.colour_bar(fig, plain(what))
    if blocks is not None:
        x, y = outline(lay_out(rows, cols), [str(b) for b in pd.Series(blocks)], grid)
        fig.add_trace(
            go.Scatter(x=x, y=y, mode="lines", line=dict(color=theme.INK, width=3), hoverinfo="skip", showlegend=False)
        )
    if grid.shared:
        theme.note(fig, shared(grid, "Their mean is shown."))
    return fig


def outline(every: Grid, block: list[str], drawn: Grid) -> tuple[list[float | None], list[float | None]]:
    """Lines between neighbouring plots of different blocks and around their outside, in the places of a drawn grid.

    Plots without a value have a block too: ``every`` lays all plots out, ``drawn`` those in the figure.
    """
    at_row, at_col = ({name: i for i, name in enumerate(names)} for names in (drawn.rows, drawn.cols))
    held: dict[tuple[int, int], str] = {}
    for r, c, k in zip(every.row.tolist(), every.col.tolist(), every.at.tolist(), strict=True):
        i, j = at_row.get(every.rows[r]), at_col.get(every.cols[c])
        if i is not None and j is not None:
            held[i, j] = block[k]
    x: list[float | None] = []
    y: list[float | None] = []
    for (i, j), own in held.items():
        for di, dj in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            other = held.get((i + di, j + dj))
            # A line between two plots belongs to the first of them; one at the outside to the only one.
            if other == own or (other is not None and (di < 0 or dj < 0)):
                continue
            if di:
                x += [j - 0.5, j + 0.5, None]
                y += [i + di / 2, i + di / 2, None]
            else:
                x += [j + dj / 2, j + dj / 2, None]
                y += [i - 0.5, i + 0.5, None]
    return x, y


def is_tall(grid: Grid, aspect: float) -> bool:
    """Tell whether a field is so much longer than wide that it had better lie on its side."""
    return len(grid.rows) * aspect > TALL * len(grid.cols)


def cells(grid: Grid) -> dict[str, Any]:
    """Give a heat map's options that every field shares: places, and a thin gap between plots while they are few."""
    most = max(len(grid.rows), len(grid.cols))
    gap = 2 if most <= 30 else 1 if most <= 80 else 0
    places = dict(x=list(range(len(grid.cols))), y=list(range(len(grid.rows))))
    return dict(xgap=gap, ygap=gap, hoverinfo="text", hoverongaps=False, **places)


def dress(
    fig: go.Figure, grid: Grid, title: str | None, aspect: float, row_name: str, col_name: str, *, legend: bool = False,
) -> go.Figure:  # fmt: skip
    """Give a field its axes in the plots' proportions."""
    n_rows, n_cols = len(grid.rows), len(grid.cols)
    high = float(np.clip(WIDTH * n_rows * aspect / n_cols, 24 if n_rows == 1 else 60, HIGHEST))
    theme.apply(fig, height=int(high) + 80 + (26 if legend else 0), title=title, legend=legend)
    wide = min(NARROW, HIGHEST * n_cols / (n_rows * aspect))
    pitch = wide / n_cols
    widest = 8 * max(len(str(c)) for c in grid.cols[-3:]) + 8
    for update, names, axis_name, needed in (
        (fig.update_xaxes, grid.cols, col_name, widest / pitch),
        (fig.update_yaxes, grid.rows, row_name, 14 / (pitch * aspect)),
    ):
        places = _marks(names, needed)
        text = shorten([number(names[i]) if isinstance(names[i], float) else names[i] for i in places], 12)
        update(
            title_text=plain(axis_name), tickvals=places, ticktext=text, tickangle=0, showgrid=False, constrain="domain"
        )
    if n_rows == 1:
        fig.update_yaxes(title_text=None, showticklabels=False)
        fig.update_xaxes(title_text=f"{plain(col_name)} ({plain(row_name)} {plain(grid.rows[0])})")
    fig.update_xaxes(range=[-0.5, n_cols - 0.5], constraintoward="left")
    fig.update_yaxes(range=[n_rows - 0.5, -0.5], scaleanchor="x", scaleratio=aspect, constraintoward="top")
    return fig


def _marks(names: tuple[Any, ...], needed: float) -> list[int]:
    """Choose the positions to name, ``needed`` places or more apart: round numbers, and the first where it has room."""
    step = next((s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500) if s >= needed), 1000)
    places = [i for i, k in enumerate(names) if (k if isinstance(k, int) else i) % step == 0]
    return [0, *places] if not places or places[0] >= needed else places


def position(grid: Grid, i: int, j: int, row_name: str, col_name: str) -> str:
    """Say where a cell lies."""
    return f"{plain(row_name)} {plain(grid.rows[i])}, {plain(col_name)} {plain(grid.cols[j])}"


def shared(grid: Grid, what: str) -> str:
    """Say that some positions hold more than one plot."""
    places = count(grid.shared, "position holds", "positions hold")
    return f"{places} more than one plot. {what}"


def texts_of(z: NDArray[np.float64], words: list[str]) -> list[list[str]]:
    """Write a cell's word for its code (r, c), nothing where there is none."""
    return [["" if np.isnan(v) else words[int(v)] for v in line] for line in z]
