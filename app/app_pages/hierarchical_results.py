"""Group results: the group, every subject's parameters, and how to keep them."""

from __future__ import annotations

import streamlit as st

from app.session import study
from app.widgets import group_monitor, group_results, parts
from app.widgets.group_sidebar import badge

found = study().group
parts.head("Group results", "What is the group like, and how do its subjects differ?")
shown = group_results.need_fit(found)
fit = shown.fit
st.markdown(f"**{parts.plain(fit.model.name)}** · {parts.plain(shown.trials.name)}")
group_results.line(shown, badge(shown))
parts.notes([w for w in fit.warnings if not w.startswith("Left out")])
group_monitor.failed(fit)

st.subheader("The group", anchor=False)
group_results.group(fit)

st.subheader("Subjects", anchor=False)
group_results.distributions(found, fit)
group_results.subjects(found, fit)

st.subheader("Convergence", anchor=False)
st.caption(parts.said(fit.message.removesuffix(" ".join(fit.warnings)).strip()))
with st.expander("Iterations"):
    group_monitor.draw(fit.trace, "group_results")
    group_monitor.rows(fit.trace, "group_results")

st.subheader("Take it with you", anchor=False)
group_results.keep(shown)
group_results.opened(found)
parts.next_step("hierarchical_compare", "Next: is another model better?")
