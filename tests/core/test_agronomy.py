"""Published field trials against an independent dense REML program (reference/agronomy.json, AGRONOMY.md).

The log-likelihood is ASReml's, without (n - p) / 2 log(2 pi). Where ours is higher the reference stopped short.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml

FIELD = "ar1(row):ar1(col)"
NUGGET = " + id(units)"
SERPENTINE = "yield ~ rep + (1 | gen)"
SORGHUM = "yield ~ env + (1 | env:rep) + (1 | gen) + (1 | gen:env)"
# tag: data, factors, formula, residual
TRIALS: dict[str, tuple[str, list[str], str, str | None]] = {
    "stroup.nin RCB (rep random)": ("stroup_nin", ["gen", "rep"], "yield ~ gen + (1 | rep)", None),
    "stroup.nin AR1xAR1": ("stroup_nin", ["gen"], "yield ~ gen", FIELD),
    "stroup.nin AR1xAR1+units": ("stroup_nin", ["gen"], "yield ~ gen", FIELD + NUGGET),
    "stroup.nin AR1xAR1+rep": ("stroup_nin", ["gen", "rep"], "yield ~ gen + (1 | rep)", FIELD),
    "gilmour.slatehall model 4": (
        "gilmour_slatehall",
        ["gen"],
        "yield ~ gen + row + (1 | col) + (1 | row)",
        FIELD,
    ),
    "burgueno.alpha rep": ("burgueno_alpha", ["gen", "rep"], "yield ~ gen + (1 | rep)", None),
    "burgueno.alpha inc block": ("burgueno_alpha", ["gen", "rep", "block"], "yield ~ gen + (1 | rep/block)", None),
    "burgueno.alpha m1 (published -232.13)": ("burgueno_alpha", ["gen"], "yield ~ gen", None),
    "burgueno.alpha m4 AR1xAR1 (published -221.47)": ("burgueno_alpha", ["gen"], "yield ~ gen", FIELD),
    "burgueno.alpha m5 +row random (published -220.07)": ("burgueno_alpha", ["gen"], "yield ~ gen + (1 | row)", FIELD),
    "burgueno.alpha m10 lin(row)+lin(col) (published -211.56)": (
        "burgueno_alpha",
        ["gen"],
        "yield ~ gen + row + col",
        FIELD,
    ),
    "cullis.earlygen m2 weed; gen; AR1xAR1": ("cullis_earlygen", ["gen"], "yield ~ weed + (1 | gen)", FIELD),
    "cullis.earlygen m3 +lin col (raw)": ("cullis_earlygen", ["gen"], "yield ~ weed + col + (1 | gen)", FIELD),
    "stroup.nin gen random | AR1xAR1": ("stroup_nin", ["gen", "rep"], "yield ~ rep + (1 | gen)", FIELD),
    "stroup.nin gen random | AR1xAR1+units": ("stroup_nin", ["gen", "rep"], "yield ~ rep + (1 | gen)", FIELD + NUGGET),
    "gilmour.serpentine gen random | IID": ("gilmour_serpentine", ["gen", "rep"], SERPENTINE, None),
    "gilmour.serpentine gen random | row+col": (
        "gilmour_serpentine",
        ["gen", "rep"],
        SERPENTINE + " + (1 | row) + (1 | col)",
        None,
    ),
    "gilmour.serpentine gen random | AR1xAR1": ("gilmour_serpentine", ["gen", "rep"], SERPENTINE, FIELD),
    "gilmour.serpentine gen random | AR1xAR1+units": ("gilmour_serpentine", ["gen", "rep"], SERPENTINE, FIELD + NUGGET),
    "gilmour.serpentine gen random | row+col+AR1xAR1": (
        "gilmour_serpentine",
        ["gen", "rep"],
        SERPENTINE + " + (1 | row) + (1 | col)",
        FIELD,
    ),
    "durban.rowcol gen random | row+col": (
        "durban_rowcol",
        ["gen", "rep"],
        "yield ~ rep + (1 | gen) + (1 | row) + (1 | bed)",
        None,
    ),
    "durban.rowcol gen random | AR1xAR1": ("durban_rowcol", ["gen", "rep"], SERPENTINE, "ar1(row):ar1(bed)"),
    "durban.rowcol gen random | AR1xAR1+units": (
        "durban_rowcol",
        ["gen", "rep"],
        SERPENTINE,
        "ar1(row):ar1(bed) + id(units)",
    ),
    "durban.splitplot (block=0 at boundary)": (
        "durban_splitplot",
        ["gen", "fung", "block"],
        "yield ~ gen * fung + (1 | block/fung)",
        "ar1(row):ar1(bed) + id(units)",
    ),
    "stroup.splitplot": ("stroup_splitplot", ["a", "b", "rep"], "y ~ a * b + (1 | rep/a)", None),
    "burgueno.rowcol": (
        "burgueno_rowcol",
        ["gen", "rep"],
        "yield ~ gen + (1 | rep) + (1 | rep:row) + (1 | rep:col)",
        None,
    ),
    "besag.met M1 gen:county iid; ar1xar1|county": (
        "besag_met",
        ["county", "gen"],
        "yield ~ county + (1 | gen:county)",
        f"dsum({FIELD} | county)",
    ),
    "besag.met M2 fa(county,1):gen": (
        "besag_met",
        ["county", "gen"],
        "yield ~ county + fa(0 + county | gen, k=1)",
        f"dsum({FIELD} | county)",
    ),
    "omer.sorghum E1,E2,E3,E4,E5,E6": (
        "omer_sorghum",
        ["env", "rep", "gen"],
        SORGHUM,
        None,
    ),
    "omer.sorghum E2,E4": ("omer_sorghum", ["env", "rep", "gen"], SORGHUM, None),
    "omer.sorghum E2,E4,E6": ("omer_sorghum", ["env", "rep", "gen"], SORGHUM, None),
    "besag.met M3 fa(county,2):gen": (
        "besag_met",
        ["county", "gen"],
        "yield ~ county + fa(0 + county | gen, k=2)",
        f"dsum({FIELD} | county)",
    ),
    "gilmour.serpentine RCB": ("gilmour_serpentine", ["gen", "rep"], "yield ~ gen + (1 | rep)", None),
    "gilmour.serpentine AR1xAR1": ("gilmour_serpentine", ["gen"], "yield ~ gen", FIELD),
    "cullis.earlygen m4 +units": ("cullis_earlygen", ["gen"], "yield ~ weed + col + (1 | gen)", FIELD + NUGGET),
    "stroup.nin gen random | IID": ("stroup_nin", ["gen", "rep"], "yield ~ rep + (1 | gen)", None),
    "stroup.nin gen random | row+col": ("stroup_nin", ["gen", "rep"], SERPENTINE + " + (1 | row) + (1 | col)", None),
    "stroup.nin gen random | row+col+AR1xAR1": (
        "stroup_nin",
        ["gen", "rep"],
        SERPENTINE + " + (1 | row) + (1 | col)",
        FIELD,
    ),
    "durban.rowcol gen random | IID": ("durban_rowcol", ["gen", "rep"], SERPENTINE, None),
    "durban.rowcol gen random | row+col+AR1xAR1": (
        "durban_rowcol",
        ["gen", "rep"],
        SERPENTINE + " + (1 | row) + (1 | bed)",
        "ar1(row):ar1(bed)",
    ),
    "durban.rowcol gen fixed, units+AR1xAR1": ("durban_rowcol", ["gen"], "yield ~ gen", "ar1(row):ar1(bed)" + NUGGET),
    "ASR009 besag.elbatan col fixed; gen random; ar1v(col):ar1(row)": (
        "besag_elbatan",
        ["gen"],
        "yield ~ factor(col) + (1 | gen)",
        FIELD,
    ),
    "john.alpha gen fixed": ("john_alpha", ["gen", "rep", "block"], "yield ~ gen + rep + (1 | rep:block)", None),
    "yates.oats splitplot": ("yates_oats", ["gen", "block", "nitro"], "yield ~ nitro * gen + (1 | block / gen)", None),
    "yates.oats + col": (
        "yates_oats",
        ["gen", "block", "nitro"],
        "yield ~ nitro * gen + col + (1 | block / gen)",
        None,
    ),
    "butron m0 gen iid (published AIC 229.4037)": ("butron_maize", ["gen", "env"], "yield ~ env + (1 | gen)", None),
    "butron m1 vm(gen,A) (published AIC 213.2487)": ("butron_maize", ["gen", "env"], "yield ~ env + (1 | gen)", None),
    "butron m2 idv(env):vm (published AIC 290.6156)": (
        "butron_maize",
        ["gen", "env"],
        "yield ~ env + id(0 + env | gen)",
        None,
    ),
    "butron m3 diag(env):vm (published AIC 296.8061)": (
        "butron_maize",
        ["gen", "env"],
        "yield ~ env + diag(0 + env | gen)",
        None,
    ),
    "butron m4 fa1(env):vm (published AIC 218.1568)": (
        "butron_maize",
        ["gen", "env"],
        "yield ~ env + fa(0 + env | gen, k=1)",
        None,
    ),
}


def trial(reference, tag: str) -> tuple[dict, reml.MixedModelFit]:
    """The published case and our fit of it."""
    cases = json.loads((reference.fits / "agronomy.json").read_text(encoding="utf-8"))["cases"]
    case = next(c for c in cases if c["tag"] == tag)
    file, factors, formula, residual = TRIALS[tag]
    data = reference.table(f"{file}.csv", factors)
    if tag.startswith("omer.sorghum"):
        data = data[data["env"].isin(tag.split()[-1].split(","))].copy()
    related = "butron" in tag and "iid" not in tag
    ancestors = pd.read_csv(reference.data / "butron_pedigree.csv") if related else None
    relationship = {"gen": reml.Pedigree(ancestors)} if related else None
    return case, reml.fit(formula, data, residual=residual, relationship=relationship)


#: Factor-analytic models of the barley counties have a test of their own.
BARLEY = {"besag.met M2 fa(county,1):gen": 1, "besag.met M3 fa(county,2):gen": 2}


@pytest.mark.parametrize("tag", [tag for tag in TRIALS if tag not in BARLEY])
def test_log_likelihood_and_parameters(reference, tag):
    case, fit = trial(reference, tag)
    assert fit.converged, fit.message
    assert (fit.n_obs, fit.rank) == (case["n"], case["p"])
    # Four decimals are stated; where ours is higher the reference stopped short.
    assert fit.loglik_asreml == pytest.approx(case["loglik_asreml"], abs=6e-5) or (
        case["loglik_asreml"] < fit.loglik_asreml < case["loglik_asreml"] + 2e-3
    )
    if "fa1" not in tag:
        # The same numbers, whatever their names: variances, correlations.
        theirs, ours = sorted(case["params"].values()), sorted(fit.parameters.values())
        if len(ours) > len(theirs):  # a variance at zero that the case leaves out
            ours.remove(0.0)
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6 * max(theirs))


def test_loadings_of_maize_environments(reference):
    case, fit = trial(reference, "butron m4 fa1(env):vm (published AIC 218.1568)")
    table = fit.variance_components()
    loadings = table.loc[table["kind"] == "loading", "estimate"].to_numpy()
    np.testing.assert_allclose(loadings, [case["params"][f"l{i}"] for i in range(5)], rtol=1e-3)
    specific = table.loc[table["kind"] == "specific variance", "estimate"].to_numpy()
    np.testing.assert_allclose(specific, [case["params"][f"psi{i}"] for i in range(5)], rtol=2e-3)


@pytest.mark.parametrize(("tag", "factors"), BARLEY.items())
def test_factors_of_barley_counties(reference, tag, factors):
    """The genetic covariance L L' + psi of the six counties, and each county's own residual."""
    case, fit = trial(reference, tag)
    assert fit.converged, fit.message
    assert (fit.n_obs, fit.rank) == (case["n"], case["p"])
    assert fit.loglik_asreml == pytest.approx(case["loglik_asreml"], abs=6e-5)
    theirs, counties = case["params"], range(1, 7)
    loadings = np.zeros((6, factors))
    for f in range(factors):
        loadings[f:, f] = [theirs[f"l{i}" if factors == 1 else f"l{f + 1}_{i}"] for i in range(f + 1, 7)]
    expected = loadings @ loadings.T + np.diag([theirs[f"psi{i}"] for i in counties])
    np.testing.assert_allclose(fit.variance_matrix("gen"), expected, rtol=2e-3, atol=2e-3)
    assert fit.singular == (factors == 2)  # a specific variance at zero
    for i in counties:
        assert fit.parameters[f"residual[C{i}].variance"] == pytest.approx(theirs[f"C{i}.var"], rel=1e-3)
        for way in ("row", "col"):
            rho = fit.parameters[f"residual[C{i}].ar1({way}).rho"]
            assert rho == pytest.approx(theirs[f"C{i}.{way}"], rel=1e-3)


def test_standard_errors_as_asreml_prints_them(reference):
    """Slate Hall Farm, Gilmour, Cullis and Verbyla (1997): 1958.6, 10256.5, 4616.1, .1129, .1174."""
    _, fit = trial(reference, "gilmour.slatehall model 4")
    table = fit.variance_components()
    published = {"col": 1958.6, "row": 10256.5}
    for group, expected in published.items():
        assert table.loc[table["group"] == group, "std_error"].item() == pytest.approx(expected, rel=2e-3)
    own = table[table["group"] == "residual"].set_index("name1")["std_error"]
    found = sorted(own)
    np.testing.assert_allclose(found, [0.1129, 0.1174, 4616.1], rtol=3e-3)
