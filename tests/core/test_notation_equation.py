"""The equation of a formula, in the LaTeX that KaTeX renders."""

from __future__ import annotations

import re

import pytest

from openreml_core.notation import escape, latex, parse_formula


def test_slopes_have_a_covariance_matrix():
    text = latex(parse_formula("Reaction ~ Days + (Days | Subject)"))
    assert r"\mu + \beta_{1}\,\text{Days}_{i}" in text
    assert r"\text{Subject}_{1,[i]}\,\text{Days}_{i}" in text
    assert r"\sigma_{\text{Subject},01}" in text


def test_double_bars_have_no_covariance():
    text = latex(parse_formula("Reaction ~ Days + (Days || Subject)"))
    assert r"\sigma_{" not in text and r"\sigma^2_{\text{Subject},1}" in text


def test_kinds_decide_between_factor_and_covariate():
    formula = parse_formula("y ~ x + (1 | g)")
    assert r"\text{x}_{[i]}" in latex(formula)
    assert r"\beta_{1}\,\text{x}_{i}" in latex(formula, {"x": "number"})


def test_functions_and_fractions():
    text = latex(parse_formula("log(y) ~ I(x^2) + I((x + 1) / sqrt(z)) + log10(z)"))
    assert r"\log\left(\text{y}_{i}\right)" in text
    assert r"{\text{x}_{i}}^{2}" in text
    assert r"\frac{\text{x}_{i} + 1}{\sqrt{\text{z}_{i}}}" in text
    assert r"\log_{10}\left(\text{z}_{i}\right)" in text


@pytest.mark.parametrize(
    "name", ["plot_no", "a%b", "x$y", "a & b", "#1", "{", "}", "a^2", "~x", "back\\slash", "größe"]
)
def test_odd_names_are_escaped(name):
    text = latex(parse_formula(f"y ~ `{name}` + (`{name}` | `{name}`)"))
    assert escape(name) in text
    outside = re.sub(r"\\[\\{}$&#%_]|\\text[a-z]*\{\}", "", escape(name))
    assert not set(outside[len(r"\text{") : -1]) & set("\\{}$&#%_^~")
    unescaped = re.sub(r"\\[{}]", "", text)
    assert unescaped.count("{") == unescaped.count("}")
    assert "$" not in text


def test_every_structure_has_an_equation():
    right = (
        "fa(0 + c | g, k=2) + exp(0 + pos(x, y1) | b) + spl(x | g) + spl2d(row, col) + kron(us(t), ar1(d) | animal)"
        " + known(1 | g) + (0 + f || g) + id(x | h)"
    )
    formula = parse_formula(f"y ~ {right}")
    assert latex(formula).count(r"\sim") == len(formula.random) + 1
