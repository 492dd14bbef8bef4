"""How much of the variance the model explains: R2 and intraclass correlations."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.session import FittedModel
from app.widgets import parts
from app.widgets.answers import answer, missing, tried
from openreml_core.report.words import number


def draw(shown: FittedModel) -> None:
    """Two numbers and a table by term."""
    fit = shown.fit
    found = answer(
        shown.answers, "explained", work=lambda job: (tried(fit.r2), tried(fit.icc)), what="Explained variance"
    )
    if found is None:
        return
    r2, icc = found
    if missing(r2):
        return
    left, right, _ = st.columns([1, 1, 2])
    left.metric(
        "Marginal R²", number(r2["marginal"], 3),
        help="The share of the fixed effects in the variance of the response (Nakagawa and Schielzeth).",
    )  # fmt: skip
    right.metric("Conditional R²", number(r2["conditional"], 3), help="The share of fixed and random effects together.")
    st.caption(
        "R² after Nakagawa and Schielzeth, with Johnson's mean over random slopes, of the variance of the average row."
    )
    if missing(icc) or not fit.random_terms:
        return
    st.caption(
        "Intraclass correlations: the share of each random term in the variance; standard errors by the delta method.",
        help="How alike two observations of the same level are. Adjusted: of what the fixed effects leave. Unadjusted: of all.",
    )
    frame = pd.DataFrame(
        {
            "Term": [name.replace("(all random)", "all random terms") for name in icc.index],
            "ICC, adjusted": icc["adjusted"].to_numpy(),
            "SE": icc["std_error"].to_numpy(),
            "ICC, unadjusted": icc["unadjusted"].to_numpy(),
        }
    )
    parts.table(frame, "icc", "icc")
