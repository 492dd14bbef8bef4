"""How much single rows, or the levels of a factor, sway the fit: a measure, a rule, and who goes beyond it."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import streamlit as st

from app.session import FittedModel, put, seed, value
from app.widgets import parts, rows
from app.widgets.answers import answer, missing, tried
from openreml_core import figures

ROWS = "(rows)"
MEASURES = {
    "cooks_distance": "Cook's distance",
    "mdffits": "MDFFITS",
    "covtrace": "COVTRACE",
    "covratio": "COVRATIO",
    "leverage": "Leverage, overall",
    "leverage_fixed": "Leverage, fixed effects",
    "leverage_random": "Leverage, random effects",
    "leverage_unconfounded": "Leverage, unconfounded",
}
SENTENCES = {
    "cooks_distance": "How far all fixed effects move together when a case is left out, measured in their own uncertainty.",
    "mdffits": "How far they move, measured in the uncertainty that is left without the case.",
    "covtrace": "How much the uncertainty of the fixed effects changes; 0 is not at all.",
    "covratio": "The uncertainty without the case over that with it, as volumes; 1 is not at all, above 1 the case was of use.",
    "leverage": "How strongly a row pulls its own fitted value to itself, through fixed and random effects.",
    "leverage_fixed": "How strongly a row pulls its own fitted value to itself, through the fixed effects.",
    "leverage_random": "How strongly a row pulls its own fitted value to itself, through the random effects.",
    "leverage_unconfounded": "The variance of the random effects in a row over that of its residual.",
}
RULES = {
    "4/n": "above 4 / number of cases",
    "outer fence": "three interquartile ranges above the upper quartile",
    "F": "out of the 50 % confidence region",
}
#: Measures for which a limit is known.
LIMITED = ("cooks_distance", "mdffits", "covtrace", "leverage")
MEASURE_HELP = (
    "All are exact when the variances stay as estimated. A large value asks for a look at the rows, not for deletion."
)
RULE_HELP = (
    "4/n is a common rule of thumb and marks many cases; the others mark those that stand apart, or change conclusions."
)
#: Cases that the table lists; levels up to which a factor is offered.
MOST, MOST_LEVELS = 100, 1_000


def draw(shown: FittedModel) -> tuple[list[Any], Any]:
    """The figure and the table of influential cases; gives the rows that were chosen, and the place to show these in."""
    first, second, third = st.columns([1, 1.2, 1.5])
    group = _cases(shown, first)
    measure = second.selectbox(
        "Measure", list(MEASURES), format_func=MEASURES.__getitem__, key=seed("diag_measure", "cooks_distance"),
        help=MEASURE_HELP,
    )  # fmt: skip
    rule = "4/n"
    if measure in LIMITED:
        rule = third.selectbox(
            "Marked are cases", list(RULES), format_func=RULES.__getitem__, key=seed("diag_rule", "4/n"), help=RULE_HELP
        )
    st.caption(SENTENCES[measure])
    table = _table(shown, group)
    if table is None:
        return [], st.container()
    refitted = _refitted(shown, group)
    whole = table if refitted is None else refitted.join(table.filter(like="leverage_"))
    whole.attrs = (table if refitted is None else refitted).attrs
    limit, marked = None, whole.iloc[:0]
    words = ""
    if measure in LIMITED:
        marked = shown.fit.influential_in(whole, measure=measure, rule=rule)
        limit, words = marked.attrs["limit"], marked.attrs["rule"]
    drawn = figures.influence(whole, measure=measure, limit=limit, rule=words)
    key = rows.figure_key(f"influence_{measure}_{re.sub(r'[^0-9A-Za-z]', '_', group)}")
    picked = parts.choosing(drawn, key, f"influence-{_file(group)}")
    chosen = _rows(shown, picked, group)
    _list(shown, whole, marked, measure, group)
    parts.notes([n for n in whole.attrs["notes"] if "cannot be left out" in n or "there is no fit" in n])
    return chosen, st.container()


def _cases(shown: FittedModel, place: Any) -> str:
    """What is left out: each row, or each level of a factor."""
    data = shown.fit.table
    terms = [re.sub(r"\.\d+$", "", name) for name in shown.fit.random_terms]
    groups = [name for name in dict.fromkeys(terms) if all(part in data.columns for part in name.split(":"))]
    others = [
        str(c)
        for c in data.columns
        if not pd.api.types.is_float_dtype(data[c]) and str(c) not in groups and 2 < data[c].nunique() <= MOST_LEVELS
    ]
    known = [ROWS, *groups, *(name for name in others if name != shown.fit.response_name)]
    if value("diag_cases") not in known:
        put("diag_cases", ROWS)
    picked: str = place.selectbox(
        "Leave out", known, key="diag_cases", format_func=lambda name: "single rows" if name == ROWS else f"each {name}",
        help="Single rows, or all rows of a level at once: one subject, one genotype, one block.",
    )  # fmt: skip
    return picked


def _table(shown: FittedModel, group: str) -> pd.DataFrame | None:
    """The measures of every case, the kinds of leverage among them."""
    fit, own = shown.fit, None if group == ROWS else group

    def work(job: Any) -> Any:
        def ask() -> pd.DataFrame:
            table = fit.influence(own)
            kinds = fit.leverage(own).add_prefix("leverage_").drop(columns="leverage_overall")
            joined = pd.concat([table, kinds.set_axis(table.index, axis=0)], axis=1)
            joined.attrs = table.attrs
            return joined

        return tried(ask)

    table = answer(shown.answers, "influence", group, work=work, what="Leaving out every case")
    if table is None or missing(table):
        return None
    found: pd.DataFrame = table
    return found


def _refitted(shown: FittedModel, group: str) -> pd.DataFrame | None:
    """The same by refits, where they were asked for: the variances are estimated anew without each case."""
    fit, own = shown.fit, None if group == ROWS else group
    table = answer(
        shown.answers, "influence_refits", group,
        work=lambda job: tried(lambda: fit.influence(own, refit=True, on_progress=job.report)),
        what="Fits without each case", button="Refit without each case",
        help="The figure is exact for the variances as estimated. This estimates them anew without each case; it runs in the "
        "background and can be cancelled.",
    )  # fmt: skip
    if table is None or missing(table):
        return None
    st.caption("By refits: the variances were estimated anew without each case.")
    found: pd.DataFrame = table
    return found


def _rows(shown: FittedModel, picked: list[Any], group: str) -> list[Any]:
    """Labels of the rows that chosen cases stand for."""
    if group == ROWS or not picked:
        return picked
    return list(shown.fit.data.index[shown.fit.named_rows([str(level) for level in picked], group)])


def _list(shown: FittedModel, whole: pd.DataFrame, marked: pd.DataFrame, measure: str, group: str) -> None:
    """The marked cases, largest first, and the button that chooses their rows."""
    case = "Row" if group == ROWS else group.capitalize()
    if measure not in LIMITED:
        order = (whole[measure] - 1).abs() if measure == "covratio" else whole[measure]
        marked = whole.loc[order.sort_values(ascending=False).index[:10]]
        st.caption("The ten cases that stand farthest out; there is no common rule for this measure.")
    elif len(marked):
        several = len(marked) > 1
        st.caption(f"{len(marked):,} of {marked.attrs['of']:,} cases {'are' if several else 'is'} beyond the limit: "
                   f"{parts.plain(marked.attrs['rule'])}.")  # fmt: skip
    else:
        st.caption(f"No case is beyond the limit: {parts.plain(marked.attrs['rule'])}.")
        return
    top = marked.head(MOST)
    names = {"cooks_distance": "Cook's distance", "mdffits": "MDFFITS", "covtrace": "COVTRACE", "covratio": "COVRATIO"}
    names |= {"leverage": "Leverage"} | ({measure: MEASURES[measure]} if measure.startswith("leverage_") else {})
    frame = pd.DataFrame({word: top[name].to_numpy() for name, word in names.items()})
    for name in [c for c in top.columns if str(c).startswith("rvc_")]:
        frame[f"Change of {str(name).removeprefix('rvc_')}"] = [
            f"{100 * v:+.1f} %" if v == v else "" for v in top[name]
        ]
    frame.insert(0, case, [str(label) for label in top.index])
    parts.table(frame, "diag_influential", f"influential-{_file(group)}", height=320)
    st.button(
        "Choose these rows", key="diag_choose_influential", icon=":material/checklist:",
        on_click=lambda: put(rows.NAMED, ", ".join(map(str, _rows(shown, list(top.index), group)))),
        help="They are listed below, to be looked at or excluded.",
    )  # fmt: skip


def _file(group: str) -> str:
    """What a file about a grouping is called."""
    return group.strip("()").replace(":", "-")
