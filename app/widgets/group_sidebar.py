"""Where you are among the hierarchical models: the trials, the fit that is shown, and the others."""

from __future__ import annotations

import streamlit as st

from app.groups import GroupFit, GroupStudy
from app.session import put, seed, study, value
from app.widgets import sidebar
from app.widgets.parts import plain
from openreml_core.report.words import number


def badge(shown: GroupFit) -> str:
    """How a fit ended, as a coloured badge."""
    fit = shown.fit
    if not fit.converged:
        return ":red-badge[:material/error: not converged]"
    if fit.n_subjects < len(fit.data.names):
        return ":orange-badge[:material/person_remove: subjects left out]"
    return ":green-badge[:material/check: converged]"


def draw() -> None:
    """Draw the sidebar."""
    found = study().group
    with st.sidebar:
        if found.trials is None:
            st.caption("No trials yet.")
        else:
            with st.container(border=True):
                st.markdown(f"**{plain(found.trials.name)}**")
                st.caption(f"{len(found.trials.table):,} trials")
        if found.job is not None and found.job.active and found.asked is not None:
            with st.container(border=True):
                st.markdown(":blue-badge[:material/progress_activity: running]")
                st.caption(plain(found.asked.model.name))
        if found.shown is not None:
            _card(found.shown)
        if len(found.fits) > 1:
            _switch(found)
        sidebar.figure_format()


def _card(shown: GroupFit) -> None:
    fit = shown.fit
    with st.container(border=True, key="group_card"):
        st.markdown(f"**Fit {shown.number}** {badge(shown)}")
        st.markdown(plain(shown.request.model.name))
        st.caption(
            f"{shown.request.how}; {fit.n_subjects:,} subjects, -2 log evidence {number(fit.rows[-1].criterion, 6)}"
        )


def _switch(found: GroupStudy) -> None:
    labels = {f.number: f.label for f in found.fits}
    assert found.shown is not None
    state = (len(labels), found.shown.number)
    if value("group_shown") not in labels or value("group_shown_of") != state:
        put("group_shown", found.shown.number)

    def switched() -> None:
        chosen = value("group_shown")
        found.shown = next((f for f in found.fits if f.number == chosen), found.shown)

    st.selectbox(
        "Fit shown", list(labels), format_func=labels.__getitem__, key=seed("group_shown", found.shown.number),
        on_change=switched, help="The results are those of this fit.",
    )  # fmt: skip
    put("group_shown_of", state)
