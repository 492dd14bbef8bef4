"""Means & comparisons: which levels differ, and by how much?"""

from __future__ import annotations

import streamlit as st

from app.session import study
from app.widgets import means_choice, means_tables, parts
from app.widgets.answers import missing, tried

found = study()
parts.head("Means & comparisons", "Which levels differ, and by how much?")
shown = parts.need_fit(found)
fit = shown.fit
parts.model(shown.specification)
known = tried(lambda: (fit.fixed_factors, fit.fixed_covariates))
if not missing(known):
    factors, covariates = known
    if not factors:
        st.info(
            "The fixed part of this model has no factor, so there are no levels to compare"
            + (": below are the overall mean and, under *More options*, slopes." if covariates else ".")
            + (" The levels of random terms have BLUPs: see Results." if fit.random_terms else ""),
            icon=":material/info:",
        )
    with st.container(key="wrapping_means"):
        choice = means_choice.choose(found, shown, factors, covariates)
    means_tables.draw(shown, choice)
parts.next_step("diagnostics", "Next: look at the residuals")
