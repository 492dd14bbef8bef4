"""Maps of the field: a cell for each plot, in the plots' proportions, gaps where plots are missing.

Row 1 is at the top, as in a sowing plan. Residuals are coloured about zero; a response from low to high; a factor by level.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray
from plotly.colors import sample_colorscale

from openreml_core.figures import theme
from openreml_core.figures.grid import Grid, lay_out
from openreml_core.figures.words import count, is_number_column, lines, number, plain, shorten

LEGEND_LEVELS = len(theme.QUALITATIVE)
LABELLED_CELLS = 320
NO_POSITIONS = "No plot has both a row and a column, so there is no field to draw."


def field_map(
    rows: ArrayLike | pd.Series, cols: ArrayLike | pd.Series, values: ArrayLike | pd.Series, *, title: str | None = None,
    what: str = "Residual", diverging: bool = True, aspect: float = 1.0, labels: pd.Series | None = None,
    row_name: str = "Row", col_name: str = "Column",
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
    """
    v = np.asarray(values, dtype=float).ravel()
    grid = lay_out(rows, cols, np.isfinite(v))
    if not grid.at.size:
        return theme.message(NO_POSITIONS if not lay_out(rows, cols).at.size else "Every value is missing.")
    z = grid.numbers(v)
    names = None if labels is None else grid.texts([str(k) for k in labels])
    hover = _hover(grid, z, what, names, row_name, col_name)
    top = float(np.nanmax(np.abs(z)))
    if diverging:
        limits = dict(zmin=-(top or 1.0), zmax=top or 1.0, colorscale=theme.DIVERGING)
    else:
        low, high = float(np.nanmin(z)), float(np.nanmax(z))
        limits = dict(zmin=low, zmax=high if high > low else low + (abs(low) or 1.0), colorscale=theme.SEQUENTIAL)
    heat = go.Heatmap(
        z=z, hovertext=hover, hoverinfo="text", hoverongaps=False, **_gap(grid), **limits,
        colorbar=dict(title=dict(text=plain(what), side="right"), thickness=12, outlinewidth=0, len=1, y=0.5, xpad=6, nticks=6,
                      tickfont_size=12),
    )  # fmt: skip
    fig = _field(go.Figure(heat), grid, title, aspect, row_name, col_name)
    if grid.shared:
        theme.note(fig, _shared(grid, "their mean is shown"))
    return fig


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
        The level of each plot: up to eight have a colour and a legend; more are written in their cells where these are few.
        Numbers are drawn from low to high.
    name : str
        The column's name, for the legend and hover box.
    title, aspect, row_name, col_name
        As for :func:`field_map`.
    """
    column = labels.reset_index(drop=True) if isinstance(labels, pd.Series) else pd.Series(np.asarray(labels))
    if is_number_column(column):
        return field_map(rows, cols, column, title=title, what=name, diverging=False, aspect=aspect, row_name=row_name,
                         col_name=col_name)  # fmt: skip
    grid = lay_out(rows, cols, column.notna().to_numpy())
    if not grid.at.size:
        return theme.message(NO_POSITIONS)
    kept = column.iloc[grid.at]
    ordered = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else sorted(kept.unique(), key=str)
    levels = [str(k) for k in ordered if k in set(kept)]
    code = {k: i for i, k in enumerate(levels)}
    z = np.full((len(grid.rows), len(grid.cols)), np.nan)
    texts = column.astype(str).tolist()
    for i, j, k in zip(grid.row, grid.col, grid.at, strict=True):
        z[i, j] = code[texts[k]] if np.isnan(z[i, j]) else z[i, j]
    colours = _colours(len(levels))
    written = np.isfinite(z).sum() <= LABELLED_CELLS and len(levels) > 1
    cell = dict(zip(levels, shorten(levels, 8), strict=True))
    shown = [["" if np.isnan(v) else cell[levels[int(v)]] for v in line] for line in z]
    hover = _hover(grid, None, name, grid.texts(texts), row_name, col_name)
    steps = [(edge, colour) for i, colour in enumerate(colours) for edge in (i / len(colours), (i + 1) / len(colours))]
    longest = max(len(t) for line in shown for t in line)
    fits = longest * len(grid.cols) <= 110
    heat = go.Heatmap(
        z=z, hovertext=hover, hoverinfo="text", hoverongaps=False, showscale=False, colorscale=steps, zmin=-0.5,
        zmax=len(levels) - 0.5, **_gap(grid), **(dict(text=shown, texttemplate="%{text}", textfont_size=11) if written and fits else {}),
    )  # fmt: skip
    fig = go.Figure(heat)
    legend = 1 < len(levels) <= LEGEND_LEVELS
    for level, colour in zip(levels, colours, strict=True) if legend else ():
        fig.add_trace(go.Scatter(x=[None], y=[None], mode="markers", name=cell[level] if len(level) <= 8 else shorten([level])[0],
                                 marker=dict(symbol="square", size=11, color=colour)))  # fmt: skip
    _field(fig, grid, title, aspect, row_name, col_name, legend=legend)
    if grid.shared:
        theme.note(fig, _shared(grid, "the first is coloured"))
    return fig


def _colours(n: int) -> list[str]:
    """Give n colours: Okabe and Ito's while they last, else steps along a scale, neighbours in order kept apart."""
    if n <= LEGEND_LEVELS:
        return list(theme.QUALITATIVE[:n])
    scale = [[0.0, "#0072B2"], [0.2, "#56B4E9"], [0.4, "#009E73"], [0.6, "#F0E442"], [0.8, "#E69F00"], [1.0, "#CC79A7"]]
    return list(sample_colorscale(scale, np.linspace(0, 1, n)))


