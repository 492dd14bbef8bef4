"""X as R's model.matrix has it: coding, contrasts, transforms, aliased columns, and the same columns for new data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openreml_core.design import build_design
from openreml_core.errors import DataError, FormulaError


@pytest.fixture
def toy() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "y": [2.0, 7, 1, 8, 2, 8, 1, 8, 2, 8, 4, 5],
            "a": np.repeat(["p", "q", "r"], 4),
            "b": ["u", "v"] * 6,
            "c": ["k", "l", "m", "n"] * 3,
            "x": [3.0, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8],
            "z": [2.5, 1, 0.5, 4, 3, 2, 1.5, 6, 7, 2.2, 1.1, 0.4],
        }
    )


# R: colnames(model.matrix(<formula>, toy)), its "ap" written a[p] or a[T.p]
CODING = {
    "a * b": ["(Intercept)", "a[T.q]", "a[T.r]", "b[T.v]", "a[T.q]:b[T.v]", "a[T.r]:b[T.v]"],
    "0 + a": ["a[p]", "a[q]", "a[r]"],
    "0 + a + b": ["a[p]", "a[q]", "a[r]", "b[T.v]"],
    "0 + a:b": ["a[p]:b[u]", "a[q]:b[u]", "a[r]:b[u]", "a[p]:b[v]", "a[q]:b[v]", "a[r]:b[v]"],
    "x:a": ["(Intercept)", "x:a[p]", "x:a[q]", "x:a[r]"],
    "x + x:a": ["(Intercept)", "x", "x:a[T.q]", "x:a[T.r]"],
    "0 + x:a": ["x:a[p]", "x:a[q]", "x:a[r]"],
    "a / b": ["(Intercept)", "a[T.q]", "a[T.r]", "a[p]:b[T.v]", "a[q]:b[T.v]", "a[r]:b[T.v]"],
    "a * b - a": ["(Intercept)", "b[T.v]", "a[T.q]:b[u]", "a[T.r]:b[u]", "a[T.q]:b[v]", "a[T.r]:b[v]"],
    "a * b - b": ["(Intercept)", "a[T.q]", "a[T.r]", "a[p]:b[T.v]", "a[q]:b[T.v]", "a[r]:b[T.v]"],
    "0 + x + a": ["x", "a[p]", "a[q]", "a[r]"],
    "relevel(c, ref='m')": ["(Intercept)"] + [f'relevel(c, ref="m")[T.{level}]' for level in "kln"],
    "C(c, contr.treatment(base=3))": ["(Intercept)"] + [f"C(c, contr.treatment(base=3))[T.{level}]" for level in "kln"],
    "C(c, contr.SAS)": ["(Intercept)"] + [f"C(c, contr.SAS)[T.{level}]" for level in "klm"],
    "poly(x, 2) + I(x^2)": ["(Intercept)", "poly(x, 2)[1]", "poly(x, 2)[2]"],
}


@pytest.mark.parametrize("right", CODING)
def test_names_and_coding_are_rs(right, toy):
    design = build_design(f"y ~ {right}", toy)
    assert list(design.fixed_names) == CODING[right]
    assert np.linalg.matrix_rank(design.X) == design.X.shape[1]


def test_a_product_without_main_effects_keeps_its_leftmost_columns(toy):
    # R: model.matrix(~ a:b, toy) has 7 columns, lm() gives the last one NA
    design = build_design("y ~ a:b", toy)
    assert design.aliased == ("a[r]:b[v]",)
    assert design.X.shape == (12, 6)
    assert "left out: a[r]:b[v]" in design.warnings[0]


# R: model.matrix(<formula>, toy)[c(1, 6, 9), -1]
TRANSFORMED = {
    "poly(x, 2)": [
        [-0.158610317143629, -0.133088368563028],
        [0.555136110002701, 0.534963050106291],
        [0.0793051585718144, -0.279224616396942],
    ],
    "C(c, contr.poly)": [
        [-0.670820393249937, 0.5, -0.223606797749979],
        [-0.223606797749979, -0.5, 0.670820393249937],
        [-0.670820393249937, 0.5, -0.223606797749979],
    ],
    "C(c, contr.sum)": [[1, 0, 0], [0, 1, 0], [1, 0, 0]],
    "C(c, contr.helmert)": [[-1, -1, -1], [1, -1, -1], [-1, -1, -1]],
}


@pytest.mark.parametrize("right", TRANSFORMED)
def test_values_are_rs(right, toy):
    X = build_design(f"y ~ {right}", toy).X
    np.testing.assert_allclose(X[[0, 5, 8], 1:], TRANSFORMED[right], atol=1e-12)


# R, library(splines): model.matrix(<formula>, toy)[6, -1] and [9, -1]
SPLINES = {
    "bs(x, df=5)": (
        [0, 0, 0, 0, 1],
        [0.000000000000000, 0.333333333333333, 0.555555555555556, 0.111111111111111, 0.000000000000000],
    ),
    "bs(z, knots=c(1, 3), degree=2)": (
        [0.1923076923076923, 0.7243589743589743, 0.0833333333333333, 0.0000000000000000],
        [0, 0, 0, 1],
    ),
    "ns(z, df=3)": (
        [-0.0319770777312126, 0.6344545054632000, -0.3551242472079053],
        [-0.162907268170426, 0.374686716791980, 0.788220551378446],
    ),
    "ns(z, knots=c(1, 3))": (
        [0.00575604549835534, 0.61211532525955070, -0.35893586182239712],
        [-0.157894736842105, 0.394736842105263, 0.763157894736842],
    ),
}


@pytest.mark.parametrize("right", SPLINES)
def test_splines_are_rs(right, toy):
    X = build_design(f"y ~ {right}", toy).X
    np.testing.assert_allclose(X[5, 1:], SPLINES[right][0], atol=1e-9)
    np.testing.assert_allclose(X[8, 1:], SPLINES[right][1], atol=1e-9)


def test_functions_of_numbers(toy):
    design = build_design(
        "log(y) ~ log(z) + log2(z) + log10(z) + log1p(z) + sqrt(x) + exp(-z) + I(x^2) + I(x ** 3 / 2) + abs(x - 4)", toy
    )
    z, x = toy["z"], toy["x"]
    expected = [np.log(z), np.log1p(z), np.sqrt(x), np.exp(-z), x**2, x**3 / 2, abs(x - 4)]
    np.testing.assert_allclose(design.X[:, 1:], np.column_stack(expected))
    np.testing.assert_allclose(design.y, np.log(toy["y"]))
    assert design.aliased == ("log2(z)", "log10(z)")


def test_periods(toy):
    X = build_design("y ~ sin(2 * pi * x) + cos(2*pi*z)", toy).X
    np.testing.assert_allclose(X[:, 1], np.sin(2 * np.pi * toy["x"]))
    np.testing.assert_allclose(X[:, 2], np.cos(2 * np.pi * toy["z"]))


def test_scaling(toy):
    X = build_design("y ~ scale(x) + center(z)", toy).X
    np.testing.assert_allclose(X[:, 1], (toy["x"] - toy["x"].mean()) / toy["x"].std())
    np.testing.assert_allclose(X[:, 2], toy["z"] - toy["z"].mean())


@pytest.mark.parametrize(
    "right",
    [
        "poly(x, 2) * a",
        "scale(x) + center(z) + log(z)",
        "ns(z, df=3) + b",
        "bs(x, df=5)",
        "factor(x)",
        "a:b",
        "relevel(c, ref='m') + I(x > 3)",
        "0 + C(c, contr.sum):x",
    ],
)
def test_new_data_take_the_constants_of_the_fit(right, toy):
    design = build_design(f"y ~ {right}", toy)
    some = toy.iloc[[7, 2, 2, 10]].drop(columns="y").reset_index(drop=True)
    np.testing.assert_allclose(design.fixed_matrix(some), design.X[[7, 2, 2, 10]], atol=1e-12)


def test_new_data_with_gaps_and_strangers(toy):
    design = build_design("y ~ a + x", toy)
    gaps = pd.DataFrame({"a": ["q", None, "p"], "x": [1.0, 2.0, np.nan]})
    X = design.fixed_matrix(gaps)
    assert X[0].tolist() == [1, 1, 0, 1] and np.isnan(X[1]).any() and np.isnan(X[2]).any()
    with pytest.raises(DataError, match=r"level w of \*a\*"):
        design.fixed_matrix(pd.DataFrame({"a": ["w"], "x": [1.0]}))
    with pytest.raises(FormulaError, match=r"\*x\*"):
        design.fixed_matrix(pd.DataFrame({"a": ["p"]}))


def test_a_natural_spline_goes_on_as_a_line(toy):
    design = build_design("y ~ ns(z, df=3)", toy)
    X = design.fixed_matrix(pd.DataFrame({"z": [7.0, 8.0, 9.0, 0.4, -0.6, -1.6]}))
    np.testing.assert_allclose(X[0] - 2 * X[1] + X[2], 0, atol=1e-12)
    np.testing.assert_allclose(X[3] - 2 * X[4] + X[5], 0, atol=1e-12)
    bounded = build_design("y ~ bs(z, df=4)", toy)
    with pytest.raises(DataError, match="go beyond"):
        bounded.fixed_matrix(pd.DataFrame({"z": [8.0]}))


@pytest.mark.parametrize("kind", ["sum", "contr.sum", "helmert", "poly", "diff", "treatment"])
def test_contrasts_by_option_are_those_in_the_formula(kind, toy):
    by_option = build_design("y ~ a + x", toy, contrasts={"a": kind})
    written = build_design(f"y ~ C(a, contr.{kind.removeprefix('contr.')}) + x", toy)
    np.testing.assert_array_equal(by_option.X, written.X)
    assert by_option.fixed_names[1].startswith("a[")


def test_contrasts_that_make_no_sense(toy):
    with pytest.raises(DataError, match="not known"):
        build_design("y ~ a", toy, contrasts={"a": "sums"})
    with pytest.raises(DataError, match="is a number"):
        build_design("y ~ x", toy, contrasts={"x": "sum"})
    with pytest.raises(FormulaError, match=r"\*aa\*"):
        build_design("y ~ a", toy, contrasts={"aa": "sum"})
    assert "not in the fixed part" in build_design("y ~ a", toy, contrasts={"b": "sum"}).warnings[0]
    assert build_design("y ~ factor(x)", toy, contrasts={"x": "sum"}).fixed_names[1] == "factor(x)[S.1]"


def test_terms_know_their_columns(toy):
    design = build_design("y ~ x + a + I(2 * x) + a:log(z)", toy)
    found = [(term.label, term.factors, term.columns) for term in design.fixed_terms]
    assert found == [
        ("(Intercept)", (), (0,)),
        ("x", ("x",), (1,)),
        ("a", ("a",), (2, 3)),
        ("I(2 * x)", ("x",), ()),
        ("a:log(z)", ("a", "z"), (4, 5, 6)),
    ]
    assert design.aliased == ("I(2 * x)",)


def test_aliased_columns_at_any_scale(toy):
    for scale in (1e-9, 1.0, 1e9):
        table = toy.assign(x=toy["x"] * scale, same=toy["x"] * scale * 3 + 2 * scale, other=toy["z"] * scale)
        design = build_design("y ~ x + same + other", table)
        assert design.aliased == ("same",)
    dependent = pd.get_dummies(toy["a"], dtype=float).add_prefix("d_").join(toy)
    assert build_design("y ~ d_p + d_q + d_r + x", dependent).aliased == ("d_r",)
    assert build_design("y ~ a + zero + x", toy.assign(zero=0.0)).aliased == ("zero",)


def test_a_nearly_collinear_column_stays(toy):
    close = toy.assign(close=toy["x"] + 1e-5 * toy["z"])
    assert build_design("y ~ x + close", close).aliased == ()
    assert build_design("y ~ x + year", toy.assign(year=2000.0 + toy["z"])).aliased == ()


def test_offsets_add_up(toy):
    design = build_design("y ~ a + offset(log(z)) + offset(x)", toy, offset=np.ones(12))
    np.testing.assert_allclose(design.offset, np.log(toy["z"]) + toy["x"] + 1)
    assert build_design("y ~ a", toy, offset="x").offset.tolist() == toy["x"].tolist()
    assert not build_design("y ~ a", toy).offset.any()


def test_weights(toy):
    assert build_design("y ~ a", toy).weights is None
    assert build_design("y ~ a", toy, weights="z").weights.tolist() == toy["z"].tolist()
    with pytest.raises(DataError, match="rows 3, 5"):
        build_design("y ~ a", toy, weights=[1, 1, 0, 1, -1, 1, 1, 1, 1, 1, 1, 1])
    with pytest.raises(DataError, match="shape"):
        build_design("y ~ a", toy, weights=np.ones(3))
    with pytest.raises(DataError, match=r"\*b\* given as weights"):
        build_design("y ~ a", toy, weights="b")
    gap = build_design("y ~ a", toy.assign(w=[np.nan] + [1.0] * 11), weights="w")
    assert gap.n_dropped == 1 and len(gap.weights) == 11
    assert gap.dropped["reason"].tolist() == ["w is missing"]


def test_whole_numbers_that_look_like_groups_are_pointed_out(toy):
    coded = toy.assign(Evit=[1, 2, 3] * 4)
    assert build_design("y ~ Evit", coded).warnings == (
        "Evit holds the whole numbers 1, 2, 3 and is used as a number; write C(Evit) for one effect per level.",
    )
    assert build_design("y ~ C(Evit)", coded).warnings == ()
    assert build_design("y ~ Evit + (Evit | b)", coded).warnings == ()
    assert build_design("y ~ x", toy).warnings == ()


@pytest.mark.parametrize(
    "right", ["cr(x, df=4)", "cc(x, df=4)", "C(c, contr.diff)", "bs(x, df=5)", "poly(x, 3)", "scale(x)"]
)
def test_formulaics_own_transforms(right, toy):
    from formulaic import Formula

    theirs = Formula(right).get_model_matrix(toy)
    ours = build_design(f"y ~ {right}", toy)
    kept = np.asarray(theirs)[:, : ours.X.shape[1]]
    np.testing.assert_allclose(ours.X, kept, atol=1e-12)
    some = toy.iloc[[3, 8]].reset_index(drop=True)
    np.testing.assert_allclose(ours.fixed_matrix(some), kept[[3, 8]], atol=1e-12)
