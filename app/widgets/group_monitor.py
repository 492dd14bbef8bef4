"""The monitor of expectation-maximisation: live while a fit runs, a replay afterwards, and which subjects failed."""

from __future__ import annotations

import pandas as pd
import streamlit as st

import openreml_core as reml
from app.groups import GroupFit
from app.jobs import GroupJob, State
from app.session import study
from app.widgets import monitor, parts
from openreml_core import figures
from openreml_core.reml import trace_frame
from openreml_core.report.words import number

#: Steps of EM, in standard deviations of the group, at which a fit is about to end.
GOAL = 1e-5
#: Parameters that a figure shows at once.
MOST = 12
COLUMNS = {
    "iteration": "Iteration",
    "step": "Step",
    "criterion": "-2 log evidence",
    "change": "Change",
    "gradient": "EM step",
    "seconds": "Seconds",
}


def need_trials(found: object) -> None:
    """Stop the page, with a link, where there are no trials yet."""
    if found.trials is None:
        st.info("There are no trials yet. Simulate an example, or bring your own.")
        st.page_link(parts.PAGES["hierarchical_trials"], label="Go to Trials", icon=":material/arrow_back:")
        st.stop()


def status(trace: pd.DataFrame) -> str:
    """The last iteration in a line."""
    last = trace.iloc[-1]
    return (
        f"Iteration {int(last['iteration'])} · -2 log evidence {number(last['criterion'], 8)} · "
        f"step {last['gradient']:.0e} · {last['seconds']:.2f} s"
    )


@st.fragment(run_every=0.5)
def live() -> None:
    """Look at the running job twice a second; one full rerun when it has ended."""
    help = "Stop now. The trials and the other fits are kept."
    monitor.watch(study().group.job, status, draw, "group_cancel", help, "group_live", GOAL)


def draw(trace: pd.DataFrame, key: str, upto: int | None = None) -> None:
    """Evidence and step of EM, and the group's parameters, against iteration."""
    trace = monitor.thinned(trace, upto)
    parts.figure(figures.evidence_trace(trace, upto), f"{key}_evidence", "evidence-by-iteration")
    st.markdown("**Means and variances of the group on the free scale**")
    monitor.parameters(trace, key, upto, groups(trace))


def groups(trace: pd.DataFrame) -> dict[str, list[str]]:
    """The group's parameters: all at once, or, where they are many, means, variances and covariances apart."""
    names = [name for members in figures.parameter_groups(trace).values() for name in members]
    if len(names) <= MOST:
        return {"Parameters": names}
    out: dict[str, list[str]] = {"Means": [], "Variances": [], "Covariances": []}
    for name in names:
        kind = "Variances" if name.endswith(".variance") else "Covariances" if name.startswith("group.") else "Means"
        out[kind].append(name)
    return {kind: members for kind, members in out.items() if members}


def rows(trace: pd.DataFrame, key: str) -> None:
    """The trace as a table with its download."""
    shown = trace.drop(columns=["sentence", "radius", "ratio"]).rename(columns=COLUMNS)
    shown["Change"] = [f"{v + 0.0:.3g}" if v == v else "" for v in shown["Change"]]
    parts.table(
        shown,
        f"{key}_trace",
        "iterations",
        height=320,
        columns={
            "-2 log evidence": st.column_config.NumberColumn(format="%.6f", help="Smaller is better."),
            "Change": st.column_config.TextColumn(
                alignment="right", help="Against the row before; negative is better."
            ),
            "EM step": st.column_config.NumberColumn(
                format="%.1e", help="How far the next EM step would move the group, in its standard deviations."
            ),
            "Seconds": st.column_config.NumberColumn(format="%.3f"),
        },
    )


def replay(shown: GroupFit) -> None:
    """Step through the iterations of a fit at human speed."""
    monitor.step_through(shown.fit.trace, "group_replay", shown.number, draw, rows)


def verdict(fit: reml.hierarchical.HierarchicalFit) -> None:
    """How a fit ended, and what stands out."""
    said = fit.message.removesuffix(" ".join(fit.warnings)).strip()
    (st.success if fit.converged else st.warning)(parts.said(said))
    parts.notes([w for w in fit.warnings if not w.startswith("Left out")])
    failed(fit)


def failed(fit: reml.hierarchical.HierarchicalFit) -> None:
    """Subjects that are not in the fit, and why."""
    table = fit.subjects().drop_duplicates("subject")[["subject", "status"]]
    table.insert(1, "trials", fit.data.n_trials)
    out = table[table["status"].str.startswith("excluded")].copy()
    if out.empty:
        return
    count = len(out)
    st.markdown(
        f"**{count} subject{' is' if count == 1 else 's are'} not in the fit.** The others were fitted without "
        f"{'it' if count == 1 else 'them'}."
    )
    out["status"] = out["status"].str.removeprefix("excluded: ").str.replace("*", "", regex=False)
    out["subject"] = out["subject"].astype(str)
    shown = out.rename(columns={"subject": "Subject", "trials": "Trials", "status": "Why"})
    parts.table(shown, "group_failed", "subjects-left-out", height=240)


def ended(job: GroupJob) -> None:
    """What became of a job that gave no result."""
    if job.state is State.CANCELLED:
        st.info(monitor.cancelled(job))
        if job.rows:
            draw(trace_frame(monitor.few(job)), "group_cancelled")
    elif job.state is State.FAILED:
        parts.error(job.error, job.details)
        st.page_link(parts.PAGES["hierarchical_trials"], label="Back to the trials", icon=":material/arrow_back:")
