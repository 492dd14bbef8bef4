"""Heritability of the levels of a random term, each by its own formula."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from app.session import FittedModel, put, value
from app.widgets import parts
from app.widgets.answers import answer
from openreml_core import figures
from openreml_core.report.words import number
from openreml_core.tables.vocabulary import Kind, kind_of_name

METHODS = {
    "standard": "Standard, of entry means",
    "cullis": "Cullis",
    "generalized": "Oakey, generalized",
    "pev": "By prediction error",
    "piepho": "Piepho",
}
HELP = (
    "The share of the differences between entries that selection can pass on: 1 when the ranking is exact, 0 when it is "
    "noise. The formulas agree in a balanced trial and part company otherwise, so name the one you report."
)


def terms(shown: FittedModel) -> list[str]:
    """The random terms that suggest it: of genotypes by their name, or of related levels."""
    related = {relation.group for relation in shown.specification.related}
    return [
        name
        for name in shown.fit.random_terms
        if ":" not in name and (name in related or kind_of_name(name) is Kind.GENOTYPE)
    ]


def draw(shown: FittedModel) -> None:
    """The table by method; Piepho's when it is asked for, since it needs another fit."""
    fit = shown.fit
    term = chosen(terms(shown), "heritability_term", "Whose levels are the entries.")
    quick = [method for method in METHODS if method != "piepho"]
    found = answer(
        shown.answers, "heritability", term, work=lambda job: fit.heritability(term, quick),
        what=f"Heritability of {term}",
    )  # fmt: skip
    if found is None:
        return
    several = found.index.nlevels > 1
    piepho = shown.answers.get("piepho", term)
    table = found if several or piepho is None or piepho.result is None else pd.concat([found, piepho.result])
    st.caption(
        f"Heritability of {parts.plain(term)}, each by its own formula; standard errors by the delta method.", help=HELP
    )
    frame = pd.DataFrame({"Method": [METHODS[m] for m in table.index.get_level_values("method")]})
    if several:
        effects = figures.effect_labels(table.index.get_level_values("effect"))
        frame.insert(0, "Effect", [e.replace("(Intercept)", "intercept") for e in effects])
    frame["Heritability"] = table["estimate"].to_numpy()
    frame["SE"] = table["std_error"].to_numpy()
    frame["Formula"] = table["formula"].to_numpy()
    share = st.column_config.ProgressColumn("Heritability", format="%.3f", min_value=0, max_value=1)
    parts.table(frame, "heritability", f"heritability-{term}", columns={"Heritability": share}, height=420)
    for words in _notes(table, several):
        st.caption(parts.said(words))
    if several:
        return
    st.caption(_differences(found.attrs["differences"]))
    if piepho is None or piepho.result is None:
        done = answer(
            shown.answers, "piepho", term, work=lambda job: fit.heritability(term, "piepho"),
            what=f"Fitting {term} as a fixed factor", button="Add Piepho's",
            help="Piepho's heritability needs the entries' estimates as fixed effects: the model is fitted once more.",
        )  # fmt: skip
        if done is not None:
            st.rerun()


def _notes(table: pd.DataFrame, several: bool) -> list[str]:
    """Why numbers or their standard errors are missing, each reason once."""
    out = []
    for key, row in table.iterrows():
        if row["note"]:
            what = "no heritability of its own" if pd.isna(row["estimate"]) else "no standard error"
            out.append(f"{METHODS[key[-1] if several else key]}, {what}: {row['note']}.")
    return list(dict.fromkeys(out))


def _differences(found: Mapping[str, float]) -> str:
    return (
        f"Mean variance of a difference between two entries: genetic {number(found['genetic'])}, "
        f"between BLUPs {number(found['blup'])}."
    )


def chosen(offered: list[str], key: str, help: str) -> str:
    """The term that the section is about; asked for where there are several."""
    if value(key) not in offered:
        put(key, offered[0])
    if len(offered) == 1:
        return offered[0]
    return st.selectbox("Term", offered, key=key, help=help)
