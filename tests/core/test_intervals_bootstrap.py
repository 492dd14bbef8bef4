"""The parametric bootstrap: batched equations against the engines, replicates against fits of their own, exact intervals."""

from __future__ import annotations

import pickle
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import openreml_core as reml
from openreml_core.covariance import Diagonal, Unstructured
from openreml_core.engines import MarginalEngine
from openreml_core.inference import quantities
from openreml_core.simulation import Recipe, draw_responses, refit_all, refitted
from openreml_core.simulation import replicates as module
from openreml_core.simulation.batch import BatchEquations, can_batch
from openreml_core.simulation.bootstrap import acceleration, bca_tails
from tests.contracts.models import simulated

# -- the batched equations --------------------------------------------------------------------------------------

MODELS: dict[str, dict[str, Any]] = {
    "us and diag": {},
    "three effects": {"structures": (("g", Unstructured, 3, 6), ("h", Unstructured, 2, 5)), "n": 60},
    "one variance": {"structures": (("g", Diagonal, 1, 8),)},
    "crossed": {"structures": (("g", Diagonal, 1, 8), ("h", Diagonal, 1, 7), ("i", Diagonal, 2, 4)), "n": 60},
    "weights": {"weighted": True},
}


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("kind", MODELS)
def test_batched_equations_are_the_engines(kind: str, method: str) -> None:
    model = simulated(5, method=method, cut=0.7, **MODELS[kind])
    rng = np.random.default_rng(2)
    thetas = model.start() * torch.from_numpy(rng.uniform(-1.5, 1.5, (4, model.n_theta))) + 0.05
    thetas[3, 0] = 0.0  # a variance at zero
    ys = model.y[:, None] + torch.from_numpy(rng.normal(size=(model.n, 4)))
    equations = BatchEquations(model)
    batch = equations.evaluate(thetas, equations.responses(ys))
    natural = equations.natural_values(thetas, batch.sigma2)
    for i in range(4):
        engine = MarginalEngine(_with(model, ys[:, i]))
        at = engine.evaluate(thetas[i])
        m = model.n_theta
        information = (
            at.information[:m, :m] - torch.outer(at.information[:m, m], at.information[:m, m]) / at.information[m, m]
        )
        assert float(batch.criterion[i]) == pytest.approx(at.criterion, rel=1e-10)
        assert float(batch.sigma2[i]) == pytest.approx(at.sigma2, rel=1e-9)
        for ours, theirs in (
            (batch.score[i], at.score),
            (batch.hessian[i], information - at.curvature),
            (batch.beta[i], at.beta),
            (batch.beta_covariance[i], at.beta_covariance),
            (natural[i], model.natural_values(thetas[i], at.sigma2)),
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-9 * float(theirs.abs().max()))


def _with(model: Any, y: torch.Tensor) -> Any:
    return replace(model, y=y)


FITS = {
    "slopes": ("sleepstudy", "Reaction ~ Days + (Days | Subject)", {}),
    "slopes by ML": ("sleepstudy", "Reaction ~ Days + (Days | Subject)", {"method": "ml"}),
    "unbalanced, weights": ("sleepstudy", "Reaction ~ Days + (Days || Subject)", {"weights": "w"}),
    "crossed": ("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", {}),
    "nested": ("pastes", "strength ~ 1 + (1 | batch/cask)", {}),
    "often zero": ("dyestuff", "Yield ~ 1 + (1 | Batch)", {}),
    "zero": ("dyestuff2", "Yield ~ 1 + (1 | Batch)", {}),
    "no fixed effects": ("sleepstudy", "Reaction ~ 0 + (Days | Subject)", {}),
    "factor": ("machines", "score ~ Machine + (Machine | Worker)", {}),
    "blocks": ("john_alpha", "yield ~ rep + (1 | gen) + (1 | rep:block)", {}),
}


