"""Menus and notation: what is composed is read back, what is written is found in the menus."""

from __future__ import annotations

import pytest

from openreml_core.notation import (
    ResidualChoice,
    compose_random,
    is_choice,
    parse_formula,
    parse_residual,
    read_random,
    read_residual,
)

RANDOM = [
    "(1 | gen)",
    "(1 | rep:block)",
    "(Days | Subject)",
    "(Days || Subject)",
    "(0 + county | gen)",
    "diag(0 + county | gen)",
    "cs(0 + C(age) | Subject)",
    "arh1(0 + time | subject)",
    "ante(0 + time | subject, k=2)",
    "fa(0 + county | gen, k=2)",
    "rr(0 + `site year` | gen, k=1)",
    "exp(0 + pos(x, y) | block)",
    "matern(0 + pos(x, y) | block, nu=2.5, aniso=TRUE)",
    "spl(x)",
    "spl(x | gen, knots=8)",
    "spl2d(row, col)",
    "spl2d(row, col, knots=12)",
    "kron(us(trait), ar1(time) | animal)",
    "known(1 | gen)",
]


@pytest.mark.parametrize("text", RANDOM)
def test_a_random_term_comes_back_from_the_menus_as_it_was(text: str) -> None:
    term = parse_formula(f"y ~ 1 + {text}").random[0]
    assert is_choice(term)
    said = read_random(term)
    assert compose_random(said.pop("structure"), said.pop("group"), **said) == text


def test_what_is_incomplete_is_not_written() -> None:
    assert compose_random("us", []) == ""
    assert compose_random("us", ["gen"], effects=[]) == ""
    assert compose_random("exp", ["block"]) == ""
    assert compose_random("spl2d", positions=["row"]) == ""
    assert compose_random("kron", ["animal"], parts=[("us", "trait"), ("ar1", "")]) == ""


def test_bare_positions_are_positions() -> None:
    term = parse_formula("y ~ 1 + exp(0 + pos(time) | animal)").random[0]
    assert read_random(term)["positions"] == ["time"]


RESIDUALS = [
    ("id(units)", "independent"),
    ("dsum(id(units) | county)", "independent"),
    ("ar1(row):ar1(col)", "grid"),
    ("ar1(row):ar1(col) + id(units)", "grid"),
    ("dsum(ar1(row):toep(col) + id(units) | trial)", "grid"),
    ("id(Subject):us(age)", "within"),
    ("id(Subject):ante(age, k=2)", "within"),
    ("id(Mare):exp(Time) + id(units)", "within"),
    ("exp(latitude, longitude) + id(units)", "distance"),
    ("matern(x, y, nu=2.5, aniso=TRUE)", "distance"),
    ("dsum(gau(`field x`, y) | trial)", "distance"),
]


@pytest.mark.parametrize(("text", "kind"), RESIDUALS)
def test_a_residual_comes_back_from_the_menus_as_it_was(text: str, kind: str) -> None:
    choice = read_residual(parse_residual(text))
    assert choice is not None and choice.kind == kind
    assert choice.text == text


@pytest.mark.parametrize(
    "text",
    [
        "ar1(row)",
        "id(a):id(b):us(c)",
        "dsum(ar1(row):ar1(col) | trial) + id(units)",
        "exp(x, y) + gau(x, y)",
        "ar1(a):ar1(b):ar1(c)",
    ],
)
def test_what_no_menu_says_is_left_to_the_hand(text: str) -> None:
    assert read_residual(parse_residual(text)) is None


def test_an_incomplete_residual_is_empty() -> None:
    assert ResidualChoice("grid", ("ar1", "ar1"), ("row", "")).text == ""
    assert ResidualChoice("within", ("us",), ("age",)).text == ""
    assert ResidualChoice("distance", ("exp",), ()).text == ""
