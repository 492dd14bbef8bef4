"""Influence by row, by level or by pair: a stem for each, the limit of a rule, the largest named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from openreml_core.figures import theme
from openreml_core.figures.points import GL_ABOVE, as_floats, cloud, thin, thinned_note
from openreml_core.figures.words import lines, number, plain

WORDS = {
    "cooks_distance": "Cook's distance",
    "mdffits": "MDFFITS",
    "covtrace": "COVTRACE",
    "covratio": "COVRATIO",
    "leverage": "Leverage",
    "leverage_fixed": "Leverage of the fixed effects",
    "leverage_random": "Leverage of the random effects",
    "leverage_unconfounded": "Unconfounded leverage",
    "cooks_lme4": "Cook's distance (lme4)",
}
NAMED = 5


def influence(
    table: pd.DataFrame, *, measure: str = "cooks_distance", limit: float | None = None, rule: str = ""
) -> go.Figure:
    """Draw a measure of influence for every case, those beyond the limit in another colour.

    Parameters
    ----------
    table : DataFrame
        As ``fit.influence(...)`` gives it; its index names the cases.
    measure : str
        A column.
    limit : float, optional
        Beyond it a case is marked.
    rule : str
        The limit in words.
    """
    values = as_floats(table[measure])
    known = np.flatnonzero(np.isfinite(values))
    if not known.size:
        return theme.message("No case can be left out: there is no influence to show.")
    y = values[known]
    keep = thin(y)
    x, y = as_floats(known[keep] + 1.0), y[keep]
    index = table.index
    names = [" and ".join(map(str, i)) if isinstance(i, tuple) else str(i) for i in index[known[keep]]]
    word = WORDS.get(measure, plain(measure))
    fig = go.Figure()
    if len(y) <= GL_ABOVE:
        base = 1.0 if measure == "covratio" else 0.0
        stem_y = np.column_stack([np.full_like(y, base), y, np.full_like(y, np.nan)]).reshape(-1)
        fig.add_trace(go.Scatter(
            x=np.repeat(x, 3), y=stem_y, mode="lines", line=dict(color=theme.FAINT, width=1.5), hoverinfo="skip",
            showlegend=False,
        ))  # fmt: skip
    beyond = np.zeros(len(y), dtype=bool) if limit is None else y > limit
    top = float(np.abs(y).max())
    text = [
        lines(f"<b>{plain(name)}</b>", f"{word} {number(v, scale=top)}", "Beyond the limit" if b else None)
        for name, v, b in zip(names, y, beyond, strict=True)
    ]
    for chosen, colour in ((~beyond, theme.RESIDUAL), (beyond, theme.FAILED)):
        at = np.flatnonzero(chosen)
        if at.size:
            rows = [index[known[keep[i]]] for i in at]
            rows = [list(r) if isinstance(r, tuple) else r for r in rows]
            fig.add_trace(cloud(x[at], y[at], colour=colour, hover=[text[i] for i in at], rows=rows))
    for i in np.argsort(-y, kind="stable")[:NAMED]:
        if limit is None or beyond[i]:
            fig.add_annotation(x=x[i], y=y[i], text=plain(names[i]), showarrow=False, yshift=12, font=dict(size=12))
    if limit is not None:
        fig.add_hline(y=limit, line=dict(color=theme.INK, width=1.5, dash="dot"))
    theme.apply(fig, height=340)
    fig.update_xaxes(
        title_text=plain(str(table.attrs.get("cases", "rows"))).capitalize() + ", in their order", showgrid=False
    )
    fig.update_yaxes(title_text=word)
    if rule:
        theme.note(fig, rule)
    if keep.size < known.size:
        theme.note(fig, thinned_note(known.size))
    return fig