def fitted(name: str, **more: Any) -> reml.MixedModelFit:
    sample, formula, options = FITS[name]
    data = reml.load_sample(sample)
    if "weights" in options:
        data = data.assign(w=1.0 + np.arange(len(data)) % 3).drop(index=[3, 17, 18, 40])
    return reml.fit(formula, data, **options, **more)


@pytest.mark.parametrize("name", FITS)
def test_each_replicate_is_a_fit_of_its_own(name: str) -> None:
    fit = fitted(name)
    assert can_batch(fit.estimates)
    y = draw_responses(fit.estimates.engine.model, fit.estimates.at, 20, np.random.default_rng(4))
    batch = refit_all(fit.estimates, y)
    assert batch.together and not batch.failed
    for i in range(20):
        alone = refitted(fit.estimates, y[:, i])
        assert batch.criterion[i] == pytest.approx(alone.at.criterion, abs=1e-6)
        np.testing.assert_allclose(batch.beta[i], alone.at.beta, rtol=1e-4, atol=1e-6 * fit.sigma)
        natural = alone.engine.model.natural_values(alone.at.theta, alone.at.sigma2).numpy()
        np.testing.assert_allclose(batch.natural[i], natural, rtol=2e-3, atol=1e-4 * fit.sigma**2)
        assert ((batch.natural[i] == 0) == (natural == 0)).all()


def test_engines_draw_and_refit_alike() -> None:
    tables = [fitted("slopes", engine=e).bootstrap(30, seed=9).replicates for e in ("marginal", "henderson")]
    np.testing.assert_allclose(*tables, rtol=1e-3, atol=1e-4)


def test_a_thousand_replicates_are_one_batch() -> None:
    drawn = fitted("slopes").bootstrap(1000, seed=1)
    assert len(drawn.replicates) == 1000
    assert drawn.replicates.notna().all(axis=None)


def test_models_that_do_not_batch_are_fitted_one_by_one() -> None:
    data = reml.load_sample("sleepstudy")
    for formula, options in (
        ("Reaction ~ Days + (1 | Subject)", {"residual": "id(Subject):ar1(Days)"}),
        ("Reaction ~ Days + (1 | Subject)", {"fixed": {"Subject": 900.0}}),
        ("Reaction ~ Days + ar1(0 + Days | Subject)", {}),
        ("Reaction ~ spl(Days) + (1 | Subject)", {}),
    ):
        fit = reml.fit(formula, data, **options)
        assert not can_batch(fit.estimates)
        drawn = fit.bootstrap(3, seed=1)
        assert not drawn.refits.together and drawn.replicates.notna().all().all()


# -- the intervals ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_sample() -> reml.MixedModelFit:
    y = np.random.default_rng(3).normal(10, 2, 20)
    return reml.fit("y ~ 1", pd.DataFrame({"y": y}))


def test_percentile_and_basic_intervals_of_one_sample_are_chi2s(one_sample: reml.MixedModelFit) -> None:
    s = one_sample.sigma
    drawn = one_sample.bootstrap(1500, seed=5)
    exact = s * np.sqrt(stats.chi2.ppf([0.025, 0.975], 19) / 19)
    # Standard errors of the quantiles are below 0.012 s here (density of chi at its tails).
    found = drawn.confint().loc["sigma", ["lower", "upper"]].astype(float)
    np.testing.assert_allclose(found, exact, atol=0.045 * s)
    basic = drawn.confint(kind="basic").loc["sigma", ["lower", "upper"]].astype(float)
    np.testing.assert_allclose(basic, 2 * s - np.array(found)[::-1], rtol=1e-12)


def test_acceleration_of_one_sample_is_efrons(one_sample: reml.MixedModelFit) -> None:
    # Efron (1987), section 3: s^2 on 19 df has a = sqrt(8 / 19) / 6 = 0.1081.
    model = one_sample.estimates.engine.model
    known = {q.name: q for q in quantities(model)}
    a = acceleration(one_sample.estimates, one_sample._natural, known["sigma"])
    assert a == pytest.approx(0.1081, abs=1e-4)
    assert acceleration(one_sample.estimates, one_sample._natural, known["(Intercept)"]) == 0.0


