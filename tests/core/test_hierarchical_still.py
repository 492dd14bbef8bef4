"""Parameters in which subjects do not vary: one number for all, at the maximum of the evidence, not where EM stands still."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from openreml_core.hierarchical import HierarchicalFit, fit, models
from openreml_core.hierarchical.group import Group
from tests.core.test_hierarchical_rescorla_wagner import log_likelihood, split

LOGISTIC = models.Regression(["x"], "binomial")


def alike(n_subjects: int = 10) -> pd.DataFrame:
    """Subjects of one and the same table of 40 trials."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal(40)
    one = pd.DataFrame({"x": x, "y": (rng.random(40) < 1 / (1 + np.exp(0.7 - 1.3 * x))).astype(int)})
    return pd.concat([one.assign(subject=i) for i in range(n_subjects)], ignore_index=True)


def logistic_regression(data: pd.DataFrame) -> np.ndarray:
    """Coefficients by Newton's method, all rows together."""
    x, y = np.column_stack([np.ones(len(data)), data["x"]]), data["y"].to_numpy()
    b = np.zeros(2)
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ b))
        b += np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]), x.T @ (y - p))
    return b


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_subjects_that_are_alike_have_the_pooled_estimate(covariance: str) -> None:
    data = alike()
    made = fit(LOGISTIC, data, covariance=covariance)
    assert made.converged, made.message
    assert np.abs(made.group_covariance.to_numpy()).max() < 1e-6
    np.testing.assert_allclose(made.group_mean, logistic_regression(data), atol=1e-6)


def test_a_pooled_computational_model_is_at_its_maximum() -> None:
    """Group means are where the trials' likelihood, written in another test without torch, has no slope."""
    model = models.RescorlaWagner()
    data = model.simulate(8, 30, seed=1)
    made = fit(model, data)
    assert made.converged and np.abs(made.group_covariance.to_numpy()).max() < 1e-6, made.message
    trials, at, h = split(data), made.group_mean.to_numpy(), 1e-4

    def total(point: np.ndarray) -> float:
        return sum(log_likelihood(point, c, r) for c, r in trials)

    for e in np.eye(2):
        up, here, down = total(at + h * e), total(at), total(at - h * e)
        newton = -0.5 * h * (up - down) / (up - 2 * here + down)
        assert abs(newton) < 1e-4
    assert made.evidence() == pytest.approx(total(at), abs=1e-4)


def evidence_near(made: HierarchicalFit, data: pd.DataFrame, name: str, step: float) -> float:
    """-2 log evidence with one mean moved, all else as it is."""
    group = made.visit.group
    coefficients = group.coefficients.clone()
    coefficients[0, made.names.index(name)] += step
    start = copy.copy(made)
    start.visit = replace(made.visit, group=Group(coefficients, group.scale, group.diagonal, group.family))
    return fit(made.model, data, start=start, covariates=made.options["covariates"], max_iterations=1).rows[0].criterion


@pytest.mark.parametrize(("learning_rates", "covariates"), [(2, None), (1, "group")])
def test_beside_parameters_that_vary_it_is_at_the_maximum_as_well(learning_rates: int, covariates: str | None) -> None:
    data = models.RescorlaWagner(learning_rates=2).simulate(8, 30, seed=1)
    data["group"] = np.where(data["subject"].astype(int) % 2, "a", "b")
    made = fit(models.RescorlaWagner(learning_rates), data, covariates=covariates)
    variances = np.diag(made.group_covariance)
    assert made.converged and (variances < 1e-6).any() and (variances > 0.1).any(), made.message
    here = -2 * made.evidence()
    for name, variance in zip(made.names, variances, strict=True):
        if variance < 1e-6:
            assert all(evidence_near(made, data, name, step) > here for step in (-0.03, 0.03)), name


def test_a_variance_at_zero_is_let_go_where_the_evidence_rises_with_it() -> None:
    none = fit(LOGISTIC, alike())
    data = LOGISTIC.simulate(30, 60, seed=4, sd={"intercept": 1.0, "x": 0.8})
    whole = fit(LOGISTIC, data)
    assert (np.diag(whole.group_covariance) > 0.1).all()
    made = fit(LOGISTIC, data, start=none)
    assert "from zero" in set(made.trace["step"])
    assert made.converged
    np.testing.assert_allclose(made.group_mean, whole.group_mean, atol=1e-4)
    np.testing.assert_allclose(made.group_covariance, whole.group_covariance, atol=1e-4)
