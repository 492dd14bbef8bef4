"""Random effects as a sample: do the BLUPs of each term look like draws from one normal distribution?"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.session import FittedModel, put, value
from app.widgets import parts
from app.widgets.answers import answer, missing, tried

KINDS = {"eb": "BLUPs (shrunken)", "ls": "least squares (not shrunken)"}
HELP = (
    "BLUPs are what the model predicts, drawn together. Least squares is what a level's own rows say: a level of few rows "
    "scatters more."
)


def draw(shown: FittedModel) -> None:
    """Quantiles of a term's effects, and its levels' residuals."""
    fit = shown.fit
    if not fit.random_terms:
        st.info("This model has no random effects.", icon=":material/info:")
        return
    if value("diag_term") not in fit.random_terms:
        put("diag_term", fit.random_terms[0])
    several = len(set(fit.random_effects(value("diag_term"))["effect"])) > 1
    left, *between, right = st.columns([1.2, 1.2, 1.4] if several else [1.2, 1.4])
    term = left.selectbox("Term", fit.random_terms, key="diag_term", help="Which random effects.")
    effects = list(dict.fromkeys(fit.random_effects(term)["effect"]))
    effect = effects[0]
    if len(effects) > 1:
        if value("diag_effect") not in effects:
            put("diag_effect", effects[0])
        effect = between[0].selectbox(
            "Effect", effects, key="diag_effect", help="Which of the term's effects.",
            format_func=lambda e: str(e).replace("(Intercept)", "intercept"),
        )  # fmt: skip
    st.caption(
        "Points far from the line are levels apart from the rest; a bend says that the levels are no normal sample."
    )
    parts.figure(fit.plot.qq(term, effect=effect), "diag_random_quantiles", f"quantiles-{term}")
    if value("diag_levels") not in KINDS:
        put("diag_levels", "eb")
    kind = right.selectbox(
        "Levels' residuals", list(KINDS), format_func=KINDS.__getitem__, key="diag_levels", help=HELP
    )
    table = answer(
        shown.answers, "group_residuals", term, kind, work=lambda job: tried(lambda: fit.group_residuals(term, kind)),
        what="Residuals of levels",
    )  # fmt: skip
    if table is None or missing(table):
        return
    own = table[table["effect"] == effect]
    frame = pd.DataFrame({"Level": own["level"].astype(str), "Residual": own["residual"], "SE": own["std_error"]})
    if "standardized" in own.columns:
        frame["Standardised"] = own["standardized"]
        frame = frame.reindex(own["standardized"].abs().sort_values(ascending=False).index)
    else:
        frame["Rows"] = own["rows"]
        frame = frame.reindex(own["residual"].abs().sort_values(ascending=False).index)
    parts.table(frame, "diag_group_residuals", f"residuals-{term}", height=320)
