"""Responses drawn from a fit, and the same model fitted to others: moments of the draws, refits against plain fits."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import torch

import openreml_core as reml
from openreml_core.covariance import Dummy, Propagated, Scaled, Sum
from openreml_core.engines import MarginalEngine
from openreml_core.notation import parse_formula, updated_formula
from openreml_core.simulation import draw_responses, generator
from tests.contracts.models import plain_v, simulated

MODELS = {
    "us and diag": {},
    "weights": {"weighted": True, "profiled": False},
    "relationship": {"related": True},
    "field with a nugget": {"residual": "ar1 + units", "structures": ()},
    "blocks": {"residual": "blocks"},
    "sections": {"residual": "sections"},
    "spatial term": {"structures": (), "spatial": 6},
    "related and spatial": {"structures": (), "spatial": 5, "related": True},
    "spline": {"structures": (), "smooth": 4},
}


@pytest.mark.parametrize("kind", MODELS)
def test_draws_have_the_models_mean_and_covariance(kind: str) -> None:
    model = simulated(3, n=14 if "blocks" not in kind else 15, **MODELS[kind])
    theta = model.start() + 0.3
    at = MarginalEngine(model).evaluate(theta)
    draws = draw_responses(model, at, 40_000, np.random.default_rng(7))
    v = at.sigma2 * plain_v(model, theta)
    mean, covariance = draws.mean(dim=1), torch.cov(draws)
    errors = (v.diagonal() / 40_000).sqrt()
    assert float(((mean - model.X @ at.beta) / errors).abs().max()) < 4.5
    # Var of a sample covariance: (v_ii v_jj + v_ij^2) / N.
    errors = ((torch.outer(v.diagonal(), v.diagonal()) + v.square()) / 40_000).sqrt()
    assert float(((covariance - v) / errors).abs().max()) < 5.0


def test_draws_repeat_with_their_seed_and_hold_the_offset() -> None:
    data = reml.load_sample("sleepstudy").assign(o=1000.0)
    fit = reml.fit("Reaction ~ Days + (1 | Subject)", data, offset="o")
    a, b = fit.simulate(200, seed=3), fit.simulate(200, seed=3)
    pd.testing.assert_frame_equal(a, b)
    assert list(a.columns[:2]) == ["sim_1", "sim_2"] and a.index.equals(fit.design.index)
    np.testing.assert_allclose(a.mean(axis=1), fit.fitted(random=False), atol=20)
    with pytest.raises(reml.ModelError, match="seed"):
        fit.simulate(1, seed="one")
    with pytest.raises(reml.ModelError, match="n=0"):
        fit.simulate(0)
    assert generator(np.random.default_rng(1)).standard_normal() == np.random.default_rng(1).standard_normal()


def test_a_tree_is_simulated_and_not_refitted() -> None:
    d = reml.load_sample("john_alpha")
    v = Sum(gen=Propagated(Dummy(d["gen"]), Scaled(24)), residual=Scaled(72))
    fit = reml.fit_covariance(d["yield"], Dummy(d["rep"]), v)
    assert fit.simulate(4, seed=1).shape == (72, 4)
    with pytest.raises(reml.ModelError, match="cannot be fitted again"):
        fit.refit(fit.response)


REFITS = {
    "slopes": ("Reaction ~ Days + (Days | Subject)", {}),
    "ml": ("Reaction ~ Days + (Days | Subject)", {"method": "ml"}),
    "weights": ("Reaction ~ Days + (1 | Subject)", {"weights": "w"}),
    "offset": ("Reaction ~ Days + (1 | Subject) + offset(w)", {}),
    "residual": ("Reaction ~ Days + (1 | Subject)", {"residual": "id(Subject):ar1(Days)"}),
    "tied": (
        "Reaction ~ Days + (Days || Subject)",
        {"ties": {"Subject.variance(Days)": "0.05 * Subject.variance((Intercept))"}},
    ),
    "held": ("Reaction ~ Days + (Days || Subject)", {"fixed": {"Subject": [600.0, 30.0]}}),
    "transformed": ("log(Reaction) ~ Days + (Days | Subject)", {}),
    "spline": ("Reaction ~ spl(Days) + (1 | Subject)", {}),
}


@pytest.mark.parametrize("engine", ["marginal", "henderson"])
@pytest.mark.parametrize("name", REFITS)
def test_a_refit_is_a_fit_of_the_other_response(name: str, engine: str) -> None:
    formula, options = REFITS[name]
    data = reml.load_sample("sleepstudy").assign(w=lambda d: 1.0 + np.arange(len(d)) % 3)
    fit = reml.fit(formula, data, engine=engine, **options)
    response = fit.simulate(1, seed=5)["sim_1"]
    values = np.exp(response) if name == "transformed" else response
    plain = reml.fit(formula, data.assign(Reaction=values), engine=engine, **options)
    again = fit.refit(response)
    assert again.converged and again.engine == engine
    assert again.criterion == pytest.approx(plain.criterion, abs=1e-6)
    pd.testing.assert_series_equal(again.fixed_effects()["std_error"], plain.fixed_effects()["std_error"], rtol=1e-4)
    np.testing.assert_allclose(again.response, response)


def test_a_refit_leaves_a_variance_of_zero() -> None:
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"Batch": np.repeat(list("ABCDEF"), 5), "Yield": 5 + np.tile(rng.normal(size=5), 6)})
    fit = reml.fit("Yield ~ 1 + (1 | Batch)", data)
    assert fit.singular
    shifted = fit.response + 3.0 * data["Batch"].map({b: i for i, b in enumerate("ABCDEF")}).to_numpy()
    again = fit.refit(shifted)
    plain = reml.fit("Yield ~ 1 + (1 | Batch)", data.assign(Yield=shifted))
    assert again.criterion == pytest.approx(plain.criterion, abs=1e-6) and not again.singular


def test_a_refit_is_saved_updated_and_refitted() -> None:
    fit = reml.fit("log(Reaction) ~ Days + (Days | Subject)", reml.load_sample("sleepstudy"))
    again = fit.refit(fit.response**2)
    assert again.response_name == "`log(Reaction)`"
    file = io.BytesIO()
    again.save(file)
    file.seek(0)
    loaded = reml.load(file)
    assert loaded.criterion == pytest.approx(again.criterion, abs=1e-8)
    assert loaded.update("~ . - Days").criterion == pytest.approx(again.update("~ . - Days").criterion, abs=1e-6)
    assert again.refit(fit.response).criterion == pytest.approx(fit.criterion, abs=1e-6)


def test_a_series_is_matched_by_its_labels() -> None:
    data = reml.load_sample("sleepstudy")
    data.loc[4, "Reaction"] = np.nan
    fit = reml.fit("Reaction ~ Days + (1 | Subject)", data)
    whole = pd.Series(np.arange(180.0) ** 1.5 % 17, index=data.index)
    shuffled = whole.sample(frac=1.0, random_state=1)
    assert fit.refit(shuffled).criterion == pytest.approx(fit.refit(whole.drop(index=4).to_numpy()).criterion)
    for bad, words in (
        (whole.iloc[:100], "no value for 80"),
        (whole.to_numpy(), r"shape \(180,\)"),
        (whole.where(whole.index != 7), "missing or infinite in row 7"),
        (["a"] * 179, "not made of numbers"),
        (np.ones(179), "reproduce the response"),
    ):
        with pytest.raises(reml.DataError, match=words):
            fit.refit(bad)


UPDATES = [
    ("~ . - (1 | rep:block)", "yield ~ rep + (1 | gen)"),
    ("~ . - (1 | block:rep)", "yield ~ rep + (1 | gen)"),
    ("log(.) ~ .", "log(yield) ~ rep + (1 | gen) + (1 | rep:block)"),
    (". ~ . - rep + (1 | row)", "yield ~ 1 + (1 | gen) + (1 | rep:block) + (1 | row)"),
    ("~ . - 1", "yield ~ 0 + rep + (1 | gen) + (1 | rep:block)"),
    ("~ gen + (1 | rep)", "yield ~ gen + (1 | rep)"),
    ("~ .:row + .", "yield ~ rep + rep:row + (1 | gen) + (1 | rep:block)"),
]


@pytest.mark.parametrize(("change", "wanted"), UPDATES)
def test_update_reads_a_change_as_r_does(change: str, wanted: str) -> None:
    old = parse_formula("yield ~ rep + (1 | gen) + (1 | rep:block)")
    assert updated_formula(old, change) == wanted


def test_update_fits_and_refuses() -> None:
    data = reml.load_sample("john_alpha")
    fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", data, start={"gen": 0.2})
    assert fit.update(method="ml").criterion == pytest.approx(reml.fit(fit.formula, data, method="ml").criterion)
    assert fit.update("~ . + (1 | plot)", data=data.assign(plot=data.index // 2)).random_terms[-1] == "plot"
    for bad, words in (
        ("~ . - (1 | plot)", "no random term of the formula"),
        ("yield", "no formula"),
        ("~ . + nothing", "not in this table"),
        (5, "not int"),
    ):
        with pytest.raises(reml.FormulaError, match=words):
            fit.update(bad)
    with pytest.raises(reml.ModelError, match="no option of a fit"):
        fit.update(methd="ml")
