"""An early-generation lupin trial at three sites: agridat's vsn.lupin3, five models that ASReml's log-likelihood is published of.

Checks are fixed within sites, test lines random; every site has random columns, S3 random rows too. Residuals are
AR1 x AR1 at S1 and S2; at S3 columns are independent of each other, AR1 along each.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml

PLOTS = "yield ~ site + check:site + (0 + inS1 | col) + (0 + inS2 | col) + (0 + inS3 | col) + (0 + inS3 | row)"
# S3's blocks are its strips, with one place across: what its second correlation is does not matter.
RESIDUAL = "dsum(id(strip):ar1(row):ar1(across) | site)"
#: model -> its tag in agronomy.json, the test lines' term
MODELS = {
    "one variance": ("m1 (published -314.2616)", "(1 | test)"),
    "site by line": ("m2 +site:test (published -310.8794)", "(1 | test) + (1 | site:test)"),
    "corh": ("m3 corh (published -288.4837)", "csh(0 + site | test)"),
    "us": ("m4 us (published -286.8239)", "us(0 + site | test)"),
    "fa1": ("m5 fa1 (published -286.8484)", "fa(0 + site | test, k=1)"),
}
SITES = ("S1", "S2", "S3")
PAIRS = ((0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2))  # the lower triangle by rows


@pytest.fixture(scope="module")
def trial(reference) -> pd.DataFrame:
    """The trial; checks are 1 to 6 and 337, which the analysis calls 0."""
    data = reference.table("vsn_lupin3.csv", ["site"])
    line = data["gen"].between(7, 336)
    data["check"] = data["gen"].where(~line, 7).replace(337, 0).astype(str)
    data["test"] = data["gen"].where(line, 0).astype(str)
    for site in SITES:
        data[f"in{site}"] = (data["site"] == site).astype(float)
    separate = data["site"] == "S3"
    data["strip"], data["across"] = data["col"].where(separate, 0), data["col"].where(~separate, 1)
    return data


def of_lines(name: str, case: dict[str, float]) -> dict[str, float]:
    """Our names of the test lines' parameters, and the reference's numbers."""
    if name in ("one variance", "site by line"):
        return {"test.variance": case["test"]} | (
            {"site:test.variance": case["site:test"]} if "site:test" in case else {}
        )
    if name == "corh":
        return {f"test.variance(site[{s}])": case[f"g{i}"] for i, s in enumerate(SITES, 1)} | {"test.rho": case["cor"]}
    if name == "us":
        root = np.zeros((3, 3))
        for a, b in PAIRS:
            root[a, b] = case[f"L{a + 1}{b + 1}"]
        sigma = root @ root.T
        names = {
            (a, b): f"variance(site[{SITES[a]}])" if a == b else f"covariance(site[{SITES[b]}], site[{SITES[a]}])"
            for a, b in PAIRS
        }
        return {f"test.{names[pair]}": sigma[pair] for pair in PAIRS}
    loadings = {f"test.loading(site[{s}], factor 1)": case[f"l{i}"] for i, s in enumerate(SITES, 1)}
    return loadings | {f"test.specific variance(site[{s}])": case[f"psi{i}"] for i, s in enumerate(SITES, 1)}


@pytest.mark.parametrize("name", MODELS)
def test_lupins(reference, trial, name):
    tag, term = MODELS[name]
    cases = json.loads((reference.fits / "agronomy.json").read_text(encoding="utf-8"))["cases"]
    case = next(c for c in cases if c["tag"] == f"vsn.lupin3 {tag}")
    fit = reml.fit(f"{PLOTS} + {term}", trial, residual=RESIDUAL)
    assert fit.converged, fit.message
    assert (fit.n_obs, fit.rank) == (case["n"], case["p"])
    assert fit.loglik_asreml == pytest.approx(case["loglik_asreml"], abs=6e-5)
    theirs, ours = case["params"], fit.parameters
    expected = of_lines(name, theirs)
    expected |= {f"residual[{s}].variance": theirs[f"{s}.var"] for s in SITES}
    expected |= {f"residual[{s}].ar1(row).rho": theirs[f"{s}.row"] for s in SITES}
    expected |= {f"residual[{s}].ar1(across).rho": theirs[f"{s}.col"] for s in SITES[:2]}
    random = ["col.variance", "col.1.variance", "col.2.variance", "row.variance"]
    expected |= dict(zip(random, (theirs[k] for k in ("S1:col", "S2:col", "S3:col", "S3:row")), strict=True))
    for parameter, value in expected.items():
        assert ours[parameter] == pytest.approx(value, rel=1e-3, abs=1e-6), parameter
    if name == "us":
        published = [[0.992, 0.158, 0.132], [0.158, 0.073, 0.078], [0.132, 0.078, 0.122]]
        np.testing.assert_allclose(fit.variance_matrix("test"), published, atol=6e-4)
    if name in ("corh", "us", "fa1"):
        assert fit.singular and ours["col.variance"] == 0.0
