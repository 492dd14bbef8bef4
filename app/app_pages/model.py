"""Model: response, fixed and random terms, by clicking or as text; its equation and size before the fit."""

from __future__ import annotations

import pandas as pd
import streamlit as st

import openreml_core as reml
from app.session import Study, seed, study, value
from app.widgets import builder, options, parts

found = study()
ready: list[bool] = []


def fit_button() -> None:
    """The primary action."""
    if st.button(
        "Fit", type="primary", key="fit_now", width="stretch", icon=":material/play_arrow:", help="Estimate the model."
    ):
        found.start()
        st.switch_page(parts.PAGES["fit"])


def text(found: Study) -> None:
    """The formula as text, in step with the builder."""
    st.text_area(
        "Formula",
        key=seed(builder.TEXT, found.specification.formula if found.specification else ""),
        on_change=builder.typed,
        args=(found,),
        height=90,
        help="Response ~ fixed terms + (effects | group). Press Ctrl+Enter to apply.",
    )
    if value(builder.PROBLEM):
        parts.error(value(builder.PROBLEM))
        if found.specification is not None:
            st.caption(f"Until it can be read, the model stays {parts.plain(found.specification.formula)}")


def size(seen: reml.ModelPreview) -> None:
    """The equation and the size in numbers."""
    st.latex(seen.latex)
    cells = st.columns(4)
    cells[0].metric("Rows", f"{seen.n_obs:,}", help="Complete rows that the fit uses.")
    cells[1].metric("Left out", f"{seen.n_dropped:,}", help="Rows without a value that the model needs.")
    cells[2].metric("Fixed", seen.rank, help="Coefficients to be estimated.")
    cells[3].metric("Variances", seen.n_parameters, help="Variance parameters to be estimated.")
    if len(seen.terms):
        words = {"us": "correlated", "diag": "uncorrelated"}
        shown = seen.terms.assign(structure=seen.terms["structure"].map(lambda name: words.get(name, name)))
        shown.loc[shown["effects"] == "(Intercept)", "structure"] = "one variance"
        shown["effects"] = shown["effects"].str.replace("(Intercept)", "intercept", regex=False)
        st.dataframe(
            pd.DataFrame(shown).rename(columns=str.capitalize), hide_index=True, width="stretch", key="model_terms"
        )
    st.markdown("**To be estimated**\n" + "\n".join(f"- {parts.plain(line)}" for line in seen.parameters))
    parts.notes(seen.warnings)


if found.data is None:
    parts.head("Model", "Which effects are fixed, which are random?")
parts.need_data(found)
if not builder.usable(found.data):
    parts.head("Model", "Which effects are fixed, which are random?")
    st.info("Every column is set to ignore. Give one the role of response on the Data page.")
    st.page_link(parts.PAGES["data"], label="Go to Data", icon=":material/arrow_back:")
    st.stop()
parts.head("Model", "Which effects are fixed, which are random?", fit_button)
with st.container(key="sides_model"):
    left, right = st.columns(2, gap="large")
with left:
    builder.draw(found)
    options.residual(found)
    options.draw(found)
with right:
    text(found)
    if not value(builder.PROBLEM):
        try:
            size(found.preview())
        except reml.ModelError as problem:
            parts.error(str(problem))
parts.next_step("fit", "Next: fit it and watch")
