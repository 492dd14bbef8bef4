"""What every page has: a head, the next step, calm errors, tables with a download, figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from app.session import FittedModel, Specification, Study, value
from openreml_core import figures
from openreml_core.report.words import p_value

PAGES = {
    name: f"app_pages/{name}.py"
    for name in (
        "data",
        "model",
        "fit",
        "results",
        "means",
        "diagnostics",
        "compare",
        "predict",
        "hierarchical_trials",
        "hierarchical_fit",
        "hierarchical_results",
        "hierarchical_compare",
        "hierarchical_recovery",
    )
}


DRAG = "diag_drag"


def head(title: str, line: str, action: Callable[[], None] | None = None) -> None:
    """Title, one line on what the page answers, and the primary action at the right."""
    left, right = st.columns([2.6, 1], vertical_alignment="bottom")
    with left:
        st.title(title, anchor=False)
        st.markdown(f":gray[{line}]")
    if action is not None:
        with right:
            action()


def next_step(page: str, label: str) -> None:
    """A link to the next step."""
    st.divider()
    st.page_link(PAGES[page], label=label, icon=":material/arrow_forward:")


def need_data(study: Study) -> None:
    """Stop the page, with a link, where there are no data yet."""
    if study.data is None:
        st.info("There is no table yet. Bring your own, or open a sample study.")
        st.page_link(PAGES["data"], label="Go to Data", icon=":material/arrow_back:")
        st.stop()


def need_fit(study: Study) -> FittedModel:
    """Stop the page, with a link, where nothing has been fitted yet."""
    if study.shown is None:
        st.info("There is no fitted model yet.")
        page, label = ("data", "Go to Data") if study.data is None else ("model", "Go to Model")
        st.page_link(PAGES[page], label=label, icon=":material/arrow_back:")
        st.stop()
    return study.shown


def plain(text: str) -> str:
    """Text without what markdown would read as marks: names and levels come from files."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-!|$:~.&])", r"\\\1", str(text))


def part_name(name: str, residual: tuple[str, ...] = ()) -> str:
    """A term, or a part of the residual: ``residual[C1]`` is ``residual in C1``."""
    base, _, section = name.partition("[")
    return f"{base} in {section.removesuffix(']')}" if name in residual and section else name


def said(text: str) -> str:
    """A message of the core: plain, but for the names that it sets off with asterisks."""
    return re.sub(r"\\\*(.+?)\\\*", r"*\1*", plain(text))


def error(text: str, details: str = "") -> None:
    """An error in its own words."""
    st.error(said(text), icon=":material/error:")
    if details:
        with st.expander("Details"):
            st.code(details, language=None)


def notes(sentences: tuple[str, ...] | list[str]) -> None:
    """Findings, a sentence each."""
    for sentence in sentences:
        st.warning(said(sentence), icon=":material/lightbulb:")


def model(spec: Specification) -> None:
    """A model as it was specified: its formula, the residual, and what is related."""
    lines = [spec.formula]
    if spec.residual:
        lines.append(f"residual: {spec.residual}")
    lines += [f"related: {r.group} by {r.name}" for r in spec.related]
    if spec.excluded:
        lines.append(f"without {len(spec.excluded):,} excluded row{'s' * (len(spec.excluded) > 1)}")
    st.code("\n".join(lines), language=None, wrap_lines=True)


def figure(fig: go.Figure, key: str, name: str) -> None:
    """A figure, downloadable as SVG or PNG from its own menu."""
    image = value("figure_format") or "svg"
    st.plotly_chart(fig, key=key, theme=None, width="stretch", config=figures.config(name, image=image))


def choosing(fig: go.Figure, key: str, name: str) -> list[Any]:
    """A figure whose points can be clicked or boxed; what the chosen ones stand for."""
    image = value("figure_format") or "svg"
    # While a drag draws a box, Streamlit hears no clicks on points: which of the two it is, the page asks.
    fig.update_layout(dragmode="select" if value(DRAG) == "box" else "zoom")
    chosen = st.plotly_chart(
        fig, key=key, theme=None, width="stretch", config=figures.config(name, image=image), on_select="rerun",
        selection_mode=("points", "box"),
    )  # fmt: skip
    found = [point.get("customdata") for point in chosen["selection"]["points"]]
    return [
        mark[0] if isinstance(mark, list | tuple) and len(mark) == 1 else mark for mark in found if mark is not None
    ]


def emblem(fig: go.Figure, key: str) -> None:
    """A small figure without a menu."""
    st.plotly_chart(fig, key=key, theme=None, width="stretch", config=figures.CONFIG | {"displayModeBar": False})


def table(
    frame: pd.DataFrame, key: str, name: str, *, columns: Mapping[str, Any] | None = None, height: int | str = "content",
    p: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """A table and its download; numbers with four significant digits, p-values in the columns of ``p`` as they are read."""
    whole = frame.assign(**{c: pd.Series(values).astype(float).tolist() for c, values in (p or {}).items()})
    frame = frame.assign(**{c: [p_value(v) for v in whole[c]] for c in p or {}})
    numbers = {
        str(c): st.column_config.NumberColumn(format="%.4g")
        for c in frame.columns
        if pd.api.types.is_float_dtype(frame[c]) and str(c) not in (columns or {})
    }
    st.dataframe(
        frame,
        key=key,
        hide_index=True,
        width="stretch",
        height=height if len(frame) > 12 else "content",
        column_config={**numbers, **(columns or {})},
        placeholder="",
    )
    download(whole, f"{key}_csv", name)


def file(cell: Any, label: str, data: Any, name: str, key: str, words: str) -> None:
    """A button, as wide as its cell, that downloads a file."""
    cell.download_button(label, data=data, file_name=name, key=key, width="stretch", on_click="ignore", help=words)


def download(frame: pd.DataFrame, key: str, name: str, label: str = "Download CSV") -> None:
    """A button that downloads a table as CSV, with all digits."""
    st.download_button(
        label,
        data=lambda: frame.to_csv(index=False).encode("utf-8-sig"),
        file_name=f"{name}.csv",
        mime="text/csv",
        key=key,
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
        help="The table with all digits, for a spreadsheet.",
    )
