"""The convergence monitor: live while a fit runs, a replay afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import streamlit as st

import openreml_core as reml
from app.jobs import IteratingJob, State
from app.session import FittedModel, put, seed, study, value
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


#: A line about a trace; its figures, by a key and up to an iteration.
Say, Show = Callable[[pd.DataFrame], str], Callable[..., None]
#: Iterations that a figure shows; more only slow the page down.
MOST = 100


def thinned(trace: pd.DataFrame, upto: int | None = None) -> pd.DataFrame:
    """The trace for a figure: at most `MOST` rows evenly, the first, the last and row ``upto`` among them."""
    last = len(trace) - 1
    if last < MOST:
        return trace
    return trace.iloc[sorted({round(i * last / (MOST - 1)) for i in range(MOST)} | {last if upto is None else upto})]


def status(trace: pd.DataFrame) -> str:
    """The last iteration in a line."""
    last = trace.iloc[-1]
    return (
        f"Iteration {int(last['iteration'])} · criterion {number(last['criterion'], 8)} · "
        f"gradient {last['gradient']:.0e} · {last['seconds']:.2f} s"
    )


def few(job: IteratingJob) -> list[reml.TraceRow]:
    """Rows of a job that may be writing more, thinned before they become a table."""
    rows = list(job.rows)
    step = -(-len(rows) // MOST) or 1
    kept = rows[::step]
    return kept if not rows or kept[-1] is rows[-1] else [*kept, rows[-1]]


def way(job: IteratingJob, goal: float = 1e-6) -> float:
    """How far the search is: by its gradient from the first to the ``goal``, on a log scale, or by its iterations."""
    rows = list(job.rows)
    part = min(len(rows) / max(job.limit, 1), 1.0)
    first, best = (rows[0].gradient, min(r.gradient for r in rows[-20:])) if rows else (0.0, 0.0)
    if first > goal and best > 0:
        part = max(part, math.log(first / best) / math.log(first / goal))
    return min(max(part, 0.0), 1.0)


@st.fragment(run_every=0.5)
def live() -> None:
    """Look at the running job twice a second; one full rerun when it has ended."""
    watch(study().job, status, draw, "cancel_fit", "Stop now. The study and its other fits are kept.", "live")


def watch(job: IteratingJob | None, say: Say, show: Show, cancel: str, help: str, key: str, goal: float = 1e-6) -> None:
    """A running job: how far it is, in words and figures, and a button that cancels it."""
    if job is None or not job.active:
        if job is not None and job.state is State.CANCELLED:
            st.info(cancelled(job))  # said at once; the page follows
        st.rerun()
        return
    trace = trace_frame(few(job))
    text = say(trace) if len(trace) else f"Setting up · {job.seconds:.1f} s"
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    left.progress(way(job, goal), text=text)
    right.button("Cancel", key=cancel, icon=":material/stop:", width="stretch", on_click=job.cancel, help=help)
    if len(trace):
        show(trace, key)


def draw(trace: pd.DataFrame, key: str, upto: int | None = None) -> None:
    """Criterion and gradient, and the parameters, against iteration."""
    trace = thinned(trace, upto)
    parts.figure(figures.convergence(trace, upto), f"{key}_convergence", "convergence")
    st.markdown("**Parameters on their natural scale**")
    parameters(trace, key, upto)


def parameters(
    trace: pd.DataFrame, key: str, upto: int | None = None, groups: dict[str, list[str]] | None = None
) -> None:
    """The parameters against iteration; a group of them at a time where they are many."""
    groups = figures.parameter_groups(trace) if groups is None else groups
    names = next(iter(groups.values()))
    if len(groups) > 1:
        total = sum(len(members) for members in groups.values())
        if value(f"{key}_group") not in groups:
            put(f"{key}_group", next(iter(groups)))
        chosen = st.selectbox(
            f"{total} parameters, a group at a time", list(groups), key=f"{key}_group",
            format_func=lambda words: f"{words} ({len(groups[words])})",
            help="Which parameters the figure shows.",
        )  # fmt: skip
        names = groups[chosen]
    parts.figure(figures.parameter_traces(trace, upto, names=names), f"{key}_parameters", "parameters")


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
    step_through(shown.fit.trace, "replay", shown.number, draw, rows)


def step_through(
    trace: pd.DataFrame, key: str, number: int, show: Show, table: Callable[[pd.DataFrame, str], None]
) -> None:
    """A slider over the iterations, the sentence of the chosen one, the figures up to it, and all rows."""
    last = int(trace["iteration"].iloc[-1])
    upto = last
    if last > 0:
        upto = st.slider(
            "Replay", 0, last, key=seed(f"{key}_{number}", last),
            help="Move back to see what each iteration did.",
        )  # fmt: skip
    st.markdown(f"**Iteration {upto}.** {parts.plain(trace.iloc[upto]['sentence'])}")
    show(trace, key, upto)
    table(trace, key)


def cancelled(job: IteratingJob) -> str:
    """That a job was cancelled, and what is kept."""
    count = max(len(job.rows) - 1, 0)
    return f"Cancelled after {count} iteration{'' if count == 1 else 's'}. The study and its other fits are kept."


def ended(job: IteratingJob) -> None:
    """What became of a job that gave no result."""
    if job.state is State.CANCELLED:
        st.info(cancelled(job))
        if job.rows:
            draw(trace_frame(few(job)), "cancelled")
    elif job.state is State.FAILED:
        parts.error(job.error, job.details)
        st.page_link(parts.PAGES["model"], label="Back to the model", icon=":material/arrow_back:")
