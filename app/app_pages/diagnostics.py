"""Diagnostics: can this fit be trusted, and which rows does it rest on?"""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app.session import seed, study, value
from app.widgets import exclusions, influence, parts, random_quantiles, residual_figures, rows, space, verdict

WAYS = {"click": "clicking a point", "box": "drawing a box"}
RESIDUALS, INFLUENCE, SPACE, RANDOM = "Residuals", "Influence", "Space", "Random effects"

found = study()
parts.head("Diagnostics", "Can this fit be trusted, and which rows does it rest on?")
shown = parts.need_fit(found)
rows.renew()
parts.model(shown.specification)
verdict.draw(found, shown)
exclusions.draw(found, shown)

st.subheader("Figures", anchor=False)
known = [RESIDUALS, INFLUENCE, SPACE, RANDOM]
st.segmented_control(
    "Figures", known, key="diag_section", default=RESIDUALS, label_visibility="collapsed",
    help="One part at a time: only what is looked at is computed.",
)  # fmt: skip
section = value("diag_section") or RESIDUALS
if section in (RESIDUALS, INFLUENCE):
    st.segmented_control(
        "Choose rows by", list(WAYS), format_func=WAYS.__getitem__, key=seed(parts.DRAG, "click"),
        help="A click takes one point; dragging then zooms. A box takes all points in it.",
    )  # fmt: skip
chosen: list[Any] = []
place: Any = None
with st.container(key="wrapping_diagnostics"):
    if section == RESIDUALS:
        chosen, place = residual_figures.draw(shown)
    elif section == INFLUENCE:
        chosen, place = influence.draw(shown)
    elif section == SPACE:
        space.draw(found, shown)
    else:
        random_quantiles.draw(shown)
if place is not None:
    with place:
        rows.draw(found, shown, chosen)
table = pd.DataFrame({"fitted": shown.fit.fitted(), "residual": shown.fit.residuals()})
parts.download(shown.fit.data.assign(**table), "diag_csv", "residuals", "Download residuals")
parts.next_step("compare", "Next: compare this fit with others")
