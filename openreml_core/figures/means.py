"""Marginal means with their intervals and letters, and the lines of an interaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from openreml_core.figures import theme
from openreml_core.figures.points import intervals
from openreml_core.figures.words import MINUS, lines, number, plain, shorten

ALL_LABELS = 60
#: Panels side by side, lines in one interaction.
ACROSS, MOST_LINES = 3, len(theme.QUALITATIVE)
#: Width of a letter, as a share of the width of a panel.
LETTER = 0.02

NO_MEANS = "None of these means can be estimated: combinations that they need do not occur in the data."


def means_plot(
    means: pd.DataFrame, *, by: Sequence[str] = (), response: str = "Mean", level: float = 0.95, largest_first: bool = False
) -> go.Figure:  # fmt: skip
    """Draw marginal means with their intervals, and their letters to the right; a panel for each level of ``by``.

    Parameters
    ----------
    means : DataFrame
        The factors' columns; estimate, std_error, lower, upper; df and ``letters`` if known.
    by : sequence of str
        Factors within whose levels the means are compared.
    response : str
        What the mean is of, for the axis.
    level : float
        Confidence of the intervals, for the words only.
    largest_first : bool
        Whether to sort by the mean (of the first panel) instead of keeping the table's order.
    """
    table = labelled(means, by)
    there = table[np.isfinite(table["estimate"].astype(float))]
    if there.empty:
        return theme.message(NO_MEANS)
    panels = list(dict.fromkeys(there["panel"]))
    names = list(dict.fromkeys(table["label"]))
    if largest_first:
        first = there[there["panel"] == panels[0]].sort_values("estimate", ascending=False, kind="stable")["label"]
        names = [*first, *(name for name in names if name not in set(first))]
    short = dict(zip(names, shorten(names, 30), strict=True))
    every = len(names) <= ALL_LABELS
    across = min(len(panels), ACROSS)
    rows = -(-len(panels) // across)
    fig = make_subplots(
        rows, across, shared_yaxes=True, shared_xaxes="all", horizontal_spacing=0.03,
        vertical_spacing=0.1 / rows if rows > 1 else 0, subplot_titles=shorten(panels, 28) if by else None,
    )  # fmt: skip
    for i, panel in enumerate(panels):
        part = there[there["panel"] == panel]
        row, col = i // across + 1, i % across + 1
        text = [_hover(line, response, level) for line in part.to_dict("records")]
        ends = (part["lower"].to_numpy(float), part["upper"].to_numpy(float))
        fig.add_trace(
            intervals(
                part["estimate"].to_numpy(float), [short[k] for k in part["label"]], ends, colour=theme.FIXED,
                bar=theme.tint(theme.FIXED, 0.9 if every else 0.45), hover=text, size=8 if every else 4,
                thickness=1.8 if every else 1, name=response,
            ),
            row=row, col=col,
        )  # fmt: skip
        if every and "letters" in part:
            fig.add_trace(_letters(part, short), row=row, col=col)
    panel_height = max(26 * len(names) + 24, 80) if every else 700
    theme.apply(fig, height=panel_height * rows + 62 + (30 if by else 0))
    if by:
        fig.update_layout(margin_t=40)
    fig.update_xaxes(range=_range(there, across if every else 0), nticks=4 if across > 1 else 9, tickangle=0)
    words = f"{plain(response)}, {100 * level:g} % interval"
    for c in range(across):
        last = max(i for i in range(len(panels)) if i % across == c) // across + 1
        fig.update_xaxes(title_text=words if across == 1 else plain(response), row=last, col=c + 1)
    axis = [short[k] for k in names]
    fig.update_yaxes(
        type="category", categoryorder="array", categoryarray=axis, range=[len(axis) - 0.4, -0.6], ticklabelstandoff=4,
        **({"tickmode": "linear", "dtick": 1} if every else {"nticks": 36}),
    )  # fmt: skip
    return _lost(fig, table)


def interaction_plot(means: pd.DataFrame, along: str, *, response: str = "Mean", level: float = 0.95) -> go.Figure:
    """Draw the means along one factor, a line for each level of the others: parallel lines are no interaction.

    Parameters
    ----------
    means : DataFrame
        As for :func:`means_plot`, of two factors or more.
    along : str
        The factor of the horizontal axis; in its own scale where its levels are numbers.
    response, level
        As for :func:`means_plot`.
    """
    others = [name for name in means_factors(means) if name != along]
    table = labelled(means, others)
    there = table[np.isfinite(table["estimate"].astype(float))]
    if there.empty:
        return theme.message(NO_MEANS)
    groups = list(dict.fromkeys(there["panel"]))
    if len(groups) > MOST_LINES:
        return theme.message(
            f"{len(groups)} lines are too many to tell apart: exchange the two factors, or look at the panels."
        )
    place = _places(table[along])
    span = max(place.values()) - min(place.values()) or 1.0
    fig = go.Figure()
    for i, group in enumerate(groups):
        part = there[there["panel"] == group].copy()
        shift = (i - (len(groups) - 1) / 2) * 0.012 * span
        x = np.array([place[k] for k in part[along]]) + shift
        estimate, colour = part["estimate"].to_numpy(float), theme.QUALITATIVE[i]
        bar = dict(
            type="data", symmetric=False, array=part["upper"] - estimate, arrayminus=estimate - part["lower"],
            color=theme.tint(colour, 0.55), thickness=1.4, width=0,
        )  # fmt: skip
        fig.add_trace(
            go.Scatter(
                x=x, y=estimate, mode="lines+markers", name=shorten([group], 24)[0], error_y=bar, hoverinfo="text",
                line=dict(color=colour, width=2), marker=dict(color=colour, size=8),
                hovertext=[_hover(line, response, level) for line in part.to_dict("records")],
            )
        )  # fmt: skip
    theme.apply(fig, height=380, legend=True)
    fig.update_xaxes(
        title_text=plain(along), tickvals=list(place.values()), ticktext=shorten(map(str, place), 18), showgrid=False,
        range=[min(place.values()) - 0.08 * span, max(place.values()) + 0.08 * span],
    )  # fmt: skip
    fig.update_yaxes(title_text=f"{plain(response)}, {100 * level:g} % interval")
    return _lost(fig, table)


def means_factors(means: pd.DataFrame) -> list[str]:
    """The columns that say what a mean is of: those before the estimate."""
    return [str(name) for name in means.columns[: list(means.columns).index("estimate")]]


def labelled(means: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The table with a ``label`` of each mean within its ``panel``, the levels of ``by``."""
    factors = means_factors(means)
    own = [name for name in factors if name not in by]
    table = pd.DataFrame(means).reset_index(drop=True)
    table["label"] = _joined(table, own) if own else "mean"
    table["panel"] = _joined(table, list(by), named=True) if by else ""
    return table


