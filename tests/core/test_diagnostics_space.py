"""Variograms, correlations of neighbours, the trend over the field: loops over pairs, simulation, and what cannot be asked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import openreml_core as reml
from openreml_core.diagnostics import positions_of, serpentine_order
from tests.contracts.models import plain_v
from tests.contracts.test_rows import plain_r
from tests.core.test_diagnostics_residuals import field
from tests.reference import ABSENT, Reference


@pytest.fixture(scope="module")
def fits() -> dict[str, reml.MixedModelFit]:
    table = field()
    return {
        "plain": reml.fit("yield ~ 1 + (1 | gen)", table),
        "field": reml.fit("yield ~ 1 + (1 | gen)", table, residual="ar1(row):ar1(col) + id(units)"),
        "henderson": reml.fit("yield ~ gen", table, residual="ar1(row):ar1(col)", engine="henderson"),
    }


def pairs_by_hand(fit: reml.MixedModelFit, e: np.ndarray, s: np.ndarray, key: object) -> dict[tuple, list[float]]:
    """Sums over all pairs, one by one."""
    row, col = fit.table["row"].to_numpy(), fit.table["col"].to_numpy()
    out: dict[tuple, list[float]] = {}
    for i in range(len(e)):
        for j in range(i + 1, len(e)):
            k = key(abs(row[i] - row[j]), abs(col[i] - col[j]))
            if k is None:
                continue
            total = out.setdefault(k, [0.0, 0.0, 0.0])
            total[0] += 1
            total[1] += (e[i] - e[j]) ** 2 / 2
            total[2] += (s[i, i] + s[j, j]) / 2 - s[i, j]
    return out


KEYS = {
    "surface": lambda r, c: (r, c),
    "row": lambda r, c: (r,) if c == 0 else None,
    "column": lambda r, c: (c,) if r == 0 else None,
    "diagonal": lambda r, c: (r * 2**0.5,) if r == c else None,
}


@pytest.mark.parametrize("direction", KEYS)
@pytest.mark.parametrize("name", ["plain", "field", "henderson"])
@pytest.mark.parametrize("kind", ["conditional", "marginal"])
def test_every_pair_counts_once(fits: dict[str, reml.MixedModelFit], name: str, direction: str, kind: str) -> None:
    fit = fits[name]
    model, at = fit._model, fit.estimates.at
    v, r = (at.sigma2 * m(model, at.theta).numpy() for m in (plain_v, plain_r))
    inverse, x = np.linalg.inv(v), model.X.numpy()
    p = inverse - inverse @ x @ np.linalg.inv(x.T @ inverse @ x) @ x.T @ inverse
    s = r if kind == "conditional" else v
    e, estimated = s @ p @ model.y.numpy(), s @ p @ s
    table = fit.variogram(direction=direction, kind=kind)
    by_model = pairs_by_hand(fit, e, s, KEYS[direction])
    by_estimate = pairs_by_hand(fit, e, estimated, KEYS[direction])
    assert len(table) == len(by_model)
    names = ["row_lag", "col_lag"] if direction == "surface" else ["distance"]
    for found in table.itertuples():
        key = next(k for k in by_model if np.allclose(k, [getattr(found, n) for n in names]))
        count, sample, fitted = by_model[key]
        assert found.pairs == count
        assert found.semivariance == pytest.approx(sample / count, rel=1e-6)
        assert found.fitted == pytest.approx(fitted / count, rel=1e-6, abs=1e-9)
        assert found.expected == pytest.approx(by_estimate[key][2] / count, rel=1e-6, abs=1e-9)


def test_distances_in_any_direction(fits: dict[str, reml.MixedModelFit]) -> None:
    fit = fits["plain"]
    table = fit.variogram(direction="all", spacing=(2.0, 1.0), width=1.0)
    assert table["pairs"].sum() == fit.n_obs * (fit.n_obs - 1) // 2
    surface = fit.variogram(spacing=(2.0, 1.0))
    first = surface[surface["distance"].round() == 1]
    weighted = (first["semivariance"] * first["pairs"]).sum() / first["pairs"].sum()
    assert table["semivariance"].iloc[0] == pytest.approx(weighted)
    near = fit.variogram(direction="all", max_lag=3.0)
    assert near["distance"].max() <= 3.0


def test_what_is_expected_is_the_mean_of_draws(fits: dict[str, reml.MixedModelFit]) -> None:
    """Monte Carlo: the sample variogram of responses from the model has the mean that is expected."""
    fit = fits["field"]
    rows = fit._view.rows
    y = torch.tensor(fit.simulate(3000, seed=5).to_numpy())
    e = rows.residual_times(rows.times(y)).numpy()
    row, col = fit.table["row"].to_numpy(), fit.table["col"].to_numpy()
    table = fit.variogram(direction="row").set_index("distance")
    i, j = np.nonzero((np.abs(row[:, None] - row) == 1) & (col[:, None] == col))
    drawn = ((e[i] - e[j]) ** 2 / 2).mean()
    assert table.loc[1.0, "expected"] == pytest.approx(drawn, rel=0.03)


def test_trials_are_not_mixed() -> None:
    one, two = field(), field().assign(**{"yield": lambda d: d["yield"] + 50})
    both = pd.concat([one.assign(trial="a"), two.assign(trial="b")], ignore_index=True)
    fit = reml.fit("yield ~ trial + (1 | gen)", both, residual="dsum(ar1(row):ar1(col) | trial)")
    table = fit.variogram(by="trial")
    single = reml.fit("yield ~ 1", one).variogram()
    assert table["pairs"].sum() == 2 * single["pairs"].sum()
    assert table.attrs["trials"] == 2
    with pytest.raises(reml.DataError, match="There is no column"):
        fit.variogram(by="nothing")


def test_coordinates() -> None:
    table = reml.load_sample("wheat2")
    fit = reml.fit("yield ~ 1 + (1 | variety)", table)
    found = fit.variogram("latitude", "longitude", direction="all")
    assert found["pairs"].sum() == fit.n_obs * (fit.n_obs - 1) // 2
    assert found["distance"].is_monotonic_increasing
    half = fit.variogram("latitude", "longitude", direction="row")
    assert 0 < half["pairs"].sum() < found["pairs"].sum()
    if not positions_of(fit.table, "latitude", "longitude").is_grid:
        with pytest.raises(reml.DataError, match="coordinates"):
            fit.variogram("latitude", "longitude")
        with pytest.raises(reml.DataError, match="coordinates"):
            fit.autocorrelation("latitude", "longitude")


def test_autocorrelation_by_hand(fits: dict[str, reml.MixedModelFit]) -> None:
    fit = fits["plain"]
    e = fit.residuals() - fit.residuals().mean()
    wide = e.groupby([fit.table["row"], fit.table["col"]]).first().unstack()
    table = fit.autocorrelation(directions=("row", "column"), max_lag=2).set_index(["direction", "lag"])
    for lag in (1, 2):
        for direction, axis in (("row", 0), ("column", 1)):
            product = wide * wide.shift(lag, axis=axis)
            assert table.loc[(direction, lag), "pairs"] == int(product.notna().sum().sum())
            expected = np.nanmean(product.to_numpy()) / (e**2).mean()
            assert table.loc[(direction, lag), "correlation"] == pytest.approx(expected)
    assert table.loc[("row", 1), "correlation"] > table.loc[("row", 1), "upper"]
    after = fits["field"].autocorrelation(max_lag=1)
    assert (after["correlation"] < after["upper"] + 0.2).all()
    with pytest.raises(reml.ModelError, match="direction"):
        fit.autocorrelation(directions=("up",))


def test_serpentine() -> None:
    table = pd.DataFrame({"row": [1, 2, 3, 1, 2, 3, 2], "col": [1, 1, 1, 2, 2, 2, 3], "y": np.arange(7.0)})
    places = positions_of(table, "row", "col")
    assert [rows.tolist() for rows in serpentine_order(places)] == [[0, 1, 2, 5, 4, 3, 6]]
    fit = reml.fit("yield ~ 1 + (1 | gen)", field())
    path = fit.autocorrelation(directions=["serpentine"], max_lag=1)
    order = serpentine_order(positions_of(fit.table, "row", "col"))[0]
    e = (fit.residuals() - fit.residuals().mean()).to_numpy()[order]
    assert path["correlation"].iloc[0] == pytest.approx((e[1:] * e[:-1]).mean() / (e**2).mean())


def test_along_time() -> None:
    fit = reml.fit("Reaction ~ Days + (1 | Subject)", reml.load_sample("sleepstudy"))
    table = fit.autocorrelation(order="Days", by="Subject", max_lag=3)
    e = (fit.residuals() - fit.residuals().mean()).to_numpy().reshape(18, 10)
    for lag in (1, 2, 3):
        expected = (e[:, lag:] * e[:, :-lag]).mean() / (e**2).mean()
        assert table["correlation"].iloc[lag - 1] == pytest.approx(expected)
    shuffled = reml.load_sample("sleepstudy").sample(frac=1, random_state=1)
    again = reml.fit("Reaction ~ Days + (1 | Subject)", shuffled).autocorrelation(order="Days", by="Subject", max_lag=3)
    np.testing.assert_allclose(again["correlation"], table["correlation"], atol=1e-6)
    with pytest.raises(reml.DataError, match="There is no column"):
        fit.autocorrelation(order="when")


def test_trend(fits: dict[str, reml.MixedModelFit]) -> None:
    fit = fits["field"]
    trend = fit.field_trend()
    model, at = fit._model, fit.estimates.at
    part = model.residuals[0]
    sigma = model.sigmas(at.theta, at.sigma2)[len(model.terms)]
    own = part.apply(sigma, fit._view.rows.py[:, None])[:, 0].numpy()
    np.testing.assert_allclose(trend, own - own.mean())
    truth = fit.table["trend"]
    assert np.corrcoef(trend, truth)[0, 1] > 0.8
    surface = reml.fit("yield ~ spl2d(row, col) + (1 | gen)", field())
    assert np.corrcoef(surface.field_trend(), truth)[0, 1] > 0.7
    crossed = reml.fit("yield ~ 1 + (1 | gen) + (1 | row) + (1 | col)", field())
    both = crossed.random_part("row") + crossed.random_part("col")
    np.testing.assert_allclose(crossed.field_trend(), both - both.mean(), atol=1e-12)
    with pytest.raises(reml.ModelError, match="no trend"):
        fits["plain"].field_trend()


def test_random_part_adds_up(fits: dict[str, reml.MixedModelFit]) -> None:
    fit = fits["plain"]
    np.testing.assert_allclose(fit.fitted(random=False) + fit.random_part("gen"), fit.fitted())


def test_columns_that_the_model_does_not_use(fits: dict[str, reml.MixedModelFit]) -> None:
    """Positions come from the table that was fitted, or are given."""
    fit, table = fits["plain"], field()
    pd.testing.assert_frame_equal(fit.variogram(), fit.variogram(table["row"], table["col"]))
    with pytest.raises(reml.DataError, match="There is no column"):
        fit.variogram("line", "col")
    with pytest.raises(reml.DataError, match="Positions are"):
        fit.variogram([1, 2], [1, 2])
    with pytest.raises(reml.ModelError, match="direction"):
        fit.variogram(direction="up")
    with pytest.raises(reml.ModelError, match="on the scale of the data"):
        fit.variogram(kind="pearson")
    named = fit.variogram(table["row"].astype(str).astype("category"), table["col"].map(lambda c: f"c{c}"))
    assert named["pairs"].sum() == fit.variogram()["pairs"].sum()


@pytest.mark.skipif(not Reference().found(), reason=ABSENT)
def test_nin_shows_the_trend_that_ar1_takes_up() -> None:
    table = Reference().table("stroup_nin.csv", ["gen", "rep"])
    plain = reml.fit("yield ~ gen + (1 | rep)", table)
    surface = plain.variogram()
    near = surface[(surface["distance"] <= 2) & (surface["pairs"] >= 30)]
    assert (near["semivariance"] < 0.75 * near["expected"]).all()
    spatial = reml.fit("yield ~ gen", table, residual="ar1(row):ar1(col) + id(units)")
    after = spatial.variogram()
    after = after[(after["distance"] <= 2) & (after["pairs"] >= 30)]
    ratio = after["semivariance"] / after["expected"]
    assert ratio.between(0.75, 1.25).all()
