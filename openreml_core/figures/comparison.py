"""Fits beside each other: how much worse than the best each is by AIC and by BIC."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from openreml_core.figures import theme
from openreml_core.figures.words import lines, number, plain, shorten


def criteria(table: pd.DataFrame, labels: Sequence[str] | None = None) -> go.Figure:
    """Draw AIC and BIC of several fits, less the smallest of each.

    Parameters
    ----------
    table : DataFrame
        model, n_parameters, AIC, BIC.
    labels : sequence of str, optional
        What the rows are called on the axis; the models by default.
    """
    if table.empty:
        return theme.message("There are no fits to compare.")
    names = shorten(table["model"] if labels is None else labels, 44)
    axis = [f"{name}{chr(0x200B) * names[:i].count(name)}" for i, name in enumerate(names)]
    fig, most = go.Figure(), 0.0
    for criterion, colour, symbol in (("AIC", theme.BLUE, "circle"), ("BIC", theme.ORANGE, "diamond")):
        values = table[criterion].to_numpy(float)
        less = values - np.nanmin(values)
        most = max(most, float(np.nanmax(less)))
        fig.add_trace(
            go.Scatter(
                x=less, y=axis, mode="markers", name=criterion, hoverinfo="text",
                marker=dict(color=colour, symbol=symbol, size=11, opacity=0.9),
                hovertext=[lines(f"<b>{plain(m)}</b>", f"{criterion} {number(v, digits=6)}",
                                 "the smallest" if d == 0 else f"{number(d)} above the smallest")
                           for m, v, d in zip(table["model"], values, less, strict=True)],
            )
        )  # fmt: skip
    theme.apply(fig, height=max(34 * len(axis) + 20, 80) + 84, legend=True)
    room = 0.03 * most or 1.0
    fig.update_xaxes(
        title_text="Above the smallest", range=[-room, most + room], zeroline=True, zerolinecolor=theme.INK
    )
    fig.update_yaxes(
        type="category", categoryorder="array", categoryarray=axis, range=[len(axis) - 0.4, -0.6], ticklabelstandoff=4,
        tickmode="linear", dtick=1,
    )  # fmt: skip
    return fig
