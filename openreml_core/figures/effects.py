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
from plotly.subplots import make_subplots

from openreml_core.errors import DataError, did_you_mean
from openreml_core.figures import theme
from openreml_core.figures.points import intervals
from openreml_core.figures.words import count, lines, number, plain, shorten

ALL_LABELS = 60


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
        return theme.message(f"There are no predicted effects of {term} to show.")
    kinds = [k for k in kinds if (table["effect"] == k).any()]
    flat = table["effect"].map(table.groupby("effect")["blup"].agg(lambda b: float(np.abs(b).max()))) == 0
    if bool(flat.all()):
        return theme.message(
            f"The variance of {plain(term)} is estimated as zero: every level's predicted effect is zero."
        )

    first = table[table["effect"] == kinds[0]].sort_values("blup", ascending=False, kind="stable")
    ranks = {name: i + 1 for i, name in enumerate(first["level"])}
    n_levels = len(ranks)
    marked = {str(h) for h in highlight}
    shown = [name for name in ranks if search is None or search.strip().casefold() in name.casefold()]
    if not shown:
        return theme.message(f"No level of {plain(term)} contains \u201c{plain(str(search).strip())}\u201d.")
    n_found = len(shown)
    if top is not None and n_found > 2 * top:
        ends = set(shown[:top]) | set(shown[n_found - top :])
        shown = [name for name in shown if name in ends or name in marked]
        labels, axis = _with_gaps(shown, ranks if search is None else {s: i + 1 for i, s in enumerate(_found(ranks, search))},
                                  n_found, marked)  # fmt: skip
    else:
        labels = _tick_labels(shown, marked)
        axis = list(labels.values())

    columns = min(len(kinds), 3)
    rows = -(-len(kinds) // columns)
    fig = make_subplots(
        rows, columns, shared_yaxes=True, horizontal_spacing=0.04, vertical_spacing=0.12 / rows if rows > 1 else 0,
        subplot_titles=[plain(k) for k in kinds] if len(kinds) > 1 else None,
    )  # fmt: skip
    every = len(axis) <= ALL_LABELS
    for i, kind in enumerate(kinds):
        part = table[table["effect"] == kind].set_index("level")
        part = part.loc[[s for s in shown if s in part.index]]
        hover = [_hover(name, row, term, kind if len(kinds) > 1 else None, ranks, n_levels, counts, level)
                 for name, row in zip(part.index, part.to_dict("records"), strict=True)]  # fmt: skip
        for chosen in (False, True):
            mask = np.array([(name in marked) == chosen for name in part.index], dtype=bool)
            if not mask.any():
                continue
            faded = not chosen and bool(marked & set(shown))
            some = part[mask]
            fig.add_trace(
                intervals(
                    some["blup"].to_numpy(float), [labels[s] for s in some.index], some["lower"].to_numpy(float),
                    some["upper"].to_numpy(float), name="Highlighted" if chosen else plain(term), hover=[h for h, m in zip(hover, mask, strict=True) if m],
                    colour=theme.tint(theme.RANDOM, 0.55) if faded else theme.RANDOM,
                    bar=theme.tint(theme.RANDOM, 0.4 if faded else 0.9 if every else 0.35 if not chosen else 1),
                    size=(11 if chosen else 7) if every else 8 if chosen else 4 if len(axis) <= 300 else 3,
                    thickness=1.6 if every else 1, symbol="diamond" if chosen else "circle",
                ),
                row=i // columns + 1, col=i % columns + 1,
            )  # fmt: skip
    panel = 19 * len(axis) + 20 if every else 700
    theme.apply(fig, height=max(panel, 90) * rows + 70 + (24 if len(kinds) > 1 else 0))
    if len(kinds) > 1:
        fig.update_layout(margin_t=40)
    fig.update_xaxes(
        zeroline=True, zerolinecolor=theme.INK, zerolinewidth=1, rangemode="tozero", nticks=5 if columns > 1 else 9
    )
    words = f"Predicted effect of {plain(term)}, {level:.0%} interval".replace("%", " %")
    for c in range(columns):
        last = max(i for i in range(len(kinds)) if i % columns == c) // columns + 1
        fig.update_xaxes(title_text=words if columns == 1 else "Predicted effect", row=last, col=c + 1)
    fig.update_yaxes(
        type="category", categoryorder="array", categoryarray=axis, range=[len(axis) - 0.4, -0.6], showgrid=every, ticklabelstandoff=4,
        **({"tickmode": "linear", "dtick": 1} if every else {"nticks": 36}),
    )  # fmt: skip
    missing = sorted(marked - set(ranks))
    if missing:
        more = " \u2026" if len(missing) > 6 else ""
        theme.note(
            fig, f"Not among the levels of {term}: {', '.join(missing[:6])}{more}."
        )
    if search and top is None:
        theme.note(
            fig, f"{count(n_found, 'level')} of {n_levels:,} with \u201c{plain(search.strip())}\u201d in the name."
        )
    return fig


def _found(ranks: Mapping[str, int], search: str) -> list[str]:
    return [name for name in ranks if search.strip().casefold() in name.casefold()]


def _tick_labels(shown: Sequence[str], marked: set[str]) -> dict[str, str]:
    """Name each level's line on the axis; marked levels in bold."""
    return {s: f"<b>{t}</b>" if s in marked else t for s, t in zip(shown, shorten(shown), strict=True)}


def _with_gaps(
    shown: Sequence[str], ranks: Mapping[str, int], n: int, marked: set[str]
) -> tuple[dict[str, str], list[str]]:
    """Name the lines of the axis, with a line '\u22ee 4,960 more' wherever ranks are left out."""
    labels = _tick_labels(shown, marked)
    axis: list[str] = []
    before = 0
    for name in shown:
        left_out = ranks[name] - before - 1
        if left_out:
            axis.append(f"<i>\u22ee {left_out:,} more</i>" + "\u200b" * len(axis))
        axis.append(labels[name])
        before = ranks[name]
    if n > before:
        axis.append(f"<i>\u22ee {n - before:,} more</i>" + "\u200b" * len(axis))
    return labels, axis


def _hover(
    name: str, row: Mapping[Any, Any], term: str, kind: str | None, ranks: Mapping[str, int], n: int,
    counts: Mapping[str, int] | pd.Series | None, level: float,
) -> str:  # fmt: skip
    seen = None if counts is None else counts.get(name)
    reliability = row.get("reliability")
    scale = abs(row["blup"]) + abs(row["std_error"])
    return lines(
        f"<b>{plain(name)}</b> \u00b7 {plain(term)}" + (f" \u00b7 {plain(kind)}" if kind else ""),
        f"Effect {number(row['blup'], scale=scale)}, SE {number(row['std_error'])}",
        f"{100 * level:g} % interval {number(row['lower'], scale=scale)} to {number(row['upper'], scale=scale)}",
        f"Rank {ranks[name]:,} of {n:,}" + (f", n = {int(seen):,}" if seen is not None else ""),
        None if reliability is None or pd.isna(reliability) else f"Reliability {number(reliability)}",
    )
