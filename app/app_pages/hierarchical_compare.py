"""Model evidence: which model do the trials support, and by how much?"""

from __future__ import annotations

import streamlit as st

import openreml_core as reml
from app.session import lasting, study
from app.widgets import group_models, group_monitor, group_options, group_trials, parts
from app.widgets.answers import answer

found = study().group
parts.head("Model evidence", "Which model do the trials support, and by how much?")
group_monitor.need_trials(found)
assert found.trials is not None
group_trials.card(found)
if found.lacking():
    st.info("Some columns of the model are not chosen yet.")
    st.page_link(parts.PAGES["hierarchical_trials"], label="Go to Trials", icon=":material/arrow_back:")
    st.stop()
known = group_models.candidates(found)
if len(known) < 2:
    st.info(
        "The library has one model of such trials. Fit it in another way, with a full covariance or another family: both "
        "fits can be compared here."
    )
    st.page_link(parts.PAGES["hierarchical_fit"], label="Go to Group fit", icon=":material/arrow_back:")
    st.stop()
picked = group_models.choose(found, known)
with st.expander("Options of the fits"), st.container(key="wrapping_group_compare"):
    group_options.draw(found)
chosen = {name: known[name] for name in picked}
if len(chosen) < 2:
    st.info("Choose two models or more.")
    st.stop()
fitted = answer(
    found.answers, "group_models", found.trials.digest, tuple(chosen.items()),
    work=lambda job: group_models.fit_all(found, chosen, job), what=f"Fitting {len(chosen)} models", button="Fit and compare",
    help="Fits every chosen model to the same trials.",
)  # fmt: skip
if fitted is not None:
    group_models.failures(fitted)
    if len(fitted.fits) < 2:
        st.info("A comparison needs two models that could be fitted. Choose others.")
    else:
        first = "importance" if found.family == "laplace" else "laplace"
        method = st.selectbox(
            "Evidence by", list(group_models.METHODS), format_func=group_models.METHODS.__getitem__,
            **lasting(found.choices, f"group_method_{first}", first),
            help="Laplace's approximation is quick and mostly close. The others integrate over the subjects' parameters, and "
            "take longer.",
        )  # fmt: skip
        compared = answer(
            found.answers, "group_evidence", found.trials.digest, tuple(chosen.items()), method,
            work=lambda job: reml.hierarchical.compare(fitted.fits, method), what="Computing the evidence",
        )  # fmt: skip
        if compared is not None:
            group_models.evidence(compared)
            best = str(compared.index[0])
            if st.button(
                "Show the best fit", key="group_show_best", icon=":material/scatter_plot:",
                help="Keep the fit of the best model, and look at its group and subjects.",
            ):  # fmt: skip
                found.keep(fitted.fits[best], chosen[best], found.trials)
                st.switch_page(parts.PAGES["hierarchical_results"])
parts.next_step("hierarchical_recovery", "Next: could such trials tell?")
