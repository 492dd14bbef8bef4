"""Which rows and columns a model takes from a table, odd names, and what is said of a table that cannot carry it."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from openreml_core.design import build_design
from openreml_core.errors import DataError, FormulaError, ModelError


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    return pd.DataFrame({"y": rng.gamma(3.0, size=12), "x": np.arange(1.0, 13.0), "g": list("abc") * 4})


ODD = [
    "yield",
    "class",
    "lambda",
    "IQ.verb",
    "größe",
    "plot yield (t/ha)",
    "1st",
    "None",
    "a|b",
    "a+b",
    "~",
    "x__y",
    "T",
]
ODD += [
    "pi",
    "log",
    "if",
    "v0",
    "f0",
    "t0",
    "Intercept",
    "it's",
    'say "x"',
    "tab\tname",
    "über maß",
    "ΔT",
    "a.b.c",
    ".x",
    "5",
]


WORDS = [name for name in ODD if re.fullmatch(r"(?:[^\W\d]|\.(?=[^\W\d]))[\w.]*", name)]


@pytest.mark.parametrize(("name", "written"), [(n, f"`{n}`") for n in ODD] + [(n, n) for n in WORDS])
def test_odd_names_everywhere(name, written, table):
    design = build_design(f"y ~ {written} + log({written})", table.rename(columns={"x": name}))
    assert design.fixed_names == ("(Intercept)", name, f"log({name})")
    assert design.fixed_terms[1].factors == (name,)
    design = build_design(f"log({written}) ~ (x | g)", table.rename(columns={"y": name}))
    np.testing.assert_allclose(design.y, np.log(table["y"]))
    design = build_design(f"y ~ {written} + (1 | {written})", table.rename(columns={"g": name}))
    assert design.fixed_names[1:] == (f"{name}[T.b]", f"{name}[T.c]")
    assert design.random[0].name == name and design.random[0].group == (name,)
    design = build_design(f"y ~ (1 + {written} | g)", table.rename(columns={"x": name}))
    assert design.random[0].effects == ("(Intercept)", name)
    if name not in ("T", "pi"):  # where no column has these names they are constants
        with pytest.raises(FormulaError) as error:
            build_design(f"y ~ log({written})", table.drop(columns="x"))
        assert f"*{name}*" in str(error.value)


def test_a_column_whose_name_is_a_number(table):
    assert build_design("y ~ `2`", table.rename(columns={"x": 2})).fixed_names == ("(Intercept)", "2")


def test_kinds_of_columns(table):
    table = table.assign(
        flag=[True, False] * 6,
        text=["u", "v"] * 6,
        category=pd.Categorical(["v", "u"] * 6, categories=["w", "v", "u"]),
        integer=np.arange(12),
        nullable=pd.array([1, 2, None] * 4, dtype="Int64"),
        mixed=pd.Series([1, 2.5, 3] * 4, dtype=object),
    )
    assert build_design("y ~ flag", table).fixed_names[1:] == ("flag[T.True]",)
    assert build_design("y ~ text", table).fixed_names[1:] == ("text[T.v]",)
    assert build_design("y ~ category", table).fixed_names[1:] == ("category[T.u]",)
    assert build_design("y ~ integer + mixed", table).fixed_names[1:] == ("integer", "mixed")
    design = build_design("y ~ nullable", table)
    assert design.fixed_names[1:] == ("nullable",) and design.n_dropped == 4
    assert dict(build_design("y ~ integer + (1 | text)", table).formula.kinds) == {
        "y": "number",
        "integer": "number",
        "text": "factor",
    }


def test_incomplete_rows_are_dropped_and_named(table):
    table.loc[[2, 5], "y"] = np.nan
    table.loc[[5, 7], "g"] = None
    design = build_design("y ~ x + (1 | g)", table)
    assert design.n_dropped == 3
    assert design.index.tolist() == [0, 1, 3, 4, 6, 8, 9, 10, 11]
    assert design.dropped["row"].tolist() == [2, 5, 7]
    assert design.dropped["reason"].tolist() == ["y is missing", "y, g are missing", "g is missing"]
    assert list(design.frame.columns) == ["y", "x", "g"] and len(design.frame) == 9
    assert build_design("y ~ x", table).n_dropped == 2
    with pytest.raises(DataError, match="rows 3, 6, 8"):
        build_design("y ~ x + (1 | g)", table, missing="error")


def test_transforms_see_the_complete_rows_only(table):
    gaps = table.copy()
    gaps.loc[[0, 11], "y"] = np.nan
    whole = table.iloc[1:11]
    np.testing.assert_array_equal(build_design("y ~ scale(x)", gaps).X, build_design("y ~ scale(x)", whole).X)


def test_labels_of_rows_are_kept_and_repeated_ones_work(table):
    table.index = ["p1", "p2", "p2", *[f"q{k}" for k in range(9)]]
    table["x"] = [1.0, np.inf, 3, 4, 5, 6, 7, 8, 9, 10, 11, np.nan]
    with pytest.raises(DataError, match="infinite in row p2"):
        build_design("y ~ x", table)
    table.iloc[1, 1] = np.nan
    design = build_design("y ~ x + (1 | g)", table)
    assert len(design.y) == 10 and design.index[1] == "p2"
    assert design.dropped["row"].tolist() == ["p2", "q8"]


def test_the_table_is_left_alone(table):
    before = table.copy(deep=True)
    design = build_design("log(y) ~ poly(x, 2) + (1 | g)", table)
    design.y[:] = 0
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize(
    ("formula", "kind", "says"),
    [
        ("yy ~ x", FormulaError, "Column *yy* is not in this table. Did you mean *y*?"),
        ("y ~ log(xx)", FormulaError, "Did you mean *x*?"),
        ("g ~ x", DataError, "The response *g* is not numeric: 'a' stands in rows 1, 2, 3, 4, 5 and 7 more."),
        ("flag ~ x", DataError, "TRUE and FALSE"),
        ("constant ~ x", DataError, "has the value 5 in every row"),
        ("y ~ y", FormulaError, "*y* is the response"),
        ("y ~ (1 | y)", FormulaError, "*y* is the response"),
        ("y ~ infinite", DataError, "*infinite* is infinite in row 2"),
        ("infinite ~ x", DataError, "*infinite* is infinite in row 2"),
        (
            "log(signed) ~ x",
            DataError,
            "log(signed) has no finite value in rows 1, 4 (in the first of them signed = -1).",
        ),
        ("y ~ log(signed)", DataError, "A logarithm needs values above zero"),
        ("y ~ sqrt(signed)", DataError, "sqrt(signed) has no finite value in row 1 (there signed = -1)."),
        ("y ~ I(1 / signed)", DataError, "in row 4"),
        ("y ~ empty", DataError, "*empty* is missing in every row"),
        ("empty ~ x", DataError, "*empty* is missing in every row"),
        ("y ~ one", DataError, "*one* has one level (u)"),
        ("y ~ factor(x)", DataError, "12 coefficients but there are only 12 complete rows"),
        ("y ~ log(g)", FormulaError, "log() on text: *g* holds levels"),
        ("y ~ I(g + 1)", FormulaError, "arithmetic on text"),
        ("y ~ poly(x, 12)", DataError, "more than 12 distinct values"),
        ("y ~ poly(poly(x, 2), 2)", FormulaError, "several columns"),
        ("y ~ relevel(g, ref='z')", DataError, "no level 'z'"),
        ("y ~ C(g, contr.treatment('z'))", DataError, "no level 'z'"),
        ("y ~ scale(constant)", DataError, "constant"),
        ("y ~ ns(constant)", DataError, "constant"),
        ("poly(y, 2) ~ x", DataError, "several columns"),
        ("y ~ offset(g)", DataError, "offset(g)"),
        ("y ~ complex", DataError, "complex numbers"),
        ("y ~ lists", DataError, "neither numbers nor text"),
    ],
)
def test_what_a_table_cannot_carry(formula, kind, says, table):
    table = table.assign(
        flag=[True, False] * 6,
        constant=5.0,
        infinite=[1.0, np.inf] + [2.0, 3.0] * 5,
        signed=[-1.0, 1, 2, 0] + [1.0, 2.0] * 4,
        empty=np.nan,
        one="u",
        complex=1j,
    )
    table["lists"] = [[1, 2]] * 12
    with pytest.raises(kind) as error:
        build_design(formula, table)
    assert says in str(error.value)


def test_tables_that_are_none(table):
    with pytest.raises(DataError, match="no rows"):
        build_design("y ~ x", table.iloc[:0])
    with pytest.raises(DataError, match="two columns named"):
        build_design("y ~ x", pd.concat([table, table[["x"]]], axis=1))
    with pytest.raises(DataError, match="not a table"):
        build_design("y ~ x", {"y": [1, 2, 3], "x": [1, 2, 3]})
    with pytest.raises(DataError, match="complete rows"):
        build_design("y ~ x", table.iloc[:2])
    with pytest.raises(ModelError, match="missing="):
        build_design("y ~ x", table, missing="ignore")
    with pytest.raises(FormulaError, match="is a text"):
        build_design(None, table)
    with pytest.raises(DataError, match="too large"):
        build_design("y ~ f1:f2:f3", wide())


def wide() -> pd.DataFrame:
    codes = np.arange(3000)
    return pd.DataFrame({"y": codes * 1.0, **{f"f{k}": pd.Categorical(codes % (997 + k)) for k in (1, 2, 3)}})


def test_an_integer_coded_factor_works_in_bars_and_as_a_factor(table):
    coded = table.assign(subject=[101, 7, 23] * 4)
    assert build_design("y ~ (1 | subject)", coded).random[0].levels == ("7", "23", "101")
    assert build_design("y ~ factor(subject)", coded).fixed_names[1:] == (
        "factor(subject)[T.23]",
        "factor(subject)[T.101]",
    )
    assert build_design("y ~ subject", coded).fixed_names[1:] == ("subject",)
