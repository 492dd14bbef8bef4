"""Trials: simulated as an example or uploaded, their columns, and what is seen in them."""

from __future__ import annotations

import streamlit as st

import openreml_core as reml
from app.groups import SUBJECT, GroupStudy
from app.session import forget, holding, lasting, trial_table, value
from app.widgets import group_model, parts
from app.widgets.sources import newly_read
from openreml_core.hierarchical.script import model_code

SIMULATED, FILE = "simulate an example", "upload a table"
#: Rows that the table shows.
SHOWN = 1000


def source(found: GroupStudy) -> None:
    """Where trials come from."""
    st.segmented_control(
        "Where from", [SIMULATED, FILE], format_func=str.capitalize, **lasting(found.choices, "group_source", SIMULATED),
        help="An example is drawn from the chosen model, so that the truth is known. Your own: a row per trial.",
    )  # fmt: skip
    if value("group_source") == FILE:
        _upload(found)
    else:
        _simulate(found)


def _simulate(found: GroupStudy) -> None:
    kept = found.choices
    with st.container(key="beside_simulation"):
        cells = st.columns([1, 1, 1, 1.2], vertical_alignment="bottom")
    n = cells[0].number_input(
        "Subjects",
        2,
        2000,
        **lasting(kept, "group_sim_subjects", 50),
        help="How many subjects are drawn from the group.",
    )
    t = cells[1].number_input(
        "Trials each", 1, 2000, **lasting(kept, "group_sim_trials", 200), help="How many trials every subject does."
    )
    start = cells[2].number_input(
        "Seed", 0, 999_999, **lasting(kept, "group_sim_seed", 1), help="The same seed gives the same trials."
    )
    if cells[3].button(
        "Simulate", key="group_simulate", icon=":material/casino:", width="stretch",
        help="Draw subjects from the chosen model, and let them do the task.",
    ):  # fmt: skip
        try:
            model = found.model(named=False)
            table = model.simulate(n_subjects=int(n), n_trials=int(t), seed=int(start))
        except reml.ModelError as problem:
            parts.error(str(problem))
            return
        code = f"{model_code(model)}.simulate(n_subjects={n}, n_trials={t}, seed={start})"
        forget("group_column_")
        found.columns = {}
        found.take(trial_table(f"{model.name}, simulated (seed {start})", table, code))
        st.rerun()


def _upload(found: GroupStudy) -> None:
    model = found.model(named=False)
    words = [
        f"*{parts.plain(role)}* ({parts.plain(reml.hierarchical.models.column_meaning(model, role))})"
        for role in model.roles
    ]
    st.markdown(f"A row per trial, in order, with columns for the subject, {', '.join(words)}. Names are up to you.")
    new = newly_read("group_upload", "Upload trials", kept=found.trials.name if found.trials else "")
    if new is None:
        return
    name, table = new
    forget("group_column_")
    forget("group_predictors")
    found.columns = {}
    found.take(trial_table(name, table, f"reml.read_table({name!r})"))
    st.rerun()


def columns(found: GroupStudy) -> None:
    """Which column is what."""
    assert found.trials is not None
    model = found.model(named=False)
    predictors = getattr(model, "predictors", ())
    roles = [SUBJECT, *(r for r in model.roles if r not in predictors)]
    names = [str(c) for c in found.trials.table.columns]
    across = 2
    with st.container(key="beside_columns"):
        for first in range(0, len(roles), across):
            for cell, role in zip(st.columns(across), roles[first : first + across], strict=False):
                with cell:
                    _column(found, model, role, names)


def _column(found: GroupStudy, model: object, role: str, names: list[str]) -> None:
    key = f"group_column_{role}"
    own = found.columns.get(role)

    def changed() -> None:
        if value(key) is None:
            found.columns.pop(role, None)
        else:
            found.columns[role] = value(key)

    meaning = "who did the trial" if role == SUBJECT else reml.hierarchical.models.column_meaning(model, role)
    label = role.replace("_", " ").capitalize() if len(role) > 1 else role
    st.selectbox(
        label, names, index=None, key=holding(key, own), on_change=changed,
        placeholder="choose", help=f"{meaning[0].upper()}{meaning[1:]}.",
    )  # fmt: skip


def seen(found: GroupStudy) -> bool:
    """What the trials hold, in words; whether they can be fitted."""
    assert found.trials is not None
    lacking = found.lacking()
    if lacking:
        names = ", ".join(f"*{parts.plain(role)}*" for role in lacking)
        st.info(f"Choose a column for {names}.", icon=":material/info:")
        return False
    try:
        request = found.request()
        about = reml.hierarchical.describe_trials(request.model, found.trials.table, request.subject, found.missing)
    except reml.ModelError as problem:
        parts.error(str(problem))
        return False
    st.markdown("\n".join(f"- {parts.said(sentence)}" for sentence in about.seen))
    parts.notes(about.findings)
    return True


def table(found: GroupStudy) -> None:
    """The trials themselves."""
    assert found.trials is not None
    rows = found.trials.table
    st.dataframe(rows.head(SHOWN), key="group_table", height=240, width="stretch", hide_index=True, placeholder="")
    if len(rows) > SHOWN:
        st.caption(f"The first {SHOWN:,} of {len(rows):,} trials; the download has all.")
    parts.download(rows, "group_table_csv", "trials", "Download the trials")


def card(found: GroupStudy) -> None:
    """The model and the trials that a fit would take, in a line each."""
    if found.trials is None:
        return
    try:
        request = found.request()
    except reml.ModelError as problem:
        parts.error(str(problem))
        return
    names = ", ".join(p.name for p in request.model.parameters)
    st.markdown(
        f"**{parts.plain(group_model.TITLES[found.kind])}** ({parts.plain(request.model.name)}) · parameters "
        f"{parts.plain(names)} · trials: {parts.plain(found.trials.name)}"
    )
