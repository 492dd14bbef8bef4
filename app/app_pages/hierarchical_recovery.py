"""Recovery: what can be learned from such trials? By simulation, for planning and for class."""

from __future__ import annotations

import streamlit as st

import openreml_core as reml
from app.session import study
from app.widgets import group_model, group_recovery, parts

found = study().group
parts.head("Recovery", "What can be learned from such trials? Simulate, fit, and see.")
try:
    plain = found.model(named=False)
except reml.ModelError as problem:
    parts.error(str(problem))
    st.stop()
st.markdown(f"**{parts.plain(group_model.TITLES[found.kind])}** ({parts.plain(plain.name)})")
st.page_link(parts.PAGES["hierarchical_trials"], label="Choose another model", icon=":material/arrow_back:")
st.subheader("Are parameters recovered?", anchor=False)
with st.container(key="wrapping_recovery"):
    group_recovery.parameters(found, plain)
st.subheader("Are models told apart?", anchor=False)
with st.container(key="wrapping_confusion"):
    group_recovery.models(found, {m.name: m for m in reml.hierarchical.models.alternatives(plain)})
parts.next_step("hierarchical_trials", "Back to the trials")
