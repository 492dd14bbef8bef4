"""By simulation: are parameters recovered, and are models told apart?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

import openreml_core as reml
from app.groups import GroupStudy
from app.session import lasting
from app.widgets import parts
from app.widgets.answers import answer
from openreml_core import figures


@dataclass(frozen=True)
class Plan:
    """What is simulated."""

    n_subjects: int
    n_trials: int
    n_sets: int
    seed: int


def plan(found: GroupStudy, key: str, sets: int, subjects: int, trials: int) -> Plan:
    """The controls."""
    kept = found.choices
    cells = st.columns(4, vertical_alignment="bottom")
    n = cells[0].number_input(
        "Subjects", 4, 1000, **lasting(kept, f"{key}_subjects", subjects), help="In each simulated set."
    )
    t = cells[1].number_input(
        "Trials each", 2, 2000, **lasting(kept, f"{key}_trials", trials), help="How many trials every subject does."
    )
    k = cells[2].number_input("Sets", 1, 100, **lasting(kept, f"{key}_sets", sets), help="How often it is repeated.")
    s = cells[3].number_input(
        "Seed", 0, 999_999, **lasting(kept, f"{key}_seed", 1), help="The same seed, the same sets."
    )
    return Plan(int(n), int(t), int(k), int(s))


def parameters(found: GroupStudy, model: Any) -> None:
    """Simulate subjects, fit them, and set the estimates beside the truth."""
    st.caption(
        "Subjects are drawn from a group about the model's own starting values, do the task, and are fitted as if nobody knew "
        "their parameters. What such trials cannot tell, no fit can."
    )
    chosen = plan(found, "group_recover", 1, 50, 200)
    made = answer(
        found.answers, "group_recover", model, chosen, found.covariance,
        work=lambda job: reml.hierarchical.recover(
            model, chosen.n_subjects, chosen.n_trials, chosen.seed, n_sets=chosen.n_sets, covariance=found.covariance,
            on_progress=job.report, on_iteration=lambda row: job.active, n_jobs=1,
        ),
        what="Simulating and fitting", button="Simulate and refit",
        help=f"Draws from {model.name}, and fits the same model.",
    )  # fmt: skip
    if made is None:
        return
    summary = made.summary().reset_index()
    parts.figure(figures.recovery_scatter(made.table), "group_recovered", "recovery")
    good = summary["r_native"] >= 0.8
    st.markdown("\n".join(f"- {_words(row)}" for row in summary.itertuples()))
    if not good.all():
        st.caption("More trials for each subject raise r; more subjects make the group better known, not its subjects.")
    st.caption(
        "r: correlation of simulated and estimated values. Bias and root mean square error (RMSE) on the free scale; coverage "
        f"is the share of 95 % intervals that hold the truth. Converged: {made.converged} of {chosen.n_sets}.",
    )
    shown = pd.DataFrame(
        {
            "Parameter": summary["parameter"],
            "r": summary["r_native"],
            "r, free scale": summary["r"],
            "Bias": summary["bias"],
            "RMSE": summary["rmse"],
            "Coverage": 100 * summary["coverage"],
            "Subjects": summary["n"],
        }
    )
    coverage = st.column_config.ProgressColumn(format="%.0f %%", min_value=0, max_value=100)
    parts.table(shown, "group_recovery", "recovery", columns={"Coverage": coverage})
    parts.download(made.table, "group_recovery_all_csv", "recovery-subjects", "Download all subjects")


def _words(row: Any) -> str:
    r = row.r_native
    quality = "well recovered" if r >= 0.8 else "fairly recovered" if r >= 0.6 else "poorly recovered"
    return f"{parts.plain(row.parameter)} is {quality} (r = {r:.2f})"


def models(found: GroupStudy, known: dict[str, Any]) -> None:
    """How often each model wins on data of each."""
    if len(known) < 2:
        st.info("The library has no other model of such trials to confuse this one with.")
        return
    st.caption(
        "Data are simulated from each model, all models are fitted to them, and the one with the smallest integrated BIC wins. "
        "A model that is told apart wins on its own data: the diagonal is near 100 %."
    )
    names = list(known)
    picked = st.multiselect(
        "Models", names, **lasting(found.choices, f"group_confuse_{found.kind}", names[:2], names),
        help="Models of the library that read the same columns.",
    )  # fmt: skip
    chosen = plan(found, "group_confusion", 5, 25, 100)
    if len(picked) < 2:
        st.info("Choose two models or more.")
        return
    some = [known[n] for n in names if n in picked]
    table = answer(
        found.answers, "group_confusion", tuple(some), chosen, found.covariance,
        work=lambda job: reml.hierarchical.confusion(
            some, chosen.n_sets, chosen.n_subjects, chosen.n_trials, chosen.seed, covariance=found.covariance,
            on_progress=job.report, on_iteration=lambda row: job.active, n_jobs=1,
        ),
        what="Simulating and fitting", button="Simulate and compare", help="Takes a fit for each pair of models and set.",
    )  # fmt: skip
    if table is None:
        return
    parts.figure(figures.confusion_matrix(table), "group_confused", "confusion")
    own = {name: float(table.loc[name, name]) for name in table.index}
    weak = [name for name, share in own.items() if share < 0.8]
    if weak:
        st.markdown(f"Not reliably told apart with such trials: {parts.plain(', '.join(weak))}.")
    else:
        st.markdown("Each model wins on its own data in at least 80 % of the sets.")
    st.caption(f"Rows: the model simulated, {chosen.n_sets} sets each. Columns: the best one by integrated BIC.")
    shown = (100 * table).reset_index().rename(columns={"simulated": "Simulated"})
    percent = {str(c): st.column_config.NumberColumn(format="%.0f %%") for c in table.columns}
    parts.table(shown, "group_confusion_table", "confusion", columns=percent)
