"""Predict: what does the model expect for new rows?"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pandas as pd
import streamlit as st

from app.session import FittedModel, digest_of, seed, study, value
from app.widgets import new_rows, parts
from app.widgets.answers import answer, missing, tried
from openreml_core import figures

RANDOM = {"all": "all random terms", "none": "none: the population", "some": "some of them"}
INTERVALS = {"prediction": "a new observation", "confidence": "the expected value"}
LEVELS = (0.9, 0.95, 0.99)
COLUMNS = {"fit": "Prediction", "std_error": "SE", "lower": "From", "upper": "To"}
#: Rows that are drawn, and shown in the table.
MOST_DRAWN, MOST_SHOWN = 40, 1000


@dataclass(frozen=True)
class Choice:
    """The options of ``fit.predict``."""

    random: bool | tuple[str, ...]
    new_levels: str
    interval: str
    level: float


def choose(shown: FittedModel) -> Choice:
    """The controls."""
    terms = shown.fit.random_terms
    first, second, third = st.columns([1.5, 1.4, 0.8], vertical_alignment="bottom")
    random: bool | tuple[str, ...] = True
    if terms:
        kind = first.selectbox(
            "With", list(RANDOM), format_func=RANDOM.__getitem__, key=seed("predict_random", "all"),
            help="All: for the very levels in a row, their BLUPs added. None: for a level that nobody has seen.",
        )  # fmt: skip
        random = {"all": True, "none": False}.get(kind, True)
    interval = second.selectbox(
        "Intervals for", list(INTERVALS), format_func=INTERVALS.__getitem__, key=seed("predict_interval", "prediction"),
        help="A new observation scatters about its expected value: its interval is the wider one.",
    )  # fmt: skip
    level = third.selectbox(
        "Level", LEVELS, format_func=lambda p: f"{100 * p:g} %", key=seed("predict_level", 0.95),
        help="How often such intervals hold what they are for.",
    )  # fmt: skip
    new_levels = "error"
    if terms:
        if value("predict_random") == "some":
            key = f"predict_terms_{shown.number}"
            random = tuple(st.multiselect("Random terms", terms, key=seed(key, []), help="Whose BLUPs are added."))
        if random is not False and st.checkbox(
            "Levels that the fit has not seen are predicted at zero", key=seed("predict_new", False),
            help="With the variance that the term gives them. Otherwise such rows are an error that names the levels.",
        ):  # fmt: skip
            new_levels = "population"
    return Choice(random, new_levels, interval, level)


def draw(rows: pd.DataFrame, found: pd.DataFrame, choice: Choice) -> None:
    """The rows with their predictions, a figure of few, and the download of all."""
    kind = "prediction" if choice.interval == "prediction" else "confidence"
    how = {True: "with all random terms", False: "without random terms, for the population"}
    named = (
        how[choice.random]
        if isinstance(choice.random, bool)
        else f"with {', '.join(choice.random) or 'no'} random terms"
    )
    ddf = found.attrs.get("ddf", "normal")
    st.caption(
        f"Predictions {named}; {100 * choice.level:g} % {kind} intervals for {INTERVALS[choice.interval]}, "
        + ("normal quantiles." if ddf == "normal" else f"{ddf.capitalize()} degrees of freedom."),
        help="SE: how far the expected value may be off, fixed and random effects as they vary together. The variance "
        "parameters count as known.",
    )
    parts.notes(found.attrs["notes"])
    names = {c: c if c not in rows.columns else f"{c} (model)" for c in COLUMNS.values()}
    added = found.rename(columns={k: names[v] for k, v in COLUMNS.items()})
    whole = pd.concat([rows, added], axis=1)
    shown_rows = whole.head(MOST_SHOWN)
    few = found.dropna().head(MOST_DRAWN)
    if len(found) <= MOST_DRAWN and len(few):
        labels = pd.DataFrame({"row": [str(i + 1) for i in range(len(found))]}, index=found.index)
        drawn = pd.concat([labels, rows, found.rename(columns={"fit": "estimate"})], axis=1)
        parts.figure(
            figures.means_plot(drawn, response="Prediction", level=choice.level), "predict_figure", "predictions"
        )
    numbers = {names[c]: st.column_config.NumberColumn(format="%.4g") for c in COLUMNS.values()}
    st.dataframe(
        shown_rows, key="predictions", hide_index=True, width="stretch", height=420 if len(whole) > 12 else "content",
        column_config=numbers, placeholder="",
    )  # fmt: skip
    if len(whole) > MOST_SHOWN:
        st.caption(f"The first {MOST_SHOWN:,} of {len(whole):,} rows; the download has all.")
    parts.download(whole, "predictions_csv", "predictions", "Download predictions")


found = study()
parts.head("Predict", "What does the model expect for new rows?")
shown = parts.need_fit(found)
fit = shown.fit
parts.model(shown.specification)
predictors = tried(lambda: fit.predictors)
if not missing(predictors):
    rows = new_rows.choose(shown, predictors)
    if rows is not None:
        choice = choose(shown)
        options = asdict(choice) | {"random": choice.random if isinstance(choice.random, bool) else list(choice.random)}
        predicted = answer(
            shown.answers, "predict", digest_of(rows), choice,
            work=lambda job: fit.predict(rows, std_error=True, **options), what=f"Predicting {len(rows):,} rows",
        )  # fmt: skip
        if predicted is not None:
            draw(rows, predicted, choice)
parts.next_step("model", "Next: change the model, or go back to the results")
