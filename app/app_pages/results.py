"""Results: variance components, fixed effects, BLUPs, and what else can be asked; iterations."""

from __future__ import annotations

import io

import streamlit as st

from app.session import FittedModel, study
from app.widgets import exclusions, fixed_effects, matrices, monitor, parts, questions, tables
from app.widgets.answers import missing, tried
from app.widgets.sidebar import badge
from openreml_core.report.words import number


def save(shown: FittedModel) -> None:
    """The fit as a file, the summary and the scripts that repeat it."""
    fit = shown.fit
    code = {language: tried(lambda language=language: fit.to_code(language)) for language in ("python", "r-lme4")}
    if missing(code["python"]):
        return  # a tree built by hand is kept by its script alone
    cells = st.columns(4)

    def packed() -> bytes:
        buffer = io.BytesIO()
        fit.save(buffer)
        return buffer.getvalue()

    parts.file(
        cells[0], "Fit", packed, f"fit-{shown.number}.openreml", "save_fit", "Opens again with openreml_core.load."
    )
    parts.file(cells[1], "Summary", fit.summary, f"fit-{shown.number}.txt", "save_summary", "All tables as text.")
    parts.file(
        cells[2], "Python", code["python"], f"fit-{shown.number}.py", "save_python", "The script that repeats this fit."
    )
    if isinstance(code["r-lme4"], str):
        parts.file(cells[3], "R (lme4)", code["r-lme4"], f"fit-{shown.number}.R", "save_r", "The same model in R.")
    else:
        cells[3].caption(parts.said(str(code["r-lme4"])))


found = study()
parts.head("Results", "How large are the variances, and what are the effects?")
shown = parts.need_fit(found)
fit = shown.fit
parts.model(shown.specification)
st.markdown(
    f"{badge(shown)} {fit.method.upper()} · {fit.n_obs:,} rows · criterion {number(fit.criterion, 8)} · "
    f"log-likelihood {number(fit.loglik, 7)} (without constants {number(fit.loglik_asreml, 7)}) · "
    f"AIC {number(fit.aic, 6)} · BIC {number(fit.bic, 6)}"
)
exclusions.note(shown)
parts.notes(fit.warnings)

st.subheader("Variance components", anchor=False)
tables.components(fit)
parts.figure(fit.plot.components(), "shares", "variance-shares")

if matrices.names(shown):
    st.subheader("Covariances and correlations", anchor=False)
    matrices.draw(shown)

st.subheader("Fixed effects", anchor=False)
fixed_effects.draw(found, shown)

st.subheader("Random effects", anchor=False)
tables.blups(shown)

st.subheader("Ask more of this fit", anchor=False)
with st.container(key="wrapping_questions"):
    questions.draw(shown)

st.subheader("Iterations", anchor=False)
st.caption(fit.message)
monitor.draw(fit.trace, "results")

st.subheader("Take it with you", anchor=False)
save(shown)
parts.next_step("means", "Next: compare means")
