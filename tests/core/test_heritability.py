"""Heritabilities: published values, and every formula computed from the equations written out.

john_alpha and durban_rowcol: AGRONOMY.md of the references (recomputed by an independent program). stroup_nin: ASReml's Cullis
heritabilities. The generalized one that SpATS prints for durban_rowcol is in test_surface.py.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.covariance import Dummy, Propagated, Scaled, Sum

ALPHA = "yield ~ rep + (1 | gen) + (1 | rep:block)"


@pytest.fixture(scope="module")
def alpha() -> pd.DataFrame:
    return reml.load_sample("john_alpha")


@pytest.mark.parametrize("engine", ["marginal", "henderson"])
def test_john_alphas_heritabilities(alpha: pd.DataFrame, engine: str) -> None:
    """d_BLUP .05455038, d_BLUE .07010875, vg .142901968, and what follows from them."""
    table = reml.fit(ALPHA, alpha, engine=engine).heritability("gen")
    expected = {
        "cullis": 0.80913357,
        "piepho": 0.80301700,
        "generalized": 0.80913357,
        "pev": 0.77541967,
        "standard": 0.142901968 / (0.142901968 + 0.081617174 / 3),
    }
    for method, value in expected.items():
        assert table.loc[method, "estimate"] == pytest.approx(value, abs=1e-6), method
    differences = table.attrs["differences"]
    assert differences["blup"] == pytest.approx(0.05455038, abs=1e-7)
    assert differences["blue"] == pytest.approx(0.07010875, abs=1e-7)
    assert differences["genetic"] == pytest.approx(2 * 0.142901968, abs=1e-6)
    assert list(table) == ["estimate", "std_error", "formula", "note"]
    assert table["formula"].str.contains("vg|eigenvalues").all()


def dense(data: pd.DataFrame, values: np.ndarray) -> dict[str, float]:
    """Cullis, pev, generalized, standard of the alpha design at vg, vb, ve: the mixed-model equations inverted."""
    vg, vb, ve = values
    x = np.column_stack([np.ones(len(data)), data["rep"] == "R2", data["rep"] == "R3"]).astype(float)
    g, b = (pd.get_dummies(c).to_numpy(float) for c in (data["gen"], data["rep"] + ":" + data["block"]))
    w = np.column_stack([x, g, b])
    prior = np.repeat([0, 1 / vg, 1 / vb], [3, g.shape[1], b.shape[1]])
    c = np.linalg.inv(w.T @ w / ve + np.diag(prior))[3 : 3 + g.shape[1], 3 : 3 + g.shape[1]]
    pairs = [c[i, i] + c[j, j] - 2 * c[i, j] for i, j in combinations(range(len(c)), 2)]
    eigen = np.linalg.eigvals(np.eye(len(c)) - c / vg).real
    return {
        "cullis": 1 - np.mean(pairs) / (2 * vg),
        "pev": 1 - np.trace(c) / len(c) / vg,
        "generalized": eigen[eigen > 1e-9].mean(),
        "standard": vg / (vg + ve * np.mean(1 / g.sum(axis=0))),
    }


def information(data: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    """Average information y'P V_k P V_l P y / 2 of vg, vb, ve."""
    x = np.column_stack([np.ones(len(data)), data["rep"] == "R2", data["rep"] == "R3"]).astype(float)
    slopes = [
        z @ z.T for z in (pd.get_dummies(c).to_numpy(float) for c in (data["gen"], data["rep"] + ":" + data["block"]))
    ]
    slopes.append(np.eye(len(data)))
    inverse = np.linalg.inv(sum(v * s for v, s in zip(values, slopes, strict=True)))
    p = inverse - inverse @ x @ np.linalg.solve(x.T @ inverse @ x, x.T @ inverse)
    f = np.column_stack([s @ p @ data["yield"].to_numpy() for s in slopes])
    return f.T @ p @ f / 2


