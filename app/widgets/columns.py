"""The columns of a table: name, role to correct, type, levels or range, missing cells, a small picture."""

from __future__ import annotations

import pandas as pd
import streamlit as st

import openreml_core as reml
from app.session import Dataset, Study, put, seed, value
from app.widgets.parts import error, plain
from openreml_core import figures
from openreml_core.report.words import number

ROLES = [str(r) for r in reml.Role]
WORDS = {
    "response": "response",
    "factor": "factor",
    "covariate": "covariate",
    "row": "field row",
    "column": "field column",
    "identifier": "identifier",
    "ignore": "ignore",
}
WIDTHS = [2.2, 2.6, 1.5, 3.2, 1.1, 2.0]
MOST = 60


def roles(study: Study) -> None:
    """A row per column, with its role to correct."""
    data = study.data
    assert data is not None
    about = reml.describe_columns(data.table, data.roles)
    with st.container(height=430 if len(about) > 8 else "content", border=True, key="role_rows"):
        for cell, word in zip(
            st.columns(WIDTHS), ["Column", "Role", "Type", "Levels or range", "Missing", ""], strict=True
        ):
            cell.caption(word)
        for i, row in enumerate(about.head(MOST).itertuples()):
            _row(study, data, i, row)
    if len(about) > MOST:
        st.caption(f"The first {MOST} of {len(about)} columns are listed; the others keep their guessed roles.")


def _row(study: Study, data: Dataset, i: int, row: object) -> None:
    name = str(row.name)
    key = f"role_{i}"

    def changed() -> None:
        role = reml.Role(value(key))
        try:
            reml.apply_roles(data.table[[name]], {name: role})
        except reml.ModelError as problem:
            put(key, str(data.roles[name]))
            put("role_problem", str(problem))
        else:
            data.roles[name] = role
            put("role_problem", None)
            if study.specification is not None and study.specification.formula == data.proposal:
                data.proposal = reml.suggest_formula(data.table, data.roles)
                study.choose(formula=data.proposal)

    cells = st.columns(WIDTHS, vertical_alignment="center")
    cells[0].markdown(plain(name))
    cells[1].selectbox(
        f"Role of {plain(name)}",
        ROLES,
        format_func=WORDS.__getitem__,
        key=seed(key, str(data.roles[name])),
        on_change=changed,
        label_visibility="collapsed",
    )
    cells[2].caption(str(row.type))
    cells[3].caption(plain(_range(row)))
    cells[4].caption(f"{row.missing:,}")
    cells[5].image(_picture(data.table[name], data.roles[name]), width=110)


def problem() -> None:
    """Why the last change of a role was not taken."""
    said = value("role_problem")
    if said:
        error(f"The role was not changed. {said}")


def _range(row: object) -> str:
    levels, low, high = str(row.levels), row.min, row.max
    if levels:
        return f"{row.n_levels}: {levels}"
    if low != low:
        return f"{row.n_levels} values"
    return f"{low:,.0f} to {high:,.0f}" if row.type == "whole numbers" else f"{number(low)} to {number(high)}"


def _picture(column: pd.Series, role: reml.Role) -> str:
    """A column's distribution as a small SVG; the counts are the figure's."""
    factor = role == reml.Role.FACTOR or not pd.api.types.is_numeric_dtype(column)
    fig = figures.column_bars(column) if factor else figures.column_histogram(column)
    counts = [float(v) for v in fig.data[0].y] if fig.data and fig.data[0].y is not None else []
    counts = counts[:40]
    top, n = max(counts, default=0) or 1, max(len(counts), 1)
    bars = "".join(
        f"<rect x='{110 * i / n + 0.5:.1f}' y='{24 - 22 * c / top:.1f}' width='{max(110 / n - 1, 0.8):.1f}'"
        f" height='{22 * c / top:.1f}' fill='#7A93AC'/>"
        for i, c in enumerate(counts)
    )
    return f"<svg xmlns='http://www.w3.org/2000/svg' width='110' height='25' viewBox='0 0 110 25'>{bars}</svg>"
