"""A model of the library: which one, its settings, and what its parameters mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

import openreml_core as reml
from app.groups import SUBJECT, GroupStudy
from app.session import holding, value
from app.widgets import parts

TITLES = {
    "RescorlaWagner": "Rescorla-Wagner learning",
    "BayesianLearner": "Bayesian learner",
    "TwoStep": "Two-step task",
    "SignalDetection": "Signal detection",
    "DriftDiffusion": "Drift diffusion",
    "Discounting": "Discounting of delays",
    "ProspectTheory": "Prospect theory",
    "Regression": "Regression",
    "AutoRegressive": "Autoregression",
}


@dataclass(frozen=True)
class Choice:
    """A setting with few values, in words."""

    name: str
    label: str
    values: dict[Any, str]
    help: str


@dataclass(frozen=True)
class Flag:
    """A setting that is on or off."""

    name: str
    label: str
    help: str


@dataclass(frozen=True)
class Count:
    """A setting that is a number."""

    name: str
    label: str
    low: float
    high: float
    help: str


OPTIONS = Count("n_options", "Options", 2, 10, "Among how many options a subject chooses; they are coded 0, 1, ...")
SETTINGS: dict[str, tuple[Choice | Flag | Count, ...]] = {
    "RescorlaWagner": (
        Choice("learning_rates", "Learning rates", {1: "one", 2: "better and worse than expected apart"},
               "Whether good and bad surprises may be learned from at different rates."),
        OPTIONS,
        Flag("sticky", "Stickiness", "The option chosen before may be favoured or avoided, whatever it paid."),
        Flag("gain_loss", "Gains and losses apart", "A gain and a loss of the same size may count differently."),
    ),
    "BayesianLearner": (
        OPTIONS,
        Flag("bonus", "Uncertainty counts", "What is little known may attract or repel."),
    ),
    "TwoStep": (
        Choice("kind", "Control", {"hybrid": "both, weighted", "sarsa": "habit only", "model_based": "planning only"},
               "Whether first choices follow what was paid before, a model of where they lead, or both."),
        Count("common", "Common transition", 0.5, 0.99, "How often the first choice leads to its own state."),
        Flag("sticky", "Stickiness", "The first choice may be repeated or avoided, whatever it paid."),
    ),
    "Discounting": (
        Choice("curve", "Curve", {"hyperbolic": "hyperbolic", "exponential": "exponential"},
               "How value falls with delay: steeply at first (hyperbolic), or by the same share each day (exponential)."),
    ),
    "DriftDiffusion": (Flag("bias", "Starting point", "Evidence may start nearer to one of the responses."),),
    "Regression": (
        Choice("family", "Response", {"binomial": "0 or 1 (logistic)", "gaussian": "a number (linear)",
                                      "poisson": "a count (Poisson)"}, "What kind of number the response is."),
        Flag("intercept", "Intercept", "A level of its own for every subject."),
    ),
    "AutoRegressive": (Count("order", "Lags", 1, 10, "How many earlier values a value depends on."),),
}  # fmt: skip


def draw(found: GroupStudy) -> None:
    """The choice, a sentence on it, its settings, and its parameters."""

    def changed() -> None:
        found.kind = value("group_kind")
        found.match()

    st.selectbox(
        "Model", list(TITLES), format_func=TITLES.__getitem__, key=holding("group_kind", found.kind), on_change=changed,
        help="What is thought to have made each subject's responses. Every subject has its own values of the parameters.",
    )  # fmt: skip
    try:
        plain = found.model(named=False)
    except reml.ModelError as problem:
        parts.error(str(problem))
        return
    st.caption(plain.about)
    _settings(found, plain)
    if found.kind == "Regression":
        _predictors(found, plain)
    parameters(found.model(named=False))


def _settings(found: GroupStudy, model: Any) -> None:
    known = SETTINGS.get(found.kind, ())
    wide = [s for s in known if not isinstance(s, Flag)]
    current = model.settings()
    if wide:
        for cell, setting in zip(st.columns(len(wide), vertical_alignment="bottom"), wide, strict=True):
            with cell:
                _one(found, setting, current[setting.name])
    flags = [s for s in known if isinstance(s, Flag)]
    if flags:
        for cell, setting in zip(st.columns(len(flags)), flags, strict=True):
            with cell:
                _one(found, setting, current[setting.name])


def _one(found: GroupStudy, setting: Choice | Flag | Count, current: Any) -> None:
    key = f"group_setting_{found.kind}_{setting.name}"
    changed = _changed(found, setting.name, key)
    if isinstance(setting, Flag):
        st.checkbox(setting.label, key=holding(key, current), on_change=changed, help=setting.help)
    elif isinstance(setting, Choice):
        st.selectbox(
            setting.label, list(setting.values), format_func=setting.values.__getitem__, key=holding(key, current),
            on_change=changed, help=setting.help,
        )  # fmt: skip
    else:
        whole = isinstance(setting.low, int)
        kind = int if whole else float
        st.number_input(
            setting.label, kind(setting.low), kind(setting.high), step=1 if whole else 0.05, key=holding(key, kind(current)),
            on_change=changed, help=setting.help,
        )  # fmt: skip


def _changed(found: GroupStudy, name: str, key: str) -> Callable[[], None]:
    def change() -> None:
        found.set(**{name: value(key)})
        found.match()

    return change


def _predictors(found: GroupStudy, model: Any) -> None:
    """Columns that predict the response; those of the table."""
    if found.trials is None:
        return
    table = found.trials.table
    others = {found.columns.get(SUBJECT), found.columns.get("y")}
    numbers = [str(c) for c in table if pd.api.types.is_numeric_dtype(table[c]) and str(c) not in others]
    own = [p for p in model.predictors if p in numbers]
    if not own and "predictors" not in found.settings.get("Regression", {}):
        own = [c for c in numbers if "trial" not in c.lower()][:1]
    if list(model.predictors) != own and (own or model.intercept):
        found.set(predictors=own)
        found.match()
    key = "group_predictors"

    def changed() -> None:
        found.set(predictors=list(value(key)))
        found.match()

    st.multiselect(
        "Predictors", numbers, key=holding(key, own), on_change=changed,
        help="Columns of numbers; each gets a slope in every subject. Text columns have to be coded as numbers.",
    )  # fmt: skip


def parameters(model: Any) -> None:
    """What each subject's parameters mean."""
    about = reml.hierarchical.models.describe(model)
    lines = [
        f"- **{parts.plain(row.parameter)}** ({row.scale}): {parts.plain(row.meaning)}" for row in about.itertuples()
    ]
    st.markdown("**What every subject has of its own**")
    st.markdown("\n".join(lines))
