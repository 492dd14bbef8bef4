"""``spl(x)`` is the cubic smoothing spline: against scipy's smoother and the penalty written out as an integral."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.interpolate import CubicSpline, make_smoothing_spline

import openreml_core as reml
from openreml_core.design import build_design
from openreml_core.errors import DataError, FormulaError
from tests.dense import criterion, slopes


@pytest.fixture(scope="module")
def curve() -> pd.DataFrame:
    """Forty distinct, unequally spaced x, one row each."""
    rng = np.random.default_rng(12)
    x = -3 + 1.3 * np.arange(40) + rng.uniform(-0.4, 0.4, 40)
    return pd.DataFrame({"x": x, "y": 2 + 0.1 * x + np.sin(x / 6) + rng.normal(scale=0.3, size=40)})


@pytest.fixture(scope="module")
def animals() -> pd.DataFrame:
    """Twelve animals over eight weeks, the weeks repeated."""
    rng = np.random.default_rng(5)
    week, animal = np.tile(np.arange(8), 12), np.repeat([f"A{i:02d}" for i in range(12)], 8)
    own = np.repeat(rng.normal(size=(12, 2)), 8, axis=0)
    bend = np.repeat(rng.normal(size=12), 8) * np.cos(week)
    y = 20 + own[:, 0] + (3 + 0.3 * own[:, 1]) * week + np.sin(week) + 0.6 * bend + rng.normal(scale=0.5, size=96)
    return pd.DataFrame({"week": week, "animal": animal, "y": y})


def penalty(knots: np.ndarray) -> np.ndarray:
    """K with f'Kf the integral of f''^2, by quadrature between the knots of the natural splines through unit vectors."""
    second = CubicSpline(knots, np.eye(len(knots)), bc_type="natural").derivative(2)
    out = np.zeros((len(knots), len(knots)))
    for low, high in itertools.pairwise(knots):
        for node, weight in zip(
            *np.polynomial.legendre.leggauss(3), strict=True
        ):  # exact for products of straight lines
            value = second((low + high) / 2 + node * (high - low) / 2)
            out += weight * (high - low) / 2 * np.outer(value, value)
    return out


def pseudo_inverse(k: np.ndarray) -> np.ndarray:
    """K^-; constants and straight lines are what K does not see."""
    values, vectors = np.linalg.eigh(k)
    return vectors[:, 2:] / values[2:] @ vectors[:, 2:].T


def test_the_penalty_is_the_integral():
    knots = np.array([0.0, 1.0, 1.5, 4.0])
    f = np.array([1.0, -1.0, 2.0, 0.5])
    second = CubicSpline(knots, f, bc_type="natural").derivative(2)
    assert f @ penalty(knots) @ f == pytest.approx(quad(lambda t: float(second(t)) ** 2, 0, 4, points=[1, 1.5])[0])


def test_fitted_values_are_the_penalised_spline(curve):
    fit = reml.fit("y ~ spl(x)", curve)
    lam = fit.parameters["residual.variance"] / fit.parameters["spl(x).variance"]
    smooth = make_smoothing_spline(curve["x"].to_numpy(), curve["y"].to_numpy(), lam=lam)
    np.testing.assert_allclose(fit.fitted(), smooth(curve["x"]), rtol=0, atol=1e-6)
    assert fit.fixed_effects().index.tolist() == ["(Intercept)", "x"]


@pytest.mark.parametrize("formula", ["y ~ spl(x)", "y ~ x + spl(x)", "y ~ spl(x) + x"])
def test_the_criterion_is_that_of_the_penalty(formula, curve):
    """V = sigma2 I + s2 K^-, X = [1 x]; and the estimates are its stationary point."""
    fit = reml.fit(formula, curve)
    x, y = curve["x"].to_numpy(), curve["y"].to_numpy()
    k = pseudo_inverse(penalty(x))

    def dense(theta: np.ndarray) -> float:
        return criterion(y, np.column_stack([np.ones(40), x]), theta[0] * k + theta[1] * np.eye(40))

    at = np.array([fit.parameters["spl(x).variance"], fit.parameters["residual.variance"]])
    assert fit.criterion == pytest.approx(dense(at), abs=1e-6)
    assert np.abs(slopes(dense, at)).max() < 1e-4
    assert fit.design.warnings == ()


def test_smoothness_depends_on_no_unit(curve):
    metres = reml.fit("y ~ spl(x)", curve)
    millimetres = reml.fit("y ~ spl(x)", curve.assign(x=curve["x"] * 1000 + 7e5))
    np.testing.assert_allclose(millimetres.fitted(), metres.fitted(), atol=1e-6)
    ratio = metres.parameters["spl(x).variance"] / millimetres.parameters["spl(x).variance"]
    assert ratio == pytest.approx(1000.0**3, rel=1e-5)


