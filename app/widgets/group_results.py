"""What a fit of a group says: the group, its subjects, and how to keep it."""

from __future__ import annotations

import io

import pandas as pd
import streamlit as st

import openreml_core as reml
from app.groups import SUBJECT, GroupFit, GroupStudy, Request
from app.session import lasting, put, trial_table, value
from app.widgets import parts
from app.widgets.answers import answer, missing, tried
from openreml_core import figures
from openreml_core.report.words import number

FREE = (
    "On the free scale a parameter may be any number: the logit of what lies between 0 and 1, the logarithm of what is "
    "positive. There subjects are spread as the family says."
)


def need_fit(found: GroupStudy) -> GroupFit:
    """Stop the page, with a link and a way to open a saved fit, where nothing has been fitted yet."""
    if found.shown is None:
        st.info("There is no fitted group yet.")
        page, label = ("trials", "Go to Trials") if found.trials is None else ("fit", "Go to Group fit")
        st.page_link(parts.PAGES[f"hierarchical_{page}"], label=label, icon=":material/arrow_back:")
        opened(found)
        st.stop()
    return found.shown


def line(shown: GroupFit, badge: str) -> None:
    """The fit in numbers."""
    fit = shown.fit
    method = "importance" if fit.options["family"] == "laplace" else "laplace"
    how = "importance sampling" if method == "importance" else "Laplace's approximation"
    bic = answer(
        shown.answers, "group_bic", shown.number, work=lambda job: (fit.evidence(method), fit.bic(method)),
        what="Computing the evidence",
    )  # fmt: skip
    words = f"{badge} {fit.n_subjects:,} subjects · {fit.n_trials:,} trials · {fit.n_group_parameters} parameters of the group"
    if bic is not None:
        words += f" · log evidence {number(bic[0], 7)} · integrated BIC {number(bic[1], 7)}"
    st.markdown(words)
    st.caption(
        f"{shown.request.how.capitalize()}. Expectation-maximisation with a Laplace approximation of each subject's posterior; "
        f"evidence by {how}.",
        help="Huys et al. (2011). The integrated BIC is -2 log evidence + k log(trials), k the means, variances and "
        "covariances of the group; smaller is better, among models of the same trials.",
    )


def group(fit: reml.hierarchical.HierarchicalFit) -> None:
    """The group's parameters, and their correlations."""
    table = fit.group().reset_index()
    shown = pd.DataFrame(
        {
            "Parameter": table["parameter"],
            "Mean": table["native"],
            "From": table["lower"],
            "To": table["upper"],
            "Mean, free": table["mean"],
            "SE, free": table["std_error"],
            "SD, free": table["sd"],
            "SE of SD": table["sd_error"],
        }
    )
    if fit.options["family"] == "cauchy":
        shown = shown.drop(columns=["SD, free", "SE of SD"])
        shown["Scale, free"] = [fit.group_scale.loc[name, name] ** 0.5 for name in table["parameter"]]
    st.caption(
        "Mean of the group on the parameter's own scale, with its 95 % interval; then mean and standard deviation between "
        "subjects on the free scale. Standard errors from the observed information (Louis 1982).",
        help=FREE,
    )
    parts.table(shown, "group_means", "group")
    if fit.group_se.isna().any():
        why = "" if fit.converged else ", as it happens before a fit has converged"
        st.caption(f"Some standard errors are not known: the evidence is not at a maximum in every direction{why}.")
    for k, held in fit.held.items():
        st.caption(f"{parts.plain(fit.model.parameters[k].name)} is held at {held:g}.")
    if not fit.visit.group.diagonal and len(fit.names) > 1:
        correlations(fit)


def correlations(fit: reml.hierarchical.HierarchicalFit) -> None:
    """Correlations between subjects, of a full covariance."""
    st.markdown("**Correlations of parameters between subjects**")
    st.caption("Estimated with the group, on the free scale; the subjects' own estimates would give others.")
    parts.figure(
        figures.matrix_heatmap(fit.group_correlation, height=120 + 56 * len(fit.names)),
        "group_correlations",
        "correlations",
    )


def distributions(found: GroupStudy, fit: reml.hierarchical.HierarchicalFit) -> None:
    """Subjects' parameters as boxes and points, and the group's density over one of them."""
    parts.figure(figures.parameter_distributions(fit), "group_boxes", "subjects")
    st.caption(
        "Each point is a subject's posterior mode on the parameter's own scale. Modes are drawn towards the group, the more "
        "so the less a subject's trials say; they vary less than the subjects themselves."
    )
    name = st.selectbox(
        "Group density of", fit.names, **lasting(found.choices, "group_density", fit.names[0], fit.names),
        help="The estimated distribution of the group over the subjects' modes, on the free scale.",
    )  # fmt: skip
    drawn = tried(lambda: figures.group_density(fit, name))
    if not missing(drawn):
        parts.figure(drawn, "group_density_figure", f"group-{name}")


