"""How the fit went: criterion and scaled gradient against iteration, and every parameter as a small multiple.

With ``upto`` the rest of the trace is drawn faintly and the axes stay put, so that a slider can step through it.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from openreml_core.figures import theme
from openreml_core.figures.words import lines, number, plain

NOT_PARAMETERS = ("iteration", "criterion", "change", "gradient", "radius", "ratio", "step", "seconds", "sentence")

# step kind -> words, symbol, colour
STEPS = {
    "start": ("Start", "diamond", theme.INK),
    "AI": ("Average information", "circle", theme.CONVERGED),
    "AI shortened": ("Average information, shortened", "circle-open", theme.BOUND),
    "EM": ("EM", "square", theme.SKY),
    "rejected": ("Rejected", "x", theme.FAILED),
}
FLOOR = 1e-16


def parameter_names(trace: pd.DataFrame) -> list[str]:
    """Give the names of the trace's parameter columns."""
    return [str(c) for c in trace.columns if c not in NOT_PARAMETERS]


def convergence(trace: pd.DataFrame, upto: int | None = None, *, tolerance: float | None = None) -> go.Figure:
    """Draw the criterion and the scaled gradient (on a log scale) against the iteration.

    Parameters
    ----------
    trace : DataFrame
        A row per iteration: iteration, criterion, gradient, step; sentence and seconds if known.
    upto : int, optional
        Draw the iterations up to this one in full, the later ones faintly.
    tolerance : float, optional
        The gradient at which the fit stops, drawn as a line.
    """
    if trace.empty:
        return theme.message("No iteration has been made yet.")
    iteration = trace["iteration"].to_numpy(float)
    gradient = trace["gradient"].to_numpy(float)
    shown = np.where(np.isfinite(gradient), np.maximum(np.abs(gradient), FLOOR), np.nan)
    seen = np.ones(len(trace), bool) if upto is None else iteration <= upto
    step = trace["step"].astype(str).to_numpy() if "step" in trace else np.full(len(trace), "AI")
    hover = _hover(trace, step)
    panels = (("Criterion", trace["criterion"].to_numpy(float)), ("Scaled gradient", shown))
    fig = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.07)
    for i, (_, y) in enumerate(panels):
        _path(fig, iteration, y, seen, i + 1, 1)
        for kind in (k for k in [*STEPS, *dict.fromkeys(step)] if k in step[seen]):
            words, symbol, colour = STEPS.get(kind, (kind, "circle", theme.INK))
            at = seen & (step == kind)
            marker = dict(
                symbol=symbol, color=colour, size=9, line=dict(width=2 if "open" in symbol else 0, color=colour)
            )
            fig.add_trace(
                go.Scatter(
                    x=iteration[at], y=y[at], mode="markers", name=words, legendgroup=kind, showlegend=i == 0, marker=marker,
                    hovertext=[h for h, a in zip(hover, at, strict=True) if a], hoverinfo="text",
                ),
                row=i + 1, col=1,
            )  # fmt: skip
    several = len({k for k in step[seen] if k != "start"}) > 1
    theme.apply(fig, height=430, legend=several)
    fig.update_layout(uirevision="trace")
    for i, (words, y) in enumerate(panels):
        fig.update_yaxes(title_text=words, row=i + 1, col=1, **_range(y, log=i == 1))
    fig.update_yaxes(type="log", exponentformat="power", row=2, col=1)
    if tolerance:
        fig.add_hline(y=tolerance, line=dict(color=theme.INK, width=1, dash="dot"), row=2, col=1)
        low, high = _range(np.append(shown, tolerance), log=True)["range"]
        fig.update_yaxes(range=[low, high], row=2, col=1)
    _iteration_axis(fig, iteration)
    fig.update_xaxes(title_text="Iteration", row=2, col=1)
    return fig


