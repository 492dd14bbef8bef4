"""Means with intervals and letters, their differences, LSD: what the answers look like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from app.jobs import Job
from app.session import FittedModel, seed, value
from app.widgets import freedom, parts
from app.widgets.answers import answer
from app.widgets.means_choice import ADJUST, CONTROL, OVERALL, Choice, words
from openreml_core import figures
from openreml_core.report.words import number

#: Means up to which all pairs are compared without being asked for.
MOST_AT_ONCE = 60
#: Means above which the figure is sorted unless it is asked not to be.
MANY = 12
#: Differences of which each is drawn; more are a square.
MOST_LINES = 45
#: How intervals of differences are adjusted, where it is not as the p-values are.
INTERVALS = {
    "tukey": " likewise", "dunnett": " likewise", "bonferroni": " likewise", "sidak": " likewise",
    "holm": " by Bonferroni's", "fdr": " not adjusted", "none": " likewise",
}  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """Differences of means and what goes with them.

    Attributes
    ----------
    pairs : DataFrame
    letters : DataFrame, optional
        The means with their letters; of all pairs only.
    lsd, sed : float
        Least significant difference, average standard error of a difference.
    """

    pairs: pd.DataFrame
    letters: pd.DataFrame | None
    lsd: float
    sed: float


def draw(shown: FittedModel, choice: Choice) -> None:
    """The means, and below them the comparisons."""
    fit = shown.fit
    means = answer(
        shown.answers, "means", *choice.means, work=lambda job: asked(fit, choice), what=f"{words(choice)}",
    )  # fmt: skip
    if means is None:
        return
    compared = None
    several = choice.spec != OVERALL and len(means) > 1
    button = "Compare all of them" if len(means) > MOST_AT_ONCE else ""
    spot = st.container()
    if several:
        st.subheader("Differences", anchor=False)
        compared = answer(
            shown.answers, "comparisons", *choice.comparisons, work=lambda job: compare(means, choice, job),
            what="Comparisons", button=button, help=f"{len(means):,} means have very many pairs.",
        )  # fmt: skip
    with spot:
        _means(shown, choice, means, compared)
    if compared is not None:
        _differences(shown, choice, means, compared)


def asked(fit: Any, choice: Choice) -> Any:
    """The means, or the slopes, that a choice asks for."""
    common: dict[str, Any] = dict(
        by=list(choice.by), at=dict(choice.at), ddf=choice.ddf, weights=choice.weights, level=choice.level
    )
    if choice.slope:
        return fit.trends(choice.slope, choice.spec, **common)
    return fit.means(choice.spec, random=list(choice.random), **common)


def compare(means: Any, choice: Choice, job: Job) -> Compared:
    """The differences that a choice asks for."""
    if choice.against == CONTROL:
        return Compared(means.contrast("control"), None, means.lsd, means.average_sed)
    pairs = means.pairs(choice.adjust)
    return Compared(pairs, means.letters(1 - choice.level, choice.adjust), means.lsd, means.average_sed)


def _means(shown: FittedModel, choice: Choice, means: Any, compared: Compared | None) -> None:
    lettered = compared.letters if compared is not None else None
    table = means.frame if lettered is None else lettered
    response = f"Slope along {choice.slope}" if choice.slope else f"Mean of {shown.fit.response_name}"
    _figure(choice, table, response)
    percent, mean = f"{100 * choice.level:g}", "slope" if choice.slope else "mean"
    df = freedom.span(list(means["df"]))
    st.caption(
        f"{words(choice)}: {percent} % intervals with {means.attrs['ddf']} degrees of freedom"
        + (f" ({df})." if df else ".")
        + "".join(f" {parts.said(note)}" for note in means.notes),
        help=f"A marginal {mean} is what the model says of a level, every level of the other factors counted as chosen: not "
        "disturbed by cells that happen to hold fewer rows.",
    )
    if lettered is not None:
        st.caption(
            f"Levels that share a letter do not differ significantly at {100 - float(percent):g} %"
            f" ({_adjusted(choice)})" + (" within their panel." if choice.by else "."),
            help="Not differing is not being equal: the trial may be too small to tell.",
        )
    names = figures.means_factors(means)
    frame = table[names].copy()
    frame["Slope" if choice.slope else "Mean"] = table["estimate"]
    frame["SE"], frame["df"] = table["std_error"], table["df"]
    frame["From"], frame["To"] = table["lower"], table["upper"]
    if lettered is not None:
        frame["Letters"] = table["letters"]
    parts.table(
        frame, "means", f"means-{choice.spec.replace(':', '-')}", height=460,
        columns={"df": st.column_config.NumberColumn(format="%.1f", help=freedom.HELP)},
    )  # fmt: skip


def _figure(choice: Choice, table: pd.DataFrame, response: str) -> None:
    names = figures.means_factors(table)
    key, order, lines = f"means_view_{'_'.join(names)}", f"means_sorted_{'_'.join(names)}", False
    if len(table) > 1:
        views = ["intervals and letters"] + [f"lines along {name}" for name in names if len(names) > 1]
        left, right = st.container(key="wrapping_view").columns([2.4, 1], vertical_alignment="bottom")
        if len(views) > 1:
            left.segmented_control(
                "Figure", views, key=seed(key, views[0]), format_func=lambda view: view[0].upper() + view[1:],
                help="Lines that run parallel say that the factors do not interact.",
            )  # fmt: skip
        lines = (value(key) or "").startswith("lines along ") and len(views) > 1
        if not lines:
            right.checkbox("Largest first", key=seed(order, len(table) > MANY), help="Sort the figure by the mean.")
    view = value(key) or ""
    if lines:
        along = view.removeprefix("lines along ")
        fig = figures.interaction_plot(table, along, response=response, level=choice.level)
    else:
        largest = bool(value(order, False))
        fig = figures.means_plot(table, by=choice.by, response=response, level=choice.level, largest_first=largest)
    parts.figure(fig, "means_figure", f"means-{choice.spec.replace(':', '-')}")


def _differences(shown: FittedModel, choice: Choice, means: Any, compared: Compared) -> None:
    pairs, what = compared.pairs, f"Difference in {'slope' if choice.slope else shown.fit.response_name}"
    percent = 100 - 100 * choice.level
    first, second, _ = st.columns([1, 1, 1.4])
    first.metric(
        f"LSD, {percent:.3g} %", number(compared.lsd),
        help="Least significant difference: two levels that were to be compared from the start differ when their means lie "
        "further apart. It is not adjusted: among many pairs use the table. t times the average SED.",
    )  # fmt: skip
    second.metric(
        "Average SED", number(compared.sed),
        help="Standard error of a difference between two means: the root of its mean variance over the pairs.",
    )  # fmt: skip
    tests, within = int(pairs["p_value"].notna().sum()), ""
    if choice.by:
        tests = max(pairs.groupby(list(choice.by), sort=False)["p_value"].count())
        within = f" at each level of {parts.plain(', '.join(choice.by))}"
    st.caption(
        f"t tests with {pairs.attrs['ddf']} degrees of freedom ({freedom.span(list(pairs['df']))}); p-values "
        f"{_adjusted(choice)} for {tests} comparison{'s' * (tests != 1)}{within}; {100 * choice.level:g} % intervals"
        f"{INTERVALS[choice.adjust]}.",
        help="Difference: the first less the second. p: how often a difference of this size, or larger, arises by chance.",
    )
    square = len(pairs) > MOST_LINES and not choice.by and choice.against != CONTROL
    fig = (
        figures.pairs_square(pairs, means.labels, level=choice.level)
        if square
        else figures.pairs_plot(pairs, level=choice.level, what=what)
    )
    parts.figure(fig, "pairs_figure", "differences")
    if square:
        st.caption("Colour: the mean of the row less that of the column. A dot marks pairs that differ significantly.")
    frame = pairs[list(pairs.columns[: list(pairs.columns).index("contrast")])].copy()
    frame["Comparison"], frame["Difference"] = pairs["contrast"], pairs["estimate"]
    frame["SE"], frame["df"], frame["t"] = pairs["std_error"], pairs["df"], pairs["t"]
    frame["p"] = pairs["p_value"]
    frame["From"], frame["To"] = pairs["lower"], pairs["upper"]
    df = st.column_config.NumberColumn(format="%.1f", help=freedom.HELP)
    parts.table(frame, "pairs", "differences", height=460, columns={"df": df}, p={"p": pairs["p_value"]})
    sed = means.sed
    parts.download(sed.rename_axis("mean").reset_index(), "sed_csv", "sed", "Download SED matrix")


def _adjusted(choice: Choice) -> str:
    """How p-values are adjusted."""
    if choice.adjust == "none":
        return "not adjusted"
    if choice.adjust == "fdr":
        return "adjusted for the false discovery rate"
    return f"adjusted by {'Dunnett' if choice.adjust == 'dunnett' else ADJUST[choice.adjust]}'s method"
