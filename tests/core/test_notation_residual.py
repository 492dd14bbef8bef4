"""The residual's notation."""

from __future__ import annotations

import pytest

from openreml_core.errors import FormulaError
from openreml_core.notation import parse_residual


def shape(text: str) -> list[tuple[list[tuple[str, tuple[str, ...]]], str | None]]:
    return [([(f.structure, f.variables) for f in term.factors], term.section) for term in parse_residual(text).terms]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id(units)", [([("id", ("units",))], None)]),
        ("dsum(id(units) | county)", [([("id", ("units",))], "county")]),
        ("ar1(row):ar1(col)", [([("ar1", ("row",)), ("ar1", ("col",))], None)]),
        (
            "ar1(row):ar1(col) + id(units)",
            [([("ar1", ("row",)), ("ar1", ("col",))], None), ([("id", ("units",))], None)],
        ),
        ("dsum(ar1(row):ar1(col) | trial)", [([("ar1", ("row",)), ("ar1", ("col",))], "trial")]),
        ("id(Subject):us(age)", [([("id", ("Subject",)), ("us", ("age",))], None)]),
        ("id(Mare):ar1(day)", [([("id", ("Mare",)), ("ar1", ("day",))], None)]),
        ("id(Subject):exp(time)", [([("id", ("Subject",)), ("exp", ("time",))], None)]),
        (
            "exp(latitude, longitude) + id(units)",
            [([("exp", ("latitude", "longitude"))], None), ([("id", ("units",))], None)],
        ),
        ("~ id(units)", [([("id", ("units",))], None)]),
    ],
)
def test_what_the_notation_lists(text, expected):
    assert shape(text) == expected
    assert parse_residual(parse_residual(text).text) == parse_residual(text)


def test_the_default_is_plain():
    assert parse_residual(None).is_plain and parse_residual("").is_plain
    assert not parse_residual("dsum(id(units) | county)").is_plain


def test_options_and_odd_names():
    residual = parse_residual("dsum(ar1(`field row`):ar1(col) + id(units) | `the trial`) + matern(x, y, nu=1.5)")
    assert residual.columns == ("field row", "col", "x", "y", "the trial")
    assert residual.terms[2].factors[0].options == (("nu", 1.5),)
    assert residual.text == "dsum(ar1(`field row`):ar1(col) + id(units) | `the trial`) + matern(x, y, nu=1.5)"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ar1(row", "not closed"),
        ("ar9(row)", "no structure"),
        ("ar1(row) - id(units)", "not a sum"),
        ("ar1(row):ar1(row)", "twice"),
        ("id(units) + id(units)", "twice"),
        ("ar1(row):id(units)", "alone"),
        ("ar1(units)", "no meaning"),
        ("ar1(row, col)", "one column"),
        ("dsum(id(units))", "one column"),
        ("dsum(dsum(id(units) | a) | b)", "inside"),
        ("row", "is no structure"),
        ("open('x')", "no structure"),
        ("ar1(__import__('os'))", "takes"),
    ],
)
def test_errors(text, says):
    with pytest.raises(FormulaError) as error:
        parse_residual(text)
    assert says in str(error.value)
