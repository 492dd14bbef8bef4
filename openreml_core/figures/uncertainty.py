"""How sure the parameters are: profile curves, and the histograms of a bootstrap."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from openreml_core.figures import theme
from openreml_core.figures.distribution import bins
from openreml_core.figures.words import count, lines, number, plain, shorten

#: Panels in one figure; more are chosen from, not drawn.
MOST_PANELS = 12
#: Pixels of a panel and between two rows of panels.
PANEL, GAP = 170, 66


def profile_curves(table: pd.DataFrame, intervals: pd.DataFrame | None = None, *, level: float = 0.95) -> go.Figure:
    """Draw zeta against each parameter, with the interval where it crosses the bounds.

    Parameters
    ----------
    table : DataFrame
        parameter, group, kind, value, zeta: the points of every curve, as ``fit.profile().table``.
    intervals : DataFrame, optional
        Indexed by parameter: estimate, lower, upper; ``attrs["zeta"]`` if a bound is not the normal's.
    level : float
        Of the intervals.
    """
    names = list(dict.fromkeys(table["parameter"])) if len(table) else []
    if not names:
        return theme.message("No profile has been computed.")
    shown = names[:MOST_PANELS]
    fig, place = _panels(table.drop_duplicates("parameter").set_index("parameter").loc[shown])
    normal = NormalDist().inv_cdf(0.5 + level / 2)
    bounds = {} if intervals is None else intervals.attrs.get("zeta", {})
    for name in shown:
        bound = bounds.get(name, normal)
        part, at = table[table["parameter"] == name], place[name]
        colour = theme.FIXED if part["kind"].iloc[0] == "fixed effect" else theme.RANDOM
        x, zeta = part["value"].to_numpy(float), part["zeta"].to_numpy(float)
        scale = float(np.abs(x).max())
        fig.add_trace(
            go.Scatter(
                x=x, y=zeta, mode="lines+markers", line=dict(color=colour, width=2, shape="spline", smoothing=0.6),
                marker=dict(color=colour, size=4), hoverinfo="text", showlegend=False,
                hovertext=[lines(f"<b>{plain(name)}</b> {number(v, scale=scale)}", f"zeta {number(z, digits=3, scale=1)}")
                           for v, z in zip(x, zeta, strict=True)],
            ),
            **at,
        )  # fmt: skip
        # Shapes after the curve: none are drawn on a panel that is still empty.
        fig.add_hrect(y0=-bound, y1=bound, fillcolor=theme.GRID, line_width=0, layer="below", **at)
        for end in _ends(intervals, name):
            fig.add_vline(x=end, line=dict(color=theme.INK, width=1, dash="dot"), **at)
        fig.update_yaxes(zeroline=True, zerolinecolor=theme.FAINT, nticks=5, **at)
    first = [at for at in place.values() if at["col"] == 1]
    for at in first:
        fig.update_yaxes(title_text="zeta", **at)
    return _left_out(fig, names)


def bootstrap_histograms(replicates: pd.DataFrame, intervals: pd.DataFrame) -> go.Figure:
    """Draw the replicates of each parameter, the estimate and its interval marked.

    Parameters
    ----------
    replicates : DataFrame
        A row per replicate, a column per parameter; missing values are left out.
    intervals : DataFrame
        Indexed by parameter: group, kind, estimate, lower, upper.
    """
    names = [name for name in intervals.index if name in replicates and replicates[name].notna().any()]
    if not names:
        return theme.message("There are no replicates to show.")
    shown = names[:MOST_PANELS]
    fig, place = _panels(intervals.loc[shown])
    for name in shown:
        at, values = place[name], replicates[name].to_numpy(float)
        values = values[np.isfinite(values)]
        counts, edges = bins(values, most=40)
        colour = theme.FIXED if intervals.loc[name, "kind"] == "fixed effect" else theme.RANDOM
        scale = float(np.abs(values).max())
        fig.add_trace(
            go.Bar(
                x=(edges[:-1] + edges[1:]) / 2, y=counts, width=np.diff(edges), hoverinfo="text", showlegend=False,
                marker=dict(color=theme.tint(colour, 0.55), line_width=0),
                hovertext=[lines(f"<b>{number(a, scale=scale)} to {number(b, scale=scale)}</b>", count(int(c), "replicate"))
                           for a, b, c in zip(edges[:-1], edges[1:], counts, strict=True)],
            ),
            **at,
        )  # fmt: skip
        for end in _ends(intervals, name):
            fig.add_vline(x=end, line=dict(color=theme.INK, width=1, dash="dot"), **at)
        estimate = float(intervals.loc[name, "estimate"])
        if np.isfinite(estimate):
            fig.add_vline(x=estimate, line=dict(color=colour, width=2), **at)
        fig.update_yaxes(nticks=4, rangemode="tozero", **at)
    fig.update_layout(bargap=0)
    return _left_out(fig, names)


def quantity_words(name: Any, group: Any, kind: Any) -> tuple[str, str]:
    """What a parameter of an interval is: its term, and what of it.

    Examples
    --------
    >>> quantity_words("sd_Days|Subject", "Subject", "standard deviation")
    ('Subject', 'SD of Days')
    >>> quantity_words("cor_Days.(Intercept)|Subject", "Subject", "correlation")
    ('Subject', 'correlation of Days and intercept')
    >>> quantity_words("sigma", "residual", "standard deviation"), quantity_words("nitro", "fixed", "fixed effect")
    (('residual', 'SD'), ('fixed effects', 'nitro'))
    """
    term = str(group)
    inner = str(name).removesuffix(f"|{term}").replace("(Intercept)", "intercept")
    if kind == "fixed effect":
        return "fixed effects", inner
    if term.startswith("residual"):
        term = term.replace("[", " in ").replace("]", "")
    if kind == "standard deviation":
        effect = inner.removeprefix("sd_")
        return term, "SD" if effect == "intercept" or inner.startswith("sigma") else f"SD of {effect}"
    if kind == "correlation" and inner.startswith("cor_"):
        pair = inner.removeprefix("cor_")
        # Effects are joined by a dot, which names may hold themselves; the intercept comes last.
        parts = [pair.removesuffix(".intercept"), "intercept"] if pair.endswith(".intercept") else pair.split(".")
        return term, f"correlation of {' and '.join(parts) if len(parts) == 2 else pair}"
    return term, inner.removeprefix(f"{group}.")


def _panels(known: pd.DataFrame) -> tuple[go.Figure, dict[str, dict[str, int]]]:
    """A panel for each parameter (indexed by name: group, kind), and where it is."""
    names = [str(name) for name in known.index]
    across = min(3 if len(names) > 2 else 2, len(names))
    rows = -(-len(names) // across)
    height = PANEL * rows + GAP * (rows - 1) + 76
    words = [quantity_words(name, row["group"], row["kind"]) for name, row in known.iterrows()]
    titles = [f"<b>{shorten([term], 26)[0]}</b><br>{shorten([what], 34)[0]}" for term, what in words]
    fig = make_subplots(
        rows, across, subplot_titles=titles, horizontal_spacing=0.16 / across,
        vertical_spacing=GAP / (height - 76) if rows > 1 else 0,
    )  # fmt: skip
    theme.apply(fig, height=height)
    fig.update_annotations(font_size=12)
    fig.update_layout(margin_t=46)
    fig.update_xaxes(nticks=6, showgrid=False)
    return fig, {name: dict(row=i // across + 1, col=i % across + 1) for i, name in enumerate(names)}


def _ends(intervals: pd.DataFrame | None, name: str) -> list[float]:
    """The finite ends of a parameter's interval."""
    if intervals is None or name not in intervals.index:
        return []
    row: Mapping[str, Any] = intervals.loc[name].to_dict()
    return [float(row[end]) for end in ("lower", "upper") if np.isfinite(float(row[end]))]


def _left_out(fig: go.Figure, names: list[str]) -> go.Figure:
    if len(names) <= MOST_PANELS:
        return fig
    return theme.note(fig, f"The first {MOST_PANELS} of {len(names)} parameters are drawn; the table has all.")
