"""Where the rows lie: maps over the field, variograms, correlation of neighbours."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

import openreml_core as reml
from app.session import FittedModel, Study, put, seed, value
from app.widgets import parts
from app.widgets.answers import answer, missing, tried
from openreml_core import figures

NONE = "none"
VIEWS = {
    "surface": "By lag in rows and columns",
    "lines": "By direction",
}
SURFACES = {
    "semivariance": "of the residuals",
    "expected": "as the model lets one expect",
    "ratio": "residuals over expected",
}
DIRECTIONS = {
    "row": "from row to row",
    "column": "from column to column",
    "diagonal": "diagonal",
    "all": "any direction",
}
PATHS = {"grid": "Rows and columns", "serpentine": "Serpentine path"}
#: Lags along a path that are shown.
MOST_LAGS = 40
MAP_HELP = "Patches of one colour in the residuals are a trend that the model leaves."
VARIOGRAM_HELP = (
    "Half the mean squared difference of two residuals, by how far their plots lie apart. Level, at what the model expects: "
    "neighbours are no more alike than others. Rising from low values: neighbours are alike."
)
LAG_HELP = "Points within the band are what the model lets one expect; above it, neighbours are alike."


def places(study: Study, shown: FittedModel) -> tuple[str, str, str | None] | None:
    """The columns of rows, columns and trials: by their roles, or by their names."""
    row = col = None
    if study.data is not None and shown.digest == study.data.digest:
        roles = study.data.roles
        row = next((c for c, r in roles.items() if r == reml.Role.ROW), None)
        col = next((c for c, r in roles.items() if r == reml.Role.COLUMN), None)
    try:
        return shown.fit.places(row, col)
    except reml.ModelError:
        return None


def draw(study: Study, shown: FittedModel) -> None:
    """Everything about space; where no positions are known, the columns that hold them are asked for."""
    found = _columns(study, shown)
    if found is None:
        return
    row, col, by = found
    _map(shown, row, col, by)
    _variogram(shown, row, col, by)
    _lags(shown, row, col, by)


def _columns(study: Study, shown: FittedModel) -> tuple[str, str, str | None] | None:
    """The columns of positions and trials, guessed and to be corrected."""
    data, guess = shown.fit.table, places(study, shown)
    numbers = [str(c) for c in data.columns if c != shown.fit.response_name]
    if guess is None:
        st.info(
            "No columns of this table are known to be positions. Choose them, if there are any.", icon=":material/info:"
        )
    first, second, third = st.columns(3)
    start = guess or (None, None, None)
    for key, own in (("diag_row", start[0]), ("diag_col", start[1])):
        if value(key) not in numbers:
            put(key, own if own in numbers else None)
    row = first.selectbox("Row", numbers, key="diag_row", placeholder="none", help="Column with the plots' row.")
    col = second.selectbox("Column", numbers, key="diag_col", placeholder="none", help="Column with the plots' column.")
    sections = [NONE, *(n for n in numbers if n not in (row, col) and data[n].nunique() <= 200)]
    if value("diag_trial") not in sections:
        put("diag_trial", start[2] or NONE)
    by = third.selectbox(
        "Trials", sections, key="diag_trial", help="Plots of different trials are never compared: site, year, county."
    )
    if row is None or col is None or row == col:
        return None
    return row, col, None if by == NONE else by


def _map(shown: FittedModel, row: str, col: str, by: str | None) -> None:
    """A quantity over the field, trial by trial, blocks outlined."""
    fit = shown.fit
    st.markdown("**Field map**", help=MAP_HELP)
    known = {"residuals": "residuals", "response": f"response, {fit.response_name}", "fitted": "fitted values"}
    trend = tried(lambda: fit.field_trend(row, col))
    if not isinstance(trend, reml.ModelError):
        known["trend"] = "fitted trend"
    known |= {term: f"BLUPs of {term}" for term in fit.random_terms}
    if value("diag_map") not in known:
        put("diag_map", "residuals")
    first, second, third = st.columns(3)
    what = first.selectbox(
        "Shown", list(known), format_func=known.__getitem__, key="diag_map", help="What the colours say."
    )
    data = fit.table
    factors = [
        str(c) for c in data.columns if str(c) not in (row, col) and 1 < data[c].nunique() <= max(len(data) // 3, 2)
    ]
    blocks = [NONE, *(c for c in factors if c != fit.response_name)]
    if value("diag_outline") not in blocks:
        put("diag_outline", next((c for c in blocks if c.lower().startswith(("block", "rep", "incblock"))), NONE))
    outline = second.selectbox(
        "Outlined", blocks, key="diag_outline", help="Lines are drawn around each of its levels."
    )
    trial = None
    if by is not None:
        levels = list(dict.fromkeys(data[by].astype(str)))
        if value("diag_one") not in levels:
            put("diag_one", levels[0])
        trial = (by, third.selectbox(f"{by}", levels, key="diag_one", help="The trial shown."))
    drawn = tried(lambda: fit.plot.field(row, col, what, blocks=None if outline == NONE else outline, trial=trial))
    if not missing(drawn):
        parts.figure(drawn, "diag_field", f"field-{what}")


def _variogram(shown: FittedModel, row: str, col: str, by: str | None) -> None:
    fit = shown.fit
    st.markdown("**Variogram of the residuals**", help=VARIOGRAM_HELP)
    first, second = st.columns([1, 1.4], vertical_alignment="bottom")
    view = first.selectbox("Shown as", list(VIEWS), format_func=VIEWS.__getitem__, key=seed("diag_variogram", "surface"),
                           help="A surface over lags both ways, or lines along single directions.")  # fmt: skip
    if view == "surface":
        second.selectbox("Semivariance", list(SURFACES), format_func=SURFACES.__getitem__,
                         key=seed("diag_surface", "semivariance"), help="The two are to be compared.")  # fmt: skip
        asked: tuple[str, ...] = ("surface",)
    else:
        second.multiselect("Directions", list(DIRECTIONS), format_func=DIRECTIONS.__getitem__,
                           key=seed("diag_directions", ["row", "column"]), help="Each is a line of points.")  # fmt: skip
        asked = tuple(value("diag_directions") or ())
        if not asked:
            st.caption("Choose a direction.")
            return

    def work(job: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for done, direction in enumerate(asked):
            if not job.report(done, len(asked)):
                raise reml.FitCancelled()
            found[direction] = tried(lambda direction=direction: fit.variogram(row, col, by=by, direction=direction))
        return found

    tables = answer(shown.answers, "variogram", row, col, by, asked, work=work, what="Comparing all pairs of plots")
    if tables is None:
        return
    sound: dict[str, pd.DataFrame] = {k: t for k, t in tables.items() if not missing(t)}
    if view == "surface" and sound:
        surface = value("diag_surface") or "semivariance"
        drawn = figures.variogram_surface(sound["surface"], what=surface, row_name=_axis(row), col_name=_axis(col))
        parts.figure(drawn, "diag_variogram_figure", "variogram-surface")
    elif sound:
        parts.figure(figures.variogram(sound), "diag_variogram_figure", "variogram")
    if sound:
        st.caption(
            "The expected values are those of residuals estimated under this model, with which theirs are to be compared."
        )


def _lags(shown: FittedModel, row: str, col: str, by: str | None) -> None:
    fit = shown.fit
    st.markdown("**Correlation with neighbours, by lag**", help=LAG_HELP)
    st.segmented_control(
        "Along", list(PATHS), format_func=PATHS.__getitem__, key=seed("diag_path", "grid"), label_visibility="collapsed",
        help="Serpentine: up one column and down the next, as plots are sown and harvested.",
    )  # fmt: skip
    path = value("diag_path") or "grid"
    directions = ("row", "column") if path == "grid" else ("serpentine",)
    most = None if path == "grid" else MOST_LAGS
    table = answer(
        shown.answers, "lags", row, col, by, path,
        work=lambda job: tried(lambda: fit.autocorrelation(row, col, by=by, directions=directions, max_lag=most)),
        what="Comparing neighbours",
    )  # fmt: skip
    if table is not None and not missing(table):
        parts.figure(figures.correlogram(table), "diag_lags", "autocorrelation")
        if path == "grid":
            st.caption("Row: from row to row within a column. Column: from column to column within a row.")


def _axis(name: str) -> str:
    return {"row": "Row", "col": "Column", "column": "Column"}.get(name.lower(), name)
