"""Rescorla-Wagner, 50 subjects of 200 trials: EM by scipy and finite differences, written here, gives the same group."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

import openreml_core as reml
from openreml_core.hierarchical import HierarchicalFit, models

MODEL = models.RescorlaWagner()


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return MODEL.simulate(n_subjects=50, n_trials=200, seed=20260101)


@pytest.fixture(scope="module")
def fit(data: pd.DataFrame) -> HierarchicalFit:
    return reml.hierarchical.fit(MODEL, data)


# -- the independent implementation: one subject at a time, no torch ----------------------------------------------


def log_likelihood(h: np.ndarray, choices: list[int], rewards: list[float]) -> float:
    """Q-learning and softmax of two options, trial by trial."""
    alpha, beta = 1 / (1 + math.exp(-h[0])), math.exp(h[1])
    q, total = [0.0, 0.0], 0.0
    for c, r in zip(choices, rewards, strict=True):
        total -= math.log1p(math.exp(beta * (q[1 - c] - q[c])))
        q[c] += alpha * (r - q[c])
    return total


def second_differences(f, x: np.ndarray, step: float = 1e-3) -> np.ndarray:
    """Hessian by central differences of fourth order along each direction."""

    def along(direction: np.ndarray) -> float:
        values = [f(x + k * step * direction) for k in (-2, -1, 0, 1, 2)]
        return float(np.dot([-1, 16, -30, 16, -1], values)) / (12 * step**2)

    e = np.eye(len(x))
    out = np.diag([along(e[j]) for j in range(len(x))])
    for j in range(len(x)):
        for k in range(j):
            out[j, k] = out[k, j] = (along(e[j] + e[k]) - along(e[j] - e[k])) / 4
    return out


def expectation_maximisation(trials: list[tuple], full: bool, tolerance: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Plain EM with Laplace until means and covariances stand still: mean, covariance, log evidence."""
    mean, cov = np.array([math.log(0.3 / 0.7), math.log(3.0)]), np.diag([1.0, 0.36])
    at = np.tile(mean, (len(trials), 1))
    for _ in range(300):
        inverse, inverses, evidence = np.linalg.inv(cov), [], 0.0
        for i, (c, r) in enumerate(trials):

            def minus(h: np.ndarray, c=c, r=r, mean=mean, inverse=inverse) -> float:
                return 0.5 * (h - mean) @ inverse @ (h - mean) - log_likelihood(h, c, r)

            at[i] = optimize.minimize(minus, at[i], method="BFGS", options={"gtol": 1e-5}).x
            hessian = second_differences(minus, at[i])
            inverses.append(np.linalg.inv(hessian))
            prior = -0.5 * (2 * math.log(2 * math.pi) + np.linalg.slogdet(cov)[1])
            evidence += prior - minus(at[i]) + math.log(2 * math.pi) - 0.5 * np.linalg.slogdet(hessian)[1]
        new_mean = at.mean(0)
        new_cov = np.mean([np.outer(m, m) + v for m, v in zip(at, inverses, strict=True)], 0) - np.outer(
            new_mean, new_mean
        )
        new_cov = new_cov if full else np.diag(np.diag(new_cov))
        moved = np.abs(new_mean - mean).sum() + np.abs(new_cov - cov).sum()
        mean, cov = new_mean, new_cov
        if moved < tolerance:
            return mean, cov, evidence
    raise AssertionError("the reference did not converge")


def split(data: pd.DataFrame) -> list[tuple]:
    return [(t["choice"].tolist(), t["reward"].tolist()) for _, t in data.groupby("subject")]


# -- tests ----------------------------------------------------------------------------------------------------------


def test_group_is_that_of_scipy_and_finite_differences(data: pd.DataFrame, fit: HierarchicalFit) -> None:
    mean, cov, evidence = expectation_maximisation(split(data), full=False, tolerance=2e-5)
    assert fit.converged
    np.testing.assert_allclose(fit.group_mean, mean, atol=1e-4)
    np.testing.assert_allclose(np.diag(fit.group_covariance), np.diag(cov), atol=1e-4)
    assert fit.evidence() == pytest.approx(evidence, abs=1e-3)


def test_full_covariance_is_too(data: pd.DataFrame) -> None:
    some = data[data["subject"] <= 15].groupby("subject").head(100)
    fit = reml.hierarchical.fit(MODEL, some, covariance="full")
    mean, cov, _ = expectation_maximisation(split(some), full=True, tolerance=2e-5)
    np.testing.assert_allclose(fit.group_mean, mean, atol=1e-4)
    np.testing.assert_allclose(fit.group_covariance, cov, atol=1e-4)


def test_parameters_are_recovered() -> None:
    found = reml.hierarchical.recover(MODEL, 50, 200, seed=3)
    summary = found.summary()
    assert (summary["r"] > 0.8).all(), summary
    assert (summary["r_native"] > 0.8).all(), summary
    assert summary["coverage"].between(0.8, 1.0).all()


