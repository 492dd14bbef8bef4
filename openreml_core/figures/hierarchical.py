"""Figures of hierarchical models: subjects and group, evidence, recovery, and the way of EM."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from openreml_core.errors import DataError, did_you_mean
from openreml_core.figures import theme
from openreml_core.figures.iterations import powers_of_ten
from openreml_core.figures.words import lines, number, plain, shorten

#: Points of a density curve, and how far it reaches in standard deviations.
POINTS, REACH = 201, 4.0
#: Panels beside each other.
ACROSS = 3

# step kind of EM -> words, colour
EM_STEPS = {
    "EM": ("EM step", theme.RANDOM),
    "SQUAREM": ("Extrapolated", theme.GREEN),
    "to zero": ("Variance set to zero", theme.BOUND),
    "from zero": ("Variance let go", theme.PURPLE),
    "rejected": ("Rejected", theme.FAILED),
}


def parameter_distributions(fit: Any) -> go.Figure:
    """Draw each parameter's subjects, native scale: a box and every subject beside it.

    Parameters
    ----------
    fit : HierarchicalFit
    """
    table = fit.subjects().dropna(subset=["native"])
    names = fit.names
    columns = min(len(names), ACROSS)
    rows = -(-len(names) // columns)
    fig = make_subplots(
        rows=rows, cols=columns, horizontal_spacing=0.4 / (columns + 3), vertical_spacing=0.14 if rows > 1 else None
    )
    for k, name in enumerate(names):
        part = table[table["parameter"] == name]
        hover = [
            lines(f"<b>Subject {plain(row.subject)}</b>", f"{plain(name)} {number(row.native)}",
                  f"95 % from {number(row.lower)} to {number(row.upper)}")
            for row in part.itertuples()
        ]  # fmt: skip
        box = go.Box(
            y=part["native"], name=shorten([plain(name)], 24)[0], boxpoints="all", jitter=0.5, pointpos=-1.6, width=0.35,
            hoveron="points", hovertext=hover, hoverinfo="text", customdata=part["subject"].tolist(),
            fillcolor=theme.tint(theme.RANDOM, 0.25), line=dict(color=theme.INK, width=1.2), whiskerwidth=0.4,
            marker=dict(color=theme.RANDOM, size=5, opacity=0.7),
        )  # fmt: skip
        fig.add_trace(box, row=k // columns + 1, col=k % columns + 1)
    theme.apply(fig, height=60 + 300 * rows)
    fig.update_yaxes(title_text="Native scale", col=1)
    return fig


def group_density(fit: Any, parameter: str) -> go.Figure:
    """Draw the group's density of a parameter over its subjects' modes, on the free scale.

    Parameters
    ----------
    fit : HierarchicalFit
        With covariates the density is that at their averages.
    parameter : str
    """
    if parameter not in fit.names:
        raise DataError(f"The fit has no parameter *{parameter}*.", hint=did_you_mean(parameter, fit.names))
    place = fit.names.index(parameter)
    table = fit.subjects()
    modes = table.loc[table["parameter"] == parameter, "map"].dropna().to_numpy()
    mean, scale = float(fit.group_mean.iloc[place]), float(np.sqrt(fit.group_scale.iloc[place, place]))
    x = mean + scale * np.linspace(-REACH, REACH, POINTS)
    y = fit.group_density(parameter, x)
    fig = go.Figure()
    fig.add_trace(
        go.Histogram(
            x=modes, histnorm="probability density", name="Subjects", hoverinfo="x+y",
            marker=dict(color=theme.tint(theme.RANDOM, 0.35), line=dict(color=theme.tint(theme.RANDOM, 0.8), width=0.5)),
        )
    )  # fmt: skip
    fig.add_trace(go.Scatter(x=x, y=y, mode="lines", name="Group", line=dict(color=theme.INK, width=2)))
    theme.apply(fig, height=320, legend=True)
    fig.update_xaxes(title_text=f"{plain(parameter)}, free scale")
    fig.update_yaxes(title_text="Density", rangemode="tozero")
    return fig


def evidence_comparison(table: pd.DataFrame) -> go.Figure:
    """Draw the integrated BIC of models above the best one's.

    Parameters
    ----------
    table : DataFrame
        Of :func:`openreml_core.hierarchical.compare`.
    """
    if table.empty:
        return theme.message("There are no models to compare.")
    labels = shorten([plain(name) for name in table.index], 40)
    hover = [
        lines(f"<b>{plain(name)}</b>", f"Integrated BIC {number(row['bic'], digits=7)}",
              f"Log evidence {number(row['log_evidence'], digits=7)}",
              f"Frequency {number(row['frequency'], digits=3)}, exceedance {number(row['exceedance'], digits=3)}")
        for name, row in table.iterrows()
    ]  # fmt: skip
    best = table["bic_difference"] == 0
    fig = go.Figure(
        go.Bar(
            x=table["bic_difference"], y=labels, orientation="h", hovertext=hover, hoverinfo="text", width=0.55,
            text=["best" if b else number(v) for b, v in zip(best, table["bic_difference"], strict=True)],
            textposition="outside", cliponaxis=False, textfont_color=theme.INK,
            marker_color=[theme.CONVERGED if b else theme.SKY for b in best],
        )
    )  # fmt: skip
    theme.apply(fig, height=max(34 * len(table) + 70, 130))
    most = float(table["bic_difference"].max()) or 1.0
    fig.update_xaxes(
        title_text="Integrated BIC above the best", range=[0, 1.16 * most]
    )  # room for the words beside a bar
    fig.update_yaxes(autorange="reversed", type="category")
    return fig


def recovery_scatter(table: pd.DataFrame) -> go.Figure:
    """Draw estimates against the values that were simulated, a panel per parameter, native scale.

    Parameters
    ----------
    table : DataFrame
        ``Recovery.table``.
    """
    names = list(dict.fromkeys(table["parameter"])) if len(table) else []
    if not names:
        return theme.message("There are no subjects to show.")
    columns = min(len(names), ACROSS)
    rows = -(-len(names) // columns)
    fig = make_subplots(
        rows=rows, cols=columns, subplot_titles=[f"<b>{t}</b>" for t in shorten(map(plain, names), 28)],
        horizontal_spacing=0.08, vertical_spacing=0.28 / rows,
    )  # fmt: skip
    for k, name in enumerate(names):
        part, row, col = table[table["parameter"] == name], k // columns + 1, k % columns + 1
        r = part["estimate"].corr(part["true"])
        ends = [
            float(min(part["true"].min(), part["estimate"].min())),
            float(max(part["true"].max(), part["estimate"].max())),
        ]
        line = dict(color=theme.FAINT, width=1, dash="dot")
        fig.add_trace(go.Scatter(x=ends, y=ends, mode="lines", line=line, hoverinfo="skip"), row=row, col=col)
        hover = [
            lines(
                f"<b>Subject {plain(p.subject)}</b>", f"Simulated {number(p.true)}", f"Estimated {number(p.estimate)}"
            )
            for p in part.itertuples()
        ]
        marker = dict(color=theme.RANDOM, size=6, opacity=0.7)
        fig.add_trace(
            go.Scatter(
                x=part["true"], y=part["estimate"], mode="markers", marker=marker, hovertext=hover, hoverinfo="text"
            ),
            row=row, col=col,
        )  # fmt: skip
        fig.update_xaxes(title_text=f"Simulated (r = {number(r, digits=2)})", row=row, col=col)
    theme.apply(fig, height=300 * rows)
    fig.update_layout(margin_t=40)
    fig.update_yaxes(title_text="Estimated", col=1)
    return fig


def confusion_matrix(table: pd.DataFrame) -> go.Figure:
    """Draw how often each model is the best one for data of each model.

    Parameters
    ----------
    table : DataFrame
        Of :func:`openreml_core.hierarchical.confusion`.
    """
    if table.empty:
        return theme.message("There are no models to confuse.")
    rows, columns = (_folded(names) for names in (table.index, table.columns))
    share = table.to_numpy(dtype=float)
    hover = [
        [
            lines(f"<b>Simulated: {plain(r)}</b>", f"Best: {plain(c)}", f"{100 * v:.0f} % of the sets")
            for c, v in zip(table.columns, row, strict=True)
        ]
        for r, row in zip(table.index, share, strict=True)
    ]
    fig = go.Figure(
        go.Heatmap(
            z=share, x=columns, y=rows, zmin=0, zmax=1, colorscale=theme.SEQUENTIAL, showscale=False, xgap=2, ygap=2,
            hovertext=hover, hoverinfo="text",
        )
    )  # fmt: skip
    for i, row in enumerate(share):
        for j, v in enumerate(row):
            fig.add_annotation(
                x=j, y=i, text=f"{100 * v:.0f} %", showarrow=False, font_color="#F4F5F7" if v > 0.5 else "#22262E"
            )
    theme.apply(fig, height=70 + 54 * len(table))
    fig.update_xaxes(title_text="Best by integrated BIC", side="bottom", showgrid=False, type="category")
    fig.update_yaxes(title_text="Simulated", autorange="reversed", showgrid=False, type="category")
    return fig


def _folded(names: Any, width: int = 18) -> list[str]:
    """Names in short lines, so that axes do not turn them."""
    return ["<br>".join(wrap(plain(name), width)) for name in shorten(list(map(str, names)), 48)]


def evidence_trace(trace: pd.DataFrame, upto: int | None = None) -> go.Figure:
    """Draw -2 log evidence and EM's step against iteration.

    Parameters
    ----------
    trace : DataFrame
        Of a HierarchicalFit, or of the rows so far.
    upto : int, optional
        Iteration up to which points are drawn.
    """
    if trace.empty:
        return theme.message("The fit has not begun.")
    seen = trace if upto is None else trace[trace["iteration"] <= upto]
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.12)
    for row, column in ((1, "criterion"), (2, "gradient")):
        line = dict(color=theme.FAINT, width=1.5)
        fig.add_trace(
            go.Scatter(
                x=seen["iteration"], y=seen[column], mode="lines", line=line, hoverinfo="skip", showlegend=False
            ),
            row=row, col=1,
        )  # fmt: skip
        for step in dict.fromkeys(seen["step"]):
            own = seen[seen["step"] == step]
            words, colour = EM_STEPS.get(step, (step, theme.INK))
            fig.add_trace(
                go.Scatter(
                    x=own["iteration"], y=own[column], mode="markers", marker=dict(color=colour, size=7), name=words,
                    hovertext=[plain(s) for s in own["sentence"]], hoverinfo="text+y", legendgroup=step,
                    showlegend=row == 1 and step != "start",
                ),
                row=row, col=1,
            )  # fmt: skip
    theme.apply(fig, height=380, legend=True)
    last = float(trace["iteration"].max())
    fig.update_xaxes(range=[-0.3, last + 0.3], showgrid=False)
    fig.update_xaxes(title_text="Iteration", row=2)
    fig.update_yaxes(title_text="\u22122 log evidence", tickformat=".6~f", row=1)
    fig.update_yaxes(
        title_text="EM step (group SD)", type="log", row=2, **powers_of_ten(trace["gradient"].to_numpy(dtype=float))
    )
    fig.update_layout(uirevision="evidence")
    return fig