def test_acceleration_is_the_skewness_of_simulated_scores() -> None:
    fit = fitted("blocks")
    known = {q.name: q for q in quantities(fit.estimates.engine.model)}
    model, at = fit.estimates.engine.model, fit.estimates.at
    v = at.sigma2 * model.covariance(at.theta)
    inverse = torch.linalg.inv(v)
    p = inverse - inverse @ model.X @ torch.linalg.inv(model.X.T @ inverse @ model.X) @ model.X.T @ inverse
    # The direction of sd_gen: AI^-1 times its gradient, AI from its definition.
    slopes = [t.together for t in model.terms] + [torch.eye(model.n, dtype=torch.float64)]
    ai = torch.tensor([[0.5 * float((p @ a @ p @ b).trace()) for b in slopes] for a in slopes])
    ai_data = torch.tensor(np.linalg.inv(fit._natural.covariance))
    assert ai.shape == ai_data.shape
    d = torch.linalg.solve(ai_data.double(), torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
    vd = sum(float(x) * s for x, s in zip(d, slopes, strict=True))
    draws = draw_responses(model, at, 200_000, np.random.default_rng(8))
    py = p @ draws
    scores = 0.5 * (py * (vd @ py)).sum(dim=0)
    assert acceleration(fit.estimates, fit._natural, known["sd_(Intercept)|gen"]) == pytest.approx(
        float(stats.skew(scores.numpy())) / 6, abs=0.005
    )


def test_bca_moves_the_tails_as_its_formula_says() -> None:
    t = stats.norm.ppf((np.arange(1000) + 0.5) / 1000)
    np.testing.assert_allclose(bca_tails(t, 0.0, np.array([0.025, 0.975]), 0.0), [0.025, 0.975], atol=1e-12)
    # z0 = Phi^-1(0.6) = 0.253347, a = 0.1: by hand.
    z0, z = 0.2533471, 1.9599640
    wanted = stats.norm.cdf([z0 + (z0 - z) / (1 - 0.1 * (z0 - z)), z0 + (z0 + z) / (1 - 0.1 * (z0 + z))])
    np.testing.assert_allclose(bca_tails(t, z0, np.array([0.025, 0.975]), 0.1), wanted, atol=1e-4)


def test_bca_is_near_the_exact_interval_of_a_variance(one_sample: reml.MixedModelFit) -> None:
    table = one_sample.bootstrap(1500, seed=6).confint(kind="bca")
    exact = one_sample.sigma * np.sqrt(19 / stats.chi2.ppf([0.975, 0.025], 19))
    found = table.loc["sigma", ["lower", "upper"]].astype(float)
    np.testing.assert_allclose(found, exact, rtol=0.05)


def test_bca_of_a_variance_at_zero_is_by_percentiles() -> None:
    drawn = fitted("zero").bootstrap(200, seed=3)
    name = "sd_(Intercept)|Batch"
    assert drawn.confint().loc[name, "estimate"] == 0
    bca = drawn.confint(kind="bca")
    assert bca.loc[name, "upper"] == drawn.confint().loc[name, "upper"] > 0
    assert "percentiles instead" in " ".join(bca.attrs["notes"])
    assert bca.loc["sigma", "upper"] != drawn.confint().loc["sigma", "upper"]


def test_confint_passes_its_options_on() -> None:
    fit = fitted("often zero")
    table = fit.confint(method="bootstrap", n_boot=200, seed=2, kind="basic", level=0.9, parameters="Batch")
    assert table.index.tolist() == ["sd_(Intercept)|Batch"] and table.attrs["n_boot"] == 200
    assert table["lower"].item() >= 0.0
    same = fit.bootstrap(200, seed=2, parameters="Batch").confint(0.9, "basic")
    np.testing.assert_array_equal(table[["lower", "upper"]], same[["lower", "upper"]])


def test_an_undefined_correlation_is_counted() -> None:
    data = reml.load_sample("orthodont")
    fit = reml.fit("distance ~ age + (age | Subject)", data[data["age"] < 13])
    drawn = fit.bootstrap(200, seed=1)
    name = "cor_age.(Intercept)|Subject"
    missing = int(drawn.replicates[name].isna().sum())
    assert missing == int((drawn.replicates[["sd_(Intercept)|Subject", "sd_age|Subject"]] == 0).any(axis=1).sum())
    said = [note for note in drawn.confint().attrs["notes"] if "undefined" in note]
    assert bool(said) is bool(missing)


# -- executors, progress, what goes wrong -----------------------------------------------------------------------


def serial() -> reml.MixedModelFit:
    return reml.fit("Reaction ~ Days + ar1(0 + Days | Subject)", reml.load_sample("sleepstudy"))


def test_an_executor_gives_the_same_and_tells_progress() -> None:
    fit, seen = serial(), []
    alone = fit.bootstrap(12, seed=3)
    with ThreadPoolExecutor(2) as pool:
        shared = fit.bootstrap(12, seed=3, executor=pool, on_progress=lambda done, of: seen.append((done, of)))
    pd.testing.assert_frame_equal(alone.replicates, shared.replicates)
    assert seen == [(10, 12), (12, 12)]
    with pytest.raises(reml.ModelError, match="cannot be given work"):
        fit.bootstrap(2, executor="threads")


def test_a_recipe_goes_to_another_process() -> None:
    for fit in (serial(), fitted("slopes", engine="henderson")):
        recipe = Recipe.of(fit.estimates)
        packed = pickle.dumps(recipe)
        assert len(packed) < 100 * fit.n_obs * 8  # nothing of size n x n
        sent = pickle.loads(packed)
        y = fit.estimates.engine.model.y * 1.1
        assert sent.fit(y).at.criterion == pytest.approx(recipe.fit(y).at.criterion, abs=1e-9)


def test_progress_cancels() -> None:
    with pytest.raises(reml.FitCancelled):
        fitted("slopes").bootstrap(50, seed=1, on_progress=lambda done, of: False)
    with pytest.raises(reml.FitCancelled):
        serial().bootstrap(5, seed=1, on_progress=lambda done, of: done < 2)


class Cancelling(ThreadPoolExecutor):
    """Its second task is cancelled before it begins."""

    count = 0

    def submit(self, *args: Any, **kwargs: Any) -> Future:
        self.count += 1
        if self.count != 2:
            return super().submit(*args, **kwargs)
        future: Future = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future


def test_failed_and_cancelled_replicates_are_counted_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = serial()
    with Cancelling(1) as pool:
        drawn = fit.bootstrap(25, seed=1, executor=pool)
    assert drawn.failed["replicate"].tolist() == list(range(11, 21))
    assert "CancelledError" in drawn.failed["reason"][0]
    assert drawn.replicates.index.tolist() == [*range(1, 11), *range(21, 26)]
    assert "10 replicates failed" in " ".join(drawn.confint().attrs["notes"])
    limited = Recipe.fit

    def impatient(self: Recipe, y: torch.Tensor, *_: Any) -> Any:
        return limited(self, y, 0 if y[0] > fit.fitted(random=False).iloc[0] else 100)

    monkeypatch.setattr(module.Recipe, "fit", impatient)
    drawn = fit.bootstrap(12, seed=2)
    assert 0 < len(drawn.failed) < 12 and drawn.failed["reason"].str.contains("Not converged").all()


def test_bad_input() -> None:
    fit = fitted("slopes")
    for options, words in (
        ({"n_boot": 1}, "from 2 on"),
        ({"n_boot": 10, "kind": "bootstrap-t"}, "not known"),
        ({"n_boot": 10, "seed": -1}, "not a seed"),
        ({"n_boot": 10, "parameters": "Subjet"}, "no parameter"),
    ):
        with pytest.raises(reml.ModelError, match=words):
            fit.confint(method="bootstrap", **options)
