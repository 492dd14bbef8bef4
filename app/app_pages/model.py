"""Model: response, fixed and random terms, by clicking or as text; its equation and size before the fit."""

from __future__ import annotations

import streamlit as st

from app.session import Study, seed, study, value
from app.widgets import builder, options, parts, preview, relations, residual

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
    residual.draw(found)
    relations.draw(found)
    options.draw(found)
with right:
    text(found)
    residual.text(found)
    if not value(builder.PROBLEM):
        preview.draw(found)
parts.next_step("fit", "Next: fit it and watch")
