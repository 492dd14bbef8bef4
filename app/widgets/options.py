"""How a model is fitted: method, algorithm, limit, weights."""

from __future__ import annotations

import streamlit as st

import openreml_core as reml
from app.session import Study, put, seed, value
from app.widgets.parts import plain

METHODS = {"reml": "REML", "ml": "ML"}
ALGORITHMS = {"ai": "average information", "em": "EM", "ai-em": "EM, then average information"}
LIMITS = {"ai": 100, "em": 2000, "ai-em": 200}
NO_WEIGHTS = "none"


def draw(study: Study) -> None:
    """The options of the fit."""
    spec, data = study.specification, study.data
    assert spec is not None and data is not None

    def changed() -> None:
        if value("option_algorithm") != spec.algorithm:
            put("option_limit", LIMITS[value("option_algorithm")])
        weights = value("option_weights")
        study.choose(
            method=value("option_method") or "reml",
            algorithm=value("option_algorithm"),
            max_iterations=int(value("option_limit") or 100),
            weights=None if weights in (None, NO_WEIGHTS) else weights,
        )

    with st.expander("Options of the fit"):
        st.segmented_control(
            "Method",
            list(METHODS),
            format_func=METHODS.__getitem__,
            key=seed("option_method", spec.method),
            on_change=changed,
            help="REML for variances. ML to compare models that differ in their fixed terms.",
        )
        st.selectbox(
            "Algorithm",
            list(ALGORITHMS),
            format_func=ALGORITHMS.__getitem__,
            key=seed("option_algorithm", spec.algorithm),
            on_change=changed,
            help="Average information takes few, large steps. EM takes many small ones that never go wrong.",
        )
        st.number_input(
            "Iterations at most", 1, 100_000, key=seed("option_limit", spec.max_iterations), on_change=changed,
            help="Where the search stops even if it has not converged.",
        )  # fmt: skip
        numbers = [c for c, r in data.roles.items() if r in (reml.Role.COVARIATE, reml.Role.RESPONSE)]
        choices = [NO_WEIGHTS, *numbers]
        start = spec.weights if spec.weights in choices else NO_WEIGHTS
        if spec.weights is not None and spec.weights not in choices:
            study.choose(weights=None)
            put("option_weights", NO_WEIGHTS)
            st.caption(f"The weights {plain(spec.weights)} were dropped: the column no longer holds numbers to use.")
        st.selectbox(
            "Weights", choices, key=seed("option_weights", start), on_change=changed,
            help="A column of positive numbers: a row's residual variance is divided by its weight.",
        )  # fmt: skip
