"""Correlations between the effects of a random term: between environments or traits the genetic ones."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.session import FittedModel
from app.widgets import parts
from app.widgets.answers import answer
from app.widgets.heritability import chosen
from openreml_core import ModelError, figures

#: Effects up to which all pairs are listed.
MOST = 60
HELP = (
    "1: the levels rank the same way in both effects; 0: knowing one says nothing of the other. Between environments this is "
    "the genetic correlation: how far a variety's merit carries over."
)


def terms(shown: FittedModel) -> list[str]:
    """The random terms with two effects per level or more."""
    try:
        matrices = shown.fit.matrices
    except ModelError:
        return []
    return [name for name in shown.fit.random_terms if 1 < matrices.size(name) <= MOST]


def draw(shown: FittedModel) -> None:
    """The table, a row per pair."""
    fit = shown.fit
    term = chosen(terms(shown), "correlations_term", "Whose effects are compared.")
    table = answer(
        shown.answers, "correlations", term, work=lambda job: fit.correlations(term), what=f"Correlations of {term}"
    )
    if table is None:
        return
    st.caption(
        f"Correlations between the effects of {parts.plain(term)}; standard errors by the delta method, 95 % intervals by "
        "Fisher's z.",
        help=HELP,
    )
    names = list(dict.fromkeys([*table["name1"], *table["name2"]]))
    words = [w.replace("(Intercept)", "intercept") for w in figures.effect_labels(names)]
    short = dict(zip(names, words, strict=True))
    frame = pd.DataFrame(
        {
            "Between": table["name1"].map(short),
            "and": table["name2"].map(short),
            "Correlation": table["correlation"],
            "SE": table["std_error"],
            "From": table["lower"],
            "To": table["upper"],
            "Covariance": table["covariance"],
        }
    )
    parts.table(frame, "correlations", f"correlations-{term}", height=420)
