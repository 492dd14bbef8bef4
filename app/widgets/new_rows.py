"""Rows to predict: from a file, typed in, or those that were fitted."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

import openreml_core as reml
from app.session import FittedModel, seed, value
from app.widgets import parts
from app.widgets.sources import KINDS, sheet_of

FILE, TYPED, OWN = "a file", "typed in", "the fitted rows"
#: Rows that the table to type in begins with.
EXAMPLES = 3


def choose(shown: FittedModel, predictors: Sequence[str]) -> pd.DataFrame | None:
    """The rows, or None while there are none."""
    sources = [FILE, TYPED, OWN] if shown.fit.has_rows else [FILE]
    st.segmented_control(
        "Rows from", sources, format_func=str.capitalize, key=seed("predict_source", FILE),
        help="Upload a table with the columns of the model, type a few rows, or take the rows of the fit.",
    )  # fmt: skip
    source = value("predict_source") if value("predict_source") in sources else FILE
    if source == OWN:
        return shown.fit.data
    if source == TYPED:
        return _typed(shown, predictors)
    return _file(shown, predictors)


def _file(shown: FittedModel, predictors: Sequence[str]) -> pd.DataFrame | None:
    names = ", ".join(f"*{parts.plain(name)}*" for name in predictors) or "none: the model is a mean"
    st.markdown(f"Columns that the model needs: {names}")
    if shown.fit.has_rows:
        parts.download(_examples(shown, predictors), "predict_template_csv", "new-rows", "Download a template")
    file = st.file_uploader("Upload new rows", type=KINDS, key="predict_file", help="Read on this computer only.")
    if file is None:
        return None
    try:
        with st.spinner(f"Reading {file.name} ..."):
            return reml.read_table(file, name=file.name, sheet=sheet_of(file, "predict_sheet"))
    except reml.ModelError as problem:
        parts.error(f"{file.name}: {problem}")
        return None


def _examples(shown: FittedModel, predictors: Sequence[str]) -> pd.DataFrame:
    """The first rows that were fitted, levels as they are written."""
    rows = shown.fit.data[list(predictors)].head(EXAMPLES).reset_index(drop=True)
    kinds = {
        name: column.cat.categories.dtype
        for name, column in rows.items()
        if isinstance(column.dtype, pd.CategoricalDtype)
    }
    return rows.astype(kinds)


def _typed(shown: FittedModel, predictors: Sequence[str]) -> pd.DataFrame | None:
    rows = _examples(shown, predictors)
    if rows.empty or not len(rows.columns):
        st.info("This model has no columns to type values for.", icon=":material/info:")
        return None
    st.caption("Change the values, add rows below, or mark rows and delete them.")
    edited = st.data_editor(
        rows, num_rows="dynamic", key=f"predict_typed_{shown.number}", width="stretch", hide_index=True
    )
    edited = edited.dropna(how="all").reset_index(drop=True)
    return edited if len(edited) else None
