"""Fixed effects: coefficients, analysis of variance, collinearity, all with one choice of degrees of freedom."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

import openreml_core as reml
from app.jobs import Job
from app.session import FittedModel, Study, seed, value
from app.widgets import freedom, parts
from app.widgets.answers import answer, missing, tried
from openreml_core import figures

TYPES = {1: "Type I", 2: "Type II", 3: "Type III"}
TYPE_WORDS = {
    1: "each term adjusted for those before it in the formula",
    2: "each term adjusted for all others that do not contain it",
    3: "each term averaged with equal weights over what it interacts with",
}
TYPE_HELP = (
    "Which question a test asks when groups are of unequal size. Type I takes terms in the order of the formula; type II "
    "adjusts a main effect for the other main effects; type III compares means with equal weights, as SAS and lmerTest do "
    "by default. In a balanced trial all three agree."
)


def draw(study: Study, shown: FittedModel) -> None:
    """The choice of degrees of freedom and the tables that depend on it."""
    ddf = freedom.choose(study, "fixed_ddf")
    fit = shown.fit

    def work(job: Job) -> dict[str, Any]:
        found: dict[str, Any] = {}
        asks = {"coefficients": lambda: fit.fixed_effects(ddf), "vif": fit.vif}
        asks |= {kind: (lambda kind=kind: fit.anova(kind, ddf)) for kind in TYPES}
        for name, ask in asks.items():
            if not job.active:
                raise reml.FitCancelled()
            found[name] = tried(ask)
        return found

    found = answer(shown.answers, "fixed", ddf, work=work, what=f"Fixed effects by {freedom.DDF[ddf]}")
    if found is None:
        return
    one, two, three = st.tabs(["Coefficients", "Analysis of variance", "Collinearity"])
    with one:
        if not missing(found["coefficients"]):
            coefficients(shown, found["coefficients"])
    with two:
        anova(shown, found)
    with three:
        if not missing(found["vif"]):
            collinearity(found["vif"])


def coefficients(shown: FittedModel, table: pd.DataFrame) -> None:
    """The table and the forest; the df's method is named above them."""
    fit = shown.fit
    if table.empty:
        st.info("This model has no fixed effects.", icon=":material/info:")
        return
    st.caption(
        f"t tests with {table.attrs['ddf']} degrees of freedom; 95 % intervals.",
        help="An estimate over its standard error is t; p is how often chance alone would give one as far from zero.",
    )
    frame = pd.DataFrame(
        {
            "Coefficient": table.index.str.replace("(Intercept)", "intercept", regex=False),
            "Estimate": table["estimate"].to_numpy(),
            "Standard error": table["std_error"].to_numpy(),
            "df": table["df"].to_numpy(),
            "t": table["t"].to_numpy(),
            "p": table["p_value"].to_numpy(),
            "From": table["lower"].to_numpy(),
            "To": table["upper"].to_numpy(),
        }
    )
    parts.table(frame, "coefficients", "fixed-effects", height=420, columns={"df": DF}, p={"p": table["p_value"]})
    if fit.aliased:
        st.caption("Left out, because other fixed effects determine them: " + ", ".join(fit.aliased))
    if len(table) > 1:
        parts.figure(figures.forest(table), "forest", "fixed-effects")


DF = st.column_config.NumberColumn(format="%.1f", help="Degrees of freedom of the t test.")


def anova(shown: FittedModel, found: dict[Any, Any]) -> None:
    """A joint test of every term."""
    st.segmented_control("Type", list(TYPES), format_func=TYPES.__getitem__, key=seed("anova_type", 3), help=TYPE_HELP)
    kind = value("anova_type") or 3
    table = found[kind]
    if missing(table):
        return
    if table.empty:
        st.info("The fixed part is an intercept alone: there is no term to test.", icon=":material/info:")
        return
    st.caption(
        f"F tests of type {'I' * kind}: {TYPE_WORDS[kind]}; {table.attrs['ddf']} degrees of freedom.",
        help="F compares what a term explains with what chance explains: all effects of the term are tested together. "
        "Numerator df: how many effects the term has. Denominator df: the information behind the comparison.",
    )
    frame = pd.DataFrame(
        {
            "Term": table["term"],
            "Numerator df": table["num_df"],
            "Denominator df": table["den_df"],
            "F": table["F"],
            "p": table["p_value"].to_numpy(),
            "Sum of squares": table["sum_sq"],
            "Mean square": table["mean_sq"],
        }
    )
    squares = "F times the residual variance, as lmerTest prints it."
    parts.table(
        frame, "anova", f"anova-type-{kind}", height=420, p={"p": table["p_value"]},
        columns={
            "Denominator df": st.column_config.NumberColumn(format="%.2f"),
            "Sum of squares": st.column_config.NumberColumn(format="%.4g", help=squares),
            "Mean square": st.column_config.NumberColumn(format="%.4g", help=squares),
        },
    )  # fmt: skip


def collinearity(table: pd.DataFrame) -> None:
    """Variance inflation of every term."""
    st.caption(
        "Generalised variance inflation factors (Fox and Monette).",
        help="How much the variance of a term's effects is inflated because other terms carry the same information. The last "
        "column is per effect and comparable between terms: 1 is none, above about 2 is much.",
    )
    frame = pd.DataFrame(
        {
            "Term": table.index,
            "df": table["df"].to_numpy(),
            "GVIF": table["gvif"].to_numpy(),
            "GVIF per effect": table["gvif_per_df"].to_numpy(),
        }
    )
    parts.table(frame, "vif", "collinearity", height=420)
