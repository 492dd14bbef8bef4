"""Differences between means: intervals about a zero line, or a square of all pairs where there are many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from openreml_core.figures import theme
from openreml_core.figures.points import intervals
from openreml_core.figures.words import lines, number, p_value, plain, shorten

#: Differences up to which each has a line of its own.
ALL_LABELS = 60


def pairs_plot(pairs: pd.DataFrame, *, level: float = 0.95, what: str = "Difference") -> go.Figure:
    """Draw differences with their intervals; those whose interval excludes zero stand out.

    Parameters
    ----------
    pairs : DataFrame
        contrast, estimate, std_error, lower, upper; df, t, p_value if known; columns before ``contrast`` name the group.
    level : float
        Confidence of the intervals; p-values are held against 1 - level.
    what : str
        The axis title.
    """
    groups = [str(c) for c in pairs.columns[: list(pairs.columns).index("contrast")]]
    table = pairs[np.isfinite(pairs["estimate"].astype(float))]
    if table.empty:
        return theme.message("There are no differences to show.")
    rows = table[[*groups, "contrast"]].itertuples(index=False, name=None)
    labels = shorten([", ".join(map(str, row)) for row in rows], 40)
    every = len(labels) <= ALL_LABELS
    found = _significant(table, level)
    fig = go.Figure()
    for mark, colour, name in ((True, theme.FIXED, "differs from zero"), (False, theme.INK, "does not")):
        some = np.flatnonzero(found == mark)
        if not len(some):
            continue
        part = table.iloc[some]
        ends = (part["lower"].to_numpy(float), part["upper"].to_numpy(float))
        fig.add_trace(
            intervals(
                part["estimate"].to_numpy(float), [labels[i] for i in some], ends, colour=colour,
                bar=theme.tint(colour, 0.9 if every else 0.4), hover=[_hover(r, level) for r in part.to_dict("records")],
                size=8 if every else 4, thickness=1.8 if every else 1, name=name,
            )
        )  # fmt: skip
    theme.apply(fig, height=(max(24 * len(labels) + 20, 70) if every else 700) + 70, legend=bool(found.any()))
    fig.update_xaxes(
        title_text=f"{plain(what)}, {100 * level:g} % interval", zeroline=True, zerolinecolor=theme.INK, zerolinewidth=1,
        rangemode="tozero",
    )  # fmt: skip
    fig.update_yaxes(
        type="category", categoryorder="array", categoryarray=labels, range=[len(labels) - 0.4, -0.6], ticklabelstandoff=4,
        **({"tickmode": "linear", "dtick": 1} if every else {"nticks": 36}),
    )  # fmt: skip
    return fig


def pairs_square(pairs: pd.DataFrame, labels: Sequence[str], *, level: float = 0.95) -> go.Figure:
    """Draw all differences of c means as a square, row less column; a dot where they differ significantly.

    The hover boxes say which is less which; the page says what the colours mean.

    Parameters
    ----------
    pairs : DataFrame
        As for :func:`pairs_plot`, the c (c - 1) / 2 pairs in order: first with second, first with third, ...
    labels : sequence of c str
    level : float
        As for :func:`pairs_plot`.
    """
    c = len(labels)
    if len(pairs) != c * (c - 1) // 2 or c < 2:
        raise ValueError(f"{c} means have {c * (c - 1) // 2} pairs, not {len(pairs)}.")
    upper = np.triu_indices(c, 1)
    z, hover = np.full((c, c), np.nan), np.full((c, c), "", dtype=object)
    estimate = pairs["estimate"].to_numpy(float)
    z[upper], z[upper[::-1]] = estimate, -estimate
    records = pairs.to_dict("records")
    for (i, j), row in zip(combinations(range(c), 2), records, strict=True):
        turned = row | {"estimate": -row["estimate"], "lower": -row["upper"], "upper": -row["lower"]}
        hover[i, j] = _hover(row | {"contrast": f"{labels[i]} less {labels[j]}"}, level)
        hover[j, i] = _hover(turned | {"contrast": f"{labels[j]} less {labels[i]}"}, level)
    if not np.isfinite(estimate).any():
        return theme.message("There are no differences to show.")
    found = np.zeros((c, c), dtype=bool)
    found[upper] = _significant(pairs, level)
    dots = np.where(found | found.T, "\u2022", "")
    top = float(np.nanmax(np.abs(z))) or 1.0
    fig = go.Figure(
        go.Heatmap(
            z=z, x=list(range(c)), y=list(range(c)), hovertext=hover, hoverinfo="text", hoverongaps=False, zmin=-top,
            zmax=top, colorscale=theme.DIVERGING, text=dots if c <= ALL_LABELS else None, texttemplate="%{text}",
            textfont_size=12, xgap=1, ygap=1,
        )
    )  # fmt: skip
    step, short = max(-(-c // 40), 1), shorten(labels, 20)
    theme.apply(fig, height=min(max(22 * c, 260), 640) + 40 + 7 * max(map(len, short)))
    theme.colour_bar(fig, "")
    ticks = dict(tickvals=list(range(0, c, step)), ticktext=short[::step], showgrid=False)
    fig.update_xaxes(ticks, range=[-0.5, c - 0.5], constrain="domain", constraintoward="left", tickangle=-90)
    fig.update_yaxes(
        ticks, range=[c - 0.5, -0.5], scaleanchor="x", constrain="domain", constraintoward="top", title_text=""
    )
    return fig


def _significant(table: pd.DataFrame, level: float) -> np.ndarray:
    """Whether each difference is told from zero: by its p-value where there is one, else by its interval."""
    if "p_value" in table:
        return np.nan_to_num(table["p_value"].to_numpy(float), nan=1.0) < 1 - level + 1e-12
    return ((table["lower"] > 0) | (table["upper"] < 0)).to_numpy(bool)


def _hover(row: Mapping[Any, Any], level: float) -> str:
    df, p = row.get("df"), row.get("p_value")
    scale = abs(row["estimate"]) + abs(row["std_error"])
    test = [
        f"{number(df, digits=3)} df" if df is not None and pd.notna(df) and np.isfinite(df) else "",
        f"p {p_value(p)}" if p is not None and pd.notna(p) else "",
    ]
    return lines(
        f"<b>{plain(row['contrast'])}</b>",
        f"Difference {number(row['estimate'], scale=scale)}, SE {number(row['std_error'])}",
        f"{100 * level:g} % interval {number(row['lower'], scale=scale)} to {number(row['upper'], scale=scale)}",
        ", ".join(part for part in test if part),
    )
