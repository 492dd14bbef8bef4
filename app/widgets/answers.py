"""Answers to questions about fits: there at once, on their way with progress and Cancel, or asked for by a button."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import streamlit as st

import openreml_core as reml
from app.jobs import Answers, Job, State
from app.widgets import parts


def answer(
    kept: Answers, question: str, *choices: Hashable, work: Callable[[Job], Any], what: str, button: str = "", help: str = ""
) -> Any:  # fmt: skip
    """What a question has come to, drawing what there is to say while it has come to nothing yet.

    Parameters
    ----------
    kept : Answers
        Of the fit, or of the study.
    question : str
        One word for it, which keys its widgets.
    *choices
        What was chosen; each choice is computed once.
    work : callable
        Computes the answer, given the job to tell its progress.
    what : str
        What is being computed, for the line that says so.
    button, help : str
        A label where it is computed only when asked for.

    Returns
    -------
    Any
        The answer, or None.
    """
    job = kept.get(question, *choices)
    if job is None and button:
        if _pressed(button, question, help):
            kept.ask(question, *choices, work=work)
            st.rerun()  # so that the button gives way
        return None
    if job is None:
        job = kept.ask(question, *choices, work=work)
    if job.active:
        _live(job, question, what)
        return None
    if job.state is State.CANCELLED:
        st.caption(f"{what}: cancelled.")
        if _pressed(button or "Compute", question, help):
            kept.forget(question, *choices)
            kept.ask(question, *choices, work=work)
            st.rerun()
        return None
    if job.state is State.FAILED:
        if job.details:
            parts.error(job.error, job.details)
        else:
            st.info(parts.said(job.error), icon=":material/info:")
        return None
    return job.result


def _pressed(label: str, question: str, help: str) -> bool:
    return st.button(label, key=f"ask_{question}", icon=":material/play_arrow:", help=help or None)


@st.fragment(run_every=0.5)
def _live(job: Job, question: str, what: str) -> None:
    """Look at a job twice a second; one full rerun when it has ended."""
    if not job.active:
        st.rerun()
        return
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    if job.total:
        left.progress(
            min(job.done / job.total, 1.0),
            text=f"{what} · {job.done:,} of {job.total:,} · {job.seconds:.1f} s",
        )
    else:
        left.markdown(f":gray[:material/hourglass_top: {what} · {job.seconds:.1f} s]")
    right.button(
        "Cancel", key=f"cancel_{question}", icon=":material/stop:", width="stretch", on_click=job.cancel,
        help="Stop this computation. Everything else is kept.",
    )  # fmt: skip


def tried(ask: Callable[[], Any]) -> Any:
    """What is found, or the error that says why there is nothing: one missing part of an answer leaves the others."""
    try:
        return ask()
    except reml.FitCancelled:
        raise
    except reml.ModelError as problem:
        return problem


def missing(part: Any) -> bool:
    """Whether a part of an answer is missing; why, is said."""
    if isinstance(part, reml.ModelError):
        st.info(parts.said(str(part)), icon=":material/info:")
        return True
    return False
