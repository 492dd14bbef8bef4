"""What else can be asked of a fit: one question at a time, so that nothing is computed that nobody looks at."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app.session import FittedModel, put, value
from app.widgets import correlations, explained, heritability, intervals, random_tests

INTERVALS, TESTS, HERITABILITY = "Intervals", "Tests of random terms", "Heritability"
CORRELATIONS, EXPLAINED = "Correlations", "R² and ICC"
HELP = (
    "Intervals: how sure the parameters are. Tests: whether a random term is needed. Heritability and correlations: where a "
    "term is about genotypes or has several effects. R² and ICC: how much is explained."
)


def offered(shown: FittedModel) -> dict[str, Callable[[FittedModel], None]]:
    """The questions that make sense for a fit."""
    out: dict[str, Callable[[FittedModel], None]] = {INTERVALS: intervals.draw}
    if shown.fit.random_terms:
        out[TESTS] = random_tests.draw
    if heritability.terms(shown):
        out[HERITABILITY] = heritability.draw
    if correlations.terms(shown):
        out[CORRELATIONS] = correlations.draw
    return out | {EXPLAINED: explained.draw}


def draw(shown: FittedModel) -> None:
    """The choice, and the answer to what is chosen."""
    known = offered(shown)
    if value("question") not in known:
        put("question", INTERVALS)
    st.segmented_control("Question", list(known), key="question", help=HELP, label_visibility="collapsed")
    known[value("question") or INTERVALS](shown)