def parameter_traces(trace: pd.DataFrame, upto: int | None = None, *, columns: int | None = None) -> go.Figure:
    """Draw each variance parameter, on its natural scale, against the iteration.

    Parameters
    ----------
    trace : DataFrame
        As for :func:`convergence`; every further column is a parameter.
    upto : int, optional
        Draw the iterations up to this one in full, the later ones faintly.
    columns : int, optional
        Panels side by side; by default two, or three where there are more than four parameters.
    """
    names = parameter_names(trace)
    if trace.empty or not names:
        return theme.message("No iteration has been made yet." if names else "The fit has no free variance parameters.")
    iteration = trace["iteration"].to_numpy(float)
    seen = np.ones(len(trace), bool) if upto is None else iteration <= upto
    columns = columns or (min(len(names), 2) if len(names) <= 4 else 3)
    rows = -(-len(names) // columns)
    panel = 150 if rows > 1 else 200
    height = panel * rows + 60 * (rows - 1) + 90
    fig = make_subplots(
        rows, columns, subplot_titles=[_title(n) for n in names], horizontal_spacing=0.24 / columns,
        vertical_spacing=70 / height if rows > 1 else 0,
    )  # fmt: skip
    for i, name in enumerate(names):
        row, col = i // columns + 1, i % columns + 1
        y = trace[name].to_numpy(float)
        colour = theme.RESIDUAL if name.split(".")[0] == "residual" else theme.RANDOM
        last = y[seen][-1] if seen.any() else np.nan
        at_zero = split_name(name)[1].startswith("variance") and last == 0
        _path(fig, iteration, y, seen, row, col, colour)
        scale = float(np.nanmax(np.abs(y), initial=0.0))
        fig.add_trace(
            go.Scatter(
                x=iteration[seen], y=y[seen], mode="markers", name=name, showlegend=False, hoverinfo="text",
                marker=dict(size=7, color=[theme.BOUND if at_zero and v == 0 else colour for v in y[seen]]),
                hovertext=[lines(f"<b>{plain(name)}</b>", f"Iteration {k:g}", number(v, scale=scale))
                           for k, v in zip(iteration[seen], y[seen], strict=True)],
            ),
            row=row, col=col,
        )  # fmt: skip
        fig.update_yaxes(row=row, col=col, **_range(y))
    theme.apply(fig, height=height)
    fig.update_layout(uirevision="trace", margin_t=46)
    _iteration_axis(fig, iteration, few=4 if columns > 2 else 7)
    fig.update_yaxes(nticks=5)
    for c in range(min(columns, len(names))):
        last_row = max(i for i in range(len(names)) if i % columns == c) // columns + 1
        fig.update_xaxes(title_text="Iteration", row=last_row, col=c + 1)
    return fig


def split_name(name: str) -> tuple[str, str]:
    """Part a parameter's name into its term and what it is.

    Examples
    --------
    >>> split_name("rep:block.variance"), split_name("Subject.covariance((Intercept), Days)")
    (('rep:block', 'variance'), ('Subject', 'covariance((Intercept), Days)'))
    """
    found = re.match(r"^(.*?)\.((?:variance|covariance|correlation)\b.*)$", name) or re.match(r"^(.*)\.(\w+)$", name)
    return (found[1], found[2]) if found else (name, "")


def _title(name: str) -> str:
    """Write a panel's heading: the term in bold, below it what is traced."""
    term, what = split_name(name)
    inner = re.match(r"^(\w+)\((.*)\)$", what)
    if inner:
        what = f"{inner[1]} of {plain(inner[2]).replace(', ', ' and ')}"
    return f"<b>{plain(term).replace('residual', 'Residual', 1) if term.startswith('residual') else plain(term)}</b><br>{what}"


def _path(
    fig: go.Figure, x: NDArray[np.float64], y: NDArray[np.float64], seen: NDArray[np.bool_], row: int, col: int,
    colour: str = theme.INK,
) -> None:  # fmt: skip
    """Draw the line through the iterations: in full where seen, faint for all where a part is still to come."""
    if not seen.all():
        faint = dict(color=theme.GRID, width=2)
        fig.add_trace(
            go.Scatter(x=x, y=y, mode="lines", line=faint, hoverinfo="skip", showlegend=False), row=row, col=col
        )
    full = dict(color=theme.tint(colour, 0.7), width=1.5)
    trace = go.Scatter(x=x[seen], y=y[seen], mode="lines", line=full, hoverinfo="skip", showlegend=False)
    fig.add_trace(trace, row=row, col=col)


def _range(y: NDArray[np.float64], *, log: bool = False) -> dict[str, list[float]]:
    """Give an axis range with room around the finite values; none where there are no such values."""
    values = y[np.isfinite(y)]
    values = np.log10(values) if log else values
    if not values.size:
        return {}
    low, high = float(values.min()), float(values.max())
    room = 0.08 * (high - low)
    if room <= 1e-9 * max(abs(low), abs(high)):
        room = 0.5 if log else 0.05 * abs(high) or 1.0
    return {"range": [low - room, high + room]}


def _iteration_axis(fig: go.Figure, iteration: NDArray[np.float64], few: int = 13) -> None:
    first, last = float(iteration.min()), float(iteration.max())
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**6) if (last - first) / s <= few)
    room = max(0.04 * (last - first), 0.3)
    fig.update_xaxes(tick0=0, dtick=step, range=[first - room, last + room], showgrid=False)


def _hover(trace: pd.DataFrame, step: NDArray[np.object_]) -> list[str]:
    scale = float(np.nanmax(np.abs(trace["criterion"].to_numpy(float)), initial=0.0))
    sentence = trace["sentence"].astype(str) if "sentence" in trace else [""] * len(trace)
    return [
        lines(
            f"<b>Iteration {k:g}</b> \u00b7 {STEPS.get(s, (s,))[0]}",
            f"Criterion {number(c, digits=8, scale=scale)}",
            f"Gradient {number(g, digits=2)}",
            plain(w) if w not in {"", "nan", "None"} else None,
        )
        for k, s, c, g, w in zip(trace["iteration"], step, trace["criterion"], trace["gradient"], sentence, strict=True)
    ]
