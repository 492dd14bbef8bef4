"""The residual by clicking: its kind, its structure, the columns it runs over. Its text and the clicks stay in step.

The residual of the specification is the truth, as the formula is for the builder.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

import openreml_core as reml
from app.session import Dataset, Study, forget, put, seed, value
from app.widgets import parts
from app.widgets.random_term import numbers
from app.widgets.term_row import NUS
from openreml_core import figures
from openreml_core.notation import (
    DISTANCE,
    GRID,
    STRUCTURES,
    WITHIN,
    ResidualChoice,
    parse_residual,
    quote,
    read_residual,
)

TEXT, PROBLEM, OF = "residual_text", "residual_problem", "residual_of"
PLAIN = "id(units)"
KINDS = {
    "independent": "independent, one variance",
    "groups": "independent, a variance per group",
    "grid": "rows and columns of a field",
    "within": "within subjects, over time",
    "distance": "by the distance between plots",
    "byhand": "written by hand",
}
#: Structures along one direction of a field, in short.
STEPS = {"ar1": "one step", "ar2": "two steps", "toep": "every lag", "cs": "all alike"}
#: The structure that a kind begins with.
START = {"within": "ar1", "distance": "exp"}
SENTENCES = {
    "independent": "Rows differ by chance alone, and everywhere by as much.",
    "groups": "Rows differ by chance alone, in some groups more than in others: trials of different precision.",
    "grid": "Neighbouring plots are alike, along rows and along columns by factors of their own. Every plot has a position; "
    "gaps are fine.",
    "byhand": "The menus cannot say this one; change it in its text.",
}


def load(study: Study) -> None:
    """Set the widgets to the residual of the specification."""
    assert study.specification is not None and study.data is not None
    text = study.specification.residual or PLAIN
    forget("residual_")
    put(OF, study.specification.residual)
    put(TEXT, text)
    try:
        choice = read_residual(parse_residual(text))
    except reml.ModelError:
        choice = None
    if choice is None:
        put("residual_kind", "byhand")
        return
    put("residual_kind", "groups" if choice.kind == "independent" and choice.section else choice.kind)
    put("residual_section", choice.section or None)
    put("residual_nugget", choice.nugget)
    if choice.kind == "grid":
        put("residual_first", choice.structures[0])
        put("residual_second", choice.structures[1])
        put("residual_row", choice.columns[0])
        put("residual_col", choice.columns[1])
    elif choice.kind == "within":
        put("residual_within", choice.structures[0])
        put("residual_time", choice.columns[0])
        put("residual_subject", choice.subject)
    elif choice.kind == "distance":
        put("residual_distance", choice.structures[0])
        put("residual_positions", list(choice.columns))
    for name, own in choice.options:
        put(f"residual_{name}", int(own) if name == "k" else own)


def typed(study: Study) -> None:
    """The text was changed: take it up, if it can be read."""
    text = str(value(TEXT, "") or "").strip()
    try:
        found = parse_residual(text)
    except reml.ModelError as problem:
        put(PROBLEM, str(problem))
        return
    study.choose(residual=None if found.is_plain else text)
    load(study)


def clicked(study: Study) -> None:
    """A widget was changed: compose the residual anew; an incomplete one waits."""
    text = composed()
    if not text:
        return
    put(PROBLEM, None)
    put(TEXT, text)
    own = None if text == PLAIN else text
    put(OF, own)
    study.choose(residual=own)


def composed() -> str:
    """What the widgets say, in the notation; empty while something is missing."""
    kind, section = value("residual_kind", "independent"), value("residual_section") or ""
    nugget = bool(value("residual_nugget", False))
    if kind == "independent":
        return PLAIN
    if kind == "groups":
        return ResidualChoice(section=section).text if section else ""
    if kind == "byhand":
        return str(value(TEXT) or "")
    if kind == "grid":
        structures = (value("residual_first") or "ar1", value("residual_second") or "ar1")
        columns = (value("residual_row") or "", value("residual_col") or "")
        return ResidualChoice("grid", structures, columns, "", section, nugget).text
    structure = value(f"residual_{kind}") or START[kind]
    options = tuple((name, own) for name in STRUCTURES[structure] if (own := _option(name)) is not None)
    subject = value("residual_subject") or "" if kind == "within" else ""
    columns = (value("residual_time") or "",) if kind == "within" else tuple(value("residual_positions") or ())
    return ResidualChoice(kind, (structure,), columns, subject, section, nugget, options).text


def _option(name: str) -> Any:
    """An option's value where it is not what goes without saying."""
    given = value(f"residual_{name}")
    return None if given in (None, {"k": 1, "nu": 1.5, "aniso": False}[name]) else given


