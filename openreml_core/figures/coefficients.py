"""The forest plot: fixed-effect estimates with their confidence intervals, a line at zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from openreml_core.figures import theme
from openreml_core.figures.points import intervals
from openreml_core.figures.words import lines, number, p_value, plain, shorten

ALL_LABELS = 60


def forest(coefficients: pd.DataFrame, *, intercept: bool = False, level: float = 0.95) -> go.Figure:
    """Draw the fixed effects with their intervals, in the order of the table.

    Parameters
    ----------
    coefficients : DataFrame
        Indexed by coefficient: estimate, std_error, lower, upper; df, t, p_value if known.
    intercept : bool
        Whether to show the intercept, which mostly lies far from the others. It is shown when it is all there is.
    level : float
        Confidence of the intervals, for the words only.
    """
    table = coefficients[np.isfinite(coefficients["estimate"].astype(float))]
    lost = [str(c) for c in coefficients.index.difference(table.index, sort=False)]
    rest = table[table.index.astype(str) != "(Intercept)"]
    if not intercept and len(rest):
        table = rest
    if table.empty:
        return theme.message("There are no fixed effects to show.")
    labels = shorten([str(c).replace("(Intercept)", "Intercept") for c in table.index], 28)
    scale = float(table["estimate"].abs().max())
    hover = [_hover(name, row, level, scale) for name, row in zip(table.index, table.to_dict("records"), strict=True)]
    every = len(labels) <= ALL_LABELS
    fig = go.Figure(
        intervals(
            table["estimate"].to_numpy(float), labels, (table["lower"].to_numpy(float), table["upper"].to_numpy(float)),
            colour=theme.FIXED, bar=theme.tint(theme.FIXED, 0.95 if every else 0.5), hover=hover,
            size=8 if every else 4, thickness=1.8 if every else 1, name="Fixed effects",
        )
    )  # fmt: skip
    theme.apply(fig, height=max(24 * len(labels) + 20, 70) + 70 if every else 720)
    fig.update_xaxes(
        title_text=f"Estimate, {100 * level:g} % interval", zeroline=True, zerolinecolor=theme.INK, zerolinewidth=1,
        rangemode="tozero" if len(rest) else "normal",
    )  # fmt: skip
    fig.update_yaxes(
        type="category", categoryorder="array", categoryarray=labels, range=[len(labels) - 0.4, -0.6], ticklabelstandoff=4,
        **({"tickmode": "linear", "dtick": 1} if every else {"nticks": 36}),
    )  # fmt: skip
    if lost:
        more = " \u2026" if len(lost) > 6 else ""
        theme.note(fig, f"Without an estimate: {', '.join(plain(c) for c in lost[:6])}{more}.")
    return fig


def _hover(name: Any, row: Mapping[Any, Any], level: float, scale: float) -> str:
    df, t, p = row.get("df"), row.get("t"), row.get("p_value")
    test = [
        f"t {number(t)}" if t is not None and pd.notna(t) else "",
        f"{number(df, digits=3)} df" if df is not None and pd.notna(df) and np.isfinite(df) else "",
        f"p {p_value(p)}" if p is not None and pd.notna(p) else "",
    ]
    return lines(
        f"<b>{plain(name)}</b>",
        f"Estimate {number(row['estimate'], scale=scale)}, SE {number(row['std_error'])}",
        f"{100 * level:g} % interval {number(row['lower'], scale=scale)} to {number(row['upper'], scale=scale)}",
        ", ".join(part for part in test if part),
    )
