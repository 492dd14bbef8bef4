"""Group fit: estimate the group and its subjects, and watch the search."""

from __future__ import annotations

import streamlit as st

import openreml_core as reml
from app.jobs import State
from app.session import study
from app.widgets import group_monitor, group_options, group_results, group_trials, parts

found = study().group


def again() -> None:
    """The primary action: fit the chosen model."""
    running = found.job is not None and found.job.active
    if st.button(
        "Fit again" if found.job is not None else "Fit", type="primary", key="group_fit", width="stretch",
        icon=":material/play_arrow:", disabled=running or bool(found.lacking()),
        help="Estimate the group that the subjects come from, and every subject's parameters.",
    ):  # fmt: skip
        try:
            found.start()
        except reml.ModelError as problem:
            parts.error(str(problem))
        else:
            st.rerun()


ready = found.trials is not None
parts.head("Group fit", "What is the group like, and how does the search for it go?", again if ready else None)
group_monitor.need_trials(found)
group_trials.card(found)
if found.lacking():
    st.info("Some columns of the model are not chosen yet.")
    st.page_link(parts.PAGES["hierarchical_trials"], label="Go to Trials", icon=":material/arrow_back:")
with st.container(key="wrapping_group_options"):
    group_options.draw(found)
job = found.job
active = job is not None and job.active
if not active and found.settle():
    st.rerun()  # it ended while the page was being drawn
if active:
    group_monitor.live()
elif job is not None and job.state is not State.DONE:
    group_monitor.ended(job)
elif found.shown is not None:
    if job is None or found.shown.fit is not job.result:
        st.info(f"Shown is fit {parts.plain(found.shown.label)}. Press Fit for the model above.")
    group_monitor.verdict(found.shown.fit)
    group_monitor.replay(found.shown)
else:
    st.info("Nothing has been fitted yet. Press Fit, or go back to the trials to change the model.")
    group_results.opened(found)
if found.shown is not None and not active:
    parts.next_step("hierarchical_results", "Next: look at the group and its subjects")
