"""Random terms over positions: ``exp(0 + pos(x, y) | block)`` and its kin, against residuals and V written out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.design import build_design
from openreml_core.errors import DataError, FormulaError
from tests.dense import criterion, slopes


@pytest.fixture(scope="module")
def field() -> pd.DataFrame:
    """Three blocks of 6 x 5 plots that share their positions, two rows at some of them, in no order."""
    rng = np.random.default_rng(21)
    x, y = (axis.reshape(-1).astype(float) for axis in np.indices((6, 5)))
    distance = np.hypot(x[:, None] - x[None, :], 2 * (y[:, None] - y[None, :]))
    root = np.linalg.cholesky(np.exp(-distance / 3) + 1e-9 * np.eye(30))
    blocks = [
        pd.DataFrame({"x": x, "y": 2 * y, "block": name, "z": 3 + 1.5 * (root @ rng.normal(size=30))}) for name in "ABC"
    ]
    table = pd.concat([*blocks, blocks[0].iloc[::3], blocks[2].iloc[::4]])
    table["z"] += rng.normal(scale=0.5, size=len(table))
    table["one"], table["a"] = "u", rng.choice(["p", "q"], len(table))
    return table.sample(frac=1.0, random_state=1).reset_index(drop=True)


def lag(table: pd.DataFrame, name: str) -> np.ndarray:
    values = table[name].to_numpy(dtype=float)
    return np.abs(values[:, None] - values[None, :])


def matern(t: np.ndarray, nu: float) -> np.ndarray:
    """From the Bessel function."""
    from scipy.special import gamma, kv

    a = np.sqrt(2 * nu) * np.where(t > 0, t, 1.0)
    return np.where(t > 0, 2 ** (1 - nu) / gamma(nu) * a**nu * kv(nu, a), 1.0)


FUNCTIONS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "exp": ("", lambda t: np.exp(-t)),
    "gau": ("", lambda t: np.exp(-(t**2))),
    "sph": ("", lambda t: np.where(t < 1, 1 - 1.5 * t + 0.5 * t**3, 0.0)),
    "matern": (", nu=2.5", lambda t: matern(t, 2.5)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("aniso", [False, True])
def test_v_is_that_of_the_distances(name, aniso, field):
    option, function = FUNCTIONS[name]
    fit = reml.fit(f"z ~ block + {name}(0 + pos(x, y) | block{option}{', aniso=TRUE' * aniso})", field)
    same = (field["block"].to_numpy()[:, None] == field["block"].to_numpy()[None, :]).astype(float)
    x = np.column_stack([field["block"] == level for level in "ABC"]).astype(float)
    x[:, 0] = 1.0

    def dense(theta: np.ndarray) -> float:
        ranges = theta[1:-1] if aniso else [theta[1], theta[1]]
        t = np.hypot(lag(field, "x") / ranges[0], lag(field, "y") / ranges[1])
        v = theta[0] * same * function(t) + theta[-1] * np.eye(len(field))
        return criterion(field["z"].to_numpy(), x, v)

    at = np.array(list(fit.parameters.values()))
    assert list(fit.parameters)[1] == ("block.range1" if aniso else "block.range")
    assert fit.criterion == pytest.approx(dense(at), abs=1e-6)
    # sph is not smooth where a distance is the range.
    assert name == "sph" or np.abs(slopes(dense, at)).max() < 1e-3
    assert fit.converged and dense(1.05 * at) > fit.criterion and dense(0.95 * at) > fit.criterion


@pytest.mark.parametrize("name", ["exp", "gau"])
def test_one_block_is_a_residual_with_a_nugget(name, field):
    plots = field.drop_duplicates(["block", "x", "y"]).reset_index(drop=True)
    plots["y"] += plots["block"].map({"A": 0, "B": 10, "C": 20})
    term = reml.fit(f"z ~ a + {name}(0 + pos(x, y) | one)", plots)
    residual = reml.fit("z ~ a", plots, residual=f"{name}(x, y) + id(units)")
    assert term.criterion == pytest.approx(residual.criterion, abs=1e-6)
    np.testing.assert_allclose(list(term.parameters.values()), list(residual.parameters.values()), rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(term.fixed_effects()["std_error"], residual.fixed_effects()["std_error"], rtol=1e-3)


def test_one_field_is_nlme_s_residual_with_a_nugget(reference):
    """wheat2 with corGaus(nugget = TRUE), fitted by nlme: the same model as a random term over the field."""
    case = reference.case("wheat2_gaus")
    data = reference.table(case["data"], case["factors"]).assign(field="all")
    fit = reml.fit("yield ~ variety + gau(0 + pos(latitude, longitude) | field)", data)
    assert fit.criterion == pytest.approx(case["criterion"], abs=1e-5)
    span, nugget = case["cor_params"]
    assert fit.parameters["field.range"] == pytest.approx(span, rel=1e-3)
    whole = fit.parameters["field.variance"] + fit.parameters["residual.variance"]
    assert whole == pytest.approx(case["sigma"] ** 2, rel=1e-3)
    assert fit.parameters["residual.variance"] == pytest.approx(nugget * whole, rel=1e-3)


def test_blups_are_at_the_positions_that_a_block_has(field):
    some = field[(field["block"] != "A") | (field["x"] < 3)]
    fit = reml.fit("z ~ 1 + exp(0 + pos(x, y) | block)", some)
    table = fit.random_effects("block")
    places = some[["block", "x", "y"]].drop_duplicates()
    expected = {(b, f"({x:g}, {y:g})") for b, x, y in places.itertuples(index=False)}
    assert set(zip(table["level"], table["effect"], strict=True)) == expected and len(table) == len(expected)
    row = some.iloc[[7]]
    blup = table.set_index(["level", "effect"]).loc[
        (row["block"].item(), f"({row.x.item():g}, {row.y.item():g})"), "blup"
    ]
    mean = fit.fixed_effects()["estimate"].item()
    assert fit.fitted().iloc[7] == pytest.approx(mean + blup)


def test_blups_are_kriged_from_v(field):
    """u^ = s2 C P y over the rows' positions, from V written out at the estimates."""
    fit = reml.fit("z ~ 1 + exp(0 + pos(x, y) | block)", field)
    s2, r, e2 = fit.parameters.values()
    same = field["block"].to_numpy()[:, None] == field["block"].to_numpy()[None, :]
    g = s2 * same * np.exp(-np.hypot(lag(field, "x"), lag(field, "y")) / r)
    inverse = np.linalg.inv(g + e2 * np.eye(len(field)))
    weights = inverse.sum(axis=0) / inverse.sum()
    u = g @ inverse @ (field["z"].to_numpy() - weights @ field["z"].to_numpy())
    np.testing.assert_allclose(fit.fitted() - fit.fixed_effects()["estimate"].item(), u, atol=1e-8)