@pytest.mark.parametrize("engine", ["marginal", "henderson"])
@pytest.mark.parametrize("profiled", [True, False])
def test_estimates_and_standard_errors_of_unbalanced_data(alpha: pd.DataFrame, engine: str, profiled: bool) -> None:
    data = alpha.drop(index=[1, 5, 17, 33, 34, 60]).astype({"rep": str, "block": str})
    fit = reml.fit(ALPHA, data, engine=engine, start=None if profiled else {"residual": 0.1})
    values = np.array([fit.parameters[name] for name in ("gen.variance", "rep:block.variance", "residual.variance")])
    covariance = np.linalg.inv(information(data, values))
    table = fit.heritability("gen", ["cullis", "pev", "generalized", "standard"])
    at = dense(data, values)
    for method, value in at.items():
        slopes = []
        for k in range(3):
            step = np.zeros(3)
            step[k] = 1e-4 * values[k]
            slopes.append(
                (dense(data, values + step)[method] - dense(data, values - step)[method]) / (2e-4 * values[k])
            )
        error = np.sqrt(np.array(slopes) @ covariance @ slopes)
        assert table.loc[method, "estimate"] == pytest.approx(value, abs=1e-8), method
        assert table.loc[method, "std_error"] == pytest.approx(error, rel=1e-5), method
    assert np.isnan(fit.heritability("gen", "piepho")["std_error"].iloc[0])
    without = fit.heritability("gen", ["cullis"], std_error=False)
    assert without["std_error"].isna().all() and without["estimate"].iloc[0] == table.loc["cullis", "estimate"]


def test_piepho_is_of_the_fit_with_fixed_entries(alpha: pd.DataFrame) -> None:
    data = alpha.drop(index=[1, 5, 17, 33, 34, 60])
    fit = reml.fit(ALPHA, data)
    table = fit.heritability("gen", "piepho")
    fixed = reml.fit("yield ~ 0 + gen + rep + (1 | rep:block)", data)
    c = fixed.fixed_covariance.to_numpy()[:24, :24]
    difference = np.mean([c[i, i] + c[j, j] - 2 * c[i, j] for i, j in combinations(range(24), 2)])
    assert table.attrs["differences"]["blue"] == pytest.approx(difference, rel=1e-5)
    vg = fit.parameters["gen.variance"]
    assert table.loc["piepho", "estimate"] == pytest.approx(vg / (vg + difference / 2), rel=1e-6)
    assert "two fits" in table.loc["piepho", "note"]


def test_row_column_trial(reference) -> None:
    data = reference.table("durban_rowcol.csv", ["gen", "rep"])
    fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:row) + (1 | rep:bed)", data)
    table = fit.heritability("gen", ["cullis", "generalized"], std_error=False)
    np.testing.assert_allclose(table["estimate"], 0.634086, atol=1e-6)


def test_spatial_trials(reference) -> None:
    data = reference.table("stroup_nin.csv", ["gen", "rep"])
    for formula, residual, published in (
        ("yield ~ rep + (1 | gen)", "ar1(row):ar1(col)", 0.41126),
        ("yield ~ rep + (1 | gen)", "ar1(row):ar1(col) + id(units)", 0.36528),
        ("yield ~ rep + (1 | gen) + (1 | row) + (1 | col)", None, 0.2086),
    ):
        fit = reml.fit(formula, data, residual=residual)
        table = fit.heritability("gen", ["cullis", "standard"], std_error=False)
        assert table.loc["cullis", "estimate"] == pytest.approx(published, abs=1e-4)
        if residual:
            assert np.isnan(table.loc["standard", "estimate"])
            assert table.loc["standard", "note"].startswith("residuals are correlated")


def test_a_variance_of_zero(reference) -> None:
    data = reference.table("stroup_nin.csv", ["gen", "rep"])
    table = reml.fit("yield ~ rep + (1 | gen)", data).heritability("gen")
    assert (table["estimate"] == 0).all() and table["std_error"].isna().all()
    assert (table["note"] == "the variance is estimated as zero").all()


def trials(seed: int = 5) -> pd.DataFrame:
    """40 genotypes in 4 environments of 2 or 3 replicates, not all of them everywhere."""
    rng = np.random.default_rng(seed)
    gen, env = rng.normal(size=40), rng.normal(size=(40, 4)) * 0.7
    rows = [
        (f"g{i:02d}", f"e{j}", f"r{r}", 10 + j + gen[i] + env[i, j] + rng.normal() * (0.6 + 0.2 * j))
        for i in range(40)
        for j in range(4)
        for r in range(2 + j % 2)
        if (i + j) % 7
    ]
    return pd.DataFrame(rows, columns=["gen", "env", "rep", "y"])


