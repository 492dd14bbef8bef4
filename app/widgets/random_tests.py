"""Is each random term needed? Likelihood-ratio tests, the boundary minded."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.session import FittedModel
from app.widgets import parts
from app.widgets.answers import answer

HELP = (
    "The model is fitted again without the term. LRT is twice the log-likelihood that is lost; a large one says that the "
    "term is needed. A variance cannot be below zero, so the plain p-value is too large: p (boundary) minds that."
)


def draw(shown: FittedModel) -> None:
    """The table, once it has been asked for."""
    fit = shown.fit
    if not fit.random_terms:
        st.info("This model has no random effects to test.", icon=":material/info:")
        return
    table = answer(
        shown.answers, "random_tests", work=lambda job: fit.random_anova(job.report),
        what="Fitting the model without each random term", button="Test each random term",
        help="Fits the model again without each term.",
    )  # fmt: skip
    if table is None:
        return
    st.caption(f"Likelihood-ratio tests by {fit.method.upper()}: without each term against the whole model.", help=HELP)
    frame = pd.DataFrame(
        {
            "Left out": ["nothing", *table["term"].iloc[1:]],
            "LRT": table["LRT"],
            "df": table["df"],
            "p (plain)": table["p_value"],
            "p (boundary)": table["p_boundary"],
            "Distribution (boundary)": table["mixture"],
            "Parameters": table["n_parameters"],
            "Log-likelihood": table["loglik"],
            "AIC": table["AIC"],
        }
    )
    six = st.column_config.NumberColumn(format="%.6g")
    parts.table(
        frame, "random_tests", "random-anova", columns={"Log-likelihood": six, "AIC": six},
        p={"p (plain)": table["p_value"], "p (boundary)": table["p_boundary"]},
    )  # fmt: skip
    parts.notes(table.attrs["notes"][2:])
