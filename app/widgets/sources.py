"""Where a table comes from: an upload, or a sample study."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

import openreml_core as reml
from app.session import Study, dataset, forget, put, value
from app.widgets.parts import error, plain
from openreml_core.tables import sheet_names

KINDS = ["csv", "tsv", "txt", "xlsx", "parquet"]
#: Widgets that start anew with another table.
FORGOTTEN = (
    "role_", "model_", "blup_", "diag_", "map_", "residual", "relation_", "option_", "matrix_", "means_", "predict_",
    "compare_", "interval_", "profile_", "heritability_", "correlations_", "question",
)  # fmt: skip


def upload(study: Study) -> None:
    """The upload box; a workbook of several sheets asks for one."""
    found = newly_read("upload", "Upload a table", kept=study.data.name if study.data is not None else "")
    if found is not None:
        _take(study, *found)
        st.rerun()


def newly_read(key: str, label: str, kept: str = "") -> tuple[str, pd.DataFrame] | None:
    """An upload box, and name and table of a file that has not been read before; an error is said, and what is kept."""
    file = st.file_uploader(
        label, type=KINDS, key=key,
        help="CSV, TSV, text, Excel or Parquet. Separator, decimal mark and encoding are found out.",
    )  # fmt: skip
    if file is None:
        put(f"{key}_read", None)
        put(f"{key}_problem", None)
        return None
    try:
        sheet = sheet_of(file, f"{key}_sheet")
        if value(f"{key}_read") != (file.file_id, sheet):
            put(f"{key}_read", (file.file_id, sheet))
            put(f"{key}_problem", None)
            with st.spinner(f"Reading {file.name} ..."):
                return file.name, reml.read_table(file, name=file.name, sheet=sheet)
    except reml.ModelError as problem:
        put(f"{key}_problem", f"{file.name}: {problem}")
    if value(f"{key}_problem"):
        error(value(f"{key}_problem"))
        if kept:
            st.caption(f"What was open before is kept: {plain(kept)}.")
    return None


def sheet_of(file: Any, key: str) -> str | None:
    """Which sheet of a workbook is meant; asked for where there are several."""
    if not file.name.lower().endswith(".xlsx"):
        return None
    names = sheet_names(file, name=file.name)
    if len(names) < 2:
        return None
    return st.selectbox("Sheet", names, key=key, help="The workbook has several sheets; one is read.")


def _take(study: Study, name: str, table: Any, sample: reml.Sample | None = None) -> None:
    study.use(dataset(name, table, sample=sample))
    for prefix in FORGOTTEN:
        forget(prefix)


def gallery(study: Study, across: int = 3) -> None:
    """Sample studies, a card each."""
    st.markdown("**Sample studies**")
    samples = reml.sample_data()
    for first in range(0, len(samples), across):
        for cell, sample in zip(st.columns(across), samples[first : first + across], strict=False):
            with cell.container(border=True, height="stretch"):
                st.markdown(f"**{sample.title}**")
                st.caption(f"{sample.question} {sample.n_rows:,} rows.")
                if st.button("Open", key=f"open_{sample.name}", help=f"Source: {sample.source}"):
                    _take(study, sample.name, reml.load_sample(sample.name), sample)
                    st.rerun()