def test_subjects_are_told_on_both_scales(fit: HierarchicalFit) -> None:
    table = fit.subjects()
    assert list(table.columns[:6]) == ["subject", "parameter", "map", "native", "std_error", "status"]
    assert len(table) == 100 and (table["status"] == "ok").all()
    rates = table[table["parameter"] == "learning_rate"]
    np.testing.assert_allclose(rates["native"], 1 / (1 + np.exp(-rates["map"])))
    temperatures = table[table["parameter"] == "inverse_temperature"]
    z = 1.959963984540054
    np.testing.assert_allclose(temperatures["upper"], np.exp(temperatures["map"] + z * temperatures["std_error"]))
    wide = fit.posterior_covariance(1)
    assert wide.loc["learning_rate", "learning_rate"] == pytest.approx(rates["std_error"].iloc[0] ** 2)


def test_bic_counts_means_and_variances(fit: HierarchicalFit) -> None:
    assert fit.bic() == pytest.approx(-2 * fit.evidence() + 4 * math.log(50 * 200))
    assert fit.rows[-1].criterion == pytest.approx(-2 * fit.evidence(), abs=1e-6)


def test_acceleration_and_criterion_do_not_change_the_end(data: pd.DataFrame, fit: HierarchicalFit) -> None:
    plain = reml.hierarchical.fit(MODEL, data, accelerate=False)
    changes = reml.hierarchical.fit(MODEL, data, convergence="changes", tolerance=1e-7)
    assert set(plain.trace["step"]) == {"start", "EM"} and "SQUAREM" in set(fit.trace["step"])
    for other in (plain, changes):
        assert other.converged
        np.testing.assert_allclose(other.group_mean, fit.group_mean, atol=2e-5)
        np.testing.assert_allclose(other.group_covariance, fit.group_covariance, atol=2e-5)


def test_the_fit_reports_and_can_be_cancelled(data: pd.DataFrame) -> None:
    some = data[data["subject"] <= 10]
    seen: list[reml.TraceRow] = []
    fit = reml.hierarchical.fit(MODEL, some, on_iteration=seen.append)
    assert [r.iteration for r in seen] == fit.trace["iteration"].tolist()
    assert {"learning_rate.mean", "learning_rate.variance"} <= set(fit.trace)
    with pytest.raises(reml.FitCancelled) as caught:
        reml.hierarchical.fit(MODEL, some, on_iteration=lambda row: row.iteration < 2)
    assert len(caught.value.trace) == 3


def test_verbose_prints_a_line_per_iteration(data: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    fit = reml.hierarchical.fit(MODEL, data[data["subject"] <= 5], verbose=True)
    assert len(capsys.readouterr().err.strip().splitlines()) == len(fit.trace)


def test_max_iterations_is_said(data: pd.DataFrame) -> None:
    fit = reml.hierarchical.fit(MODEL, data[data["subject"] <= 5], max_iterations=1)
    assert not fit.converged and "Not converged after 1 iteration" in fit.message


def test_start_and_another_fit_as_start_lead_to_the_same(data: pd.DataFrame, fit: HierarchicalFit) -> None:
    other = reml.hierarchical.fit(MODEL, data, start={"learning_rate": 0.7, "inverse_temperature": 1.0})
    np.testing.assert_allclose(other.group_mean, fit.group_mean, atol=1e-4)
    again = reml.hierarchical.fit(MODEL, data, start=fit)
    assert len(again.trace) <= 6 < len(other.trace)
    np.testing.assert_allclose(again.group_mean, fit.group_mean, atol=1e-4)


def test_a_list_of_tables_is_the_long_table(data: pd.DataFrame, fit: HierarchicalFit) -> None:
    tables = [t.drop(columns="subject") for _, t in data.groupby("subject")]
    other = reml.hierarchical.fit(MODEL, tables)
    np.testing.assert_array_equal(other.group_mean, fit.group_mean)


def test_a_held_parameter_is_held(data: pd.DataFrame, fit: HierarchicalFit) -> None:
    held = reml.hierarchical.fit(MODEL, data, fixed={"learning_rate": 0.3})
    assert list(held.group_mean.index) == ["inverse_temperature"]
    assert held.n_group_parameters == 2 and held.evidence() < fit.evidence()
    # the same model, written with the rate as a number
    one = reml.hierarchical.TorchModel(
        lambda p, b: MODEL.log_likelihood(np_like(p), b), {"inverse_temperature": "log"}, columns=["choice", "reward"]
    )
    same = reml.hierarchical.fit(one, data)
    assert same.group_mean.iloc[0] == pytest.approx(held.group_mean.iloc[0], abs=1e-4)


def np_like(p):
    import torch

    return torch.cat([torch.full_like(p, 0.3), p], 1)


def test_posterior_predictive_draws_repeat_the_behaviour(data: pd.DataFrame) -> None:
    some = data[data["subject"] <= 6]
    fit = reml.hierarchical.fit(MODEL, some)
    drawn = fit.posterior_predictive(n=5, seed=2)
    assert len(drawn) == 5 * len(some) and set(drawn["choice"]) == {0, 1}
    assert drawn["reward"].mean() == pytest.approx(some["reward"].mean(), abs=0.08)
    draws = fit.draws(n=400, seed=1)
    own = draws[draws["subject"] == 1]["inverse_temperature"]
    row = fit.subjects().query("subject == 1 and parameter == 'inverse_temperature'").iloc[0]
    assert np.log(own).mean() == pytest.approx(row["map"], abs=0.1)
    assert np.log(own).std() == pytest.approx(row["std_error"], rel=0.15)
