"""Trials: a model of each subject's behaviour, and the trials to fit it to."""

from __future__ import annotations

import streamlit as st

import openreml_core as reml
from app.session import study
from app.widgets import group_model, group_trials, parts

found = study().group


def go_on() -> None:
    """The primary action."""
    if st.button(
        "Fit the group", type="primary", key="group_to_fit", width="stretch", icon=":material/play_arrow:",
        help="Go on to the page that fits the model to all subjects.",
    ):  # fmt: skip
        st.switch_page(parts.PAGES["hierarchical_fit"])


parts.head("Trials", "Whose behaviour do you study, and what may have made it?", go_on if found.trials else None)
if found.trials is None:
    st.markdown(
        "Here every subject has parameters of a model of its behaviour, and the group that the subjects come from is "
        "estimated with them. Choose a model, then simulate an example or bring your own trials."
    )
with st.container(key="sides_group"):
    left, right = st.columns(2, gap="large")
with left:
    st.subheader("The model", anchor=False)
    group_model.draw(found)
with right:
    st.subheader("The trials", anchor=False)
    group_trials.source(found)
    if found.trials is not None:
        st.markdown(f"**{parts.plain(found.trials.name)}**")
        try:
            group_trials.columns(found)
            fits = group_trials.seen(found)
        except reml.ModelError as problem:
            parts.error(str(problem))
if found.trials is not None:
    st.markdown("**The table**")
    group_trials.table(found)
    parts.next_step("hierarchical_fit", "Next: fit the group")
