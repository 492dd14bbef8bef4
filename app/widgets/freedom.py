"""Degrees of freedom: one choice for the whole study, and what it means."""

from __future__ import annotations

import streamlit as st

from app.session import Study, put, value

DDF = {"satterthwaite": "Satterthwaite", "kenward-roger": "Kenward-Roger"}
HELP = (
    "Degrees of freedom say how much independent information stands behind a standard error: few make intervals wider. "
    "Satterthwaite estimates them from the fitted variances. Kenward-Roger also enlarges the standard errors for the "
    "variances' own uncertainty: the safer choice for small or unbalanced trials, and slower for large ones."
)


def choose(study: Study, key: str) -> str:
    """The control; the choice holds on every page."""
    if value(key) != study.ddf:
        put(key, study.ddf)

    def changed() -> None:
        study.ddf = value(key) or study.ddf

    st.segmented_control(
        "Degrees of freedom", list(DDF), format_func=DDF.__getitem__, key=key, on_change=changed, help=HELP
    )
    return study.ddf


def span(df: list[float]) -> str:
    """The degrees of freedom of a table in words: ``8.9``, ``8.9 to 45``."""
    known = sorted(v for v in df if v == v and v != float("inf"))
    if not known:
        return ""
    low, high = f"{known[0]:.1f}".removesuffix(".0"), f"{known[-1]:.1f}".removesuffix(".0")
    return low if low == high else f"{low} to {high}"
