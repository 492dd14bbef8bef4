"""Fit: watch the search while it runs, step through it afterwards."""

from __future__ import annotations

import streamlit as st

from app.jobs import State
from app.session import study
from app.widgets import monitor, parts

found = study()


def again() -> None:
    """The primary action: fit the specified model."""
    label = "Fit again" if found.job is not None else "Fit"
    running = found.job is not None and found.job.active
    if st.button(
        label, type="primary", key="fit_again", width="stretch", icon=":material/play_arrow:", disabled=running,
        help="Estimate the model that the Model page shows.",
    ):  # fmt: skip
        found.start()
        st.rerun()


parts.head("Fit", "How does the search for the estimates go?", again if found.data is not None else None)
parts.need_data(found)
assert found.specification is not None
job = found.job
parts.model(found.asked if job is not None and found.asked is not None else found.specification)
active = job is not None and job.active
if not active and found.settle():
    st.rerun()  # it ended while the page was being drawn
if active:
    monitor.live()
elif job is not None and job.state is not State.DONE:
    monitor.ended(job)
elif found.shown is not None and (job is None or found.shown.fit is job.result):
    fit = found.shown.fit
    (st.success if fit.converged else st.warning)(fit.message)
    parts.notes([w for w in fit.warnings if w != fit.message])
    monitor.replay(found.shown)
elif found.shown is not None:
    st.info(f"Shown is fit {found.shown.number}.")
    monitor.replay(found.shown)
else:
    st.info("Nothing has been fitted yet. Press Fit, or go back to the Model page to change the model.")
if found.shown is not None:
    parts.next_step("results", "Next: read the results")