def test_entry_means_over_environments() -> None:
    """The harmonic mean numbers of environments and plots of an entry."""
    data = trials()
    fit = reml.fit("y ~ env + (1 | gen) + (1 | gen:env) + (1 | env:rep)", data)
    p = fit.parameters
    counts = data.groupby("gen").agg(env=("env", "nunique"), plots=("y", "size"))
    n, r = (float(len(counts) / (1 / counts[c]).sum()) for c in ("env", "plots"))
    vg = p["gen.variance"]
    expected = vg / (vg + p["gen:env.variance"] / n + p["residual.variance"] / r)
    table = fit.heritability("gen", "standard")
    assert table["estimate"].iloc[0] == pytest.approx(expected, rel=1e-9)
    text = f"gen / (gen + `gen:env` / {n!r} + residual / {r!r})"
    assert table["std_error"].iloc[0] == pytest.approx(fit.function(text)["std_error"], rel=1e-6)


def test_by_environment() -> None:
    """Of us(0 + env | gen) each environment has its own, from its own genotypes."""
    data = trials()
    for engine in ("marginal", "henderson"):
        fit = reml.fit("y ~ env + us(0 + env | gen)", data, residual="dsum(id(units) | env)", engine=engine)
        table = fit.heritability("gen", ["standard", "cullis", "pev", "piepho"], std_error=engine == "henderson")
        effects = fit.random_effects("gen")
        sigma, p = fit.variance_matrix("gen"), fit.parameters
        for j, name in enumerate(sigma.index):
            own = data[data["env"] == f"e{j}"]
            counts = own.groupby("gen").size()
            vg = sigma.loc[name, name]
            standard = vg / (vg + p[f"residual[e{j}].variance"] * (1 / counts).mean())
            assert table.loc[(name, "standard"), "estimate"] == pytest.approx(standard, rel=1e-8)
            pev = effects[(effects["effect"] == name) & effects["level"].isin(counts.index)]["pev"]
            assert table.loc[(name, "pev"), "estimate"] == pytest.approx(1 - pev.mean() / vg, rel=1e-8)
            assert table.loc[(name, "pev"), "estimate"] < table.loc[(name, "cullis"), "estimate"] < 1
            assert np.isnan(table.loc[(name, "piepho"), "estimate"])
            if engine == "henderson":
                assert 0 < table.loc[(name, "cullis"), "std_error"] < 0.5
    slopes = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy"))
    table = slopes.heritability("Subject", ["standard", "cullis"])
    assert table.loc[("Days", "standard"), "note"] == "an entry mean holds other effects of its level too"
    assert 0 < table.loc[("Days", "cullis"), "estimate"] < 1


