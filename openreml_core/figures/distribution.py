"""The histogram of the residuals with the normal curve of the same mean and standard deviation."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from openreml_core.figures import theme
from openreml_core.figures.points import Array, as_floats
from openreml_core.figures.words import count, lines, number

MOST_BINS = 80


def bins(values: Array, most: int = MOST_BINS) -> tuple[Array, Array]:
    """Count finite values (n,) in equal bins of Freedman and Diaconis' width.

    Returns
    -------
    counts : array of shape (b,)
    edges : array of shape (b + 1,)
    """
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        half = 0.5 * abs(low) or 0.5
        return np.array([float(values.size)]), np.array([low - half, high + half])
    spread = float(np.subtract(*np.quantile(values, [0.75, 0.25])))
    width = 2 * spread / values.size ** (1 / 3)
    n_bins = int(np.clip(np.ceil((high - low) / width) if width > 0 else np.sqrt(values.size), 5, most))
    counts, edges = np.histogram(values, bins=n_bins)
    return counts.astype(float), edges


def histogram(residuals: ArrayLike, *, what: str = "Residual") -> go.Figure:
    """Draw the residuals' histogram and the normal curve.

    Parameters
    ----------
    residuals : array or Series of shape (n,)
        Missing ones are left out.
    what : str
        The axis title.
    """
    e = as_floats(residuals)
    e = e[np.isfinite(e)]
    if not e.size:
        return theme.message("There are no residuals to show.")
    counts, edges = bins(e)
    scale = float(np.abs(e).max())
    fig = go.Figure(
        go.Bar(
            x=(edges[:-1] + edges[1:]) / 2, y=counts, width=np.diff(edges), hoverinfo="text", name=what,
            marker=dict(color=theme.tint(theme.RESIDUAL, 0.75), line=dict(color=theme.RESIDUAL, width=1)),
            hovertext=[lines(f"<b>{number(a, scale=scale)} to {number(b, scale=scale)}</b>", count(int(c), "row"))
                       for a, b, c in zip(edges[:-1], edges[1:], counts, strict=True)],
        )
    )  # fmt: skip
    sd = float(e.std(ddof=1)) if e.size > 1 else 0.0
    equal = sd <= 1e-12 * scale
    if not equal:
        mean = float(e.mean())
        room = 0.6 * sd
        x = np.linspace(min(edges[0], mean - 3 * sd), max(edges[-1], mean + 3 * sd), 201)
        density = np.exp(-0.5 * ((x - mean) / sd) ** 2) / (sd * np.sqrt(2 * np.pi))
        fig.add_trace(
            go.Scatter(
                x=x, y=density * e.size * (edges[1] - edges[0]), mode="lines", name="Normal curve",
                line=dict(color=theme.INK, width=2), hoverinfo="skip",
            )
        )  # fmt: skip
        fig.update_xaxes(range=[x[0] - 0.1 * room, x[-1] + 0.1 * room])
    else:
        middle, width = float(edges.mean()), float(np.ptp(edges))
        fig.update_xaxes(range=[middle - 3 * width, middle + 3 * width])
    theme.apply(fig, height=340)
    fig.update_layout(bargap=0)
    fig.update_xaxes(title_text=what, showgrid=False)
    fig.update_yaxes(title_text="Number of rows", rangemode="tozero")
    if equal:
        theme.note(
            fig,
            f"All {count(e.size, 'residual')} equal {number(e[0])}." if e.size > 1 else "There is one residual only.",
        )
    return fig
