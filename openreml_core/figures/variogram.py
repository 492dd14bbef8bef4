"""Variograms: along one direction as points with the fitted curve, and as a surface over lags in rows and columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from openreml_core.figures import theme
from openreml_core.figures.points import as_floats
from openreml_core.figures.words import count, lines, number, plain

#: Lags with fewer pairs than this say little and are not drawn where others have more.
FEW_PAIRS = 10
WHAT = {
    "semivariance": "Semivariance",
    "fitted": "Fitted",
    "expected": "Expected",
    "ratio": "Sample / expected",
}


def variogram(tables: pd.DataFrame | dict[str, pd.DataFrame], *, unit: str = "") -> go.Figure:
    """Draw semivariances against distance, what the model expects as a line.

    Parameters
    ----------
    tables : DataFrame or dict of str to DataFrame
        distance, pairs, semivariance, fitted, expected, as ``fit.variogram(direction=...)`` gives them; several by name.
    unit : str
        Unit of distance.
    """
    named = {"": tables} if isinstance(tables, pd.DataFrame) else tables
    fig, top, left_out = go.Figure(), 0.0, 0
    for i, (name, table) in enumerate(named.items()):
        colour = theme.RESIDUAL if len(named) == 1 else theme.QUALITATIVE[i % len(theme.QUALITATIVE)]
        kept = _enough(table)
        left_out += len(table) - len(kept)
        if not len(kept):
            continue
        x, y = kept["distance"].to_numpy(float), kept["semivariance"].to_numpy(float)
        pairs = kept["pairs"].to_numpy(float)
        label = plain(name).capitalize() or "Residuals"
        line, expected = _line_of(kept)
        top = max(top, float(np.nanmax(y)), float(np.nanmax(expected)) if np.isfinite(expected).any() else 0.0)
        if np.isfinite(expected).any():
            fig.add_trace(go.Scatter(
                x=x, y=expected, mode="lines", line=dict(color=colour if len(named) > 1 else theme.INK, width=2, dash="dot"),
                name=line, hoverinfo="skip", showlegend=i == 0,
            ))  # fmt: skip
        text = [
            lines(f"<b>{label}</b>" if name else None, f"Distance {number(a)}", f"Semivariance {number(b, scale=top)}",
                  None if not np.isfinite(e) else f"Expected {number(e, scale=top)}", count(int(c), "pair"))
            for a, b, e, c in zip(x, y, expected, pairs, strict=True)
        ]  # fmt: skip
        size = 5 + 7 * np.sqrt(pairs / pairs.max())
        fig.add_trace(go.Scatter(
            x=x, y=y, mode="markers", name=label, hovertext=text, hoverinfo="text",
            marker=dict(color=colour, size=size, opacity=0.9),
        ))  # fmt: skip
    if not fig.data:
        return theme.message("There are no pairs of plots to compare.")
    theme.apply(fig, height=380, legend=True)
    fig.update_xaxes(title_text=f"Distance{f' ({plain(unit)})' if unit else ''}", rangemode="tozero")
    fig.update_yaxes(title_text="Semivariance", range=[0, 1.08 * top or 1.0])
    if left_out:
        theme.note(fig, f"{count(left_out, 'lag')} of under {FEW_PAIRS} pairs not drawn")
    return fig


def variogram_surface(
    table: pd.DataFrame, *, what: str = "semivariance", row_name: str = "Row", col_name: str = "Column"
) -> go.Figure:
    """Draw semivariances over lags in rows and in columns, a cell a lag.

    Parameters
    ----------
    table : DataFrame
        row_lag, col_lag, pairs, semivariance, fitted, expected, as ``fit.variogram()`` gives them.
    what : {"semivariance", "fitted", "expected", "ratio"}
        ``"ratio"`` is semivariance over expected (fitted, where that is missing): 1 where the model holds.
    row_name, col_name : str
    """
    kept = _enough(table)
    if what not in WHAT:
        raise ValueError(f"what={what!r} is none of {', '.join(WHAT)}.")
    if not len(kept):
        return theme.message("There are no pairs of plots to compare.")
    _, expected = _line_of(kept)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = kept["semivariance"].to_numpy(float) / expected if what == "ratio" else as_floats(kept[what])
    rows, cols = kept["row_lag"].to_numpy(int), kept["col_lag"].to_numpy(int)
    shape = (rows.max() + 1, cols.max() + 1)
    z = np.full(shape, np.nan)
    hover = np.full(shape, "", dtype=object)
    z[rows, cols] = values
    seen, pairs = kept["semivariance"].to_numpy(float), kept["pairs"].to_numpy(int)
    for r, c, s, e, n in zip(rows, cols, seen, expected, pairs, strict=True):
        hover[r, c] = lines(
            f"<b>{plain(row_name)} lag {r}, {plain(col_name)} lag {c}</b>", f"Semivariance {number(s)}",
            None if not np.isfinite(e) else f"Expected {number(e)}", count(int(n), "pair"),
        )  # fmt: skip
    options: dict[str, object] = dict(colorscale=theme.SEQUENTIAL, zmin=0.0)
    if what == "ratio" and np.isfinite(z).any():
        far = float(np.nanmax(np.abs(np.log(np.clip(z, 1e-3, None)))))
        far = min(max(far, 0.1), 2.0)
        options = dict(colorscale=theme.DIVERGING, zmin=1 - far, zmax=1 + far)
    fig = go.Figure(go.Heatmap(
        z=z, x=np.arange(shape[1]), y=np.arange(shape[0]), hovertext=hover.tolist(), hoverinfo="text", hoverongaps=False,
        xgap=1, ygap=1, **options,
    ))  # fmt: skip
    theme.apply(fig, height=400)
    fig.update_xaxes(title_text=f"Lag in {plain(col_name).lower()}s", showgrid=False)
    fig.update_yaxes(title_text=f"Lag in {plain(row_name).lower()}s", showgrid=False)
    theme.colour_bar(fig, WHAT[what])
    if len(kept) < len(table):
        theme.note(fig, f"{count(len(table) - len(kept), 'lag')} of under {FEW_PAIRS} pairs left blank")
    return fig


def _enough(table: pd.DataFrame) -> pd.DataFrame:
    """The lags with pairs enough to be drawn; all of them where none has many."""
    enough = table["pairs"] >= FEW_PAIRS
    return table[enough] if enough.any() else table


def _line_of(table: pd.DataFrame) -> tuple[str, np.ndarray]:
    """What the sample is compared with: what residuals are expected to show, or the model's own where that is not known."""
    expected = as_floats(table["expected"])
    if np.isfinite(expected).any():
        return "Expected", expected
    return "Fitted", as_floats(table["fitted"])
