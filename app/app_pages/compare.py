"""Compare fits: which model do the data support?"""

from __future__ import annotations

import pandas as pd
import streamlit as st

import openreml_core as reml
from app.session import FittedModel, Study, seed, study
from app.widgets import parts
from app.widgets.answers import answer
from openreml_core import figures

HELP = (
    "AIC and BIC weigh how well a model fits against the number of its parameters: smaller is better, and differences below "
    "about 2 say little. LRT tests a model against a simpler one that it contains: a small p says that what was added is needed."
)


def label(fitted: FittedModel) -> str:
    """A fit in a line."""
    residual = fitted.specification.residual
    return f"{fitted.number}: {fitted.fit.formula}{f', residual {residual}' if residual else ''} ({fitted.fit.method.upper()})"


def choose(found: Study, shown: FittedModel) -> list[FittedModel]:
    """The fits beside each other: those of the same table, unless chosen otherwise."""
    known = {f.number: f for f in found.fits}
    same = [f.number for f in found.fits if f.digest == shown.digest]
    picked = st.multiselect(
        "Fits", list(known), key=seed(f"compare_fits_{len(known)}_{shown.number}", same),
        format_func=lambda n: label(known[n]),
        help="Two or more, of the same rows and the same response.",
    )  # fmt: skip
    return [known[n] for n in sorted(picked)]


def table(chosen: list[FittedModel], compared: pd.DataFrame) -> None:
    """The table, its method in words, and the chart."""
    numbers = [chosen[i].number for i in compared.attrs["order"]]
    notes = compared.attrs["notes"]
    st.caption(
        f"{notes[0]} Each fit is tested against the one above it by the likelihood ratio (chi-square).", help=HELP
    )
    frame = pd.DataFrame(
        {
            "Fit": numbers,
            "Parameters": compared["n_parameters"],
            "AIC": compared["AIC"],
            "BIC": compared["BIC"],
            "Log-likelihood": compared["loglik"],
            "LRT": compared["LRT"],
            "df": compared["df"],
            "p": compared["p_value"],
            "Model": compared["model"],  # the widest comes last: the numbers stay in sight
        }
    )
    six = {name: st.column_config.NumberColumn(format="%.6g") for name in ("AIC", "BIC", "Log-likelihood")}
    parts.table(frame, "compared", "compared-fits", columns=six, p={"p": compared["p_value"]})
    for note in notes[1:]:
        st.caption(parts.said(note))
    parts.figure(figures.criteria(compared, [f"Fit {n}" for n in numbers]), "criteria", "aic-bic")


found = study()
parts.head("Compare fits", "Which model do the data support?")
shown = parts.need_fit(found)
if len(found.fits) < 2:
    st.info("There is one fit so far. Change the model and fit it again: both will stand here side by side.")
    st.page_link(parts.PAGES["model"], label="Go to Model", icon=":material/arrow_back:")
else:
    chosen = choose(found, shown)
    if len(chosen) < 2:
        st.info("Choose two fits or more.")
    else:
        key = tuple(f.number for f in chosen)
        compared = answer(
            found.answers, "compare", key, work=lambda job: reml.compare(*(f.fit for f in chosen)),
            what="Comparing; fits by REML with other fixed effects are repeated by ML",
        )  # fmt: skip
        if compared is not None:
            table(chosen, compared)
parts.next_step("predict", "Next: predict new rows")
