"""Residuals of a kind: against fitted values, against normal quantiles, their spread, and by any column."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app.session import FittedModel, put, seed, value
from app.widgets import parts, rows
from app.widgets.answers import answer, missing, tried
from openreml_core import figures
from openreml_core.report.words import number, p_value

KINDS = {
    "conditional": "Conditional",
    "marginal": "Marginal",
    "pearson": "Pearson",
    "studentized": "Studentised",
    "studentized-external": "Externally studentised",
    "standardized-marginal": "Marginal, standardised",
    "cholesky": "Decorrelated",
    "least-confounded": "Least confounded",
}
SENTENCES = {
    "conditional": "What fixed and random effects leave of the response.",
    "marginal": "What the fixed effects leave: random effects are still in it.",
    "pearson": "Conditional residuals over the residual's standard deviation in their row.",
    "studentized": "Conditional residuals over their own standard deviation; beyond 3 is rare. The band: draws from the model.",
    "studentized-external": "The same with the variance estimated without the row: the residuals to judge outliers by.",
    "standardized-marginal": "Marginal residuals over their own standard deviation.",
    "cholesky": "Marginal residuals made uncorrelated, with variance 1, when the model holds; each belongs to its row and those "
    "before it.",
    "least-confounded": "Combinations of residuals that random effects touch least; they belong to no single row.",
}
HELP = "Conditional ones for a first look, studentised ones to compare rows, least confounded ones to judge normality."
#: Draws from the model for the envelope, and rows up to which it is drawn.
DRAWS, MOST_ENVELOPE = 199, 3_000


def draw(shown: FittedModel) -> tuple[list[Any], Any]:
    """The figures; gives the rows that were chosen in them, and the place to show these rows in."""
    fit = shown.fit
    st.selectbox(
        "Residuals", list(KINDS), format_func=KINDS.__getitem__, key=seed("diag_kind", "conditional"), help=HELP
    )
    kind = value("diag_kind") or "conditional"
    st.caption(SENTENCES[kind])
    known = answer(
        shown.answers, "residuals", kind, work=lambda job: tried(lambda: fit.residuals(kind)),
        what=f"{KINDS[kind]} residuals",
    )  # fmt: skip
    if known is None or missing(known):
        return [], st.container()
    chosen: list[Any] = []
    belongs = kind != "least-confounded"
    with st.container(key="sides_residuals"):
        left, right = st.columns(2)
        under_left, under_right = st.columns(2)
    with right:
        st.markdown("**Normal quantiles**", help="Points within the band are what the model gives 95 times in 100.")
        drawn = _quantiles(shown, kind)
        if drawn is not None and belongs:
            chosen += parts.choosing(drawn, rows.figure_key(f"quantiles_{kind}"), f"quantiles-{kind}")
        elif drawn is not None:
            parts.figure(drawn, f"diag_quantiles_{kind}", f"quantiles-{kind}")
    with under_left if belongs else left:
        st.markdown("**Histogram**", help="With the normal curve of the same mean and spread.")
        parts.figure(fit.plot.histogram(kind), "diag_histogram", f"histogram-{kind}")
    if not belongs:
        return [], st.container()
    with left:
        st.markdown("**Against fitted values**", help="A cloud without shape is what the model expects.")
        key = rows.figure_key(f"residuals_{kind}")
        chosen += parts.choosing(fit.plot.residuals(kind), key, f"residuals-{kind}")
    with under_right:
        st.markdown("**Scale and location**", help="A rising line means that the spread grows with the mean.")
        chosen += parts.choosing(fit.plot.scale_location(kind), rows.figure_key(f"scale_{kind}"), f"scale-{kind}")
    place = st.container()
    chosen += _by(fit, kind)
    _tests(shown)
    return chosen, place


def _quantiles(shown: FittedModel, kind: str) -> Any:
    """The quantile plot; of studentised residuals with the envelope of draws from the model."""
    fit = shown.fit
    if kind != "studentized" or fit.n_obs > MOST_ENVELOPE:
        return fit.plot.qq(kind=kind)
    table = answer(
        shown.answers,
        "envelope",
        work=lambda job: tried(lambda: fit.residual_envelope(DRAWS)),
        what="Draws from the model",
    )
    if table is None or missing(table):
        return None
    return figures.qq_simulated(table, simulations=DRAWS)


def _by(fit: Any, kind: str) -> list[Any]:
    """Residuals by a column of the table, whether the model uses it or not."""
    data = fit.table
    names = [str(c) for c in data.columns if str(c) != fit.response_name and data[c].nunique() > 1]
    if not names:
        return []
    if value("diag_by") not in names:
        factors = [n for n in names if not pd.api.types.is_float_dtype(data[n])]
        put("diag_by", min(factors, key=lambda n: data[n].nunique()) if factors else names[0])
    by = st.selectbox(
        "Residuals by", names, key="diag_by", help="Boxes of equal height and spread, or a level cloud, are good."
    )
    return parts.choosing(
        fit.plot.residuals_by(by, kind=kind), rows.figure_key(f"by_{by}_{kind}"), f"residuals-by-{by}"
    )


def _tests(shown: FittedModel) -> None:
    """Tests, second to the figures and only when asked for."""
    fit = shown.fit
    if fit.n_obs > MOST_ENVELOPE:
        return
    with st.expander("Tests of normality, constant variance and outliers"):
        table = answer(
            shown.answers, "residual_tests", work=lambda job: tried(fit.residual_tests), what="Draws from the model",
            button="Test the residuals", help="Compares the residuals with 999 draws from the fitted model.",
        )  # fmt: skip
        if table is None or missing(table):
            return
        st.caption(
            "p-values are from draws from the fitted model. Figures come first: in large trials trifles are significant."
        )
        named = (
            ["" if pd.isna(row) else str(row) for row in table["row"]] if "row" in table.columns else [""] * len(table)
        )
        frame = pd.DataFrame(
            {
                "Test": [str(name).capitalize() for name in table.index],
                "By": table["name"].to_numpy(),
                "Statistic": [number(v) for v in table["statistic"]],
                "p": [p_value(p) for p in table["p_value"]],
                "Row": named,
            }
        )
        parts.table(frame, "diag_tests", "residual-tests")