def test_a_variance_for_every_position(field):
    """exph: a variance per position, told by the blocks that share it."""
    few = field[field["x"] < 2]
    fit = reml.fit("z ~ 1 + exph(0 + pos(x, y) | block)", few)
    variances = fit.variance_components().query("group == 'block' and kind == 'variance'")
    assert len(variances) == 10 and variances["name1"].iloc[0] == "(0, 0)"
    index = [list(variances["name1"]).index(f"({x:g}, {y:g})") for x, y in zip(few["x"], few["y"], strict=True)]
    sd = np.sqrt(variances["estimate"].to_numpy())[index]
    same = few["block"].to_numpy()[:, None] == few["block"].to_numpy()[None, :]
    c = np.exp(-np.hypot(lag(few, "x"), lag(few, "y")) / fit.parameters["block.range"])
    v = np.outer(sd, sd) * c * same + fit.parameters["residual.variance"] * np.eye(len(few))
    assert fit.criterion <= criterion(few["z"].to_numpy(), np.ones((len(few), 1)), v) + 1e-6
    assert fit.criterion < reml.fit("z ~ 1 + exp(0 + pos(x, y) | block)", few).criterion


def test_bare_columns_are_positions_and_numbers_may_be_levels(field):
    texts = field.assign(x=pd.Categorical(field["x"].astype(int).astype(str)))
    base = build_design("z ~ exp(0 + pos(x, y) | block)", field).random[0]
    for formula, table in (("z ~ exp(0 + x + y | block)", field), ("z ~ exp(0 + pos(x, y) | block)", texts)):
        (term,) = build_design(formula, table).random
        np.testing.assert_array_equal(term.left.coordinates, base.left.coordinates)
        np.testing.assert_array_equal(term.index, base.index)