def test_related_levels() -> None:
    """Against G, C and their pairs written out, over the levels with data; reliabilities by 1 - PEV / (vg K_jj)."""
    rng = np.random.default_rng(1)
    names = [f"a{i}" for i in range(25)]
    half = rng.normal(size=(25, 40))
    k = half @ half.T / 40 + 0.2 * np.eye(25)
    data = pd.DataFrame({"gen": np.repeat(names[:20], [2, 3, 4, 2] * 5)})
    codes = pd.Categorical(data["gen"], categories=names).codes
    data["y"] = 4 + (np.linalg.cholesky(k) @ rng.normal(size=25))[codes] + 0.6 * rng.normal(size=len(data))
    for engine in ("marginal", "henderson"):
        fit = reml.fit("y ~ 1 + (1 | gen)", data, relationship={"gen": pd.DataFrame(k, names, names)}, engine=engine)
        vg, ve = fit.parameters["gen.variance"], fit.parameters["residual.variance"]
        z = np.eye(25)[codes]
        w = np.column_stack([np.ones(len(data)), z])
        equations = w.T @ w / ve
        equations[1:, 1:] += np.linalg.inv(vg * k)
        c = np.linalg.inv(equations)[1:, 1:]
        mean = lambda m: np.mean([m[i, i] + m[j, j] - 2 * m[i, j] for i, j in combinations(range(20), 2)])
        star = vg * mean(k) / 2
        eigen = np.linalg.eigvals(np.eye(25) - np.linalg.inv(vg * k) @ c).real
        expected = {
            "cullis": 1 - mean(c) / (2 * star),
            "pev": 1 - np.mean(np.diag(c)[:20]) / (vg * np.mean(np.diag(k)[:20])),
            "generalized": eigen[np.abs(eigen) > 1e-9].mean(),
            "standard": star / (star + ve * np.mean(1 / z.sum(axis=0)[:20])),
        }
        table = fit.heritability("gen")
        for method, value in expected.items():
            assert table.loc[method, "estimate"] == pytest.approx(value, rel=1e-7), method
        fixed = reml.fit("y ~ 0 + gen + (1 | other)", data.assign(other=np.arange(len(data)) % 5), fixed={"other": 0.0})
        blue = mean(fixed.fixed_covariance.to_numpy())
        assert table.loc["piepho", "estimate"] == pytest.approx(star / (star + blue / 2), rel=1e-4)
        effects = fit.random_effects("gen").set_index("level").loc[names]
        np.testing.assert_allclose(effects["pev"], np.diag(c), rtol=1e-7)
        np.testing.assert_allclose(effects["reliability"], 1 - np.diag(c) / (vg * np.diag(k)), rtol=1e-7)
        np.testing.assert_allclose(effects["accuracy"], np.sqrt(1 - np.diag(c) / (vg * np.diag(k))), rtol=1e-7)


def test_held_tied_and_ml(alpha: pd.DataFrame) -> None:
    """A parameter that is held counts as known; one that is tied moves with the other."""
    held = reml.fit(ALPHA, alpha, fixed={"gen": 0.15, "rep:block": 0.07, "residual": 0.08})
    data = alpha.astype({"rep": str, "block": str})
    table = held.heritability("gen")
    for method, value in dense(data, np.array([0.15, 0.07, 0.08])).items():
        assert table.loc[method, "estimate"] == pytest.approx(value, rel=1e-8)
        assert table.loc[method, "std_error"] == 0.0
    tied = reml.fit(ALPHA, alpha, ties={"rep:block": "gen"})
    table = tied.heritability("gen", ["standard", "cullis"])
    assert table["std_error"].gt(0).all()
    assert np.isnan(tied.heritability("gen", "piepho")["estimate"].iloc[0])
    assert "tied" in tied.heritability("gen", "piepho")["note"].iloc[0]
    ml = reml.fit(ALPHA, alpha, method="ml").heritability("gen")
    assert ml["estimate"].between(0.5, 0.9).all()


def test_what_has_no_heritability(alpha: pd.DataFrame) -> None:
    fit = reml.fit(ALPHA, alpha)
    with pytest.raises(reml.ModelError, match="several random terms"):
        fit.heritability()
    with pytest.raises(reml.ModelError, match="method='falconer' is not known"):
        fit.heritability("gen", "falconer")
    spline = reml.fit("Reaction ~ spl(Days) + (1 | Subject)", reml.load_sample("sleepstudy"))
    with pytest.raises(reml.ModelError, match="is a function of positions"):
        spline.heritability("spl(Days)")
    # A trial of its own genotypes: what is trial and what is genotype in a difference is not known.
    data = alpha.assign(trial=np.where(alpha["gen"] < "G13", "t1", "t2"))
    table = reml.fit("yield ~ trial + (1 | gen)", data).heritability("gen", "piepho")
    assert np.isnan(table["estimate"].iloc[0])
    assert "fixed effects determine differences" in table["note"].iloc[0]
    tree = Sum(gen=Propagated(Dummy(alpha["gen"]), Scaled(24)), residual=Scaled(72))
    by_hand = reml.fit_covariance(alpha["yield"], Dummy(alpha["rep"]), tree)
    with pytest.raises(reml.ModelError, match="A tree built by hand has no formula"):
        by_hand.heritability("gen")
