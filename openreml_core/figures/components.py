"""Variance components as shares: a bar for each variance, the residual last, bounds marked in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from openreml_core.figures import theme
from openreml_core.figures.words import lines, number, plain, shorten


def variance_shares(components: pd.DataFrame) -> go.Figure:
    """Draw each variance's share of the total, with its size in words.

    Parameters
    ----------
    components : DataFrame
        Rows of variances, covariances and the like: group, name1, kind, estimate, std_error, std_dev, percent, bound. Only
        the variances are drawn. Where no share is given at all it is taken from the estimates.
    """
    table = _terms_as_one(components)
    table = table[table["kind"].astype(str) == "variance"].reset_index(drop=True)
    known = table[["estimate", "percent"]] if "percent" in table else table[["estimate"]]
    table = table[np.isfinite(known.astype(float)).any(axis=1)].reset_index(drop=True)
    if table.empty:
        return theme.message("There are no variance components to show.")
    estimate = table["estimate"].to_numpy(float)
    share = table["percent"].to_numpy(float) if "percent" in table else np.full(len(table), np.nan)
    largest = float(np.nanmax(estimate, initial=0.0))
    if not np.isfinite(share).any() and estimate.sum() > 0:
        share = 100 * estimate / estimate.sum()
    residual = table["group"].astype(str).str.match(r"(residual|units)\b").to_numpy(bool)
    bound = np.array([_is_bound(b) for b in table["bound"]] if "bound" in table else [False] * len(table))
    several = table["group"].map(table["group"].value_counts()).to_numpy() > 1
    names = [f"{g}: {str(k).replace('(Intercept)', 'Intercept')}" if s and pd.notna(k) else str(g)
             for g, k, s in zip(table["group"], table.get("name1", table["group"]), several, strict=True)]  # fmt: skip
    names = [_part(n) for n in names]
    labels = shorten(names, 26)
    words = [_words(s, v, b, largest) for s, v, b in zip(share, estimate, bound, strict=True)]
    records = table.to_dict("records")
    fig = go.Figure(
        go.Bar(
            x=np.where(np.isfinite(share), share, 0.0), y=labels, orientation="h", text=words, textposition="outside",
            cliponaxis=False, hoverinfo="text",
            marker=dict(
                color=[theme.BOUND if b else theme.RESIDUAL if r else theme.RANDOM for b, r in zip(bound, residual, strict=True)],
                line_width=0,
            ),
            hovertext=[_hover(n, r, s, b, largest) for n, r, s, b in zip(names, records, share, bound, strict=True)],
        )
    )  # fmt: skip
    if bound.any():
        at = [label for label, b in zip(labels, bound, strict=True) if b]
        mark = dict(symbol="diamond", size=10, color=theme.BOUND)
        fig.add_trace(go.Scatter(x=[0.0] * len(at), y=at, mode="markers", marker=mark, name="On its bound",
                                 hoverinfo="skip", cliponaxis=False))  # fmt: skip
    theme.apply(fig, height=34 * len(labels) + 80)
    fig.update_layout(bargap=0.35)
    widest = float(np.nanmax(share, initial=1.0))
    step = next(s for s in (1, 2, 5, 10, 20, 25) if widest / s <= 6 or s == 25)
    fig.update_xaxes(title_text="Share of the variance, %", range=[0, max(widest * 1.32, 1)], tick0=0, dtick=step)
    fig.update_yaxes(type="category", categoryorder="array", categoryarray=labels, autorange="reversed", showgrid=False,
                     ticklabelstandoff=6)  # fmt: skip
    between = (
        components.loc[components["kind"].astype(str) == "covariance", "percent"] if "percent" in components else None
    )
    if between is not None and abs(rest := float(between.astype(float).sum())) >= 0.05:
        theme.note(fig, f"Covariances within terms make up {number(rest, digits=2)} %.")
    return fig


def _terms_as_one(components: pd.DataFrame) -> pd.DataFrame:
    """Put a term that has loadings or innovations, which are no variances, into one row with its whole share."""
    of = components["kind"].astype(str).isin(["loading", "innovation variance"])
    if not of.any():
        return components
    out = []
    for group, part in components.groupby("group", sort=False):
        if of[part.index].any():
            part = pd.DataFrame(
                [{"group": group, "kind": "variance", "percent": float(part["percent"].astype(float).sum())}]
            )
        out.append(part)
    return pd.concat(out, ignore_index=True)


def _part(name: str) -> str:
    """``residual[C1]`` is the residual in C1, ``units`` its error of each row."""
    found = re.fullmatch(r"(residual|units)(?:\[(.*)\])?(.*)", name)
    if not found:
        return name
    return (
        ("Residual" if found[1] == "residual" else "Error of each row")
        + (f" in {found[2]}" if found[2] else "")
        + found[3]
    )


def _is_bound(value: Any) -> bool:
    """Read the bound mark, which may be a truth value or a word."""
    if isinstance(value, str):
        return bool(value.strip()) and value.strip().casefold() not in {"false", "no", "none", "free", "-", "\u2013"}
    return bool(value) if value is not None and pd.notna(value) else False


def _words(share: float, estimate: float, bound: bool, scale: float) -> str:
    size = number(estimate, scale=scale)
    if bound:
        return "  at zero" if size == "0" else f"{size}, on its bound"
    return f"{share:.1f} %" if np.isfinite(share) else f"variance {size}"


def _hover(name: str, row: Mapping[Any, Any], share: float, bound: bool, scale: float) -> str:
    deviation = row.get("std_dev")
    return lines(
        f"<b>{plain(name)}</b>",
        None
        if pd.isna(row["estimate"])
        else f"Variance {number(row['estimate'], scale=scale)}, SE {number(row.get('std_error', np.nan))}",
        None
        if deviation is None or pd.isna(deviation)
        else f"Standard deviation {number(deviation, scale=scale**0.5)}",
        f"{share:.1f} % of the variance" if np.isfinite(share) else None,
        "On the edge of what is possible" if bound else None,
    )
