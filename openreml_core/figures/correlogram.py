"""Correlations of residuals with their neighbours', lag by lag."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from openreml_core.figures import theme
from openreml_core.figures.words import count, lines, number, plain


def correlogram(table: pd.DataFrame) -> go.Figure:
    """Draw correlations against lag, a colour a direction, with the band that the model lets one expect.

    Parameters
    ----------
    table : DataFrame
        direction, lag, pairs, correlation, expected, lower, upper, as ``fit.autocorrelation(...)`` gives them.
    """
    if not len(table):
        return theme.message("There are no neighbours to compare.")
    fig = go.Figure()
    directions = list(dict.fromkeys(table["direction"]))
    for i, direction in enumerate(directions):
        own = table[table["direction"] == direction]
        colour = theme.QUALITATIVE[i % len(theme.QUALITATIVE)]
        x = own["lag"].to_numpy(float) + 0.12 * (i - (len(directions) - 1) / 2)
        band = dict(mode="lines", line=dict(width=0), hoverinfo="skip", showlegend=False)
        fig.add_trace(go.Scatter(x=x, y=own["lower"], **band))
        fig.add_trace(go.Scatter(x=x, y=own["upper"], fill="tonexty", fillcolor=theme.tint(colour, 0.13), **band))
        r = own["correlation"].to_numpy(float)
        stem_x, stem_y = np.repeat(x, 3), np.column_stack([np.zeros_like(r), r, np.full_like(r, np.nan)]).reshape(-1)
        fig.add_trace(
            go.Scatter(
                x=stem_x, y=stem_y, mode="lines", line=dict(color=colour, width=2), hoverinfo="skip", showlegend=False
            )
        )
        text = [
            lines(f"<b>{plain(direction).capitalize()}, lag {lag}</b>", f"Correlation {number(c, scale=1)}",
                  None if not np.isfinite(e) else f"Expected {number(e, scale=1)}", count(int(n), "pair"))
            for lag, c, e, n in zip(own["lag"], r, own["expected"], own["pairs"], strict=True)
        ]  # fmt: skip
        fig.add_trace(go.Scatter(
            x=x, y=r, mode="markers", marker=dict(color=colour, size=8), name=plain(direction).capitalize(), hovertext=text,
            hoverinfo="text",
        ))  # fmt: skip
    theme.apply(fig, height=340, legend=len(directions) > 1)
    fig.update_xaxes(title_text="Lag", dtick=1 if table["lag"].max() <= 20 else None)
    fig.update_yaxes(title_text="Correlation", zeroline=True, zerolinecolor=theme.INK, zerolinewidth=1)
    theme.note(fig, "Bands: about 95 % where the model holds")
    return fig
