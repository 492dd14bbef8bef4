"""Correlation against distance: how far apart two plots still have to do with each other."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from openreml_core.figures import theme
from openreml_core.figures.words import lines, number


def distance_curve(table: pd.DataFrame) -> go.Figure:
    """Draw the correlation of two rows against their distance.

    Parameters
    ----------
    table : DataFrame
        direction (0, or the number of the coordinate that has this range), distance, correlation.
    """
    if table.empty:
        return theme.message("This structure has no distances.")
    fig = go.Figure()
    several = table["direction"].nunique() > 1
    for i, (direction, part) in enumerate(table.groupby("direction")):
        name = f"along coordinate {direction}" if several else "correlation"
        colour = theme.RESIDUAL if i == 0 else theme.QUALITATIVE[i]
        fig.add_trace(
            go.Scatter(
                x=part["distance"], y=part["correlation"], mode="lines", name=name, line=dict(color=colour, width=2.5),
                hoverinfo="text",
                hovertext=[lines(f"Distance {number(d)}", f"Correlation {number(c, digits=3, scale=1.0)}")
                           for d, c in zip(part["distance"], part["correlation"], strict=True)],
            )
        )  # fmt: skip
    theme.apply(fig, height=280, legend=several)
    low = min(float(table["correlation"].min()), 0.0)
    fig.update_yaxes(title_text="Correlation", range=[low - 0.02, 1.04])
    fig.update_xaxes(title_text="Distance", rangemode="tozero")
    return fig
