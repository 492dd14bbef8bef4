"""Predictions at places that the fit has not seen: universal kriging from its definition, V and its extension written out.

For t = x'b + s with Cov(y, s) = c and Var(s) = v at the estimated parameters (Cressie 1993, Statistics for Spatial Data, 3.4):

    t^ = x'b + c'V^-1 (y - X b),   Var(t^ - t) = v - c'V^-1 c + d'(X'V^-1 X)^-1 d,   d = x - X'V^-1 c
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

import openreml_core as reml


def universal(y, x, v, x0, c, variance):
    """t^ and its standard error, for rows of x0 (m, p) and columns of c (n, m)."""
    inverse = np.linalg.inv(v)
    cov = np.linalg.inv(x.T @ inverse @ x)
    b = cov @ x.T @ inverse @ y
    d = x0 - c.T @ inverse @ x
    value = x0 @ b + c.T @ inverse @ (y - x @ b)
    squared = variance - np.einsum("nm,nk,km->m", c, inverse, c) + np.einsum("mp,pq,mq->m", d, cov, d)
    return value, np.sqrt(squared)


@pytest.fixture(scope="module")
def field() -> pd.DataFrame:
    """Two blocks of scattered plots with a smooth trend, some of them twice at one position."""
    rng = np.random.default_rng(8)
    n = 70
    d = pd.DataFrame({"x": rng.integers(0, 9, n) * 1.0, "z": rng.integers(0, 6, n) * 1.0, "block": np.arange(n) % 2})
    d["block"] = d["block"].map({0: "b1", 1: "b2"})
    d["gen"] = [f"g{i}" for i in rng.integers(0, 10, n)]
    trend = np.sin(d["x"] / 3) + np.cos(d["z"] / 2) * np.where(d["block"] == "b1", 1, -1)
    d["y"] = 10 + 2 * trend + 0.4 * rng.normal(size=n)
    return d


NEW = pd.DataFrame(
    {"x": [2.5, 4.0, 30.0, 3.0], "z": [1.5, 2.0, 30.0, 0.25], "block": ["b1", "b2", "b1", "b2"], "gen": ["g1"] * 4}
)


@pytest.mark.parametrize("engine", ["marginal", "henderson"])
@pytest.mark.parametrize(("structure", "of"), [("exp", lambda t: np.exp(-t)), ("gau", lambda t: np.exp(-(t**2)))])
def test_a_spatial_term_at_new_positions(field: pd.DataFrame, engine: str, structure: str, of) -> None:
    fit = reml.fit(f"y ~ 1 + {structure}(0 + pos(x, z) | block)", field, engine=engine, fixed={"block.range": 3.0})
    s2, ve = fit.parameters["block.variance"], fit.parameters["residual.variance"]

    def covariance(a: pd.DataFrame, b: pd.DataFrame) -> np.ndarray:
        same = a["block"].to_numpy()[:, None] == b["block"].to_numpy()[None, :]
        return s2 * same * of(cdist(a[["x", "z"]], b[["x", "z"]]) / 3.0)

    n = len(field)
    v = covariance(field, field) + ve * np.eye(n)
    ones = np.ones((n, 1))
    value, error = universal(field["y"].to_numpy(), ones, v, ones[:4], covariance(field, NEW), np.full(4, s2))
    found = fit.predict(NEW, interval="prediction")
    np.testing.assert_allclose(found["fit"], value, rtol=1e-7)
    np.testing.assert_allclose(found["std_error"], error, rtol=1e-6)
    half = stats.norm.ppf(0.975) * np.sqrt(error**2 + ve)
    np.testing.assert_allclose(found["upper"] - found["fit"], half, rtol=1e-6)
    # Far away it is the mean, with all of the variance.
    assert found["fit"][2] == pytest.approx(fit.fixed_effects()["estimate"].iloc[0], abs=1e-3)


def test_a_position_is_reached_from_nearby(field: pd.DataFrame) -> None:
    """Kriging goes on from the BLUPs of the positions that were seen; a new block has the prior variance."""
    fit = reml.fit("y ~ 1 + gau(0 + pos(x, z) | block)", field)
    beside = field.head(10).assign(x=lambda d: d["x"] + 1e-7)
    np.testing.assert_allclose(fit.predict(beside), fit.predict(field.head(10)), atol=1e-4)
    fresh = NEW.head(1).assign(block="b3")
    with pytest.raises(reml.DataError, match=r"the level b3 of \*block\*"):
        fit.predict(fresh)
    found = fit.predict(fresh, new_levels="population", std_error=True)
    c = fit.fixed_covariance.to_numpy()[0, 0]
    assert found["std_error"][0] == pytest.approx(np.sqrt(c + fit.parameters["block.variance"]), rel=1e-8)


def test_new_positions_in_a_product(field: pd.DataFrame) -> None:
    """kron(diag(kind), exp(pos(x, z))): every kind has its own field."""
    data = field.assign(kind=np.where(np.arange(len(field)) % 3 == 0, "k1", "k2"))
    fit = reml.fit("y ~ kind + kron(diag(kind), exp(pos(x, z)) | block)", data)
    names = dict(fit.parameters)
    ranges = next(value for name, value in names.items() if "range" in name)
    s2 = fit.variance_matrix("block").to_numpy().diagonal()
    variances = {"k1": s2[0], "k2": s2[-1]}

    def covariance(a: pd.DataFrame, b: pd.DataFrame) -> np.ndarray:
        same = (a["block"].to_numpy()[:, None] == b["block"].to_numpy()) & (
            a["kind"].to_numpy()[:, None] == b["kind"].to_numpy()
        )
        return (
            same * a["kind"].map(variances).to_numpy()[:, None] * np.exp(-cdist(a[["x", "z"]], b[["x", "z"]]) / ranges)
        )

    new = NEW.assign(kind=["k1", "k2", "k2", "k1"])
    x, x0 = (np.column_stack([np.ones(len(t)), t["kind"] == "k2"]).astype(float) for t in (data, new))
    v = covariance(data, data) + names["residual.variance"] * np.eye(len(data))
    prior = new["kind"].map(variances).to_numpy()
    value, error = universal(data["y"].to_numpy(), x, v, x0, covariance(data, new), prior)
    found = fit.predict(new, std_error=True)
    np.testing.assert_allclose(found["fit"], value, rtol=1e-6)
    np.testing.assert_allclose(found["std_error"], error, rtol=1e-6)


def test_related_levels_at_new_positions(field: pd.DataFrame) -> None:
    """K between blocks: what one block shows at a position says something of another."""
    k = pd.DataFrame([[1.2, 0.5], [0.5, 0.9]], ["b1", "b2"], ["b1", "b2"])
    fit = reml.fit("y ~ 1 + exp(0 + pos(x, z) | block)", field, relationship={"block": k})
    s2, r, ve = (fit.parameters[f"{name}"] for name in ("block.variance", "block.range", "residual.variance"))

    def covariance(a: pd.DataFrame, b: pd.DataFrame) -> np.ndarray:
        return s2 * k.loc[a["block"], b["block"]].to_numpy() * np.exp(-cdist(a[["x", "z"]], b[["x", "z"]]) / r)

    ones = np.ones((len(field), 1))
    v = covariance(field, field) + ve * np.eye(len(field))
    prior = covariance(NEW, NEW).diagonal()
    value, error = universal(field["y"].to_numpy(), ones, v, ones[:4], covariance(field, NEW), prior)
    found = fit.predict(NEW, std_error=True)
    np.testing.assert_allclose(found["fit"], value, rtol=1e-6)
    np.testing.assert_allclose(found["std_error"], error, rtol=1e-6)


def test_a_variance_for_every_position_knows_no_new_one(field: pd.DataFrame) -> None:
    near = field[(field["x"] < 3) & (field["z"] < 3)]
    fit = reml.fit("y ~ 1 + exph(0 + pos(x) | block)", near, max_iterations=5)
    with pytest.raises(reml.DataError, match=r"the position \(30\) .* exph has a variance for every position"):
        fit.predict(NEW.tail(2))


# -- correlated residuals -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grid() -> pd.DataFrame:
    """A field of 8 x 7 with a few plots missing."""
    rng = np.random.default_rng(2)
    row, col = (a.reshape(-1) for a in np.meshgrid(np.arange(1, 9), np.arange(1, 8), indexing="ij"))
    c = np.linalg.cholesky(0.7 ** np.abs(row[:, None] - row) * 0.5 ** np.abs(col[:, None] - col))
    d = pd.DataFrame({"row": row, "col": col, "gen": [f"g{i}" for i in rng.integers(0, 8, 56)]})
    d["y"] = 20 + 2 * c @ rng.normal(size=56) + 0.5 * rng.normal(size=56) + 0.1 * d["gen"].str[1:].astype(int)
    return d


def test_the_residual_of_missing_plots(grid: pd.DataFrame) -> None:
    """ar1 x ar1 with a nugget and genotypes: t holds the trend of the plot, not its nugget."""
    missing = [3, 20, 41, 55]
    seen, new = grid.drop(index=missing), grid.loc[missing]
    fit = reml.fit("y ~ 1 + (1 | gen)", seen, residual="ar1(row):ar1(col) + id(units)", fixed={"units": 0.2})
    p = fit.parameters
    rho = p["residual.ar1(row).rho"], p["residual.ar1(col).rho"]

    def trend(a: pd.DataFrame, b: pd.DataFrame) -> np.ndarray:
        lag_r = np.abs(a["row"].to_numpy()[:, None] - b["row"].to_numpy())
        lag_c = np.abs(a["col"].to_numpy()[:, None] - b["col"].to_numpy())
        return p["residual.variance"] * rho[0] ** lag_r * rho[1] ** lag_c

    def whole(a: pd.DataFrame, b: pd.DataFrame) -> np.ndarray:
        return trend(a, b) + p["gen.variance"] * (a["gen"].to_numpy()[:, None] == b["gen"].to_numpy())

    ones = np.ones((len(seen), 1))
    v = whole(seen, seen) + p["units.variance"] * np.eye(len(seen))
    y = seen["y"].to_numpy()
    for rows in (new, seen.head(5)):
        x0, prior = np.ones((len(rows), 1)), whole(rows, rows).diagonal()
        value, error = universal(y, ones, v, x0, whole(seen, rows), prior)
        found = fit.predict(rows, random=["gen", "residual"], interval="prediction")
        np.testing.assert_allclose(found["fit"], value, rtol=1e-7)
        np.testing.assert_allclose(found["std_error"], error, rtol=1e-6)
        half = stats.norm.ppf(0.975) * np.sqrt(error**2 + p["units.variance"])
        np.testing.assert_allclose(found["upper"] - found["fit"], half, rtol=1e-6)
    # The trend alone: genotypes are left out of t, though not of V.
    value, error = universal(y, ones, v, np.ones((4, 1)), trend(seen, new), trend(new, new).diagonal())
    found = fit.predict(new, random=["residual"], std_error=True)
    np.testing.assert_allclose(found["fit"], value, rtol=1e-7)
    np.testing.assert_allclose(found["std_error"], error, rtol=1e-6)
    # Without it the residual of a plot is as uncertain as any.
    plain = fit.predict(new, interval="prediction")
    own = ((plain["upper"] - plain["fit"]) / stats.norm.ppf(0.975)) ** 2 - plain["std_error"] ** 2
    np.testing.assert_allclose(own, p["residual.variance"] + p["units.variance"], rtol=1e-8)


def test_without_a_nugget_a_plot_of_the_fit_is_its_observation(grid: pd.DataFrame) -> None:
    fit = reml.fit("y ~ gen", grid, residual="ar1(row):ar1(col)")
    found = fit.predict(random=["residual"], std_error=True)
    np.testing.assert_allclose(found["fit"], grid["y"], rtol=1e-9)
    np.testing.assert_allclose(found["std_error"], 0.0, atol=1e-5)


def test_residuals_by_distance_and_by_subject(grid: pd.DataFrame) -> None:
    fit = reml.fit("y ~ 1", grid, residual="exp(row, col) + id(units)")
    new = pd.DataFrame({"row": [2.5, np.nan], "col": [3.25, 1.0]})
    r = fit.parameters["residual.exp(row, col).range"]
    s2, nugget = fit.parameters["residual.variance"], fit.parameters["units.variance"]
    across = s2 * np.exp(-cdist(grid[["row", "col"]], [[2.5, 3.25]]) / r)
    v = s2 * np.exp(-cdist(grid[["row", "col"]], grid[["row", "col"]]) / r) + nugget * np.eye(56)
    ones = np.ones((56, 1))
    value, error = universal(grid["y"].to_numpy(), ones, v, ones[:1], across, np.array([s2]))
    found = fit.predict(new, random=["residual"], std_error=True)
    assert (found["fit"][0], found["std_error"][0]) == pytest.approx((value[0], error[0]), rel=1e-6)
    assert found["fit"].isna()[1]

    ovary = reml.load_sample("ovary")
    case = reml.fit("follicles ~ sin(2 * 3.14159265 * Time)", ovary, residual="id(Mare):exp(Time)", max_iterations=30)
    late = pd.DataFrame({"Mare": ["1", "new"], "Time": [1.2, 1.2]})
    both = case.predict(late, random=["residual"], std_error=True)
    plain = case.predict(late, random=False)
    assert both["fit"][1] == pytest.approx(plain[1])
    assert both["fit"][0] != pytest.approx(plain[0], abs=1e-3)
    assert both["std_error"][0] < both["std_error"][1]


def test_steps_and_places_that_are_not_known(grid: pd.DataFrame) -> None:
    fit = reml.fit("y ~ 1", grid, residual="ar1(row):ar1(col)")
    with pytest.raises(reml.DataError, match=r"\*row\* is 1.5 in row 1 of the new data; ar1\(row\) counts whole steps"):
        fit.predict(pd.DataFrame({"row": [1.5], "col": [1]}), random=["residual"])
    ahead = fit.predict(pd.DataFrame({"row": [20], "col": [30]}), random=["residual"])
    assert ahead[0] == pytest.approx(fit.predict(pd.DataFrame({"row": [20], "col": [30]}))[0], abs=1e-4)
    orthodont = reml.load_sample("orthodont")
    us = reml.fit("distance ~ age", orthodont, residual="id(Subject):us(age)")
    row = orthodont.head(1)
    assert us.predict(row, random=["residual"]).iloc[0] == pytest.approx(row["distance"].iloc[0])
    with pytest.raises(reml.DataError, match="known at the places of the fit only"):
        us.predict(row.assign(age=9), random=["residual"])
