"""The convergence monitor: live while a fit runs, a replay afterwards."""

from __future__ import annotations

import pandas as pd
import streamlit as st

import openreml_core as reml
from app.jobs import Job, State
from app.session import FittedModel, seed, study
from app.widgets import parts
from openreml_core import figures
from openreml_core.reml import trace_frame
from openreml_core.report.words import number

COLUMNS = {
    "iteration": "Iteration",
    "step": "Step",
    "criterion": "Criterion",
    "change": "Change",
    "gradient": "Gradient",
    "radius": "Trust radius",
    "ratio": "Gain / promised",
    "seconds": "Seconds",
}


#: Rows that a running fit's figures show; more only slow the page down.
MOST = 150


def thinned(rows: list[reml.TraceRow]) -> pd.DataFrame:
    """The trace for a figure: at most `MOST` rows, the first and the last among them."""
    step = -(-len(rows) // MOST) or 1
    kept = rows[::step]
    return trace_frame(kept if not rows or kept[-1] is rows[-1] else [*kept, rows[-1]])


def status(trace: pd.DataFrame) -> str:
    """The last iteration in a line."""
    last = trace.iloc[-1]
    return (
        f"Iteration {int(last['iteration'])} · criterion {number(last['criterion'], 8)} · "
        f"gradient {last['gradient']:.0e} · {last['seconds']:.2f} s"
    )


@st.fragment(run_every=0.5)
def live() -> None:
    """Look at the running job twice a second; one full rerun when it has ended."""
    job = study().job
    if job is None or not job.active:
        st.rerun()
        return
    trace = thinned(list(job.rows))
    text = status(trace) if len(trace) else f"Setting up · {job.seconds:.1f} s"
    done = min(len(job.rows) / max(job.limit, 1), 1.0)
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    left.progress(done, text=text)
    right.button(
        "Cancel", key="cancel_fit", icon=":material/stop:", width="stretch", on_click=job.cancel,
        help="Stop now. The study and its other fits are kept.",
    )  # fmt: skip
    if len(trace):
        draw(trace, "live")


def draw(trace: pd.DataFrame, key: str, upto: int | None = None) -> None:
    """Criterion and gradient, the parameters, and the trace as a table."""
    parts.figure(figures.convergence(trace, upto), f"{key}_convergence", "convergence")
    st.markdown("**Parameters on their natural scale**")
    parts.figure(figures.parameter_traces(trace, upto), f"{key}_parameters", "parameters")


def rows(trace: pd.DataFrame, key: str) -> None:
    """The trace as a table with its download."""
    shown = trace.drop(columns=["sentence"]).rename(columns=COLUMNS)
    for name, form in (("Change", "{:.3g}"), ("Gain / promised", "{:.3f}")):
        shown[name] = [form.format(v) if v == v else "" for v in shown[name]]
    parts.table(
        shown,
        f"{key}_trace",
        "iterations",
        height=320,
        columns={
            "Criterion": st.column_config.NumberColumn(format="%.6f", help="-2 log-likelihood, constants included."),
            "Change": st.column_config.TextColumn(
                alignment="right", help="Against the row before; negative is better."
            ),
            "Gain / promised": st.column_config.TextColumn(
                alignment="right", help="1 where the step brought what it promised."
            ),
            "Gradient": st.column_config.NumberColumn(format="%.1e", help="Largest slope, in units of the parameters."),
            "Seconds": st.column_config.NumberColumn(format="%.3f"),
        },
    )


def replay(shown: FittedModel) -> None:
    """Step through the iterations of a fit at human speed."""
    trace = shown.fit.trace
    last = int(trace["iteration"].iloc[-1])
    upto = last
    if last > 0:
        upto = st.slider(
            "Replay", 0, last, key=seed(f"replay_{shown.number}", last),
            help="Move back to see what each iteration did.",
        )  # fmt: skip
    row = trace.iloc[upto]
    st.markdown(f"**Iteration {upto}.** {parts.plain(row['sentence'])}")
    draw(trace, "replay", upto)
    rows(trace, "replay")


def ended(job: Job) -> None:
    """What became of a job that gave no result."""
    if job.state is State.CANCELLED:
        count = max(len(job.rows) - 1, 0)
        st.info(f"Cancelled after {count} iteration{'' if count == 1 else 's'}. The study and its other fits are kept.")
        if job.rows:
            draw(thinned(list(job.rows)), "cancelled")
    elif job.state is State.FAILED:
        parts.error(job.error, job.details)
        st.page_link(parts.PAGES["model"], label="Back to the model", icon=":material/arrow_back:")
