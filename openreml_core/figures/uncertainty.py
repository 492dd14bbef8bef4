"""How sure the parameters are: profile curves, and the histograms of a bootstrap."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from scipy.interpolate import make_interp_spline

from openreml_core.figures import theme
from openreml_core.figures.distribution import bins
from openreml_core.figures.words import count, lines, number, plain, shorten

#: Panels in one figure; more are chosen from, not drawn.
MOST_PANELS = 12
#: Pixels of a panel and between two rows of panels.
PANEL, GAP = 170, 66


def profile_curves(
    table: pd.DataFrame, intervals: pd.DataFrame | None = None, *, level: float = 0.95, what: str = "zeta"
) -> go.Figure:
    """Draw zeta against each parameter, or the density that it stands for, with the interval.

    Parameters
    ----------
    table : DataFrame
        parameter, group, kind, value, zeta: the points of every curve, as ``fit.profile().table``.
    intervals : DataFrame, optional
        Indexed by parameter: estimate, lower, upper; ``attrs["zeta"]`` if a bound is not the normal's.
    level : float
        Of the intervals.
    what : {"zeta", "density"}
        See :func:`profile_density`.
    """
    if what not in ("zeta", "density"):
        raise ValueError(f"what={what!r} is neither 'zeta' nor 'density'.")
    names = list(dict.fromkeys(table["parameter"])) if len(table) else []
    if not names:
        return theme.message("No profile has been computed.")
    shown = names[:MOST_PANELS]
    fig, place = _panels(table.drop_duplicates("parameter").set_index("parameter").loc[shown])
    normal = NormalDist().inv_cdf(0.5 + level / 2)
    bounds = {} if intervals is None else intervals.attrs.get("zeta", {})
    for name in shown:
        part, at = table[table["parameter"] == name], place[name]
        colour = theme.FIXED if part["kind"].iloc[0] == "fixed effect" else theme.RANDOM
        x, zeta = part["value"].to_numpy(float), part["zeta"].to_numpy(float)
        fig.add_trace(_zeta(name, x, zeta, colour) if what == "zeta" else _density(name, x, zeta, colour), **at)
        # Shapes after the curve: none are drawn on a panel that is still empty.
        if what == "zeta":
            bound = bounds.get(name, normal)
            fig.add_hrect(y0=-bound, y1=bound, fillcolor=theme.GRID, line_width=0, layer="below", **at)
        for end in _ends(intervals, name):
            fig.add_vline(x=end, line=dict(color=theme.INK, width=1, dash="dot"), **at)
        if what == "zeta":
            fig.update_yaxes(zeroline=True, zerolinecolor=theme.FAINT, nticks=5, **at)
        else:
            fig.update_yaxes(rangemode="tozero", nticks=4, **at)
    first = [at for at in place.values() if at["col"] == 1]
    for at in first:
        fig.update_yaxes(title_text="zeta" if what == "zeta" else "Density", **at)
    return _left_out(fig, names)


def profile_density(value: np.ndarray, zeta: np.ndarray, points: int = 201) -> tuple[np.ndarray, np.ndarray]:
    """The density of a parameter that its profile stands for, zeta taken for standard normal.

        p(psi) = phi(zeta(psi)) d zeta / d psi

    as lme4's ``densityplot`` of a profile has it (Bates, Maechler, Bolker and Walker 2015, J. Stat. Softw. 67(1)). It is what a
    straight profile makes a normal density of; where a variance may be zero, what zeta leaves below is missing from its integral.

    Parameters
    ----------
    value, zeta : array of shape (m,)
        The points of a profile; those where zeta does not rise are left out.
    points : int

    Returns
    -------
    value, density : array of shape (points,)

    Examples
    --------
    >>> x = np.linspace(4.0, 16.0, 13)
    >>> at, p = profile_density(x, (x - 10) / 2, points=3)
    >>> at.tolist(), p.round(6).tolist()
    ([4.0, 10.0, 16.0], [0.002216, 0.199471, 0.002216])
    """
    rising = np.concatenate([[True], np.diff(np.maximum.accumulate(zeta)) > 1e-9])
    x, z = value[rising], zeta[rising]
    if len(x) < 2 or not (np.diff(x) > 0).all():
        return np.zeros(0), np.zeros(0)
    curve = make_interp_spline(x, z, k=min(3, len(x) - 1))
    at = np.linspace(x[0], x[-1], points)
    slope = np.clip(curve(at, nu=1), 0.0, None)
    return at, np.exp(-0.5 * curve(at) ** 2) / np.sqrt(2 * np.pi) * slope


def _zeta(name: str, x: np.ndarray, zeta: np.ndarray, colour: str) -> go.Scatter:
    scale = float(np.abs(x).max())
    return go.Scatter(
        x=x, y=zeta, mode="lines+markers", line=dict(color=colour, width=2, shape="spline", smoothing=0.6),
        marker=dict(color=colour, size=4), hoverinfo="text", showlegend=False,
        hovertext=[lines(f"<b>{plain(name)}</b> {number(v, scale=scale)}", f"zeta {number(z, digits=3, scale=1)}")
                   for v, z in zip(x, zeta, strict=True)],
    )  # fmt: skip


def _density(name: str, x: np.ndarray, zeta: np.ndarray, colour: str) -> go.Scatter:
    at, density = profile_density(x, zeta)
    scale = float(np.abs(x).max())
    return go.Scatter(
        x=at, y=density, mode="lines", line=dict(color=colour, width=2), fill="tozeroy", fillcolor=theme.tint(colour, 0.2),
        hoverinfo="text", showlegend=False,
        hovertext=[lines(f"<b>{plain(name)}</b> {number(v, scale=scale)}", f"density {number(p, digits=3)}")
                   for v, p in zip(at, density, strict=True)],
    )  # fmt: skip


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
    fig.update_xaxes(nticks=6 if across < 3 else 5, showgrid=False, tickangle=0)
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
