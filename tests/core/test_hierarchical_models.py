"""The library: every likelihood against a plain loop written here, every simulator against its likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import integrate, special, stats

import openreml_core as reml
from openreml_core.hierarchical import Batch, linear_recurrence, models
from openreml_core.hierarchical.models.base import log_choice
from openreml_core.hierarchical.models.drift_diffusion import log_first_passage, walk
from openreml_core.hierarchical.models.rescorla_wagner import RescorlaWagner

Row = dict[str, float]


def log_softmax(u: np.ndarray, c: int) -> float:
    return float(u[c] - special.logsumexp(u))


def loop_rescorla_wagner(model: RescorlaWagner, p: Row, t: pd.DataFrame) -> float:
    q, last, total = np.full(model.n_options, model.initial_value), np.zeros(model.n_options), 0.0
    up, down = (
        p.get("learning_rate", p.get("learning_rate_positive")),
        p.get("learning_rate", p.get("learning_rate_negative")),
    )
    for c, r in zip(t["choice"], t["reward"], strict=True):
        total += log_softmax(p.get("inverse_temperature", 1.0) * q + p.get("stickiness", 0.0) * last, c)
        if model.gain_loss:
            r = r * (p["gain_sensitivity"] if r > 0 else p["loss_sensitivity"])
        q[c] += (up if r > q[c] else down) * (r - q[c])
        last = np.eye(model.n_options)[c]
    return total


def loop_two_step(model: models.TwoStep, p: Row, t: pd.DataFrame) -> float:
    q1, q2, last, total = np.zeros(2), np.zeros((2, 2)), np.zeros(2), 0.0
    w = {"sarsa": 0.0, "model_based": 1.0}.get(model.kind, p.get("model_weight"))
    P = np.array([[model.common, 1 - model.common], [1 - model.common, model.common]])
    for a, s, b, r in zip(t["choice1"], t["state"], t["choice2"], t["reward"], strict=True):
        first = w * (P @ q2.max(1)) + (1 - w) * q1
        total += log_softmax(p["inverse_temperature1"] * first + p.get("stickiness", 0.0) * last, a)
        total += log_softmax(p["inverse_temperature2"] * q2[s], b)
        old = q2[s, b]
        q1[a] += p["learning_rate"] * (old - q1[a]) + p["learning_rate"] * p.get("trace", 0.0) * (r - old)
        q2[s, b] += p["learning_rate"] * (r - old)
        last = np.eye(2)[a]
    return total


def loop_bayesian(model: models.BayesianLearner, p: Row, t: pd.DataFrame) -> float:
    a, b, total = np.ones(model.n_options), np.ones(model.n_options), 0.0
    for c, r in zip(t["choice"], t["reward"], strict=True):
        u = stats.beta.mean(a, b) + p.get("uncertainty_bonus", 0.0) * stats.beta.std(a, b)
        total += log_softmax(p["inverse_temperature"] * u, c)
        a, b = 1 + p["memory"] * (a - 1), 1 + p["memory"] * (b - 1)
        a[c], b[c] = a[c] + r, b[c] + 1 - r
    return total


def formula_regression(model: models.Regression, p: Row, t: pd.DataFrame) -> float:
    eta = p.get("intercept", 0.0) + sum(p[x] * t[x] for x in model.predictors)
    if model.family == "gaussian":
        return stats.norm.logpdf(t["y"], eta, p["sigma"]).sum()
    if model.family == "poisson":
        return stats.poisson.logpmf(t["y"], np.exp(eta)).sum()
    return stats.bernoulli.logpmf(t["y"], special.expit(eta)).sum()


def formula_autoregression(model: models.AutoRegressive, p: Row, t: pd.DataFrame) -> float:
    y, k = t["y"].to_numpy(), model.order
    means = [p["constant"] + sum(p[f"lag{j}"] * y[i - j] for j in range(1, k + 1)) for i in range(k, len(y))]
    return stats.norm.logpdf(y[k:], means, p["sigma"]).sum()


def formula_signal(model: models.SignalDetection, p: Row, t: pd.DataFrame) -> float:
    yes = np.where(t["signal"] == 1, stats.norm.sf(p["criterion"], p["sensitivity"] / 2),
                   stats.norm.sf(p["criterion"], -p["sensitivity"] / 2))  # fmt: skip
    return stats.bernoulli.logpmf(t["response"], yes).sum()


def formula_prospect(model: models.ProspectTheory, p: Row, t: pd.DataFrame) -> float:
    rho = p["risk_curvature"]
    gamble = 0.5 * t["gain"] ** rho - 0.5 * p["loss_aversion"] * t["loss"] ** rho
    return stats.bernoulli.logpmf(
        t["choice"], special.expit(p["inverse_temperature"] * (gamble - t["certain"] ** rho))
    ).sum()


def formula_discounting(model: models.Discounting, p: Row, t: pd.DataFrame) -> float:
    k = p["discount_rate"]
    factor = (lambda d: 1 / (1 + k * d)) if model.curve == "hyperbolic" else (lambda d: np.exp(-k * d))
    u = t["amount_later"] * factor(t["delay_later"]) - t["amount_sooner"] * factor(t["delay_sooner"])
    return stats.bernoulli.logpmf(t["choice"], special.expit(p["inverse_temperature"] * u)).sum()


def series_diffusion(model: models.DriftDiffusion, p: Row, t: pd.DataFrame) -> float:
    """The series for large times with 2,000 terms; far from zero it is exact."""
    a, total, k = p["boundary"], 0.0, np.arange(1, 2001)
    for upper, time in zip(t["response"], t["time"], strict=True):
        w, v = p.get("starting_point", 0.5), p["drift"]
        w, v = (1 - w, -v) if upper else (w, v)
        s = time - p["nondecision_time"]
        g = np.pi * (k * np.exp(-(k**2) * np.pi**2 * s / (2 * a**2)) * np.sin(k * np.pi * w)).sum()
        total += math.log(g / a**2) - v * a * w - v**2 * s / 2
    return total


MODELS: list[
    tuple[models.LibraryModel, Callable, int, float]
] = [  # model, plain likelihood, trials, least r of recovery
    (models.RescorlaWagner(), loop_rescorla_wagner, 200, 0.7),
    (models.RescorlaWagner(learning_rates=2), loop_rescorla_wagner, 400, 0.5),
    (models.RescorlaWagner(sticky=True, n_options=3, initial_value=0.5), loop_rescorla_wagner, 200, 0.6),
    (models.RescorlaWagner(2, gain_loss=True), loop_rescorla_wagner, 400, 0.35),
    (models.TwoStep("hybrid"), loop_two_step, 300, 0.3),
    (models.TwoStep("sarsa", sticky=False), loop_two_step, 300, 0.4),
    (models.TwoStep("model_based"), loop_two_step, 300, 0.5),
    (models.Regression(["x", "z"], "gaussian"), formula_regression, 60, 0.9),
    (models.Regression(["x"], "binomial"), formula_regression, 100, 0.85),
    (models.Regression(["x"], "poisson"), formula_regression, 60, 0.8),
    (models.AutoRegressive(2), formula_autoregression, 150, 0.5),
    (models.SignalDetection(), formula_signal, 150, 0.85),
    (models.ProspectTheory(), formula_prospect, 200, 0.6),
    (models.Discounting("hyperbolic"), formula_discounting, 150, 0.8),
    (models.Discounting("exponential"), formula_discounting, 150, 0.8),
    (models.BayesianLearner(), loop_bayesian, 200, 0.5),
    (models.BayesianLearner(bonus=True, n_options=3), loop_bayesian, 300, 0.35),
    (models.DriftDiffusion(), series_diffusion, 150, 0.85),
    (models.DriftDiffusion(bias=True), series_diffusion, 200, 0.6),
]
IDS = [repr(m[0]) for m in MODELS]


@pytest.mark.parametrize(("model", "plain", "trials", "r"), MODELS, ids=IDS)
def test_likelihood_is_the_plain_one(model: models.LibraryModel, plain: Callable, trials: int, r: float) -> None:
    """Also with subjects of different lengths in one batch."""
    data = model.simulate(n_subjects=5, n_trials=40, seed=2)
    tables = [t.head(40 - 6 * k) for k, (_, t) in enumerate(data.groupby("subject"))]
    truth = reml.hierarchical.true_parameters(data).drop(columns="subject")
    batch = Batch.of(tables, model.columns)
    ours = model.log_likelihood(torch.from_numpy(truth.to_numpy(copy=True)), batch)
    theirs = [plain(model, row, t) for row, t in zip(truth.to_dict("records"), tables, strict=True)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize(("model", "plain", "trials", "r"), MODELS, ids=IDS)
def test_gradient_is_that_of_finite_differences(model, plain, trials: int, r: float) -> None:
    data = model.simulate(n_subjects=3, n_trials=30, seed=4)
    batch = Batch.of([t for _, t in data.groupby("subject")], model.columns)
    at = torch.from_numpy(reml.hierarchical.true_parameters(data).drop(columns="subject").to_numpy(copy=True))
    x = at.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(model.log_likelihood(x, batch).sum(), x)
    for k in range(at.shape[1]):
        step = torch.zeros_like(at)
        step[:, k] = 1e-6
        difference = (model.log_likelihood(at + step, batch) - model.log_likelihood(at - step, batch)) / 2e-6
        np.testing.assert_allclose(gradient[:, k], difference, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("model", "plain", "trials", "r"), MODELS, ids=IDS)
def test_parameters_are_recovered(model: models.LibraryModel, plain: Callable, trials: int, r: float) -> None:
    found = reml.hierarchical.recover(model, n_subjects=30, n_trials=trials, seed=11, tolerance=1e-5)
    summary = found.summary()
    assert found.converged == 1
    assert (summary["r"] > r).all(), summary
    assert (summary["coverage"] > 0.75).all(), summary


@pytest.mark.parametrize("model", [m[0] for m in MODELS], ids=IDS)
def test_settings_make_the_same_model(model: models.LibraryModel) -> None:
    again = models.named(type(model).__name__, **model.settings())
    assert again == model and again.name == model.name and again.parameters[0].name == model.parameters[0].name


def test_registry_lists_every_parameter() -> None:
    table = models.registry()
    assert set(table["model"]) == set(models.LIBRARY)
    assert table["about"].str.endswith(".").all() and (table["spread"] > 0).all()


def test_columns_of_the_user(capsys: pytest.CaptureFixture[str]) -> None:
    theirs = models.RescorlaWagner(columns={"choice": "resp", "reward": "points"})
    data = theirs.simulate(4, 30, seed=1)
    assert {"resp", "points"} <= set(data)
    same = data.rename(columns={"resp": "choice", "points": "reward"})
    a, b = reml.hierarchical.fit(theirs, data), reml.hierarchical.fit(models.RescorlaWagner(), same)
    assert a.evidence() == b.evidence()


def test_recurrence_is_the_loop_and_so_is_its_gradient() -> None:
    torch.manual_seed(1)
    a, b = torch.rand(7, 3, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64)
    start = torch.randn(3, dtype=torch.float64)
    inputs = tuple(x.requires_grad_(True) for x in (a, b, start))
    x, rows = start, []
    for t in range(7):
        rows.append(x)
        x = a[t] * x + b[t]
    torch.testing.assert_close(linear_recurrence(a, b, start), torch.stack(rows))
    assert torch.autograd.gradcheck(linear_recurrence, inputs)


def test_two_options_are_softmax() -> None:
    u = torch.randn(6, 2, 4, dtype=torch.float64)
    chosen = torch.nn.functional.one_hot(torch.randint(0, 2, (6, 4)), 2).permute(0, 2, 1).double()
    torch.testing.assert_close(log_choice(u, chosen), (torch.log_softmax(u, 1) * chosen).sum(1))


@pytest.mark.parametrize(("v", "a", "w"), [(1.2, 1.5, 0.4), (-0.7, 1.0, 0.6), (0.0, 2.0, 0.5)])
def test_first_passages_have_the_probability_and_mean_of_theory(v: float, a: float, w: float) -> None:
    """P(lower) and the mean time have closed forms (Cox and Miller 1965, ch. 5); the simulated walks have them too."""
    t = torch.linspace(1e-4, 40, 400_001, dtype=torch.float64)
    lower, upper = (log_first_passage(t, torch.tensor(s * v), torch.tensor(a), torch.tensor(z)).exp().numpy()
                    for s, z in ((1, w), (-1, 1 - w)))  # fmt: skip
    p = 1 - w if v == 0 else (math.exp(-2 * v * a) - math.exp(-2 * v * a * w)) / (math.exp(-2 * v * a) - 1)
    p = p if v == 0 else (math.exp(-2 * v * w * a) - math.exp(-2 * v * a)) / (1 - math.exp(-2 * v * a))
    mean = a * a * w * (1 - w) if v == 0 else (a * (1 - p) - w * a) / v
    x = t.numpy()
    assert integrate.simpson(lower, x=x) == pytest.approx(p, abs=1e-6)
    assert integrate.simpson(upper, x=x) == pytest.approx(1 - p, abs=1e-6)
    assert integrate.simpson((lower + upper) * x, x=x) == pytest.approx(mean, abs=1e-5)
    above, time = walk(v, a, w, 20_000, np.random.default_rng(1))
    assert above.mean() == pytest.approx(1 - p, abs=4 * math.sqrt(p * (1 - p) / 20_000))
    assert time.mean() == pytest.approx(mean, abs=4 * time.std() / math.sqrt(20_000))


def test_both_series_of_the_first_passage_agree_where_they_meet() -> None:
    w = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    one = torch.ones_like(w)
    left, right = (log_first_passage((0.4 + s) * one, 0.3 * one, one, w) for s in (-1e-9, 1e-9))
    torch.testing.assert_close(left, right, rtol=1e-7, atol=1e-7)
    assert torch.isneginf(log_first_passage(-one, one, one, w)).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: models.RescorlaWagner(3), "learning_rates=3"),
        (lambda: models.RescorlaWagner(n_options=1), "leaves no choice"),
        (lambda: models.RescorlaWagner(columns={"chioce": "x"}), r"no column \*chioce\*. Did you mean \*choice\*"),
        (lambda: models.TwoStep("both"), "Choose one of hybrid"),
        (lambda: models.Regression([], "binomial", intercept=False), "needs predictors"),
        (lambda: models.AutoRegressive(0), "no number of lags"),
        (lambda: models.Discounting("quasi"), "hyperbolic or exponential"),
        (lambda: models.named("Rescorla"), "Did you mean"),
        (lambda: models.named("RescorlaWagner", rates=2), "does not take"),
        (lambda: models.RescorlaWagner().simulate(0, 10), "n_subjects=0"),
        (lambda: models.RescorlaWagner().simulate(2, 10, mean={"alpha": 1}), r"names \*alpha\*"),
        (lambda: reml.hierarchical.true_parameters(pd.DataFrame()), "does not say how"),
    ],
)
def test_wrong_choices_are_named(make: Callable, words: str) -> None:
    with pytest.raises(reml.ModelError, match=words):
        make()