def test_new_rows(field):
    design = build_design("z ~ exp(0 + pos(x, y) | block)", field)
    new = pd.DataFrame({"x": [1.0, 1.0, 9.0, np.nan], "y": [4.0, 4.0, 4.0, 4.0], "block": ["A", "Z", "B", "C"]})
    codes, basis = design.random_matrix("block", new)
    assert codes.tolist() == [0, -1, 1, 2]
    place = design.random[0].effects.index("(1, 4)")
    assert (basis[:2].argmax(axis=1) == place).all() and (basis[:2].sum(axis=1) == 1).all()
    assert np.isnan(basis[2:]).all()


def test_related_blocks(field):
    """A relationship of the blocks multiplies the correlation between their positions; blocks without rows have BLUPs."""
    names = ["A", "B", "C", "D"]
    k = pd.DataFrame(0.3 + 0.7 * np.eye(4), index=names, columns=names)
    fit = reml.fit("z ~ 1 + exp(0 + pos(x, y) | block)", field, relationship={"block": k})
    s2, r, e2 = fit.parameters.values()
    same = np.where(field["block"].to_numpy()[:, None] == field["block"].to_numpy()[None, :], 1.0, 0.3)
    v = s2 * same * np.exp(-np.hypot(lag(field, "x"), lag(field, "y")) / r) + e2 * np.eye(len(field))
    assert fit.criterion == pytest.approx(criterion(field["z"].to_numpy(), np.ones((len(field), 1)), v), abs=1e-6)


def test_a_fit_comes_back_from_its_file(tmp_path, field):
    fit = reml.fit("z ~ 1 + gau(0 + pos(x, y) | block, aniso=TRUE)", field)
    fit.save(tmp_path / "fit")
    again = reml.load(tmp_path / "fit")
    pd.testing.assert_frame_equal(again.random_effects(), fit.random_effects())
    assert "gau" in str(again) and fit.formula in again.to_code()
    with pytest.raises(reml.ModelError, match="lme4 cannot fit the term gau"):
        again.to_code("r-lme4")
    seen = reml.preview(fit.formula, field)
    assert seen.terms["effects"].item() == "(0, 0), ..., (5, 8) (30)"
    assert seen.parameters[1] == "range range1 over the levels of block"
    assert r"\text{block}_{[i]}(\text{x}_{i},\,\text{y}_{i})" in seen.latex


def test_blocks_that_share_no_position_and_are_many_are_refused_in_words():
    table = pd.DataFrame({"x": np.arange(1000.0), "block": np.arange(1000) // 10, "z": np.sin(np.arange(1000.0))})
    with pytest.raises(DataError, match="100 levels of 1,000 effects each"):
        build_design("z ~ exp(0 + pos(x) | block)", table)


@pytest.mark.parametrize(
    ("right", "kind", "says"),
    [
        ("exp(0 + pos(x, a) | block)", DataError, "Column *a* in exp(0 + pos(x, a) | block) must hold numbers"),
        ("exp(0 + pos(hole, y) | block)", DataError, "must hold numbers; inf"),
        ("exp(0 + pos(flat) | block)", DataError, "All rows are at one position"),
        ("exp(0 + pos(x, flat) | block, aniso=TRUE)", DataError, "*flat* has one value in all rows"),
        ("exph(0 + pos(x, y) | one)", DataError, "*one* of exph(0 + pos(x, y) | one) has one level"),
        ("exp(0 + pos(x, z) | block)", FormulaError, "*z* is the response"),
        ("exp(x | block)", FormulaError, "takes positions"),
        ("exp(0 + log(x) | block)", FormulaError, "takes positions"),
        ("exp(0 + pos(x) + y | block)", FormulaError, "mixes pos()"),
        ("ar1(0 + pos(x) | block)", FormulaError, "knows no distances"),
        ("matern(0 + pos(x) | block, nu=1)", FormulaError, "Choose 0.5, 1.5 or 2.5"),
        ("exp(0 + pos(x, y) | block, aniso=2)", FormulaError, "takes TRUE or FALSE"),
        ("exp(0 + pos(q, y) | block)", FormulaError, "Column *q* is not in this table"),
    ],
)
def test_what_has_no_distance_is_named(right, kind, says, field):
    data = field.assign(hole=np.where(field["x"] == 2, np.inf, field["x"]), flat=4.0)
    with pytest.raises(kind) as error:
        reml.fit(f"z ~ {right}", data)
    assert says in str(error.value)
