"""The model by clicking: response, fixed terms, random terms. Formula text and clicks stay in step.

The formula of the specification is the truth. Clicking composes a new formula from the widgets; typing parses the text
and sets the widgets. Both happen in callbacks, before the page is drawn again.
"""

from __future__ import annotations

from itertools import combinations

import streamlit as st

import openreml_core as reml
from app.session import Dataset, Study, forget, put, seed, value
from app.widgets import random_term, term_row
from openreml_core.notation import quote

TEXT, PROBLEM = "model_text", "model_problem"


def usable(data: Dataset) -> list[str]:
    """Columns a model may use."""
    return [c for c, r in data.roles.items() if r != reml.Role.IGNORE]


def load(study: Study) -> None:
    """Set the widgets to the formula of the specification."""
    assert study.specification is not None and study.data is not None
    forget("model_")
    text = study.specification.formula
    put(TEXT, text)
    try:
        formula = reml.parse_formula(text, list(study.data.table.columns))
    except reml.ModelError:
        put("model_response", None)
        return
    put("model_response", formula.response)
    put("model_intercept", formula.intercept)
    put("model_fixed", list(formula.fixed_terms))
    put("model_offsets", list(formula.offsets))
    put("model_random_count", len(formula.random))
    for i, term in enumerate(formula.random):
        random_term.load(i, term)


def typed(study: Study) -> None:
    """The text was changed: take it up, if it can be read."""
    assert study.data is not None
    text = str(value(TEXT, "")).strip()
    try:
        reml.parse_formula(text, list(study.data.table.columns))
    except reml.ModelError as problem:
        put(PROBLEM, str(problem))
        return
    study.choose(formula=text)
    load(study)
    put(PROBLEM, None)


def clicked(study: Study) -> None:
    """A widget was changed: compose the formula anew."""
    if not value("model_response"):
        return
    random = [random_term.text(i) for i in range(value("model_random_count", 0))]
    text = reml.compose_formula(
        value("model_response") or "",
        value("model_fixed") or [],
        [r for r in random if r],
        intercept=bool(value("model_intercept", True)),
        offsets=value("model_offsets") or [],
    )
    put(TEXT, text)
    put(PROBLEM, None)
    study.choose(formula=text)


def draw(study: Study) -> None:
    """The builder."""
    assert study.data is not None and study.specification is not None
    if value(TEXT) is None or (value(PROBLEM) is None and value(TEXT) != study.specification.formula):
        load(study)
    names = [quote(c) for c in usable(study.data)]
    args = {"on_change": clicked, "args": (study,)}
    response = value("model_response")
    put("model_response", response)  # a list without a choice shows its placeholder
    st.selectbox(
        "Response",
        list(dict.fromkeys([*([response] if response else []), *names])),
        index=None,
        key="model_response",
        placeholder="Choose what was measured",
        help="What was measured. Type a transform such as log(yield) in the formula.",
        **args,
    )
    fixed = value("model_fixed") or []
    main = [n for n in dict.fromkeys([*names, *fixed]) if n != response and ":" not in n]
    pairs = [f"{a}:{b}" for a, b in combinations([f for f in fixed if ":" not in f], 2)]
    st.multiselect(
        "Fixed terms",
        list(dict.fromkeys([*fixed, *main, *pairs])),
        key=seed("model_fixed", []),
        accept_new_options=True,
        placeholder="Add a term",
        help="Effects you estimate: treatments, replicates, covariates. Type a:b for an interaction, poly(x, 2) for a curve.",
        **args,
    )
    st.checkbox("Intercept", key=seed("model_intercept", True), help="A common mean.", **args)
    st.markdown("**Random terms**")
    for i in range(value("model_random_count", 0)):
        term_row.draw(study, i, names, clicked, _remove)
    st.button(
        "Add a random term",
        key="add_random",
        icon=":material/add:",
        on_click=_add,
        help="Effects that are a sample from many: genotypes, blocks, subjects.",
    )


def _add() -> None:
    i = value("model_random_count", 0)
    put("model_random_count", i + 1)
    random_term.add(i)


def _remove(study: Study, i: int) -> None:
    count = value("model_random_count", 0)
    random_term.remove(i, count)
    put("model_random_count", count - 1)
    clicked(study)
