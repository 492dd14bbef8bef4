"""What a model is before it is fitted: its equation, its size, its parameters, and which rows have to do with each other."""

from __future__ import annotations

import pandas as pd
import streamlit as st

import openreml_core as reml
from app.session import Study
from app.widgets import parts
from openreml_core import figures
from openreml_core.inference import correlation_matrix

#: Parameters that are listed at once; more are folded.
MOST_LINES = 10


def draw(study: Study) -> None:
    """The equation and the size in numbers; what stands in the way of a fit, in words."""
    try:
        seen = study.preview()
    except reml.ModelError as problem:
        parts.error(str(problem))
        return
    st.latex(seen.latex)
    cells = st.columns(4)
    cells[0].metric("Rows", f"{seen.n_obs:,}", help="Complete rows that the fit uses.")
    cells[1].metric("Left out", f"{seen.n_dropped:,}", help="Rows without a value that the model needs.")
    cells[2].metric("Fixed", seen.rank, help="Coefficients to be estimated.")
    cells[3].metric("Variances", seen.n_parameters, help="Variance parameters to be estimated.")
    if len(seen.terms):
        _terms(seen.terms)
    lines = [f"- {parts.plain(line)}" for line in seen.parameters]
    if len(lines) > MOST_LINES:
        with st.expander(f"To be estimated: {len(lines)} variance parameters"):
            st.markdown("\n".join(lines))
    else:
        st.markdown("**To be estimated**\n" + "\n".join(lines))
    st.caption(
        f"The fit will use {seen.plan.words}.",
        help="The same numbers come from V, the covariance of all rows, and from the mixed-model equations, whose size does "
        "not grow with the rows. The cheaper way is taken.",
    )
    parts.notes(seen.warnings)
    _covariance(seen)


def _terms(terms: pd.DataFrame) -> None:
    words = {"us": "correlated", "diag": "uncorrelated"}
    shown = terms.assign(structure=terms["structure"].map(lambda name: words.get(name, name)))
    shown.loc[shown["effects"] == "(Intercept)", "structure"] = "one variance"
    shown["effects"] = [
        ", ".join(figures.effect_labels(cell.split(", "))).replace("(Intercept)", "intercept")
        for cell in shown["effects"]
    ]
    if not shown["effects"].str.strip().any():
        shown = shown.drop(columns="effects")  # splines: each effect is a level
    st.dataframe(
        pd.DataFrame(shown).rename(columns=str.capitalize), hide_index=True, width="stretch", key="model_terms"
    )


def _covariance(seen: reml.ModelPreview) -> None:
    """V of the first rows as correlations."""
    v = seen.covariance()
    st.markdown(
        "**Which observations are related**",
        help="The correlations in V = ZGZ' + R of the first rows, related rows together, at the values that the search "
        "starts from: not estimated yet.",
    )
    if v is None:
        st.caption("This covariance is too large for a look before the fit.")
        return
    parts.figure(
        figures.matrix_heatmap(correlation_matrix(v), height=400, names=False), "preview_v", "covariance-of-rows"
    )
    st.caption(
        f"Correlation of {len(v)} of {seen.n_obs:,} observations before the fit, at starting values. "
        "Point at a cell to see which rows it joins."
    )