def test_new_rows_lie_on_the_curve_and_beyond_it_on_its_tangent(curve):
    design = build_design("y ~ spl(x, knots=9)", curve)
    (term,) = design.random
    knots = term.left.knots
    assert len(knots) == 9 and len(term.effects) == 7
    values = CubicSpline(knots, design.random_matrix("spl(x)", pd.DataFrame({"x": knots}))[1], bc_type="natural")
    new = np.array([knots[0] - 5, knots[0], 3.3, 20.0, knots[-1], knots[-1] + 11])
    codes, basis = design.random_matrix("spl(x)", pd.DataFrame({"x": [*new, np.nan]}))
    assert (codes == 0).all() and np.isnan(basis[-1]).all()
    np.testing.assert_allclose(basis[1:5], values(new[1:5]), atol=1e-9)
    np.testing.assert_allclose(basis[0], values(knots[0]) - 5 * values(knots[0], 1), atol=1e-9)
    np.testing.assert_allclose(basis[5], values(knots[-1]) + 11 * values(knots[-1], 1), atol=1e-9)


def test_knots_are_the_distinct_values_or_fifty_of_their_quantiles(animals, curve):
    assert build_design("y ~ spl(week)", animals).random[0].left.knots.tolist() == list(range(8))
    assert len(build_design("y ~ spl(week, knots=20)", animals).random[0].left.knots) == 8
    rng = np.random.default_rng(1)
    many = pd.DataFrame({"x": rng.exponential(size=300), "y": rng.normal(size=300)})
    knots = build_design("y ~ spl(x)", many).random[0].left.knots
    np.testing.assert_allclose(knots, np.quantile(many["x"], np.linspace(0, 1, 50)))


def test_a_curve_for_every_level(animals):
    """Line and bend common to all, level and slope of each animal, its own bend: V written out from the penalty."""
    fit = reml.fit("y ~ spl(week) + (week | animal) + spl(week | animal)", animals)
    assert fit.random_terms == ("spl(week)", "animal", "spl(week | animal)")
    week, y = animals["week"].to_numpy(), animals["y"].to_numpy()
    k = pseudo_inverse(penalty(np.arange(8.0)))[week][:, week]
    same = animals["animal"].to_numpy()[:, None] == animals["animal"].to_numpy()[None, :]
    basis = np.column_stack([np.ones(96), week])

    def dense(t: np.ndarray) -> float:
        line = basis @ np.array([[t[1], t[2]], [t[2], t[3]]]) @ basis.T
        return criterion(y, basis, t[0] * k + same * (line + t[4] * k) + t[5] * np.eye(96))

    at = np.array(list(fit.parameters.values()))
    assert list(fit.parameters)[4:] == ["spl(week | animal).variance", "residual.variance"]
    assert fit.criterion == pytest.approx(dense(at), abs=1e-6)
    assert np.abs(slopes(dense, at)).max() < 1e-3
    table = fit.random_effects("spl(week | animal)")
    assert len(table) == 12 * 6 and table["level"].nunique() == 12 and table["effect"].iloc[0] == "week = 1"
    assert fit.variance_components()["percent"].sum() == pytest.approx(100)
    assert fit.design.warnings == ()


def test_bending_without_level_and_slope_is_said(animals):
    (warning,) = build_design("y ~ week + spl(week | animal)", animals).warnings
    assert "(week | animal) beside it" in warning


def test_the_line_is_not_added_twice_and_gives_way_to_what_holds_it(animals):
    assert build_design("y ~ factor(week) + spl(week)", animals).aliased == ("week",)
    assert build_design("y ~ 0 + week + spl(week)", animals).fixed_names == ("week",)


def test_a_fit_with_splines_comes_back_from_its_file(tmp_path, animals):
    fit = reml.fit("y ~ spl(week, knots=5) + (1 | animal)", animals)
    fit.save(tmp_path / "fit")
    again = reml.load(tmp_path / "fit")
    assert again.parameters == pytest.approx(fit.parameters)
    pd.testing.assert_frame_equal(again.random_effects("spl(week)"), fit.random_effects("spl(week)"))


def test_em_reaches_the_same_variance(animals):
    ai = reml.fit("y ~ spl(week) + (1 | animal)", animals)
    em = reml.fit("y ~ spl(week) + (1 | animal)", animals, algorithm="em", max_iterations=20_000)
    assert em.criterion == pytest.approx(ai.criterion, abs=1e-4)


@pytest.mark.parametrize(
    ("formula", "kind", "says"),
    [
        ("y ~ spl(two)", DataError, "*two* has 2 distinct values"),
        ("y ~ spl(animal)", DataError, "*animal* is a factor"),
        ("y ~ spl(wek)", FormulaError, "Did you mean *week*?"),
        ("y ~ spl(week, knots=2)", FormulaError, "whole number from 3"),
        ("y ~ spl(week, nots=5)", FormulaError, "no option of spl"),
        ("y ~ spl(week, two)", FormulaError, "takes a number"),
        ("y ~ spl()", FormulaError, "should be the name of one column"),
        ("y ~ spl(week) + spl(week)", FormulaError, "stands twice"),
        ("y ~ spl(y)", FormulaError, "*y* is the response"),
        ("y ~ spl(far)", DataError, "far"),
        ("y ~ x - spl(week)", FormulaError, "cannot be taken away"),
    ],
)
def test_what_has_no_curve_is_named(formula, kind, says, animals):
    data = animals.assign(two=animals["week"] % 2, far=np.where(animals["week"] == 3, np.inf, animals["week"]), x=1.0)
    with pytest.raises(kind) as error:
        reml.fit(formula, data)
    assert says in str(error.value)
