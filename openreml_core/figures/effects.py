"""The caterpillar: predicted random effects in order, each with its interval.

u_j  +- z SD(u_j | y), largest on top, a line at zero. Two or more effects of a term (intercept and slope) stand side by side
with the levels in one order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from openreml_core.errors import DataError, did_you_mean
from openreml_core.figures import theme
from openreml_core.figures.points import intervals
from openreml_core.figures.words import count, lines, number, plain, shorten

ALL_LABELS = 60
BARS = 300


def caterpillar(
    effects: pd.DataFrame,
    *,
    term: str,
    top: int | None = None,
    search: str | None = None,
    highlight: Sequence[Any] = (),
    effect: str | None = None,
    counts: Mapping[str, int] | pd.Series | None = None,
    level: float = 0.95,
) -> go.Figure:
    """Draw the predicted effects (BLUPs) of a random term, sorted, with intervals.

    Parameters
    ----------
    effects : DataFrame
        Columns level, effect, blup, std_error, lower, upper; reliability if known.
    term : str
        The term's name, for the axis.
    top : int, optional
        Show only the ``top`` largest and the ``top`` smallest (and highlighted levels); gaps say how many are left out.
    search : str, optional
        Show only levels whose name contains this text, in any case.
    highlight : sequence
        Levels to mark, such as checks.
    effect : str, optional
        Show this effect only; by default all, ordered by the first.
    counts : mapping of level to int, optional
        Number of observations of each level, for the hover box.
    level : float
        Confidence of the intervals, for the words only.

    Raises
    ------
    DataError
        If the term has no effect of that name.
    """
    table = effects.assign(level=effects["level"].astype(str), effect=effects["effect"].astype(str))
    kinds = list(dict.fromkeys(table["effect"]))
    if effect is not None:
        if effect not in kinds:
            raise DataError(f"The term *{term}* has no effect *{effect}*.", hint=did_you_mean(effect, kinds))
        kinds = [effect]
    table = table[table["effect"].isin(kinds) & np.isfinite(table["blup"].astype(float))]
    if table.empty:
        return theme.message(f"There are no predicted effects of {plain(term)} to show.")
    kinds = [k for k in kinds if (table["effect"] == k).any()]
    flat = table["effect"].map(table.groupby("effect")["blup"].agg(lambda b: float(np.abs(b).max()))) == 0
    if bool(flat.all()):
        return theme.message(
            f"The variance of {plain(term)} is estimated as zero: every level's predicted effect is zero."
        )

    first = table[table["effect"] == kinds[0]].sort_values("blup", ascending=False, kind="stable")
    ranks = {name: i + 1 for i, name in enumerate(first["level"])}
    marked = {str(h) for h in highlight}
    wanted = (search or "").strip().casefold()
    found = [name for name in ranks if wanted in name.casefold()]
    if not found:
        return theme.message(f"No level of {plain(term)} contains \u201c{plain((search or '').strip())}\u201d.")
    lines_of_axis = _axis(found, top, marked)
    shown = [name for name in found if name in lines_of_axis]
    axis = list(lines_of_axis.values())
    every = len(axis) <= ALL_LABELS

    columns = min(len(kinds), 3)
    rows = -(-len(kinds) // columns)
    heading = [shorten([k.replace("(Intercept)", "Intercept")])[0] for k in kinds] if len(kinds) > 1 else None
    fig = make_subplots(
        rows, columns, shared_yaxes=True, horizontal_spacing=0.04, vertical_spacing=0.12 / rows if rows > 1 else 0,
        subplot_titles=heading,
    )  # fmt: skip
    for i, kind in enumerate(kinds):
        part = table[table["effect"] == kind].set_index("level")
        part = part.loc[[s for s in shown if s in part.index]]
        part["label"] = [lines_of_axis[s] for s in part.index]
        part["hover"] = [
            _hover(name, row, term, kind if len(kinds) > 1 else None, ranks, counts, level)
            for name, row in zip(part.index, part.to_dict("records"), strict=True)
        ]
        for trace in _traces(part, part.index.isin(list(marked)), plain(term), len(axis)):
            fig.add_trace(trace, row=i // columns + 1, col=i % columns + 1)

    panel = max(19 * len(axis) + 20, 90) if every else 700
    theme.apply(fig, height=panel * rows + 70 + (24 if heading else 0))
    if heading:
        fig.update_layout(margin_t=40)
    ticks = 5 if columns > 1 else 9
    fig.update_xaxes(zeroline=True, zerolinecolor=theme.INK, zerolinewidth=1, rangemode="tozero", nticks=ticks)
    words = f"Effect of {plain(term)}, {100 * level:g} % interval"
    for c in range(columns):
        last = max(i for i in range(len(kinds)) if i % columns == c) // columns + 1
        fig.update_xaxes(title_text=words if columns == 1 else "Predicted effect", row=last, col=c + 1)
    fig.update_yaxes(
        type="category", categoryorder="array", categoryarray=axis, range=[len(axis) - 0.4, -0.6], showgrid=every,
        ticklabelstandoff=4, **({"tickmode": "linear", "dtick": 1} if every else {"nticks": 36}),
    )  # fmt: skip
    missing = sorted(marked - set(ranks))
    if missing:
        more = " \u2026" if len(missing) > 6 else ""
        theme.note(fig, f"Not among the levels of {plain(term)}: {', '.join(plain(m) for m in missing[:6])}{more}.")
    if wanted:
        few = count(len(found), "level")
        theme.note(fig, f"{few} of {len(ranks):,} with \u201c{plain((search or '').strip())}\u201d in the name.")
    return fig


def _axis(found: Sequence[str], top: int | None, marked: set[str]) -> dict[str, str]:
    """Name the lines of the axis, from the top: levels (marked ones in bold), and gaps such as '4,960 more'."""
    n = len(found)
    ends = range(n) if top is None else {*range(min(top, n)), *range(max(n - top, 0), n)}
    shown = [i for i in range(n) if i in ends or found[i] in marked]
    labels = shorten(found[i] for i in shown)
    out: dict[str, str] = {}
    before = -1
    for i, label in zip([*shown, n], [*labels, ""], strict=True):
        if i - before > 1:
            out[f"\0{i}"] = f"<i>\u22ee {i - before - 1:,} more</i>" + "\u200b" * len(out)
        if i < n:
            out[found[i]] = f"<b>{label}</b>" if found[i] in marked else label
        before = i
    return out


def _traces(part: pd.DataFrame, chosen: NDArray[np.bool_], name: str, n: int) -> list[go.Scatter | go.Scattergl]:
    """Draw one effect: intervals (a band above 300 lines), estimates, and the marked levels on top, the others paler."""
    every, crowded = n <= ALL_LABELS, n > BARS
    pale = bool(chosen.any())
    out: list[go.Scatter | go.Scattergl] = []
    if crowded:
        known = part[np.isfinite(part["lower"].astype(float)) & np.isfinite(part["upper"].astype(float))]
        out.append(
            go.Scatter(
                x=[*known["lower"], *known["upper"][::-1]], y=[*known["label"], *known["label"][::-1]], mode="lines",
                fill="toself", fillcolor=theme.tint(theme.RANDOM, 0.28), line=dict(width=0), hoverinfo="skip", name="Interval",
            )
        )  # fmt: skip
    for mark in (False, True):
        some = part[chosen == mark]
        if some.empty:
            continue
        bare = crowded and not mark
        colour = theme.RANDOM if mark or not pale else theme.tint(theme.RANDOM, 0.65)
        strength = 1.0 if mark else 0.5 if pale and every else 0.4 if not every else 0.9
        out.append(
            intervals(
                some["blup"].to_numpy(float), some["label"].tolist(),
                None if bare else (some["lower"].to_numpy(float), some["upper"].to_numpy(float)),
                name="Highlighted" if mark else name, hover=some["hover"].tolist(), colour=colour,
                bar=theme.tint(theme.RANDOM, strength), symbol="diamond" if mark else "circle",
                size=(11 if mark else 7) if every else 9 if mark else 3 if crowded else 4, thickness=1.6 if every else 1,
            )
        )  # fmt: skip
    return out


def _hover(
    name: str, row: Mapping[Any, Any], term: str, kind: str | None, ranks: Mapping[str, int],
    counts: Mapping[str, int] | pd.Series | None, level: float,
) -> str:  # fmt: skip
    seen = None if counts is None else counts.get(name)
    reliability = row.get("reliability")
    scale = abs(row["blup"]) + abs(row["std_error"])
    return lines(
        f"<b>{plain(name)}</b> \u00b7 {plain(term)}" + (f" \u00b7 {plain(kind)}" if kind else ""),
        f"Effect {number(row['blup'], scale=scale)}, SE {number(row['std_error'])}",
        f"{100 * level:g} % interval {number(row['lower'], scale=scale)} to {number(row['upper'], scale=scale)}",
        f"Rank {ranks[name]:,} of {len(ranks):,}" + (f", n = {int(seen):,}" if seen is not None else ""),
        None if reliability is None or pd.isna(reliability) else f"Reliability {number(reliability)}",
    )