def draw(study: Study) -> None:
    """The picker."""
    spec, data = study.specification, study.data
    assert spec is not None and data is not None
    if value(OF) != spec.residual or value(TEXT) is None or value("residual_kind") is None:
        load(study)
    st.markdown("**Residual**")
    with st.container(border=True, key="residual_box"):
        kind = value("residual_kind", "independent")
        offered = [k for k in KINDS if k != "byhand" or kind == "byhand"]

        def switched(study: Study) -> None:
            _propose(data)
            clicked(study)

        st.selectbox(
            "What the residuals are to each other", offered, format_func=KINDS.__getitem__,
            key=seed("residual_kind", kind), on_change=switched, args=(study,),
            help="What the fixed and random terms leave over: independent, or alike in neighbours and repeats.",
        )  # fmt: skip
        names = [quote(c) for c, r in data.roles.items() if r != reml.Role.IGNORE]
        args: dict[str, Any] = {"on_change": clicked, "args": (study,)}
        _pickers(kind, data, names, args)
        _story(study, kind)


def text(study: Study) -> None:
    """The residual as text, in step with the picker."""
    st.text_input(
        "Residual as text", key=seed(TEXT, (study.specification.residual if study.specification else None) or PLAIN),
        on_change=typed, args=(study,),
        help="ar1(row):ar1(col) + id(units), dsum(id(units) | site), id(subject):us(time). Press Enter to apply.",
    )  # fmt: skip
    if value(PROBLEM):
        parts.error(value(PROBLEM))
        kept = (study.specification.residual if study.specification else None) or PLAIN
        st.caption(f"Until it can be read, the residual stays {parts.plain(kept)}")


def _propose(data: Dataset) -> None:
    """Columns that a kind most likely runs over."""
    measured = numbers(data)
    role = {r: [quote(c) for c, own in data.roles.items() if own == r] for r in reml.Role}
    rows, cols, factors = role[reml.Role.ROW], role[reml.Role.COLUMN], role[reml.Role.FACTOR]
    covariates = [c for c in role[reml.Role.COVARIATE] if c in measured]
    kind = value("residual_kind")
    if kind == "grid" and rows and cols:
        put("residual_row", value("residual_row") or rows[0])
        put("residual_col", value("residual_col") or cols[0])
    if kind == "distance" and not value("residual_positions"):
        put("residual_positions", [c for c in (*rows[:1], *cols[:1]) if c in measured] or covariates[:1])
    if kind == "within":
        put("residual_subject", value("residual_subject") or (_most_levels(data, factors) if factors else None))
        put("residual_time", value("residual_time") or (covariates[0] if covariates else None))


def _most_levels(data: Dataset, factors: list[str]) -> str:
    counts = {quote(str(c)): int(data.table[c].nunique()) for c in data.table.columns}
    return max(factors, key=lambda f: counts.get(f, 0))


