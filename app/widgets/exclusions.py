"""The rows that are excluded: which and why, put back, and the fit without them."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app.session import FittedModel, Study
from app.widgets import parts
from openreml_core.tables import exclusion_words

#: Rows up to which each has a button of its own.
MOST = 8


def note(shown: FittedModel) -> None:
    """That a fit leaves rows out, which and why."""
    excluded = shown.fit.excluded
    if excluded:
        words = exclusion_words(tuple(excluded.items()))
        many = len(excluded) > 1
        st.info(
            f"{len(excluded):,} row{'s are' if many else ' is'} excluded from this fit: {parts.plain(words)}. "
            "The Diagnostics page puts rows back.", icon=":material/block:",
        )  # fmt: skip


def draw(study: Study, shown: FittedModel) -> None:
    """The list, and the button that fits the shown model again where the list has changed."""
    if study.data is None or study.specification is None or shown.digest != study.data.digest:
        return
    excluded, fitted = dict(study.specification.excluded), dict(shown.specification.excluded)
    if not excluded and not fitted:
        return
    st.subheader("Excluded rows", anchor=False)
    if not excluded:
        st.caption(f"No row is excluded any more; fit {shown.number} still leaves out {len(fitted):,}.")
    elif len(excluded) <= MOST:
        for row, reason in excluded.items():
            left, middle, right = st.columns([1, 3.4, 1.1], vertical_alignment="center")
            left.markdown(f"Row {parts.plain(row)}")
            middle.markdown(parts.plain(reason) + ("" if row in fitted else " :gray[(still in this fit)]"))
            right.button(
                "Put back", key=f"diag_back_{row}", type="tertiary", icon=":material/undo:", on_click=study.put_back,
                args=([row],), help="Take the row into the next fit again.",
            )  # fmt: skip
    else:
        _many(study, excluded)
    if excluded == fitted:
        st.caption(f"Fit {shown.number} leaves {'these rows' if len(excluded) > 1 else 'this row'} out.")
        return
    running = study.job is not None and study.job.active
    if st.button(
        "Refit without them" if excluded else "Refit with all rows", key="diag_refit", type="primary",
        icon=":material/play_arrow:", disabled=running, help="Fit the same model again; this fit is kept beside it.",
    ):  # fmt: skip
        study.again(shown)
        st.switch_page(parts.PAGES["fit"])


def _many(study: Study, excluded: dict[Any, str]) -> None:
    frame = pd.DataFrame({"Row": [str(row) for row in excluded], "Reason": list(excluded.values())})
    parts.table(frame, "diag_excluded", "excluded-rows", height=320)
    left, right = st.columns([3, 1.3], vertical_alignment="bottom")
    chosen = left.multiselect(
        "Put back", list(excluded), key=f"diag_back_{len(excluded)}", help="Rows to take in again."
    )
    right.button(
        "Put back", key="diag_back_now", width="stretch", icon=":material/undo:", disabled=not chosen,
        on_click=study.put_back, args=(chosen,), help="Take these rows into the next fit again.",
    )  # fmt: skip
