"""Several models of the same trials: which to fit, and what their evidence says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

import openreml_core as reml
from app.groups import GroupStudy, Request
from app.jobs import Job
from app.session import lasting
from app.widgets import parts
from openreml_core import figures

METHODS = {
    "laplace": "Laplace's approximation",
    "quadrature": "quadrature (up to three parameters)",
    "importance": "importance sampling",
}


@dataclass(frozen=True, eq=False)
class Fitted:
    """Fits of several models, and why others failed."""

    fits: dict[str, Any]
    failures: dict[str, str]


def candidates(found: GroupStudy) -> dict[str, Request]:
    """What can be fitted to the trials: the alternatives of the model by name, and other fits of these trials by number."""
    out = {m.name: found.request(m) for m in reml.hierarchical.models.alternatives(found.model())}
    digest = found.trials.digest if found.trials else ""
    for f in found.fits:
        if f.trials.digest == digest and f.request not in out.values():
            out[f"Fit {f.label}"] = f.request
    return out


def choose(found: GroupStudy, known: dict[str, Request]) -> list[str]:
    """The models to compare; the chosen one and the two simplest others unless changed."""
    names = list(known)
    own = found.model().name
    first = [own, *(n for n in names if n != own)][:3]
    picked = st.multiselect(
        "Models", names, **lasting(found.choices, f"group_models_{found.kind}", first, names),
        help="Models of the library that read the same columns, and fits made in another way, such as with a full covariance.",
    )  # fmt: skip
    return [n for n in names if n in picked]


def fit_all(found: GroupStudy, chosen: dict[str, Request], job: Job) -> Fitted:
    """Fit each of them; a model that cannot be fitted is listed beside the others."""
    assert found.trials is not None
    trials = found.trials
    fits, failures = dict[str, Any](), dict[str, str]()
    for k, (name, request) in enumerate(chosen.items()):
        if not job.report(k, len(chosen)):
            raise reml.FitCancelled()
        try:
            fits[name] = found.known(request) or reml.hierarchical.fit(
                request.model, trials.table, on_iteration=lambda row: job.active, **request.options()
            )
        except reml.FitCancelled:
            raise
        except reml.ModelError as problem:
            failures[name] = str(problem)
    return Fitted(fits, failures)


def evidence(compared: pd.DataFrame) -> None:
    """The verdict, the chart and the table."""
    st.markdown("\n".join(f"- {parts.plain(sentence)}" for sentence in reml.hierarchical.verdict(compared)))
    parts.figure(figures.evidence_comparison(compared), "group_evidence", "model-evidence")
    notes = compared.attrs["notes"]
    st.caption(
        f"Integrated BIC = -2 log evidence + k log(trials), k the means, variances and covariances of the group. "
        f"{parts.said(notes[0])} Frequency and exceedance by random-effects selection over subjects (Stephan et al. 2009). "
        "No determinant: the same BIC by a formula that others use, for comparison only.",
        help="The evidence is how probable the trials are under a model whatever the subjects' parameters are. Frequency: the "
        "share of subjects whose trials come from a model. Exceedance: the probability that it is the most frequent one.",
    )
    shown = pd.DataFrame(
        {
            "Model": list(compared.index),
            "Log evidence": compared["log_evidence"].to_list(),
            "k": compared["group_parameters"].to_list(),
            "Integrated BIC": compared["bic"].to_list(),
            "Above the best": compared["bic_difference"].to_list(),
            "Frequency": (100 * compared["frequency"]).to_list(),
            "Exceedance": (100 * compared["exceedance"]).to_list(),
            "No determinant": compared["laplace_without_determinant"].to_list(),
        }
    )
    percent = {
        name: st.column_config.ProgressColumn(format="%.1f %%", min_value=0, max_value=100, width=120, help=words)
        for name, words in (
            ("Frequency", "Expected share of subjects whose trials come from this model."),
            ("Exceedance", "Probability that this model is more frequent than every other."),
        )
    }
    digits = {
        name: st.column_config.NumberColumn(format="%.1f", help=words)
        for name, words in (
            ("Log evidence", "Larger is better."),
            ("Integrated BIC", "Smaller is better."),
            ("Above the best", "Differences above 10 are very strong evidence; below 2 they say nothing."),
            (
                "No determinant",
                "Laplace's formula with its determinant left out. Others report it; it rewards parameters that the trials do "
                "not determine and picks wrong models. For comparison only.",
            ),
        )
    }
    parts.table(shown, "group_compared", "model-evidence", columns={**percent, **digits})
    for note in notes[1:-1]:
        st.caption(parts.said(note))


def failures(fitted: Fitted) -> None:
    """Models that could not be fitted."""
    for name, why in fitted.failures.items():
        st.warning(f"{parts.plain(name)} could not be fitted. {parts.said(why)}", icon=":material/block:")
