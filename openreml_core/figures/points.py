"""Clouds of points: drawn as SVG while few, by WebGL above 1,000, thinned above 5,000; and points with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from openreml_core.figures.words import number, plain

Array = NDArray[np.float64]

GL_ABOVE = 1_000
THIN_ABOVE = 5_000
KEPT_EXTREMES = 1_000


def scatter_class(n: int) -> type[go.Scatter] | type[go.Scattergl]:
    """Give the trace class for n points."""
    return go.Scattergl if n > GL_ABOVE else go.Scatter


def as_floats(values: Any) -> Array:
    """Give a column (n,) as floats, missing ones as NaN."""
    return pd.Series(np.ravel(values) if isinstance(values, np.ndarray) else values).to_numpy(
        dtype=float, na_value=np.nan
    )


def finite_pairs(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array, NDArray[np.intp]]:
    """Keep the positions at which both x (n,) and y (n,) are finite; also give those positions."""
    a, b = as_floats(x), as_floats(y)
    if a.shape != b.shape:
        raise ValueError(f"The two columns of this figure differ in length: {a.size} and {b.size}.")
    keep = np.flatnonzero(np.isfinite(a) & np.isfinite(b))
    return a[keep], b[keep], keep


def thin(y: Array) -> NDArray[np.intp]:
    """Choose which of n points to draw: all up to 5,000, else the 1,000 farthest from the middle and a fixed random rest."""
    if y.size <= THIN_ABOVE:
        return np.arange(y.size)
    far = np.argsort(-np.abs(y - np.median(y)), kind="stable")
    rest = np.random.default_rng(1).choice(far[KEPT_EXTREMES:], THIN_ABOVE - KEPT_EXTREMES, replace=False)
    return np.sort(np.concatenate([far[:KEPT_EXTREMES], rest]))


def thinned_note(n: int) -> str:
    """Say that a cloud of n points was thinned."""
    return f"{THIN_ABOVE:,} of {n:,} points are drawn, the {KEPT_EXTREMES:,} farthest out among them; lines and bands use all."


def cloud(x: Array, y: Array, *, colour: str, hover: Sequence[str], rows: Sequence[Any]) -> go.Scatter | go.Scattergl:
    """Draw points (n,) in one colour; ``rows`` (n,) ride along as customdata so that a selection finds its rows."""
    many = x.size > 300
    marker = dict(
        color=colour,
        size=4 if x.size > 5_000 else 5 if many else 7,
        opacity=0.3 if x.size > 5_000 else 0.5 if x.size > GL_ABOVE else 0.75 if many else 0.9,
        line=dict(width=0 if many else 0.7, color="rgba(20, 60, 90, 0.7)"),
    )
    return scatter_class(x.size)(
        x=x, y=y, mode="markers", marker=marker, customdata=list(rows), hovertext=list(hover), hoverinfo="text",
        showlegend=False,
    )  # fmt: skip


def row_text(
    index: pd.Index, hover: pd.DataFrame | Sequence[str] | None, positions: NDArray[np.intp], word: str = "Row"
) -> list[str]:
    """Write the first line of each point's hover box: the row's label, and the columns or texts of ``hover`` (n rows)."""
    names = [f"<b>{plain(word)} {plain(index[i])}</b>" for i in positions]
    if hover is None:
        return names
    if isinstance(hover, pd.DataFrame):
        columns = [(str(c), hover[c].tolist()) for c in hover.columns]
        texts = [
            " \u00b7 ".join(f"{c} {number(v[i]) if isinstance(v[i], float) else v[i]}" for c, v in columns)
            for i in positions
        ]
    else:
        texts = [str(hover[i]) for i in positions]
    return [f"{a}<br>{b}" for a, b in zip(names, texts, strict=True)]


def index_of(values: Any, n: int) -> pd.Index:
    """Give the row labels of a Series, else 1 to n."""
    return values.index if isinstance(values, pd.Series) else pd.RangeIndex(1, n + 1)


def intervals(
    estimate: Array, labels: Sequence[str], ends: tuple[Array, Array] | None, *, colour: str, bar: str, hover: Sequence[str],
    size: float, thickness: float, name: str, symbol: str = "circle",
) -> go.Scatter | go.Scattergl:  # fmt: skip
    """Draw estimates (k,), one label to a line, with their intervals' lower and upper ends in the colour ``bar``."""
    error: dict[str, Any] = dict(visible=False)
    if ends is not None:
        error = dict(
            type="data", symmetric=False, array=ends[1] - estimate, arrayminus=estimate - ends[0], color=bar,
            thickness=thickness, width=0,
        )  # fmt: skip
    return scatter_class(estimate.size)(
        x=estimate, y=list(labels), mode="markers", error_x=error, name=name, hovertext=list(hover), hoverinfo="text",
        marker=dict(color=colour, size=size, symbol=symbol),
    )  # fmt: skip