def _joined(table: pd.DataFrame, names: Sequence[str], *, named: bool = False) -> list[str]:
    """``"0.2, Victory"``, or ``"Variety Victory"``, for every row."""
    rows = table[list(names)].itertuples(index=False, name=None)
    if named:
        return [", ".join(f"{n} {level_text(v)}" for n, v in zip(names, row, strict=True)) for row in rows]
    return [", ".join(level_text(v) for v in row) for row in rows]


def level_text(value: Any) -> str:
    """A level, or a value of a covariate, as it is read."""
    return f"{value:.6g}".replace("-", MINUS) if isinstance(value, float) else str(value)


def _places(levels: pd.Series) -> dict[Any, float]:
    """Where each level stands on the axis: at its value where all are numbers, else one after the other."""
    known = list(dict.fromkeys(levels))
    values = pd.to_numeric(pd.Series(known), errors="coerce").to_numpy(float)
    apart = np.isfinite(values).all() and len(set(values)) == len(known)
    return dict(zip(known, values.tolist() if apart else [float(i) for i in range(len(known))], strict=True))


def _letters(part: pd.DataFrame, short: Mapping[str, str]) -> go.Scatter:
    return go.Scatter(
        x=part["upper"], y=[short[k] for k in part["label"]], mode="text", text=[f"  {k}" for k in part["letters"]],
        textposition="middle right", textfont=dict(size=13, color=theme.INK), hoverinfo="skip", showlegend=False,
        cliponaxis=False,
    )  # fmt: skip


def _range(table: pd.DataFrame, across: int) -> list[float]:
    """From the lowest to the highest end, with room for the letters at the right."""
    low, high = float(table["lower"].min()), float(table["upper"].max())
    if not np.isfinite([low, high]).all():
        low, high = float(table["estimate"].min()), float(table["estimate"].max())
    span = high - low or abs(high) or 1.0
    most = max((len(str(k)) for k in table["letters"]), default=0) if "letters" in table and across else 0
    return [low - 0.05 * span, high + (0.05 + LETTER * (most + 1) * across) * span]


def _lost(fig: go.Figure, table: pd.DataFrame) -> go.Figure:
    lost = int(table["estimate"].isna().sum())
    return theme.note(fig, f"{lost} of {len(table)} cannot be estimated.") if lost else fig


def _hover(row: Mapping[Any, Any], response: str, level: float) -> str:
    df = row.get("df")
    scale = abs(row["estimate"]) + abs(row["std_error"])
    own = ", ".join(part for part in (row["label"], row["panel"]) if part)
    freedom = f", {number(df, digits=3)} df" if df is not None and pd.notna(df) and np.isfinite(df) else ""
    return lines(
        f"<b>{plain(own)}</b>",
        f"{plain(response)} {number(row['estimate'], scale=scale)}, SE {number(row['std_error'])}{freedom}",
        f"{100 * level:g} % interval {number(row['lower'], scale=scale)} to {number(row['upper'], scale=scale)}",
        f"Group {row['letters']}" if row.get("letters") else None,
    )
