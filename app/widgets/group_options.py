"""How a group is fitted: covariance, family, limit, missing values."""

from __future__ import annotations

import streamlit as st

from app.groups import GroupStudy
from app.session import holding, value

COVARIANCES = {"diagonal": "diagonal: independent parameters", "full": "full: correlated parameters"}
FAMILIES = {"gaussian": "normal", "student_t": "Student t", "laplace": "Laplace", "cauchy": "Cauchy"}
MISSING = {"exclude": "leave out the subject", "drop": "leave out the trial"}


def draw(found: GroupStudy) -> None:
    """The options of the fit, kept in the study."""

    def changed() -> None:
        found.covariance = value("group_covariance") or found.covariance
        found.family = value("group_family")
        found.df = float(value("group_df") or found.df)
        found.max_iterations = int(value("group_limit") or found.max_iterations)
        found.missing = value("group_missing")

    first, second, third, fourth = st.columns([1.5, 1.1, 1, 1.2], vertical_alignment="bottom")
    first.selectbox(
        "Covariance between subjects", list(COVARIANCES), format_func=COVARIANCES.__getitem__,
        key=holding("group_covariance", found.covariance), on_change=changed,
        help="Full asks whether subjects with a high value of one parameter have a high value of another. It needs more "
        "subjects, 30 or so.",
    )  # fmt: skip
    second.selectbox(
        "Family of the group", list(FAMILIES), format_func=FAMILIES.__getitem__, key=holding("group_family", found.family),
        on_change=changed,
        help="How subjects are spread about the group's mean. Student t, Laplace and Cauchy allow for single subjects far "
        "from the others, who then pull less.",
    )  # fmt: skip
    third.number_input(
        "Iterations at most", 1, 10_000, key=holding("group_limit", found.max_iterations), on_change=changed,
        help="Where the search stops even if it has not converged.",
    )  # fmt: skip
    fourth.selectbox(
        "Where a value is missing", list(MISSING), format_func=MISSING.__getitem__,
        key=holding("group_missing", found.missing), on_change=changed,
        help="In a learning model a trial that is left out is one that the subject never met.",
    )  # fmt: skip
    if found.family == "student_t":
        second.number_input(
            "Degrees of freedom", 1.0, 100.0, key=holding("group_df", found.df), on_change=changed,
            help="Fewer allow for subjects further out; 30 is nearly normal.",
        )  # fmt: skip
