"""What means are asked for: which factor, within what, by which degrees of freedom, adjusted how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from app.session import FittedModel, Study, put, seed, value
from app.widgets import freedom, parts

OVERALL = "1"
ADJUST = {
    "tukey": "Tukey",
    "holm": "Holm",
    "bonferroni": "Bonferroni",
    "sidak": "Sidak",
    "fdr": "false discovery rate",
    "none": "none",
}
ADJUST_HELP = (
    "Among many comparisons some look significant by chance. Tukey keeps the chance of a single false one at 5 % over all pairs; "
    "Holm, Bonferroni and Sidak do for any set of tests; the false discovery rate allows a share of false ones; none compares "
    "each pair as if it were the only one."
)
WEIGHTS = {
    "equal": "equally",
    "proportional": "by frequency of their combinations",
    "outer": "by their own frequencies",
    "cells": "by cell, observed only",
}
WEIGHTS_HELP = (
    "How the levels of the other factors count in a mean. Equally: as in a balanced trial, whatever was lost. By frequency: as "
    "often as they were observed."
)
LEVELS = (0.9, 0.95, 0.99)
PAIRS, CONTROL = "all pairs", "with a control"


@dataclass(frozen=True)
class Choice:
    """What is asked for; the fields are the arguments of ``fit.means`` and of its comparisons."""

    spec: str
    by: tuple[str, ...]
    slope: str
    at: tuple[tuple[str, float], ...]
    ddf: str
    weights: str
    level: float
    random: tuple[str, ...]
    adjust: str
    against: str

    @property
    def means(self) -> tuple[Any, ...]:
        """What the means depend on."""
        return (self.spec, self.by, self.slope, self.at, self.ddf, self.weights, self.level, self.random)

    @property
    def comparisons(self) -> tuple[Any, ...]:
        """What the comparisons depend on."""
        return (*self.means, self.adjust, self.against)


def specs(factors: tuple[str, ...], terms: list[tuple[str, ...]]) -> dict[str, str]:
    """What means can be taken of, and how it is called: each factor, the interactions of the model, all."""
    out = {name: name for name in factors}
    for own in terms:
        if len(own) > 1 and set(own) <= set(factors):
            out[":".join(own)] = " × ".join(own)
    return out | {OVERALL: "all rows: the overall mean"}


def choose(study: Study, shown: FittedModel, factors: tuple[str, ...], covariates: dict[str, float]) -> Choice:
    """The controls."""
    fit = shown.fit
    terms = [tuple(f for f in term.factors if f in factors) for term in fit.design.fixed_terms]
    known = specs(factors, terms)
    first, second, third = st.columns([1.5, 1.2, 1.3], vertical_alignment="bottom")
    _valid("means_spec", list(known))
    spec = first.selectbox(
        "Means of", list(known), format_func=known.__getitem__, key="means_spec",
        help="A factor of the fixed part, or an interaction of the model. Random levels have BLUPs: see Results.",
    )  # fmt: skip
    others = [name for name in factors if name not in spec.split(":")] if spec != OVERALL else []
    by: str | None = None
    if others:
        _valid("means_by", ["", *others])
        by = second.selectbox(
            "Compared within", ["", *others], format_func=lambda name: name or "no other factor", key="means_by",
            help="Compare separately at each level of another factor, as where two factors interact.",
        )  # fmt: skip
    with third:
        ddf = freedom.choose(study, "means_ddf")
    slope, at, weights, level, random = _more(shown, spec, by, factors, covariates)
    adjust, against = _comparison(spec)
    return Choice(spec, (by,) if by else (), slope, at, ddf, weights, level, random, adjust, against)


def _valid(key: str, options: list[Any]) -> None:
    """Keep a widget's value among what it offers now."""
    if value(key) not in options:
        put(key, options[0])


def _more(
    shown: FittedModel, spec: str, by: str | None, factors: tuple[str, ...], covariates: dict[str, float]
) -> tuple[str, tuple[tuple[str, float], ...], str, float, tuple[str, ...]]:
    """Options that are seldom changed: slopes, covariates' values, weights, level, random terms."""
    slope, at, weights, random = "", dict[str, float](), "equal", list[str]()
    with st.expander("More options"):
        if covariates:
            _valid("means_slope", ["", *covariates])
            slope = st.selectbox(
                "Of each level", ["", *covariates], key="means_slope",
                format_func=lambda name: f"the slope along {name}" if name else "the mean",
                help="How fast the response rises with a covariate, instead of its mean.",
            )  # fmt: skip
            cells = st.columns(min(len(covariates), 4))
            for i, (name, mean) in enumerate(covariates.items()):
                at[name] = cells[i % 4].number_input(
                    f"At {name}", key=seed(f"means_at_{shown.number}_{name}", float(mean)), format="%.6g",
                    help="Where the covariate stands; its mean unless you change it.",
                )  # fmt: skip
        averaged = [name for name in factors if name not in (*spec.split(":"), by)]
        middle, right, left = st.columns([1, 1.4, 1.4], vertical_alignment="bottom")
        if averaged:
            weights = left.selectbox(
                "Levels of other factors count", list(WEIGHTS), format_func=WEIGHTS.__getitem__,
                key=seed("means_weights", "equal"), help=WEIGHTS_HELP,
            )  # fmt: skip
        level = middle.selectbox(
            "Level", LEVELS, format_func=lambda p: f"{100 * p:g} %", key=seed("means_level", 0.95),
            help="Of the intervals; differences are called significant at what is left of 100 %.",
        )  # fmt: skip
        terms = shown.fit.random_terms
        if terms and not slope:
            key = f"means_random_{shown.number}"
            random = right.multiselect(
                "Random terms in the means", terms, key=seed(key, []), placeholder="none: for new levels too",
                help="None: what holds for the population that blocks and the like are a sample of (broad inference). Named: "
                "for the very levels of this trial, their BLUPs in the means (narrow inference): smaller standard errors.",
            )  # fmt: skip
    moved = tuple((name, v) for name, v in at.items() if v != covariates[name])
    return slope or "", moved, weights, level, tuple(random)


def _comparison(spec: str) -> tuple[str, str]:
    if spec == OVERALL:
        return "none", PAIRS
    left, right, _ = st.columns([1.5, 1.2, 1.3], vertical_alignment="bottom")
    against = left.segmented_control(
        "Compare", [PAIRS, CONTROL], key=seed("means_against", PAIRS), format_func=str.capitalize,
        help="All pairs, with letters; or each level with the first one of the factor, by Dunnett's test.",
    ) or PAIRS  # fmt: skip
    if against == CONTROL:
        right.caption("Adjusted by Dunnett's method.")
        return "dunnett", against
    adjust = right.selectbox(
        "Adjusted for their number by", list(ADJUST), format_func=ADJUST.__getitem__, key=seed("means_adjust", "tukey"),
        help=ADJUST_HELP,
    )  # fmt: skip
    return adjust, against


def words(choice: Choice) -> str:
    """What the rows are: ``Means of nitro within Variety``."""
    if choice.spec == OVERALL and not choice.by:
        return parts.plain(f"Slope along {choice.slope}" if choice.slope else "Overall mean")
    what = f"Slopes along {choice.slope}" if choice.slope else "Means"
    own = "" if choice.spec == OVERALL else f" of {choice.spec.replace(':', ' × ')}"
    within = f" within {', '.join(choice.by)}" if choice.by else ""
    return parts.plain(f"{what}{own}{within}")