def _pickers(kind: str, data: Dataset, names: list[str], args: dict[str, Any]) -> None:
    measured = numbers(data)
    if kind == "grid":
        for a, b, where, label in (("first", "row", "row", "rows"), ("second", "col", "column", "columns")):
            left, right = st.columns(2)
            left.selectbox(
                f"Along {label}", list(GRID), format_func=lambda s: f"{s} ({STEPS[s]})", key=seed(f"residual_{a}", "ar1"),
                help="How the correlation goes with the number of plots between.", **args,
            )  # fmt: skip
            _column(right, b, f"{where.capitalize()}", measured + [n for n in names if n not in measured], args)
    elif kind == "within":
        _structure(st, "within", "Structure", WITHIN, START["within"], args)
        left, right = st.columns(2)
        _column(left, "subject", "Subject", names, args)
        _column(right, "time", "over", names, args)
        with right:
            _own_options(value("residual_within") or START["within"], args)
    elif kind == "distance":
        _structure(st, "distance", "Structure", DISTANCE, START["distance"], args)
        chosen = value("residual_positions") or []
        st.multiselect(
            "Positions", list(dict.fromkeys([*measured, *chosen])), key=seed("residual_positions", []), max_selections=3,
            placeholder="Choose columns", help="Columns with places as numbers: one along a line, two over a field.", **args,
        )  # fmt: skip
        _own_options(value("residual_distance") or START["distance"], args)
    if kind in ("grid", "within", "distance"):
        left, right = st.columns(2, vertical_alignment="bottom")
        _column(left, "section", "A structure of its own in each", names, args, empty="none, one for all")
        right.checkbox(
            "And an error of each row", key=seed("residual_nugget", False),
            help="A nugget, + id(units): what even neighbours at no distance do not share, as errors of measurement.", **args,
        )  # fmt: skip
    elif kind == "groups":
        _column(st, "section", "A variance in each", names, args)


def _structure(place: Any, name: str, label: str, options: tuple[str, ...], start: str, args: dict[str, Any]) -> None:
    place.selectbox(
        label, list(options), format_func=lambda s: f"{s}: {reml.describe_structure(s).title}",
        key=seed(f"residual_{name}", start), help="How the correlation goes with time, lag or distance.", **args,
    )  # fmt: skip


def _column(
    place: Any, name: str, label: str, options: list[str], args: dict[str, Any], empty: str = "Choose a column"
) -> None:
    key = f"residual_{name}"
    chosen = value(key)
    put(key, chosen)
    place.selectbox(
        label, list(dict.fromkeys([*options, *([chosen] if chosen else [])])), index=None, key=key, placeholder=empty,
        help="A column of the table.", **args,
    )  # fmt: skip


def _own_options(structure: str, args: dict[str, Any]) -> None:
    taken = STRUCTURES[structure]
    if "k" in taken:
        st.number_input(
            "Order k", 1, 20, key=seed("residual_k", 1), help="How many visits back each depends on.", **args
        )
    if "nu" in taken:
        words = "Smoothness: 0.5 is exponential, 2.5 smooth."
        st.selectbox("nu", NUS, key=seed("residual_nu", 1.5), help=words, **args)
    if "aniso" in taken and len(value("residual_positions") or []) > 1:
        words = "Whether each coordinate has a range of its own."
        st.checkbox("A range per direction", key=seed("residual_aniso", False), help=words, **args)


def _story(study: Study, kind: str) -> None:
    """R of the first rows, and when to use it."""
    words = (
        SENTENCES[kind]
        if kind in SENTENCES
        else reml.describe_structure(value(f"residual_{kind}") or START[kind]).sentence
    )
    if not composed():
        st.caption(f"{words} Choose its columns; until then the residual stays as it was.")
        return
    if kind == "independent":
        st.caption(words)
        return
    try:
        r = study.preview().covariance("residual", most=36)
    except reml.ModelError:
        r = None
    if r is None:
        st.caption(words)
        return
    picture, said = st.columns([1, 2.6], vertical_alignment="center")
    with picture:
        parts.emblem(figures.matrix_thumbnail(r, size=104), "emblem_residual")
    said.caption(f"{words} Shown: R of {len(r)} rows at the values that the search starts from.")
