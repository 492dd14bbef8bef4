"""A random term by clicking: [structure] of [effects] over [grouping], with a picture of its matrix and when to use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

import openreml_core as reml
from app.session import Dataset, Study, put, seed, value
from app.widgets import parts
from app.widgets.random_term import FIELDS, INTERCEPT, is_number, key, kinds, numbers, over, settle, size
from openreml_core import figures
from openreml_core.notation import STRUCTURES, quote

NUS = [0.5, 1.5, 2.5]
PARTS = ["us", "diag", "id", "cs", "csh", "ar1", "arh1", "ar2", "toep", "toeph"]
#: Distinct numbers up to which a covariate may be taken as levels.
MOST_LEVELS = 30


def draw(
    study: Study, i: int, names: list[str], changed: Callable[[Study], None], removed: Callable[..., None]
) -> None:
    """Row i of the builder."""
    assert study.data is not None
    with st.container(border=True, key=f"random_row_{i}"):
        if value(key(i, "byhand")):
            st.code(value(key(i, "text"), ""), language=None, wrap_lines=True)
            st.caption("Written by hand; change it in the formula.")
        else:
            _row(study, i, names, changed)
        st.button(
            "Remove", key=f"remove_random_{i}", type="tertiary", icon=":material/close:", on_click=removed,
            args=(study, i), help="Take this term out of the model.",
        )  # fmt: skip


def _row(study: Study, i: int, names: list[str], changed: Callable[[Study], None]) -> None:
    data = study.data
    assert data is not None
    args: dict[str, Any] = {"on_change": changed, "args": (study,)}
    effects = value(key(i, "effects")) or []
    structure = value(key(i, "structure"), "us")
    offered = list(reml.suitable_structures(kinds(data, effects), size(data, effects, "us")))

    def switched(study: Study) -> None:
        settle(data, i)
        changed(study)

    st.selectbox(
        "Structure",
        list(dict.fromkeys([*offered, structure])),
        format_func=lambda name: _label(name, effects),
        key=seed(key(i, "structure"), "us"),
        on_change=switched,
        args=(study,),
        help="How the effects of one level vary together. Choose a factor among the effects to see those over its levels.",
    )
    where, measured = over(structure), numbers(data)
    left, right = (st, st) if where == "parts" else st.columns(2)
    if where == "positions":
        _choices(
            left, i, "positions", "of the positions", measured, "Columns with places as numbers: x, or x and y.", args
        )
    elif where == "column":
        _choice(left, i, "along", "over", measured, "The covariate that the curve runs over.", args)
    elif where == "columns":
        _choice(left, i, "along", "over rows", measured, "The field's rows, as numbers.", args)
        _choice(right, i, "across", "and columns", measured, "The field's columns, as numbers.", args)
    elif where == "parts":
        for name, label in (("first", "First structure"), ("second", "Second structure")):
            a, b = st.columns(2)
            a.selectbox(
                label,
                PARTS,
                key=seed(key(i, name), FIELDS[name]),
                help="A structure over the levels beside it.",
                **args,
            )
            _choice(b, i, f"{name}_of", "of", names, "The column whose levels it runs over.", args)
    else:
        _effects(left, data, i, names, effects, args)
    if where != "columns":
        optional = " (optional)" if where == "column" else ""
        group = value(key(i, "group")) or []
        right.multiselect(
            f"over the levels of{optional}" if where != "column" else f"for each{optional}",
            list(dict.fromkeys([*names, *group])),
            key=seed(key(i, "group"), []),
            placeholder="Choose a factor",
            help="The grouping factor; several are taken in combination, as block within replicate.",
            **args,
        )
    _options(i, structure, data, effects, args)
    _story(i, structure, data, effects)


def _label(name: str, effects: list[str]) -> str:
    if name == "us" and effects == [INTERCEPT]:
        return "one variance"
    found = reml.describe_structure(name)
    family = "" if found.title.startswith(found.family) else f"{found.family}: "
    words = f"{family}{found.title} ({name})"
    return words[0].upper() + words[1:]


def _choices(place: Any, i: int, name: str, label: str, options: list[str], words: str, args: dict[str, Any]) -> None:
    chosen = value(key(i, name)) or []
    place.multiselect(
        label, list(dict.fromkeys([*options, *chosen])), key=seed(key(i, name), []), max_selections=3,
        placeholder="Choose columns", help=words, **args,
    )  # fmt: skip


def _choice(place: Any, i: int, name: str, label: str, options: list[str], words: str, args: dict[str, Any]) -> None:
    chosen = value(key(i, name))
    put(key(i, name), chosen)
    place.selectbox(
        label, list(dict.fromkeys([*options, *([chosen] if chosen else [])])), index=None, key=key(i, name),
        placeholder="Choose a column", help=words, **args,
    )  # fmt: skip


def _effects(
    place: Any, data: Dataset, i: int, names: list[str], effects: list[str], args: dict[str, Any]
) -> None:  # fmt: skip
    table = data.prepared()
    levels = [
        f"C({quote(str(c))})"
        for c in table.columns
        if quote(str(c)) in names and is_number(table[c]) and 1 < table[c].nunique() <= MOST_LEVELS
    ]
    place.multiselect(
        "of the effects",
        list(dict.fromkeys([INTERCEPT, *names, *levels, *effects])),
        key=seed(key(i, "effects"), [INTERCEPT]),
        format_func=_effect_words,
        accept_new_options=True,
        placeholder="Choose effects",
        help="What varies from level to level: the intercept, a slope on a covariate, an effect per level of a factor.",
        **args,
    )


def _effect_words(effect: str) -> str:
    if effect == INTERCEPT:
        return "intercept"
    return f"levels of {effect[2:-1]}" if effect.startswith("C(") and "," not in effect else effect


def _options(i: int, structure: str, data: Dataset, effects: list[str], args: dict[str, Any]) -> None:
    """The structure's own options, small."""
    taken = [name for name in STRUCTURES[structure] if name in ("k", "nu", "aniso", "knots")]
    if not taken:
        return
    cells = st.columns(max(len(taken), 2))
    for cell, name in zip(cells, taken, strict=False):
        if name == "k":
            most = max((size(data, effects, structure) or 10) - (structure == "ante"), 1)
            start = min(int(value(key(i, "k")) or 1), most)
            put(key(i, "k"), start)
            words = "Order: how many levels back." if structure == "ante" else "Number of factors."
            label = "Order k" if structure == "ante" else "Factors k"
            cell.number_input(label, 1, most, key=key(i, "k"), help=words, **args)
        elif name == "nu":
            words = "Smoothness: 0.5 is exponential, 2.5 smooth."
            cell.selectbox("nu", NUS, key=seed(key(i, "nu"), 1.5), help=words, **args)
        elif name == "aniso":
            words = "Whether each coordinate has a range of its own."
            cell.checkbox("A range per direction", key=seed(key(i, "aniso"), False), help=words, **args)
        else:
            put(key(i, "knots"), value(key(i, "knots")))
            words = "How many knots the curve has; left empty, the program chooses."
            cell.number_input("Knots", 4, 500, key=key(i, "knots"), placeholder="automatic", help=words, **args)


def _story(i: int, structure: str, data: Dataset, effects: list[str]) -> None:
    """The emblem of the structure, when to use it, and what it costs."""
    where = over(structure)
    if structure == "us" and effects == [INTERCEPT]:
        st.caption("One variance: the levels are independent draws from one population.")
        return
    many = size(data, effects, structure) if where in ("effects", "levels", "order") else None
    options = STRUCTURES[structure]
    k = int(value(key(i, "k")) or 1) if "k" in options else 1
    aniso = "aniso" in options and bool(value(key(i, "aniso")))
    counted = many if many is not None and k < many <= 100 else None
    found = reml.describe_structure(structure, counted or 6, k=k, nu=value(key(i, "nu")) or 1.5, aniso=aniso)
    picture, words = st.columns([1, 2.6], vertical_alignment="center")
    with picture:
        parts.emblem(figures.matrix_thumbnail(found.example, size=104), f"emblem_{i}")
    cost = f" {counted} effects, {found.n_parameters} parameters." if counted else ""
    words.caption(f"{found.sentence}{cost}")
