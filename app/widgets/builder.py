"""The model by clicking: response, fixed terms, random terms. Formula text and clicks stay in step.

The formula of the specification is the truth. Clicking composes a new formula from the widgets; typing parses the text
and sets the widgets. Both happen in callbacks, before the page is drawn again.
"""

from __future__ import annotations

from itertools import combinations

import streamlit as st

import openreml_core as reml
from app.session import Dataset, Study, forget, put, seed, value
from openreml_core.notation import quote

INTERCEPT = "1"
STRUCTURES = {
    "us": "correlated effects",
    "diag": "uncorrelated effects",
}
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
        put(f"model_random_{i}_structure", term.structure)
        put(f"model_random_{i}_effects", ([INTERCEPT] if term.intercept else []) + list(term.effect_terms))
        put(f"model_random_{i}_group", [quote(g) for g in term.group])
        put(f"model_random_{i}_text", term.text)


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
    random = [bar(i) for i in range(value("model_random_count", 0))]
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


def bar(i: int) -> str:
    """The random term that row i of the builder says; empty while it is incomplete."""
    structure = value(f"model_random_{i}_structure", "us")
    if structure not in STRUCTURES:
        return str(value(f"model_random_{i}_text", ""))
    effects, group = value(f"model_random_{i}_effects") or [], value(f"model_random_{i}_group") or []
    if not effects or not group:
        return ""
    terms = [e for e in effects if e != INTERCEPT]
    left = " + ".join(terms if INTERCEPT in effects else ["0", *terms]) if terms else "1"
    return f"({left} {'||' if structure == 'diag' and len(effects) > 1 else '|'} {':'.join(group)})"


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
        _random(study, i, names)
    st.button(
        "Add a random term",
        key="add_random",
        icon=":material/add:",
        on_click=_add,
        help="Effects that are a sample from many: genotypes, blocks, subjects.",
    )


def _random(study: Study, i: int, names: list[str]) -> None:
    key = f"model_random_{i}"
    args = {"on_change": clicked, "args": (study,)}
    with st.container(border=True):
        structure = value(f"{key}_structure", "us")
        if structure not in STRUCTURES:
            st.code(value(f"{key}_text", ""), language=None)
        else:
            left, right = st.columns(2)
            effects = value(f"{key}_effects") or []
            left.multiselect(
                "Effects",
                list(dict.fromkeys([INTERCEPT, *names, *effects])),
                key=seed(f"{key}_effects", [INTERCEPT]),
                format_func=lambda e: "intercept" if e == INTERCEPT else e,
                accept_new_options=True,
                help="What varies from level to level: the intercept, a slope on a covariate, an effect per level of a factor.",
                **args,
            )
            group = value(f"{key}_group") or []
            right.multiselect(
                "over the levels of",
                list(dict.fromkeys([*names, *group])),
                key=seed(f"{key}_group", []),
                placeholder="Choose a factor",
                help="The grouping factor; several are taken in combination, as block within replicate.",
                **args,
            )
            if len(effects) > 1:
                st.selectbox(
                    "Structure",
                    list(STRUCTURES),
                    format_func=STRUCTURES.__getitem__,
                    key=seed(f"{key}_structure", "us"),
                    help="Correlated: a variance for each effect and all covariances. Uncorrelated: variances only, as (x || g).",
                    **args,
                )
        st.button(
            "Remove",
            key=f"remove_random_{i}",
            type="tertiary",
            icon=":material/close:",
            on_click=_remove,
            args=(study, i),
        )


def _add() -> None:
    i = value("model_random_count", 0)
    put("model_random_count", i + 1)
    for part, start in (("structure", "us"), ("effects", [INTERCEPT]), ("group", []), ("text", "")):
        put(f"model_random_{i}_{part}", start)


def _remove(study: Study, i: int) -> None:
    count = value("model_random_count", 0)
    for j in range(i, count - 1):
        for part in ("structure", "effects", "group", "text"):
            put(f"model_random_{j}_{part}", value(f"model_random_{j + 1}_{part}"))
    forget(f"model_random_{count - 1}_")
    put("model_random_count", count - 1)
    clicked(study)
