"""How the fit went: criterion and scaled gradient against iteration, and every parameter as a small multiple.

With ``upto`` the rest of the trace is drawn faintly and the axes stay put, so that a slider can step through it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from openreml_core.figures import theme
from openreml_core.figures.words import MINUS, lines, number, plain, shorten

NOT_PARAMETERS = ("iteration", "criterion", "change", "gradient", "radius", "ratio", "step", "seconds", "sentence")

_KINDS = "variance|covariance|correlation|loading|regression|range|weight"

GAP = 78  # pixels between rows of panels: ticks, and the next panel's heading

# step kind -> words, symbol, colour
STEPS = {
    "start": ("Start", "diamond", theme.INK),
    "AI": ("AI step", "circle", theme.CONVERGED),
    "AI shortened": ("Shortened", "circle-open", theme.BOUND),
    "EM": ("EM step", "square", theme.CONVERGED),
    "Newton": ("Newton step", "triangle-up", theme.CONVERGED),
    "rejected": ("Rejected", "x", theme.FAILED),
}


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
    shown = _above_zero(np.abs(gradient))
    seen = np.ones(len(trace), bool) if upto is None else iteration <= upto
    step = trace["step"].astype(str).to_numpy() if "step" in trace else np.full(len(trace), "AI")
    hover = _hover(trace, step)
    panels = (("Criterion", trace["criterion"].to_numpy(float)), ("Scaled gradient", shown))
    fig = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.07)
    for i, (_, y) in enumerate(panels):
        _path(fig, iteration, y, seen, i + 1, 1)
        for kind in (k for k in dict.fromkeys([*STEPS, *step]) if k in step[seen]):
            words, symbol, colour = STEPS.get(kind, (kind, "circle", theme.INK))
            at = seen & (step == kind)
            marker = dict(
                symbol=symbol, color=colour, size=9, line=dict(width=2 if "open" in symbol else 0, color=colour)
            )
            fig.add_trace(
                go.Scatter(
                    x=iteration[at], y=y[at], mode="markers", name=words, legendgroup=kind, marker=marker,
                    showlegend=i == 0 and kind != "start", hoverinfo="text",
                    hovertext=[h for h, a in zip(hover, at, strict=True) if a],
                ),
                row=i + 1, col=1,
            )  # fmt: skip
    several = len({k for k in step[seen] if k != "start"}) > 1
    theme.apply(fig, height=430, legend=several)
    fig.update_layout(uirevision="trace")
    for i, (words, y) in enumerate(panels):
        fig.update_yaxes(title_text=words, row=i + 1, col=1, **(_range(y) if i == 0 else {}))
    reached = np.append(shown, tolerance) if tolerance else shown
    fig.update_yaxes(type="log", row=2, col=1, **_range(reached, log=True), **powers_of_ten(reached))
    if tolerance:
        fig.add_hline(y=tolerance, line=dict(color=theme.INK, width=1, dash="dot"), row=2, col=1)
    _iteration_axis(fig, iteration)
    fig.update_xaxes(title_text="Iteration", row=2, col=1)
    return fig


def parameter_groups(trace: pd.DataFrame, most: int = 12) -> dict[str, list[str]]:
    """Sort the parameters of a trace into groups that fit on one screen.

    Parameters
    ----------
    trace : DataFrame
    most : int
        Parameters in a group; all are one group where they are no more than that.

    Returns
    -------
    dict of str to list of str
        ``{"gen: loading": ["gen.loading(C1, factor 1)", ...], "Residual: variance": [...]}``
    """
    names = parameter_names(trace)
    if len(names) <= most:
        return {"All": names}
    groups: dict[str, list[str]] = {}
    for name in names:
        term, what = split_name(name)
        what = re.sub(r"[(].*", "", what) or "parameters"
        if residual := re.match(r"residual(?:\[.*?\])?(?:\.(.*))?$", term):
            term, what = "Residual", residual[1] or what
        groups.setdefault(f"{term}: {what}", []).append(name)
    out: dict[str, list[str]] = {}
    for words, members in groups.items():
        parts = [members[i : i + most] for i in range(0, len(members), most)]
        for i, part in enumerate(parts):
            first = i * most + 1
            out[words if len(parts) == 1 else f"{words} ({first} to {first + len(part) - 1})"] = part
    return out


def parameter_traces(
    trace: pd.DataFrame, upto: int | None = None, *, columns: int | None = None, names: Sequence[str] | None = None
) -> go.Figure:
    """Draw each variance parameter, on its natural scale, against the iteration.

    Parameters
    ----------
    trace : DataFrame
        As for :func:`convergence`; every further column is a parameter.
    upto : int, optional
        Draw the iterations up to this one in full, the later ones faintly.
    columns : int, optional
        Panels side by side; by default two, three where there are many.
    names : sequence of str, optional
        The parameters to draw; all by default.
    """
    names = [n for n in parameter_names(trace) if names is None or n in names]
    if trace.empty or not names:
        return theme.message("No iteration has been made yet." if names else "The fit has no free variance parameters.")
    iteration = trace["iteration"].to_numpy(float)
    seen = np.ones(len(trace), bool) if upto is None else iteration <= upto
    columns = min(columns or (3 if len(names) > 6 else 2), len(names))
    rows = -(-len(names) // columns)
    panel = 150 if rows > 1 else 200
    height = panel * rows + GAP * (rows - 1) + 90
    fig = make_subplots(
        rows, columns, subplot_titles=[_title(n) for n in names], horizontal_spacing=0.24 / columns,
        vertical_spacing=GAP / (height - 90) if rows > 1 else 0,
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
    fig.update_annotations(font_size=12)
    fig.update_layout(uirevision="trace", margin_t=46)
    _iteration_axis(fig, iteration, few=7 if columns <= 2 else 4)
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
    found = re.match(rf"^(.*?)\.((?:\w+ )?(?:{_KINDS})\b.*)$", name) or re.match(r"^(.*)\.(\w+)$", name)
    return (found[1], found[2]) if found else (name, "")


def _title(name: str) -> str:
    """Write a panel's heading: the term in bold, below it what is traced."""
    term, what = split_name(name)
    inner = re.match(r"^([\w ]+)\((.*)\)$", what)
    if inner:
        shown = re.sub(r"[^\s,\[]+\[(?:[A-Z]\.)?([^\]]*)\]", r"\1", inner[2])  # county[C1] is C1
        what = f"{inner[1]} {shown.replace('(Intercept)', 'Intercept')}"
    if residual := re.match(r"residual(?:\[(.*?)\])?(?:\.(.*))?$", term):
        term = "Residual" + (f" in {residual[1]}" if residual[1] else "")
        what = f"{residual[2]} {what}" if residual[2] else what
    term, what = shorten([term], 24)[0], shorten([what], 28)[0]
    return f"<b>{term}</b><br>{what}"


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


def _above_zero(size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lift exact zeros, which a log axis cannot show, to a tenth of the smallest value."""
    positive = size[np.isfinite(size) & (size > 0)]
    return np.where(size > 0, size, np.where(size == 0, positive.min() / 10 if positive.size else 1e-16, np.nan))


def powers_of_ten(values: NDArray[np.float64]) -> dict[str, Any]:
    """Mark whole powers of ten, in letters of one size; leave the marks to plotly within two decades."""
    finite = np.log10(values[np.isfinite(values)])
    if not finite.size or np.ptp(finite) < 2:
        return {}
    low, high = int(np.floor(finite.min())), int(np.ceil(finite.max()))
    powers = [k for k in range(low, high + 1) if k % max(-(-(high - low) // 5), 1) == 0]
    return dict(
        tickvals=[10.0**k for k in powers], ticktext=["1" if k == 0 else f"1e{k}".replace("-", MINUS) for k in powers]
    )


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
