"""Known relationships of the levels of a grouping factor: a pedigree, markers or a matrix from a file."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

import openreml_core as reml
from app.session import Relation, Study, put, seed, value
from app.widgets import parts
from openreml_core import figures
from openreml_core.relationship import KINDS, read_relationship

KIND_WORDS = {"auto": "found out from the table", **KINDS}


def draw(study: Study) -> None:
    """What is related already, and the upload for more."""
    spec = study.specification
    assert spec is not None and study.data is not None
    groups = _groups(study)
    with st.expander("Related levels: pedigree, markers or a matrix", expanded=bool(spec.relations)):
        if not groups:
            st.caption("A random term with one grouping factor, such as (1 | gen), can have related levels.")
        for relation in spec.relations:
            _attached(study, relation)
        free = [g for g in groups if g not in {r.group for r in spec.relations}]
        if free:
            _upload(study, free)


def _groups(study: Study) -> list[str]:
    """The single columns that group random terms."""
    assert study.specification is not None and study.data is not None
    columns = [str(c) for c in study.data.table.columns]
    try:
        terms = reml.parse_formula(study.specification.formula, columns).random
    except reml.ModelError:
        return []
    return list(dict.fromkeys(t.group[0] for t in terms if len(t.group) == 1 and t.group[0] in columns))


def _attached(study: Study, relation: Relation) -> None:
    """One relationship: how many levels it has, what was done to it, a corner of K."""
    spec, reading = study.specification, relation.reading
    assert spec is not None
    with st.container(border=True, key=f"relation_{relation.group}"):
        st.markdown(f"**{parts.plain(relation.group)}**: {parts.plain(relation.name)}")
        picture, words = st.columns([1, 2.6], vertical_alignment="center")
        with picture:
            parts.emblem(figures.matrix_thumbnail(reading.table()), f"emblem_relation_{relation.group}")
        words.caption(reading.sentence)
        for notice in reading.relationship.notices:
            words.caption(parts.said(notice))
        if relation not in spec.related:
            words.caption("No term of the formula has these levels at present: the relationships wait.")
        st.button(
            "Remove", key=f"remove_relation_{relation.group}", type="tertiary", icon=":material/close:",
            on_click=lambda: study.choose(relations=tuple(r for r in spec.relations if r is not relation)),
            help="Take the levels as unrelated again.",
        )  # fmt: skip


def _upload(study: Study, groups: list[str]) -> None:
    """A file for one more factor; it is attached as soon as it can be read."""
    spec, data = study.specification, study.data
    assert spec is not None and data is not None
    if value("relation_group") not in groups:
        put("relation_group", groups[0])
    left, right = st.columns(2)
    group = left.selectbox("Levels of", groups, key="relation_group", help="The factor whose levels are related.")
    kind = right.selectbox(
        "The table is", list(KIND_WORDS), format_func=lambda k: KIND_WORDS[k], key=seed("relation_kind", "auto"),
        help="A pedigree has columns id, sire and dam; markers have a row per level; a matrix has names on both sides.",
    )  # fmt: skip
    unrelated = st.checkbox(
        "Levels without a row are related to none", key=seed("relation_absent", False),
        help="Otherwise such levels are an error that names them.",
    )  # fmt: skip
    file = st.file_uploader(
        "Upload relationships", type=["csv", "tsv", "txt", "xlsx", "parquet"],
        key=f"relation_file_{len(spec.relations)}", help="Read on this computer only.",
    )  # fmt: skip
    if file is None:
        return
    try:
        with st.spinner(f"Reading {file.name} ..."):
            table = reml.read_table(file, name=file.name)
            absent = "unrelated" if unrelated else "error"
            reading = read_relationship(table, data.prepared()[group], kind, absent=absent)
    except reml.ModelError as problem:
        parts.error(f"{file.name}: {problem}")
        return
    study.specification = replace(spec, relations=(*spec.relations, Relation(group, file.name, reading)))
    st.rerun()
