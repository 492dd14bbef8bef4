"""Data: bring a table, see it, say what its columns are."""

from __future__ import annotations

import streamlit as st

import openreml_core as reml
from app.session import Study, seed, study
from app.widgets import columns, parts, sources
from openreml_core import figures


def fit_model() -> None:
    """The primary action."""
    if st.button("Choose a model", type="primary", key="to_model", width="stretch", help="Go on to the Model page."):
        st.switch_page(parts.PAGES["model"])


def show(found: Study) -> None:
    """The table, its columns and what is seen in it."""
    data = found.data
    assert data is not None
    st.subheader(parts.plain(data.name), anchor=False)
    if data.note:
        st.caption(parts.plain(data.note))
    st.dataframe(data.table.head(1000), height=240, width="stretch", key="data_table", hide_index=True)
    if len(data.table) > 1000:
        st.caption(f"The first 1,000 of {len(data.table):,} rows.")
    columns.problem()
    parts.notes(list(data.problems.values()))
    columns.roles(found)
    st.markdown("**What I see**")
    for sentence in reml.describe_design(data.table, data.roles):
        st.markdown(f"- {parts.plain(sentence)}")
    missing = int(data.table.isna().any(axis=1).sum())
    if missing:
        st.caption(f"{missing} rows have an empty cell somewhere; a model leaves out those that lack a value it uses.")
    proposal(found)
    plan(found)


def proposal(found: Study) -> None:
    """The proposed model, one click from its fit."""
    data = found.data
    assert data is not None
    if not data.proposal:
        st.info("Give one column the role of response, then a first model can be proposed.")
        return
    with st.container(border=True, key="proposal"):
        st.markdown("**A first model**")
        st.code(data.proposal, language=None, wrap_lines=True)
        if st.button("Fit it", key="fit_proposal", icon=":material/play_arrow:", help="Fit this model now and watch."):
            found.choose(formula=data.proposal)
            found.start()
            st.switch_page(parts.PAGES["fit"])


def plan(found: Study) -> None:
    """Row x column map, where there are positions."""
    data = found.data
    assert data is not None
    where = {role: [c for c, r in data.roles.items() if r == role] for role in (reml.Role.ROW, reml.Role.COLUMN)}
    rows, cols = where[reml.Role.ROW], where[reml.Role.COLUMN]
    if not rows or not cols:
        return
    choices = [c for c, r in data.roles.items() if r in (reml.Role.RESPONSE, reml.Role.FACTOR, reml.Role.COVARIATE)]
    if not choices:
        return
    what = st.selectbox(
        "Field map of", choices, key=seed("map_what", choices[0]), help="Colours the plots by this column."
    )
    table = data.table
    fig = figures.design_map(table[rows[0]], table[cols[0]], table[what])
    parts.figure(fig, "map_figure", f"{data.name}-map")


found = study()
parts.head("Data", "Which table do you study, and what are its columns?", fit_model if found.data else None)
if found.data is None:
    st.markdown("Open a sample study, or upload a table. It is read on this computer and goes nowhere else.")
sources.upload(found)
if found.data is None:
    sources.gallery(found)
else:
    with st.expander("Open a sample study instead"):
        sources.gallery(found)
if found.data is not None:
    show(found)
    parts.next_step("model", "Next: choose a model")