def subjects(found: GroupStudy, fit: reml.hierarchical.HierarchicalFit) -> None:
    """A row per subject and parameter, with search."""
    table = fit.subjects()
    left, right = st.columns(2)
    search = left.text_input(
        "Search a subject", **lasting(found.choices, "group_search", ""), placeholder="e.g. 12",
        help="Subjects whose name holds this.",
    )  # fmt: skip
    one = right.selectbox(
        "Parameter", ["", *fit.names], **lasting(found.choices, "group_which", "", ["", *fit.names]),
        format_func=lambda name: name or "all parameters", help="Only the rows of this one.",
    )  # fmt: skip
    shown = pd.DataFrame(
        {
            "Subject": table["subject"].astype(str),
            "Parameter": table["parameter"],
            "Estimate": table["native"],
            "From": table["lower"],
            "To": table["upper"],
            "Free scale": table["map"],
            "SE, free": table["std_error"],
            "Status": table["status"]
            .str.replace("excluded: ", "left out: ", regex=False)
            .str.replace("*", "", regex=False),
        }
    )
    if one:
        shown = shown[shown["Parameter"] == one]
    if search:
        shown = shown[shown["Subject"].str.contains(search, case=False, regex=False)]
        count = shown["Subject"].nunique()
        st.caption(f"{count:,} of {len(fit.data.names):,} subjects match {search!r}.")
    st.caption(
        "Mode of each subject's posterior, with 95 % interval, on the parameter's own scale; mode and posterior standard "
        "deviation on the free scale."
    )
    parts.table(shown, "group_subjects", "subjects", height=420)


def keep(shown: GroupFit) -> None:
    """The script that repeats the fit, and the fit as a file."""
    fit = shown.fit
    code = tried(lambda: fit.to_code(shown.trials.code, shown.request.subject))
    if not missing(code):
        st.code(code, language="python", wrap_lines=True)

    def packed() -> bytes:
        buffer = io.BytesIO()
        fit.save(buffer)
        return buffer.getvalue()

    cells = st.columns(4)
    number_ = shown.number
    parts.file(
        cells[0],
        "Fit",
        packed,
        f"group-{number_}.openreml",
        "group_save",
        "Opens again here, or with hierarchical.load.",
    )
    parts.file(cells[1], "Summary", fit.summary, f"group-{number_}.txt", "group_summary", "The fit as text.")
    if isinstance(code, str):
        parts.file(cells[2], "Python", code, f"group-{number_}.py", "group_python", "The script that repeats this fit.")
    table = shown.trials.table
    parts.file(
        cells[3], "Trials", lambda: table.to_csv(index=False).encode("utf-8-sig"), "trials.csv", "group_trials_csv",
        "The trials as a table, for a spreadsheet or the script.",
    )  # fmt: skip


def opened(found: GroupStudy) -> None:
    """A way to open a fit that was saved before."""
    with st.expander("Open a saved fit"):
        file = st.file_uploader(
            "A file that was saved here", type=["openreml"], key="group_open", help="It holds the fit and its trials."
        )
        if file is None:
            put("group_opened", None)
            return
        if value("group_opened") == file.file_id:
            if value("group_open_problem"):
                parts.error(value("group_open_problem"))
            return
        put("group_opened", file.file_id)
        put("group_open_problem", None)
        try:
            fit = reml.hierarchical.load(file, n_jobs=1)
        except reml.ModelError as problem:
            put("group_open_problem", f"{file.name}: {problem}")
        else:
            take(found, fit, file.name)
    st.rerun()


def take(found: GroupStudy, fit: reml.hierarchical.HierarchicalFit, name: str) -> None:
    """Take up a fit that was saved; with its trials and its model where there were none."""
    table = fit.trials()
    trials = trial_table(f"trials of {name}", table, 'reml.read_table("trials.csv")')
    options = fit.options
    request = Request(
        fit.model, SUBJECT, options["covariance"], options["family"], options["df"], options["max_iterations"],
        options["missing"],
    )  # fmt: skip
    if found.trials is None:
        settings = fit.model.settings()
        own = settings.pop("columns", {})
        found.kind = type(fit.model).__name__
        found.settings[found.kind] = settings
        found.columns = {SUBJECT: SUBJECT, **{role: own.get(role, role) for role in fit.model.roles}}
        found.take(trials)
        found.covariance, found.family, found.df = request.covariance, request.family, request.df
        found.missing = request.missing
    found.keep(fit, request, found.trials if found.trials.digest == trials.digest else trials)