def _gap(grid: Grid) -> dict[str, Any]:
    gap = 2 if max(len(grid.rows), len(grid.cols)) <= 40 else 1 if max(len(grid.rows), len(grid.cols)) <= 90 else 0
    return dict(xgap=gap, ygap=gap, x=list(range(len(grid.cols))), y=list(range(len(grid.rows))))


def _field(
    fig: go.Figure, grid: Grid, title: str | None, aspect: float, row_name: str, col_name: str, legend: bool = False
) -> go.Figure:
    n_rows, n_cols = len(grid.rows), len(grid.cols)
    height = int(np.clip(620 * n_rows * aspect / n_cols, 90, 560)) + 80 + (26 if legend else 0)
    theme.apply(fig, height=height, title=title, legend=legend)
    for update, names, axis_name, ticks in (
        (fig.update_xaxes, grid.cols, col_name, 12), (fig.update_yaxes, grid.rows, row_name, 14)
    ):  # fmt: skip
        step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if len(names) / s <= ticks or s == 1000)
        places = [
            i for i, k in enumerate(names) if i == 0 or (int(k) % step == 0 if isinstance(k, int) else i % step == 0)
        ]
        if len(places) > 1 and places[1] - places[0] < step / 2:
            places.pop(0)
        text = shorten([number(names[i]) if isinstance(names[i], float) else names[i] for i in places], 12)
        update(
            title_text=plain(axis_name), tickvals=places, ticktext=text, showgrid=False, constrain="domain", tickangle=0
        )
    fig.update_xaxes(range=[-0.5, n_cols - 0.5], constraintoward="left")
    fig.update_yaxes(range=[n_rows - 0.5, -0.5], scaleanchor="x", scaleratio=aspect, constraintoward="top")
    return fig


def _shared(grid: Grid, what: str) -> str:
    places = count(grid.shared, "position holds", "positions hold")
    return f"{places} more than one plot; {what}. Choose one trial to see them apart."


def _hover(
    grid: Grid,
    z: NDArray[np.float64] | None,
    what: str,
    names: NDArray[np.object_] | None,
    row_name: str,
    col_name: str,
) -> list[list[str]]:
    scale = None if z is None else float(np.nanmax(np.abs(z)))
    out = []
    for i, r in enumerate(grid.rows):
        line = []
        for j, c in enumerate(grid.cols):
            value = f"{plain(what)} {number(z[i, j], scale=scale)}" if z is not None else None
            name = None if names is None or not names[i, j] else f"<b>{plain(names[i, j])}</b>"
            if z is None and name:
                name = f"{name} \u00b7 {plain(what)}"
            line.append(lines(name, f"{plain(row_name)} {r}, {plain(col_name).lower()} {c}", value))
        out.append(line)
    return out
