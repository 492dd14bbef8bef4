"""From their default starting values cs, us, fa and ar1 models converge; negative correlations are found, not clipped."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml

#: data -> factors, numbers made of the order of a factor's levels, and models (formula, residual)
MODELS: dict[str, tuple[list[str], list[tuple[str, str | None]]]] = {
    "john_alpha": (
        ["gen", "rep", "block"],
        [
            ("yield ~ rep + cs(0 + rep | gen)", None),
            ("yield ~ rep + csh(0 + rep | gen)", None),
            ("yield ~ rep + us(0 + rep | gen) + (1 | rep:block)", None),
            ("yield ~ rep + fa(0 + rep | gen, k=1) + (1 | rep:block)", None),
            ("yield ~ rep + ar1(0 + rep | gen)", None),
            ("yield ~ rep + (1 | gen)", "ar1(row):ar1(col)"),
            ("yield ~ rep + (1 | gen)", "ar1(row):ar1(col) + id(units)"),
        ],
    ),
    "oats": (
        ["Block", "Variety"],
        [
            ("yield ~ nitro + cs(0 + Variety | Block)", None),
            ("yield ~ nitro + us(0 + Variety | Block)", None),
            ("yield ~ nitro + fa(0 + Variety | Block, k=1)", None),
            ("yield ~ Variety + ar1(0 + factor(nitro) | Block)", None),
            ("yield ~ Variety + (1 | Block)", "id(plot):ar1(step)"),
            ("yield ~ Variety * factor(nitro)", "id(plot):us(step)"),
        ],
    ),
    "orthodont": (
        ["Subject", "Sex"],
        [
            ("distance ~ age * Sex", "id(Subject):cs(age)"),
            ("distance ~ age * Sex", "id(Subject):us(age)"),
            ("distance ~ age * Sex", "id(Subject):ar1(visit)"),
            ("distance ~ age * Sex + (age | Subject)", "id(Subject):ar1(visit)"),
            ("distance ~ age * Sex + fa(0 + factor(age) | Subject, k=1)", None),
            ("distance ~ age * Sex + ar1(0 + factor(age) | Subject)", None),
        ],
    ),
    "besag_met": (
        ["county", "gen", "rep", "block"],
        [
            ("yield ~ county + cs(0 + county | gen)", "dsum(id(units) | county)"),
            ("yield ~ county + us(0 + county | gen)", "dsum(id(units) | county)"),
            ("yield ~ county + fa(0 + county | gen, k=1)", "dsum(id(units) | county)"),
            ("yield ~ county + fa(0 + county | gen, k=2)", "dsum(id(units) | county)"),
            ("yield ~ county + (1 | gen)", "dsum(ar1(row):ar1(col) | county)"),
        ],
    ),
}
CASES = [(file, formula, residual) for file, (_, models) in MODELS.items() for formula, residual in models]


@pytest.fixture(scope="module")
def tables(reference) -> dict[str, pd.DataFrame]:
    out = {file: reference.table(f"{file}.csv", factors) for file, (factors, _) in MODELS.items()}
    out["oats"]["step"] = out["oats"]["nitro"].rank(method="dense").astype(int)
    out["oats"]["plot"] = out["oats"]["Block"].astype(str) + out["oats"]["Variety"].astype(str)
    out["orthodont"]["visit"] = ((out["orthodont"]["age"] - 6) // 2).astype(int)
    return out


@pytest.mark.parametrize(("file", "formula", "residual"), CASES)
def test_default_starts_converge(tables, file, formula, residual):
    fit = reml.fit(formula, tables[file], residual=residual)
    assert fit.converged, fit.message
    assert np.isfinite(fit.criterion) and np.isfinite(list(fit.parameters.values())).all()
    trace = fit.trace
    assert np.isfinite(trace[["criterion", "gradient"]].to_numpy()).all()
    assert len(trace) <= 60
    assert trace["criterion"].iloc[-1] == pytest.approx(trace["criterion"].min(), abs=1e-6)


# --- negative correlations -------------------------------------------------------------------------------------------


def test_negative_autocorrelation_of_a_series():
    """Competition between neighbours: rho = -0.6 along rows; the estimate is where the exact likelihood is highest."""
    rng = np.random.default_rng(21)
    lag = np.abs(np.subtract.outer(range(40), range(40)))
    root = np.linalg.cholesky((-0.6) ** lag)
    data = pd.DataFrame({"y": (root @ rng.normal(size=(40, 8))).T.reshape(-1), "col": np.repeat(range(8), 40)})
    data["row"] = np.tile(range(1, 41), 8)
    fit = reml.fit("y ~ 1", data, residual="id(col):ar1(row)")
    rho = fit.parameters["residual.ar1(row).rho"]
    assert fit.converged and -0.75 < rho < -0.45

    y, x = data["y"].to_numpy(), np.ones(320)

    def criterion(r: float) -> float:
        """-2 l with the variance at its best for this rho, every column its own block."""
        c = np.kron(np.eye(8), r**lag)
        inverse = np.linalg.inv(c)
        information = x @ inverse @ x
        rest = y - x @ inverse @ y / information
        sigma2 = rest @ inverse @ rest / 319
        return 319 * (np.log(2 * np.pi * sigma2) + 1) + np.linalg.slogdet(c)[1] + np.log(information)

    assert fit.criterion == pytest.approx(criterion(rho), abs=1e-8)
    assert min(criterion(rho - 1e-3), criterion(rho + 1e-3)) > fit.criterion


def test_negative_autocorrelation_in_both_directions():
    rng = np.random.default_rng(22)
    along, across = (
        np.linalg.cholesky(r ** np.abs(np.subtract.outer(range(k), range(k)))) for r, k in ((-0.5, 18), (-0.4, 14))
    )
    field = along @ rng.normal(size=(18, 14)) @ across.T
    data = pd.DataFrame({"y": 2 * field.reshape(-1), "row": np.repeat(range(18), 14), "col": np.tile(range(14), 18)})
    fit = reml.fit("y ~ 1", data, residual="ar1(row):ar1(col)")
    assert fit.converged
    assert fit.parameters["residual.ar1(row).rho"] == pytest.approx(-0.5, abs=0.12)
    assert fit.parameters["residual.ar1(col).rho"] == pytest.approx(-0.4, abs=0.12)
    assert fit.criterion < reml.fit("y ~ 1", data).criterion - 20


@pytest.mark.parametrize("structure", ["ar1", "cs", "us"])
def test_negative_correlation_of_effects(structure):
    """Two treatments whose block effects oppose each other; with cs over two levels the bound is -1, not 0."""
    rng = np.random.default_rng(23)
    effects = rng.multivariate_normal([0, 0], [[4, -2.8], [-2.8, 4]], size=80)
    data = pd.DataFrame({"block": np.repeat(range(80), 6), "t": np.tile([1, 2], 240)})
    data["y"] = effects[data["block"], data["t"] - 1] + rng.normal(size=480)
    data["t"] = data["t"].astype(str)
    fit = reml.fit(f"y ~ t + {structure}(0 + t | block)", data)
    sigma = fit.variance_matrix("block").to_numpy()
    r = sigma[0, 1] / np.sqrt(sigma[0, 0] * sigma[1, 1])
    assert fit.converged and r == pytest.approx(-0.7, abs=0.12)


def test_both_engines_give_loadings_the_same_errors(tables):
    """A loading is in units of the response: its standard error too, whether the residual variance is profiled out or not."""
    data = tables["besag_met"][tables["besag_met"]["county"].isin(["C1", "C2", "C3"])].copy()
    for residual in (None, "dsum(id(units) | county)"):
        dense, sparse = (
            reml.fit("yield ~ county + fa(0 + county | gen, k=1)", data, residual=residual, engine=engine)
            for engine in ("marginal", "henderson")
        )
        assert (dense.engine, sparse.engine) == ("marginal", "henderson")
        errors = [fit.variance_components()["std_error"].to_numpy() for fit in (dense, sparse)]
        np.testing.assert_allclose(errors[1], errors[0], rtol=1e-6)
        larger = reml.fit(
            "big ~ county + fa(0 + county | gen, k=1)", data.assign(big=10 * data["yield"]), residual=residual
        ).variance_components()
        loading = (larger["kind"] == "loading").to_numpy()
        np.testing.assert_allclose(larger["std_error"][loading], 10 * errors[0][loading], rtol=1e-4)
