"""Rows that were chosen in a figure or named: the rows themselves, and excluding them with a reason."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd
import streamlit as st

from app.session import FittedModel, Study, put, seed, value
from app.widgets import parts

NAMED, ROUND, REASON = "diag_rows_named", "diag_round", "diag_reason"
#: Rows that the table of the chosen ones shows.
MOST = 200


def figure_key(name: str) -> str:
    """The key of a figure whose points can be chosen: new after every exclusion, so that nothing stays chosen."""
    return f"diag_{name}_{value(ROUND, 0)}"


def draw(study: Study, shown: FittedModel, chosen: Iterable[Any]) -> None:
    """The rows chosen in the figures or by number, what the data say of them, and the button that excludes them."""
    fit = shown.fit
    st.subheader("Chosen rows", anchor=False)
    st.text_input(
        "Rows by number", key=seed(NAMED, ""), placeholder="e.g. 3, 17",
        help="The numbers that the figures and tables give.",
    )  # fmt: skip
    index = fit.data.index
    named, unknown = read(str(value(NAMED) or ""), index)
    if unknown:
        st.caption(f"The fit has no row {parts.plain(', '.join(unknown[:5]))}.")
    known = set(index)
    together = dict.fromkeys([*(row for row in map(_label, chosen) if row in known), *named])
    if not together:
        st.caption("No row is chosen yet. Click a point of a figure above, draw a box around several, or name them.")
        return
    picked = list(together)
    parts.table(table(fit, picked[:MOST]), "diag_chosen", "chosen-rows", height=320)
    if len(picked) > MOST:
        st.caption(f"The first {MOST:,} of {len(picked):,} chosen rows.")
    if study.data is None or shown.digest != study.data.digest:
        st.caption("This fit is of another table than the one that is open: its rows can be looked at, not excluded.")
        return
    with st.form("diag_exclude", border=False, clear_on_submit=True):
        left, right = st.columns([3, 1.3], vertical_alignment="bottom")
        reason = left.text_input(
            "Reason", key=REASON, placeholder="e.g. lodged plot", help="It stands beside the results and in the code."
        )
        pressed = right.form_submit_button(
            f"Exclude {'these' if len(picked) > 1 else 'this'} row{'s' * (len(picked) > 1)}", key="diag_exclude_now",
            icon=":material/block:", width="stretch", help="Leave them out of the next fit. Nothing is deleted.",
        )  # fmt: skip
    if pressed and not reason.strip():
        st.warning("Say why these rows are excluded: the reason goes into the results.", icon=":material/edit:")
    elif pressed:
        study.exclude(picked, reason.strip())
        put("diag_clear", True)
        put(ROUND, value(ROUND, 0) + 1)
        st.rerun()


def renew() -> None:
    """Forget the rows named, after they were excluded; called before the field is drawn."""
    if value("diag_clear"):
        put("diag_clear", False)
        put(NAMED, "")


def read(text: str, index: pd.Index) -> tuple[list[Any], list[str]]:
    """Labels that a text names, and those that there are none of.

    Examples
    --------
    >>> read("2, 5 x", pd.RangeIndex(4))
    ([2], ['5', 'x'])
    """
    by_text = {str(label): label for label in index} if text.strip() else {}
    names = [name for name in re.split(r"[,;]\s*" if by_text and _spaced(index) else r"[,;\s]+", text.strip()) if name]
    return [_label(by_text[n]) for n in names if n in by_text], [n for n in names if n not in by_text]


def _spaced(index: pd.Index) -> bool:
    return index.dtype == object and any(" " in str(label) for label in index)


def _label(label: Any) -> Any:
    """A label as a plain number or text."""
    return label.item() if hasattr(label, "item") else label


def table(fit: Any, picked: list[Any]) -> pd.DataFrame:
    """The rows as they were read, with their fitted values and residuals."""
    beside = pd.DataFrame({"Fitted": fit.fitted(), "Residual": fit.residuals()}).loc[picked]
    data = fit.table.loc[picked]
    names = {c: f"{c} (model)" for c in beside.columns if c in data.columns}
    out = pd.concat([data, beside.rename(columns=names)], axis=1)
    out.insert(0, "Row" if "Row" not in out.columns else "Row number", [str(label) for label in picked])
    return out
