"""Confidence intervals of all parameters: Wald, profile likelihood with its curves, parametric bootstrap."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app.session import FittedModel, seed, study, value
from app.widgets import freedom, parts
from app.widgets.answers import answer
from openreml_core import figures

METHODS = {"wald": "Wald", "profile": "Profile likelihood", "bootstrap": "Bootstrap"}
METHOD_HELP = (
    "Wald: estimate and standard error, at once, rough for variances. Profile: the values that a likelihood-ratio test keeps, "
    "the others estimated anew at each. Bootstrap: the spread of estimates from data simulated from the model. In few blocks or "
    "whole plots take Wald with Kenward-Roger or a studentised bootstrap for fixed effects, and the REML profile for variances."
)
OF = {"random": "variances", "fixed": "fixed effects"}
CURVES = {"zeta": "zeta", "density": "density"}
LIKELIHOODS = {"ml": "ML", "reml": "REML"}
KINDS = {"percentile": "percentile", "basic": "basic", "studentized": "studentised", "bca": "BCa"}
#: Replicates by which profiles of fixed effects are calibrated.
CALIBRATION = 1000
LEVELS = (0.9, 0.95, 0.99)
INFINITE = (float("inf"), float("-inf"))


def draw(shown: FittedModel) -> None:
    """The choice of a method, and what it says."""
    left, middle, right = st.columns([2.2, 1.6, 1], vertical_alignment="bottom")
    left.segmented_control(
        "Method", list(METHODS), format_func=METHODS.__getitem__, key=seed("interval_method", "wald"), help=METHOD_HELP
    )
    middle.segmented_control(
        "Intervals of", list(OF), format_func=OF.__getitem__, key=seed("interval_of", "random"),
        help="Standard deviations, correlations and other variance parameters; or the fixed effects.",
    )  # fmt: skip
    level = right.selectbox(
        "Level", LEVELS, format_func=lambda p: f"{100 * p:g} %", key=seed("interval_level", 0.95),
        help="How often such intervals hold the true value.",
    )  # fmt: skip
    method, of = value("interval_method") or "wald", value("interval_of") or "random"
    {"wald": _wald, "profile": _profile, "bootstrap": _bootstrap}[method](shown, of, level)


def _wald(shown: FittedModel, of: str, level: float) -> None:
    fit = shown.fit
    ddf = study().ddf if of == "fixed" else "satterthwaite"
    table = answer(
        shown.answers, "wald", level, ddf, work=lambda job: fit.confint("wald", level, ddf=ddf), what="Wald intervals",
    )  # fmt: skip
    if table is not None:
        words = {
            "random": f"{100 * level:g} % Wald intervals: standard deviations on the log scale, correlations by Fisher's z.",
            "fixed": f"{100 * level:g} % Wald intervals: t with {freedom.DDF[ddf]} degrees of freedom.",
        }
        st.caption(
            words[of],
            help="Quick, and good for fixed effects by t; rough for variances of few levels. The degrees of freedom are chosen "
            "with the fixed effects above.",
        )
        _table(_part(table, of), "wald", [n for n in table.attrs["notes"] if n.startswith("No standard error")])


def _profile(shown: FittedModel, of: str, level: float) -> None:
    fit = shown.fit
    known = fit.interval_parameters
    names = list(_part(known, of).index)
    if not names:
        st.info(f"This model has no {OF[of]}.", icon=":material/info:")
        return
    key = f"profile_names_{shown.number}_{of}"
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    words = {name: _words(name, *row) for name, row in zip(names, known.loc[names].to_numpy(), strict=True)}
    picked = left.multiselect(
        "Parameters", names, key=seed(key, names[:6]), format_func=words.__getitem__,
        help="Each takes some ten to twenty fits with the parameter held.",
    )  # fmt: skip
    likelihood = "ml"
    if of == "random" and fit.method == "reml":
        right.segmented_control(
            "Likelihood", list(LIKELIHOODS), format_func=LIKELIHOODS.__getitem__, key=seed("profile_likelihood", "ml"),
            help="ML is lme4's choice. REML's profile is about the REML estimate, and the better one where there are many "
            "fixed effects.",
        )  # fmt: skip
        likelihood = value("profile_likelihood") or "ml"
    calibrate = of == "fixed" and right.checkbox(
        "For few blocks", key=seed("profile_calibrate", False),
        help=f"Profiles of fixed effects are too narrow in few blocks or whole plots. This takes their bounds from "
        f"{CALIBRATION:,} data sets simulated from the model instead of the normal distribution.",
    )  # fmt: skip
    if not picked:
        st.caption("Choose a parameter.")
        return
    taken = tuple(name for name in names if name in picked)
    profile = answer(
        shown.answers, "profile", taken, likelihood,
        work=lambda job: fit.profile(list(taken), likelihood, on_progress=job.report),
        what="Profiles", button="Compute profiles", help="Fits the model again along each parameter.",
    )  # fmt: skip
    if profile is None:
        return
    table = answer(
        shown.answers, "profile_interval", taken, likelihood, level, calibrate,
        work=lambda job: fit.confint(
            "profile", level, list(taken), likelihood=likelihood, calibrate=calibrate, n_boot=CALIBRATION, seed=1,
            on_progress=job.report,
        ),
        what="Intervals",
    )  # fmt: skip
    if table is None:
        return
    st.caption(
        f"{100 * level:g} % intervals by profile likelihood ({likelihood.upper()}): where zeta leaves the band."
        + (f" The band is calibrated by {CALIBRATION:,} data sets simulated from the model." if calibrate else "")
        + (" The estimate is the fit's, by REML." if likelihood == "ml" and fit.method == "reml" else ""),
        help="zeta is the signed root of what the deviance loses when the parameter is held at a value. A straight curve: "
        "the likelihood is symmetric and Wald's interval will do. A bent one: it is not, and this interval is the better.",
    )
    st.segmented_control(
        "Figure", list(CURVES), format_func=CURVES.__getitem__, key=seed("profile_what", "zeta"),
        help="The density is what the profile makes of the bell curve: narrow where the data are sure, skew where zeta is bent.",
    )  # fmt: skip
    what = value("profile_what") or "zeta"
    parts.figure(figures.profile_curves(profile.table, table, level=level, what=what), "profile_curves", "profiles")
    skipped = ("Profiles of the", "Variance parameters:", "Fixed effects:")  # said above
    lost = [n for n in table.attrs["notes"] if "could not be fitted" in n]
    _table(table, "profile", [n for n in profile.notes if not n.startswith(skipped)] + lost)


def _bootstrap(shown: FittedModel, of: str, level: float) -> None:
    fit = shown.fit
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    count = left.number_input(
        "Replicates", 50, 100_000, step=100, key=seed("bootstrap_count", 1000),
        help="Data sets simulated from the model and fitted again; a thousand will do for 95 % intervals.",
    )  # fmt: skip
    start = middle.number_input(
        "Seed", 0, 2**31 - 1, key=seed("bootstrap_seed", 1), help="The same seed gives the same replicates."
    )
    kind = right.selectbox(
        "Kind", list(KINDS), format_func=KINDS.__getitem__, key=seed("bootstrap_kind", "percentile"),
        help="Percentile: quantiles of the replicates. Basic: mirrored about the estimate. Studentised: quantiles of the "
        "replicates' t, the one to take for fixed effects of few blocks. BCa: corrected for bias and skewness.",
    )  # fmt: skip
    drawn = answer(
        shown.answers, "bootstrap", int(count), int(start),
        work=lambda job: fit.bootstrap(int(count), int(start), on_progress=job.report),
        what="Bootstrap", button="Run the bootstrap", help="Runs in the background; you may go to another page meanwhile.",
    )  # fmt: skip
    if drawn is None:
        return
    table = answer(
        shown.answers, "bootstrap_interval", int(count), int(start), kind, level,
        work=lambda job: drawn.confint(level, kind), what="Intervals",
    )  # fmt: skip
    if table is None:
        return
    st.caption(
        f"{100 * level:g} % intervals by parametric bootstrap, {KINDS[kind]}: {table.attrs['n_boot']:,} data sets simulated from "
        f"the model, refitted by {fit.method.upper()}.",
        help="The histogram is how the estimate would scatter if the trial were repeated and the model were true. Line: the "
        "estimate; dotted: the interval.",
    )
    own = _part(table, of)
    parts.figure(figures.bootstrap_histograms(drawn.replicates, own), "bootstrap_histograms", "bootstrap")
    _table(own, "bootstrap", list(table.attrs["notes"][1:]))
    parts.download(drawn.replicates.reset_index(), "replicates_csv", "replicates", "Download replicates")


def _part(table: pd.DataFrame, of: str) -> pd.DataFrame:
    return table[(table["kind"] == "fixed effect") == (of == "fixed")]


def _words(name: str, group: str, kind: str) -> str:
    """A parameter in words."""
    term, what = figures.quantity_words(name, group, kind)
    return what if term == "fixed effects" else f"{term}: {what}"


def _table(table: pd.DataFrame, key: str, notes: list[str]) -> None:
    if table.empty:
        st.info("There is nothing of this kind in the model.", icon=":material/info:")
        return
    words = [
        figures.quantity_words(n, g, k) for n, g, k in zip(table.index, table["group"], table["kind"], strict=True)
    ]
    frame: dict[str, Any] = {
        "Of": [term for term, _ in words],
        "Parameter": [what for _, what in words],
        "Estimate": table["estimate"].to_numpy(),
        "From": table["lower"].replace(INFINITE, None).to_numpy(),
        "To": table["upper"].replace(INFINITE, None).to_numpy(),
    }
    parts.table(pd.DataFrame(frame), f"interval_{key}", f"intervals-{key}", height=420)
    parts.notes(notes)
