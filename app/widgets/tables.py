"""The tables of a fit as people read them."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.session import FittedModel, seed
from app.widgets import parts
from openreml_core import MixedModelFit, ModelError, figures

SHARE = st.column_config.ProgressColumn(
    "Share", format="%.1f %%", min_value=0, max_value=100, help="Part of the variance of the average row."
)


def components(fit: MixedModelFit) -> None:
    """Variance components with SE, share and bounds in words."""
    table = fit.variance_components()
    effect = pd.concat([_effects(part) for _, part in table.groupby("group", sort=False)]).reindex(table.index)
    effect = effect.str.replace("(Intercept)", "intercept", regex=False).where(table["name1"] != "units", "")
    shown = pd.DataFrame(
        {
            "Term": [parts.part_name(group, residual_parts(fit)) for group in table["group"]],
            "Effect": effect,
            "Kind": table["kind"],
            "Estimate": table["estimate"],
            "SE": table["std_error"],
            "Share": table["percent"],
            "SD": table["std_dev"],
            "Bound": table["bound"],
        }
    )
    if not (table["bound"] != "").any():
        shown = shown.drop(columns="Bound")
    words = {
        "SE": st.column_config.NumberColumn(format="%.4g", help="Standard error, from the average information."),
        "SD": st.column_config.NumberColumn(format="%.4g", help="Standard deviation, the root of the variance."),
    }
    parts.table(shown, "components", "variance-components", columns={"Share": SHARE, **words}, height=460)


def residual_parts(fit: MixedModelFit) -> tuple[str, ...]:
    """Names of the parts of the residual; none where a covariance was built by hand."""
    try:
        return tuple(fit.matrices.residual)
    except ModelError:
        return ()


def _effects(part: pd.DataFrame) -> pd.Series:
    """The effect, or the pair of effects, of each row of one term: levels without the name of their factor."""
    own = list(dict.fromkeys(part["name1"]))
    short = dict(zip(own, figures.effect_labels(own), strict=True))
    first, second = part["name1"].map(short), part["name2"].map(lambda name: short.get(name, name))
    join = part["kind"].map(lambda kind: " on " if kind == "loading" else " and ")
    return first.where(second == "", first + join + second)


def blups(shown: FittedModel) -> None:
    """Caterpillar plot with search, and the table beside it."""
    fit = shown.fit
    if not fit.random_terms:
        st.info("This model has no random effects.")
        return
    a, b, c, d = st.columns([2, 2, 2, 1.4])
    term = a.selectbox(
        "Term", fit.random_terms, key=seed("blup_term", fit.random_terms[0]), help="Which random effects."
    )
    if term not in fit.random_terms:
        term = fit.random_terms[0]
    effects = fit.random_effects(term)
    kinds = list(dict.fromkeys(effects["effect"]))
    effect = kinds[0]
    if len(kinds) > 1:
        effect = b.selectbox(
            "Effect",
            kinds,
            format_func=lambda e: str(e).replace("(Intercept)", "intercept"),
            key=f"blup_effect_{term}",
            help="Which of the term's effects.",
        )
    search = c.text_input(
        "Search a level", key="blup_search", placeholder="e.g. G01", help="Matching levels are marked."
    )
    n = int((effects["effect"] == effect).sum())
    top = None
    if n > 40:
        words = {0: "all levels", 10: "10 at each end", 25: "25 at each end", 50: "50 at each end"}
        top = d.selectbox("Show", list(words), format_func=words.__getitem__, index=2, key="blup_top") or None
    own = effects[effects["effect"] == effect].sort_values("blup", ascending=False).reset_index(drop=True)
    fig = fit.plot.caterpillar(term, effect=effect, search=search or None, top=top)
    parts.figure(fig, "caterpillar", f"blup-{term}")
    st.caption("Points: BLUPs. Bars: 95 % intervals from conditional standard deviations, given the fixed effects.")
    table = pd.DataFrame(
        {
            "Rank": own.index + 1,
            "Level": own["level"].astype(str),
            "BLUP": own["blup"],
            "Conditional SD": own["std_error"],
            "From": own["lower"],
            "To": own["upper"],
            "Reliability": own["reliability"],
        }
    )
    if search:
        table = table[table["Level"].str.contains(search, case=False, regex=False)]
        st.caption(f"{len(table)} of {n} levels match {search!r}.")
    parts.table(
        table, "blups", f"blup-{term}", height=420,
        columns={"Reliability": st.column_config.ProgressColumn(format="%.2f", min_value=0, max_value=1,
                 help="1 - prediction error variance / variance of the effects.")},
    )  # fmt: skip
