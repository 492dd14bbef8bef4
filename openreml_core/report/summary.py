"""The summary of a fit: what ``print(fit)`` shows in a terminal and a notebook."""

from __future__ import annotations

import textwrap
from html import escape
from typing import Any

import pandas as pd

from openreml_core.covariance import SmoothTerm
from openreml_core.report.words import number, p_value
from openreml_core.tables import exclusion_words

#: Columns of a terminal that the text keeps to; tables may be wider.
WIDTH = 100
METHODS = {"reml": "REML", "ml": "maximum likelihood"}


def header_lines(fit: Any) -> list[tuple[str, str]]:
    """What was fitted, and how it ended: label and text."""
    dropped = f", {fit.n_dropped} left out for missing values" if fit.n_dropped else ""
    kind = "restricted " if fit.method == "reml" else ""
    lines = [
        ("Model", fit.formula),
        ("Data", f"{fit.n_obs} rows{dropped}; fixed effects {fit.rank}"
                 + "".join(f"; {words}" for words in _terms(fit))),
        ("Method", f"{METHODS[fit.method]}, {fit.engine} engine"),
        ("Criterion", f"{fit.criterion:.4f} (-2 {kind}log-likelihood)"),
        ("", f"{kind}log-likelihood {fit.loglik:.4f}, without constants {fit.loglik_asreml:.4f}"),
        ("AIC, BIC", f"{fit.aic:.2f}, {fit.bic:.2f} ({fit.n_parameters} parameters, fixed effects counted)"),
        ("Search", fit.message),
    ]  # fmt: skip
    if fit.specification.residual:
        lines.insert(1, ("Residual", fit.specification.residual))
    if fit.specification.excluded:
        lines.insert(-4, ("Excluded", exclusion_words(fit.specification.excluded)))
    if fit.specification.weights:
        lines.insert(-4, ("Weights", fit.specification.weights))
    return lines


def components_text(fit: Any) -> pd.DataFrame:
    """Variance components as text."""
    table = fit.variance_components()
    name = table["name1"].where(table["name2"] == "", table["name1"] + ", " + table["name2"])
    return pd.DataFrame(
        {
            "group": table["group"],
            "effect": name.where(name != "units", ""),
            "kind": table["kind"],
            "estimate": table["estimate"].map(number),
            "std. error": table["std_error"].map(number),
            "std. dev.": table["std_dev"].map(number),
            "share": [f"{v:.1f} %" if v == v else "" for v in table["percent"]],
            "": table["bound"],
        }
    )


def coefficients_text(fit: Any) -> tuple[pd.DataFrame, str]:
    """Fixed effects as text, and the name of the df method."""
    table = fit.fixed_effects()
    text = pd.DataFrame(
        {
            "": table.index,
            "estimate": table["estimate"].map(number),
            "std. error": table["std_error"].map(number),
            "df": [f"{v:.1f}" for v in table["df"]],
            "t": [f"{v:.3f}" for v in table["t"]],
            "p": table["p_value"].map(p_value),
            "95 % from": table["lower"].map(number),
            "to": table["upper"].map(number),
        }
    )
    return text, str(table.attrs["ddf"])


def summary_text(fit: Any) -> str:
    """The summary for a terminal."""
    coefficients, ddf = coefficients_text(fit)
    parts = ["Linear mixed model", ""]
    for label, text in header_lines(fit):
        opening = f"{label + ':' if label else '':<11}"
        parts += textwrap.wrap(text, WIDTH, initial_indent=opening, subsequent_indent=" " * 11)
    parts += ["", "Variance components", _aligned(components_text(fit), left=3)]
    parts += ["", f"Fixed effects (t tests with {ddf} df)", _aligned(coefficients, left=1)]
    if fit.aliased:
        parts += ["", "Left out, because other fixed effects determine them: " + ", ".join(fit.aliased)]
    if fit.warnings:
        parts += ["", "Notes"]
        for sentence in fit.warnings:
            parts += textwrap.wrap(sentence, WIDTH, initial_indent="- ", subsequent_indent="  ")
    return "\n".join(parts)


def summary_html(fit: Any) -> str:
    """The summary for a notebook."""
    coefficients, ddf = coefficients_text(fit)
    head = "".join(
        f"<tr><th style='text-align:left'>{escape(label)}</th><td style='text-align:left'>{escape(text)}</td></tr>"
        for label, text in header_lines(fit)
    )
    notes = "".join(f"<li>{escape(w)}</li>" for w in fit.warnings)
    return (
        f"<div><b>Linear mixed model</b><table>{head}</table>"
        f"<p>Variance components</p>{components_text(fit).to_html(index=False, border=0)}"
        f"<p>Fixed effects (t tests with {escape(ddf)} df)</p>{coefficients.to_html(index=False, border=0)}"
        + (f"<p>Notes</p><ul>{notes}</ul>" if notes else "")
        + "</div>"
    )


def _terms(fit: Any) -> list[str]:
    """Every random term with its number of levels; a spline has effects instead."""
    terms = fit.estimates.engine.model.terms
    return [f"{t.name} {len(t.levels)} {'effects' if isinstance(t, SmoothTerm) else 'levels'}" for t in terms]


def _aligned(table: pd.DataFrame, *, left: int) -> str:
    """A table in fixed width: the first ``left`` columns to the left, numbers to the right, empty columns left out."""
    kept = [i for i in range(table.shape[1]) if i < left or (table.iloc[:, i] != "").any()]
    columns = []
    for i in kept:
        cells = [str(table.columns[i]), *(str(v) for v in table.iloc[:, i])]
        width = max(map(len, cells))
        last = i == table.shape[1] - 1 and table.columns[i] == ""
        columns.append([c.ljust(width) if i < left or last else c.rjust(width) for c in cells])
    return "\n".join(("  " + "  ".join(cells)).rstrip() for cells in zip(*columns, strict=True))
