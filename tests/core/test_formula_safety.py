"""A formula cannot run code: whatever it asks beyond the allow-list is refused before anything is computed."""

from __future__ import annotations

import builtins
import os
import time

import numpy as np
import pandas as pd
import pytest

from openreml_core.design import build_design
from openreml_core.errors import FormulaError, ModelError
from openreml_core.notation import parse_formula, parse_residual

SMUGGLED = [
    "open('{path}', 'w')",
    "I(open('{path}', 'w'))",
    "log(I(open('{path}', 'w')))",
    "log(x + open('{path}', 'w'))",
    "poly(x, open('{path}', 'w'))",
    "C(g, open('{path}', 'w'))",
    "relevel(g, ref=open('{path}', 'w'))",
    "{{open('{path}', 'w')}}",
    "`open`('{path}', 'w')",
    "{{ `x`; open('{path}') }}",
    "__import__('os').system('touch {path}')",
    "I(__import__('os').system('touch {path}'))",
    "x.__class__.__bases__",
    "I(x.__class__)",
    "I(x).__class__",
    "().__class__.__mro__",
    "x.values.tofile('{path}')",
    "np.save('{path}', x)",
    "(lambda: open('{path}', 'w'))()",
    "I((lambda q: q)(x))",
    "I([open('{path}', 'w') for i in x])",
    "I(x[open('{path}', 'w')])",
    "I((q := open('{path}', 'w')))",
    "I(x if open('{path}', 'w') else x)",
    "I(x and open('{path}', 'w'))",
    "I(not open('{path}', 'w'))",
    "I(f'{{open(1)}}')",
    "I(*open('{path}', 'w'))",
    "log(**open('{path}', 'w'))",
    "eval('open(1)')",
    "exec('open(1)')",
    "getattr(x, 'tofile')('{path}')",
    "x %in% open('{path}', 'w')",
    "x:open('{path}', 'w')",
    "x | open('{path}', 'w')",
    "(open('{path}', 'w') | g)",
    "(1 | open('{path}', 'w'))",
    "open(1 | g)",
    "fa(0 + g | g, k=open('{path}', 'w'))",
    "exp(0 + pos(open('{path}', 'w'), x) | g)",
    "offset(open('{path}', 'w'))",
    "I(1 ; open('{path}', 'w'))",
    "I(x\nopen('{path}', 'w'))",
    "I(x) @ open('{path}', 'w')",
    "hashed(x)",
    "contr.sum(open('{path}', 'w'))",
    "C(x, contr.treatment(open('{path}', 'w')))",
    "I('text')",
    "I(True)",
    "I(x, y)",
    "I(yield x)",
    "I(await x)",
    "I(1j * x)",
    "I(...)",
]


@pytest.fixture
def table() -> pd.DataFrame:
    x = np.arange(1.0, 9.0)
    return pd.DataFrame({"y": x**2, "x": x, "g": list("aabbccdd")})


@pytest.mark.parametrize("smuggled", SMUGGLED)
@pytest.mark.parametrize("side", ["y ~ {}", "y ~ x + {} + (1 | g)", "{} ~ x"])
def test_nothing_runs(smuggled, side, table, tmp_path, monkeypatch):
    path = tmp_path / "touched"
    ran: list[object] = []
    monkeypatch.setattr(os, "system", lambda *a: ran.append(a))
    text = side.format(smuggled.format(path=path))
    opened = builtins.open
    with monkeypatch.context() as patch:
        patch.setattr(
            builtins, "open", lambda *a, **k: ran.append(a) if a and str(a[0]) == str(path) else opened(*a, **k)
        )
        patch.setattr(builtins, "eval", lambda *a, **k: ran.append(a))
        patch.setattr(builtins, "exec", lambda *a, **k: ran.append(a))
        with pytest.raises(FormulaError):
            build_design(text, table)
    assert not ran
    assert not path.exists()


def test_a_column_named_like_a_function_is_only_a_column(table):
    table = table.rename(columns={"x": "open", "g": "__import__"})
    design = build_design("y ~ open + (1 | __import__)", table)
    assert design.fixed_names == ("(Intercept)", "open")
    with pytest.raises(FormulaError):
        build_design("y ~ open(open)", table)


def test_allowed_calls_may_be_nested(table):
    design = build_design("log(y) ~ log(I(x + 1)) + sqrt(exp(log(x)))", table)
    np.testing.assert_allclose(design.X[:, 1], np.log(table["x"] + 1))
    np.testing.assert_allclose(design.X[:, 2], np.sqrt(table["x"]))


@pytest.mark.parametrize(
    "text",
    [
        "y ~ I(9**9**9)",
        "y ~ I(x + 9**9**9)",
        "y ~ I(x^9^9^9)",
        "y ~ I(x**99999999)",
        "y ~ I(x * 1e999)",
        "y ~ I(" + "9" * 5000 + " * x)",
        "y ~ I(" + "-" * 5000 + "x)",
        "y ~ I(" + "+".join(["x"] * 5000) + ")",
        "y ~ " + "(" * 5000 + "x" + ")" * 5000,
        "y ~ " + "I(" * 200 + "x" + ")" * 200,
        "y ~ " + "x + " * 10_000 + "x",
        "y ~ " + "*".join("abcdefghijklmnopqrstuvwxyz"),
        "y ~ (a + b + c + d + e + f + g)^10",
        "y ~ ((((a + b + c)^10)^10)^10)^10",
        "y ~ a" + "^2" * 6000,
        "y ~ " + "a:" * 9000 + "a",
        "y ~ " + "+".join(["a*b*c*d*e*f*g*h*i*j*k"] * 500),
        "y ~ a - " + "-".join(["(a + b + c + d)^5"] * 500),
        "y ~ (1 | " + "/".join(f"a{i}" for i in range(2000)) + ")",
    ],
)
def test_huge_formulas_are_refused_at_once(text, table):
    start = time.process_time()
    with pytest.raises(FormulaError):
        build_design(text, table)
    assert time.process_time() - start < 2.0


def test_powers_of_columns_stay_numbers(table):
    with pytest.raises(ModelError, match="no finite value"):
        build_design("y ~ I(9^(9^x))", table)


@pytest.mark.parametrize(
    "text",
    ["y ~ \x1b[31mx\x1b[0m", "y ~ `\x1b[31mx`", "y ~ relevel(g, ref='\x1b[2J')", "\x1b]0;title\x07y ~ x", "y ~ x\x00"],
)
def test_messages_carry_no_terminal_codes(text, table):
    with pytest.raises(FormulaError) as error:
        build_design(text, table)
    assert all(character.isprintable() for character in str(error.value))


@pytest.mark.parametrize(
    "text", ["open('x')", "ar1(__import__('os'))", "dsum(id(units) | open('x'))", "ar1(row.__class__())"]
)
def test_the_residual_calls_nothing(text):
    with pytest.raises(FormulaError):
        parse_residual(text)


def test_strings_stand_only_where_an_option_takes_them():
    assert parse_formula('y ~ relevel(f, ref="b")').fixed_terms == ('relevel(f, ref="b")',)
    for text in ['y ~ "a"', "y ~ log('a')", "y ~ I(x + 'a')", "y ~ I(x == 'a')", "y ~ poly(x, 'a')"]:
        with pytest.raises(FormulaError):
            parse_formula(text)
