"""The verdict on a fit: what was seen, why it matters, what to do next, the gravest first."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import streamlit as st

from app.session import FittedModel, Study, put
from app.widgets import parts, rows, space
from app.widgets.answers import answer
from openreml_core.diagnostics import Finding, Verdict

#: Rows above which the checks are made only when asked for: they take longer than a page should.
UNASKED_ROWS = 20_000
BADGES = {
    "problem": ":red-badge[:material/error: problem]",
    "warning": ":orange-badge[:material/warning: warning]",
    "note": ":blue-badge[:material/info: note]",
    "ok": ":green-badge[:material/check: as it should be]",
}
#: The next step where it is one of the studio's.
STEPS = {
    "convergence": "Allow more iterations under *Options of the fit* on the Model page, or simplify the random part; the figures "
    "on the Fit page show which parameter still moves.",
    "outliers": "Look the rows up: a typing error, a lodged plot, a mixed-up sample? Fit without them, and report both fits.",
    "influential rows": "Check the rows, fit without them, and see which conclusions change.",
    "influential levels": "Look at *Influence* below, by level and with refits, and find out what is special about them.",
    "residual structure": "Fit it, and once more with a nugget, `+ id(units)`, and compare the fits; *Space* below shows the "
    "trend.",
    "constant variance": "Try log(y) or sqrt(y) as the response on the Model page, weights, or a residual variance per group.",
    "curvature": "Look at the profiles under *Results, Intervals*, and leave out one of the terms; or start with EM steps.",
    "normality": "Look at the normal quantiles below: points apart at the ends are outliers, a bend asks for a transformation "
    "such as log(y) on the Model page.",
}
WHAT = "Checking the fit; residual structures that the table suggests are fitted and compared"


def draw(study: Study, shown: FittedModel) -> None:
    """All findings, once they are there."""
    found = ask(study, shown)
    if found is None:
        return
    open_ones = [finding for finding in found if finding.severity != "ok"]
    fine = [finding for finding in found if finding.severity == "ok"]
    if not open_ones:
        st.success("Nothing to report: every check came out as it should.", icon=":material/check:")
    for place, finding in enumerate(open_ones):
        _one(study, shown, finding, place)
    if fine:
        with st.expander(f"As it should be ({len(fine)})"):
            for finding in fine:
                st.markdown(f"**{finding.topic.capitalize()}.** {words(finding.what)}")


def ask(study: Study, shown: FittedModel) -> Verdict | None:
    """The verdict, computed once per fit and in the background."""
    places = space.places(study, shown)
    row, col, by = places or (None, None, None)
    large = shown.fit.n_obs > UNASKED_ROWS
    verdict: Verdict | None = answer(
        shown.answers, "verdict", row, col,
        work=lambda job: shown.fit.check(row=row, col=col, by=by, on_progress=job.report), what=WHAT,
        button="Check this fit" if large else "",
        help=f"Outliers, influence, confounded terms, residual structure: {shown.fit.n_obs:,} rows take a while.",
    )  # fmt: skip
    return verdict


def _one(study: Study, shown: FittedModel, finding: Finding, place: int) -> None:
    with st.container(border=True, key=f"diag_finding_{place}"):
        st.markdown(f"{BADGES[finding.severity]} **{words(finding.what)}**")
        action = _action(study, shown, finding)
        # A structure that was tried in vain is a note with advice of its own.
        here = action is not None or finding.topic != "residual structure"
        step = STEPS.get(finding.topic) if here and finding.severity != "ok" else None
        st.markdown(f":gray[{words(finding.why)}]  \n:material/arrow_forward: {step or words(finding.do)}")
        if action is not None:
            label, help, act = action
            if st.button(label, key=f"diag_do_{place}", help=help, type="secondary"):
                act()


def _action(study: Study, shown: FittedModel, finding: Finding) -> tuple[str, str, Callable[[], Any]] | None:
    """What can be done at once: the rows chosen, the structure fitted."""
    if finding.topic in ("outliers", "influential rows") and finding.subject:

        def look() -> None:
            put(rows.NAMED, ", ".join(finding.subject))
            st.rerun()

        return "Choose these rows", "They are listed below, to be looked at or excluded.", look
    structure = finding.values.get("residual") or (finding.subject[:1] or (None,))[0]
    if finding.topic == "residual structure" and finding.severity == "warning" and study.data is not None:
        if shown.digest != study.data.digest or not isinstance(structure, str):
            return None

        def fit() -> None:
            study.again(shown, residual=structure)
            st.switch_page(parts.PAGES["fit"])

        return "Fit with this residual", f"The same model with the residual {structure}.", fit
    return None


def words(text: str) -> str:
    """A finding's sentence: what is written as the notation or as a call is set as code."""
    out, last = [], 0
    for code in re.finditer(r"residual='([^']+)'|'([^' ]+(?: \+ [^']+)?)'|(fit\.\w+(?:\.\w+)*\([^)]*\))", text):
        own = next(group for group in code.groups() if group)
        out += [parts.said(text[last : code.start()]), "residual " if code.group(1) else "", f"`{own}`"]
        last = code.end()
    return "".join([*out, parts.said(text[last:])])
