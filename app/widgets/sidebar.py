"""Where you are: the table, the current model, the other fits of this study."""

from __future__ import annotations

import streamlit as st

from app.session import FittedModel, Study, put, seed, study, value
from app.widgets.parts import model, plain
from openreml_core.report.words import number


def badge(shown: FittedModel) -> str:
    """How a fit ended, as a coloured badge."""
    fit = shown.fit
    if not fit.converged:
        return ":red-badge[:material/error: not converged]"
    if fit.singular:
        return ":orange-badge[:material/vertical_align_bottom: on a bound]"
    return ":green-badge[:material/check: converged]"


def draw() -> None:
    """Draw the sidebar."""
    found = study()
    with st.sidebar:
        _data(found)
        _running(found)
        if found.shown is not None:
            _model(found.shown)
        if len(found.fits) > 1:
            _switch(found)
        if found.data is not None:
            figure_format()


def figure_format() -> None:
    """In which format the camera above a figure saves it."""
    st.segmented_control(
        "Download figures as",
        ["svg", "png"],
        format_func=str.upper,
        default="svg",
        key="figure_format",
        help="The camera above a figure saves it in this format: SVG for print, PNG for slides.",
    )


def _data(found: Study) -> None:
    if found.data is None:
        st.caption("No table yet.")
        return
    data = found.data
    with st.container(border=True):
        st.markdown(f"**{plain(data.name)}**")
        dropped = found.shown.fit.n_dropped if found.shown and found.shown.digest == data.digest else 0
        text = f"{len(data.table):,} rows, {data.table.shape[1]} columns"
        st.caption(text + (f", {dropped} left out for missing values" if dropped else ""))


def _running(found: Study) -> None:
    if found.job is not None and found.job.active:
        with st.container(border=True):
            st.markdown(":blue-badge[:material/progress_activity: running]")
            if found.asked is not None:
                model(found.asked)


def _model(shown: FittedModel) -> None:
    fit = shown.fit
    with st.container(border=True, key="model_card"):
        st.markdown(f"**Fit {shown.number}** {badge(shown)}")
        model(shown.specification)
        st.caption(f"{fit.method.upper()}, n = {fit.n_obs:,}, criterion {number(fit.criterion, 6)}")


def _beside(fitted: FittedModel) -> str:
    residual = fitted.specification.residual
    without = len(fitted.specification.excluded)
    return (f", residual {residual}" if residual else "") + (f", without {without} rows" if without else "")


def _switch(found: Study) -> None:
    numbers = [f.number for f in found.fits]
    shown = found.shown.number if found.shown else numbers[-1]
    if value("fit_shown") not in numbers or value("fit_shown_of") != (len(numbers), shown):
        put("fit_shown", shown)
    formulas = {f.number: f"{f.number}: {f.fit.formula}{_beside(f)} ({f.fit.method.upper()})" for f in found.fits}

    def switched() -> None:
        chosen = value("fit_shown")
        found.shown = next((f for f in found.fits if f.number == chosen), found.shown)
        put("fit_shown_of", (len(numbers), chosen))

    st.selectbox(
        "Fit shown",
        numbers,
        format_func=lambda n: formulas[n],
        key=seed("fit_shown", shown),
        on_change=switched,
        help="Results and diagnostics show this fit.",
    )
    put("fit_shown_of", (len(numbers), shown))
