"""The slow way gives the fast way's numbers, with any joblib backend."""

from __future__ import annotations

import math
import sys

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.hierarchical import PythonModel, fit, models


def q_learning(parameters: np.ndarray, trials: pd.DataFrame) -> float:
    alpha, beta = parameters
    q, total = [0.0, 0.0], 0.0
    for c, r in zip(trials["choice"].tolist(), trials["reward"].tolist(), strict=True):
        total -= math.log1p(math.exp(beta * (q[1 - c] - q[c])))
        q[c] += alpha * (r - q[c])
    return total


SLOW = PythonModel(
    q_learning, models.RescorlaWagner().parameters, columns=["choice", "reward"], response="choice", name="by hand"
)


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return models.RescorlaWagner().simulate(n_subjects=12, n_trials=60, seed=9)


@pytest.fixture(scope="module")
def slow(data: pd.DataFrame) -> reml.hierarchical.HierarchicalFit:
    return fit(SLOW, data, n_jobs=1)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_both_ways_agree(data: pd.DataFrame, slow, covariance: str) -> None:
    made = slow if covariance == "diagonal" else fit(SLOW, data, covariance="full", n_jobs=1)
    fast = fit(models.RescorlaWagner(), data, covariance=covariance)
    assert made.converged
    np.testing.assert_allclose(made.group_mean, fast.group_mean, atol=1e-4)
    np.testing.assert_allclose(made.group_covariance, fast.group_covariance, atol=1e-4)
    np.testing.assert_allclose(made.group_se, fast.group_se, rtol=1e-3)
    np.testing.assert_allclose(made.subjects()["std_error"], fast.subjects()["std_error"], rtol=1e-3)
    assert made.evidence() == pytest.approx(fast.evidence(), abs=1e-4)


def test_integrals_agree(data: pd.DataFrame, slow) -> None:
    fast = fit(models.RescorlaWagner(), data)
    assert slow.evidence("quadrature", points=7) == pytest.approx(fast.evidence("quadrature", points=7), abs=1e-3)
    assert slow.evidence("importance", n_draws=100) == pytest.approx(fast.evidence("importance", n_draws=100), abs=1e-2)


def test_threads_of_joblib_give_the_same(data: pd.DataFrame, slow) -> None:
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    with joblib.parallel_config(backend="threading"):
        made = fit(SLOW, data, n_jobs=2)
    np.testing.assert_array_equal(made.group_mean, slow.group_mean)


@pytest.mark.filterwarnings("ignore")  # of dask's own parts
def test_a_dask_cluster_gives_the_same(data: pd.DataFrame, slow) -> None:
    distributed = pytest.importorskip(
        "distributed", reason="dask[distributed] is not installed; the extra is [cluster]"
    )
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")

    def on_a_worker(parameters: np.ndarray, trials: pd.DataFrame) -> float:
        distributed.get_worker()  # raises anywhere else, which counts as impossible data
        return q_learning(parameters, trials)

    model = PythonModel(on_a_worker, SLOW.parameters, columns=SLOW.columns, response="choice")
    options = dict(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None)
    with distributed.Client(**options), joblib.parallel_config(backend="dask"):
        made = fit(model, data, max_iterations=3)
    once = fit(SLOW, data, max_iterations=3, n_jobs=1)
    np.testing.assert_array_equal(made.group_mean, once.group_mean)
    np.testing.assert_array_equal(made.group_covariance, once.group_covariance)


def test_without_joblib_the_error_says_what_to_do(data: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(reml.ModelError, match=r"pip install joblib, or fit with n_jobs=1"):
        fit(SLOW, data, n_jobs=2)
    assert fit(SLOW, data, max_iterations=1, n_jobs=1).n_subjects == 12


def test_a_held_parameter_is_held(data: pd.DataFrame) -> None:
    made = fit(SLOW, data, fixed={"learning_rate": 0.3}, n_jobs=1)
    fast = fit(models.RescorlaWagner(), data, fixed={"learning_rate": 0.3})
    np.testing.assert_allclose(made.group_mean, fast.group_mean, atol=1e-4)


def test_it_cannot_simulate(slow) -> None:
    with pytest.raises(reml.ModelError, match="cannot simulate"):
        slow.posterior_predictive()
    with pytest.raises(reml.ModelError, match="cannot simulate"):
        reml.hierarchical.recover(SLOW)
