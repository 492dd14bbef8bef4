"""Evidence and standard errors where the truth is known: normal models by their marginal likelihood, others by quadrature."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

import openreml_core as reml
from openreml_core.hierarchical import Family, GroupPrior, HierarchicalFit, models

SIGMA = 1.3


def normal_trials(n: int = 40, t: int = 6, seed: int = 5) -> pd.DataFrame:
    """Regressions of y on x with random intercepts and slopes."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 2, n)
    h = rng.multivariate_normal([0.5, -0.3], [[0.8, 0.3], [0.3, 0.5]], n) + 0.7 * group[:, None]
    rows = []
    for i in range(n):
        x = rng.standard_normal(t + i % 3)
        y = h[i, 0] + h[i, 1] * x + SIGMA * rng.standard_normal(len(x))
        rows.append(pd.DataFrame({"subject": f"s{i}", "x": x, "y": y, "group": "ab"[group[i]], "age": 20.0 + i % 7}))
    return pd.concat(rows, ignore_index=True)


def marginal(data: pd.DataFrame, mean: np.ndarray, cov: np.ndarray) -> float:
    """The exact log marginal likelihood of group mean (2,) and covariance (2, 2): y_i ~ N(Z mu, Z S Z' + sigma^2 I)."""
    total = 0.0
    for _, t in data.groupby("subject"):
        Z = np.column_stack([np.ones(len(t)), t["x"]])
        V = Z @ cov @ Z.T + SIGMA**2 * np.eye(len(t))
        r = t["y"].to_numpy() - Z @ mean
        total -= 0.5 * (r @ np.linalg.solve(V, r) + np.linalg.slogdet(V)[1] + len(t) * math.log(2 * math.pi))
    return total


def gradient(f, theta: np.ndarray, h: float = 1e-4) -> np.ndarray:
    return np.array([(f(theta + h * e) - f(theta - h * e)) / (2 * h) for e in np.eye(len(theta))])


def hessian(f, theta: np.ndarray, h: float = 1e-3) -> np.ndarray:
    e = h * np.eye(len(theta))
    rows = [[f(theta + a + b) - f(theta + a - b) - f(theta - a + b) + f(theta - a - b) for a in e] for b in e]
    return np.array(rows) / (4 * h * h)


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return normal_trials()


@pytest.fixture(scope="module", params=["diagonal", "full"])
def fit(request: pytest.FixtureRequest, data: pd.DataFrame) -> HierarchicalFit:
    return reml.hierarchical.fit(
        models.Regression(["x"], "gaussian"), data, covariance=request.param, fixed={"sigma": SIGMA}
    )


def covariance_of(theta: np.ndarray) -> np.ndarray:
    return np.diag(theta[2:]) if len(theta) == 4 else np.array([[theta[2], theta[3]], [theta[3], theta[4]]])


def theta_of(fit: HierarchicalFit) -> np.ndarray:
    cov = fit.group_covariance.to_numpy()
    tail = np.diag(cov) if fit.visit.group.diagonal else [cov[0, 0], cov[0, 1], cov[1, 1]]
    return np.concatenate([fit.group_mean, tail])


def test_all_evidences_are_the_exact_one_of_a_normal_model(data: pd.DataFrame, fit: HierarchicalFit) -> None:
    exact = marginal(data, fit.group_mean.to_numpy(), fit.group_covariance.to_numpy())
    assert fit.evidence() == pytest.approx(exact, abs=1e-5)
    assert fit.evidence("quadrature") == pytest.approx(exact, abs=1e-5)
    sampled = fit.subject_evidence("importance", n_draws=4000)
    error = math.sqrt((sampled["std_error"] ** 2).sum())
    assert 0 < error < 0.2 and sampled["log_evidence"].sum() == pytest.approx(exact, abs=4 * error)


def test_integrated_bic_counts_what_was_estimated_of_the_group(data: pd.DataFrame, fit: HierarchicalFit) -> None:
    """Two free parameters: -2 log evidence + 2 d log(trials), and one covariance more where it was estimated."""
    count = 2 * 2 if fit.visit.group.diagonal else 2 * 2 + 1
    assert fit.n_group_parameters == count
    assert fit.bic() == pytest.approx(-2 * fit.evidence() + count * math.log(len(data)), abs=1e-9)


def test_em_ends_where_the_marginal_likelihood_is_largest(data: pd.DataFrame, fit: HierarchicalFit) -> None:
    theta, f = theta_of(fit), lambda v: marginal(data, v[:2], covariance_of(v))
    curvature = hessian(f, theta)
    assert np.linalg.eigvalsh(curvature).max() < 0
    np.testing.assert_allclose(
        np.linalg.solve(curvature, gradient(f, theta)), 0, atol=2e-5
    )  # what Newton would still move


def test_standard_errors_are_those_of_the_marginal_likelihood(data: pd.DataFrame, fit: HierarchicalFit) -> None:
    theta = theta_of(fit)
    errors = np.sqrt(np.diag(np.linalg.inv(-hessian(lambda v: marginal(data, v[:2], covariance_of(v)), theta))))
    np.testing.assert_allclose(fit.group_se, errors[:2], rtol=1e-4)
    tail = fit.group_covariance_se.to_numpy()
    ours = np.diag(tail) if len(theta) == 4 else [tail[0, 0], tail[0, 1], tail[1, 1]]
    np.testing.assert_allclose(ours, errors[2:], rtol=1e-4)


def test_covariates_are_generalised_least_squares(data: pd.DataFrame) -> None:
    fit = reml.hierarchical.fit(
        models.Regression(["x"], "gaussian"), data, fixed={"sigma": SIGMA}, covariates="group + age"
    )
    table = fit.group_effects().set_index(["parameter", "term"])
    assert len(table) == 6
    cov = fit.group_covariance.to_numpy()
    XVX, XVy = np.zeros((6, 6)), np.zeros(6)
    for _, t in data.groupby("subject"):
        Z = np.column_stack([np.ones(len(t)), t["x"]])
        x = np.array([1.0, float(t["group"].iloc[0] == "b"), t["age"].iloc[0]])
        X, V = np.kron(Z, x), Z @ cov @ Z.T + SIGMA**2 * np.eye(len(t))
        XVX += X.T @ np.linalg.solve(V, X)
        XVy += X.T @ np.linalg.solve(V, t["y"])
    np.testing.assert_allclose(table["estimate"], np.linalg.solve(XVX, XVy), atol=1e-3)
    mean = fit.covariates.mean(0).numpy() @ table["estimate"].to_numpy().reshape(2, 3).T
    np.testing.assert_allclose(fit.group_mean, mean)
    assert fit.n_group_parameters == 8
    # the errors of the coefficients, given the covariance, are the least that full ones can be
    assert (table["std_error"] >= 0.999 * np.sqrt(np.diag(np.linalg.inv(XVX)))).all()


def coins(seed: int = 3, n: int = 40) -> pd.DataFrame:
    """Coins of a group with two that are far from it."""
    rng = np.random.default_rng(seed)
    h = 0.3 + 0.5 * rng.standard_normal(n)
    h[:2] = 2.0, -1.9
    rows = [pd.DataFrame({"subject": i, "y": (rng.random(30) < 1 / (1 + np.exp(-h[i]))).astype(int)}) for i in range(n)]
    return pd.concat(rows, ignore_index=True)


COIN = models.Regression([], "binomial")


@pytest.mark.parametrize("family", ["gaussian", Family("student_t", 3.0), "cauchy", "laplace"])
def test_evidence_of_every_family_is_the_integral(family: str | Family) -> None:
    data = coins()
    fit = reml.hierarchical.fit(COIN, data, family=family)
    assert fit.converged, fit.message
    mean, scale = float(fit.group_mean.iloc[0]), math.sqrt(fit.group_scale.iloc[0, 0])
    kind = family if isinstance(family, str) else family.name
    density = {
        "gaussian": stats.norm(mean, scale), "cauchy": stats.cauchy(mean, scale),
        "student_t": stats.t(3.0, mean, scale), "laplace": stats.laplace(mean, scale),
    }[kind]  # fmt: skip
    h = mean + np.linspace(-30, 30, 60_001)
    heads = data.groupby("subject")["y"].sum().to_numpy()[:, None]
    like = np.exp(heads * h - 30 * np.logaddexp(0, h))
    wanted = np.log(integrate.simpson(like * density.pdf(h), x=h, axis=1))
    sampled = fit.subject_evidence("importance", n_draws=10_000)
    np.testing.assert_allclose(sampled["log_evidence"], wanted, atol=5 * sampled["std_error"].max())
    assert sampled["std_error"].max() < 0.02
    quadrature = fit.subject_evidence("quadrature", points=51)["log_evidence"]
    np.testing.assert_allclose(quadrature, wanted, atol=1e-4 if kind == "gaussian" else 0.06)
    if kind == "laplace":
        with pytest.raises(reml.ModelError, match="kink"):
            fit.evidence()
    else:
        np.testing.assert_allclose(fit.subject_evidence("laplace")["log_evidence"], wanted, atol=0.15)
    # the bound that EM raises is one, up to Laplace's own error, and a near one
    assert sum(wanted) - 8.0 < -fit.rows[-1].criterion / 2 < sum(wanted) + 0.5


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("name", ["student_t", "laplace", "cauchy"])
def test_outliers_pull_less_in_families_with_long_tails(name: str, covariance: str) -> None:
    data = normal_trials(n=30, t=12)
    data.loc[data["subject"] == "s4", "y"] += 25.0
    model = models.Regression(["x"], "gaussian")
    gaussian = reml.hierarchical.fit(model, data, covariance=covariance, fixed={"sigma": SIGMA})
    robust = reml.hierarchical.fit(model, data, covariance=covariance, fixed={"sigma": SIGMA}, family=name)
    without = reml.hierarchical.fit(model, data[data["subject"] != "s4"], covariance=covariance, fixed={"sigma": SIGMA})
    assert robust.converged
    pulled = abs(gaussian.group_mean - without.group_mean)["intercept"]
    assert abs(robust.group_mean - without.group_mean)["intercept"] < 0.5 * pulled
    assert robust.evidence("importance") > gaussian.evidence("importance") + 5
    assert robust.group_covariance.isna().all(axis=None) == (name == "cauchy")
    assert np.isfinite(robust.group_se).all()


def test_a_family_with_many_degrees_of_freedom_is_the_gaussian(data: pd.DataFrame) -> None:
    model = models.Regression(["x"], "gaussian")
    options = dict(fixed={"sigma": SIGMA}, covariance="full")
    gaussian = reml.hierarchical.fit(model, data, **options)
    nearly = reml.hierarchical.fit(model, data, family=Family("student_t", 1e7), **options)
    np.testing.assert_allclose(nearly.group_mean, gaussian.group_mean, atol=1e-4)
    np.testing.assert_allclose(nearly.group_covariance, gaussian.group_covariance, atol=1e-4)
    assert nearly.evidence() == pytest.approx(gaussian.evidence(), abs=1e-3)


def test_a_prior_of_the_group_is_its_mode(data: pd.DataFrame) -> None:
    """Means and variances are where marginal likelihood plus log prior is largest."""
    prior = GroupPrior(mean={"x": (0.4, 0.1)}, variance={"intercept": 2.0}, df=10.0)
    fit = reml.hierarchical.fit(models.Regression(["x"], "gaussian"), data, fixed={"sigma": SIGMA}, prior=prior)
    chi = lambda s, v, df: -(df / 2 + 1) * math.log(s) - df * v / (2 * s)

    def posterior(theta: np.ndarray) -> float:
        known = stats.norm.logpdf(theta[1], 0.4, 0.1) + chi(theta[2], 2.0, 10.0) + chi(theta[3], 1.0, 10.0)
        return marginal(data, theta[:2], np.diag(theta[2:])) + known

    theta = theta_of(fit)
    curvature = hessian(posterior, theta)
    np.testing.assert_allclose(np.linalg.solve(curvature, gradient(posterior, theta)), 0, atol=2e-5)
    errors = np.sqrt(np.diag(np.linalg.inv(-curvature)))
    np.testing.assert_allclose(fit.group_se, errors[:2], rtol=1e-3)
    np.testing.assert_allclose(np.diag(fit.group_covariance_se), errors[2:], rtol=1e-3)


def test_unknown_methods_are_refused(fit: HierarchicalFit) -> None:
    with pytest.raises(reml.ModelError, match="Choose one of laplace"):
        fit.evidence("harmonic")
    with pytest.raises(reml.ModelError, match="points"):
        fit.evidence("quadrature", points=1)
    with pytest.raises(reml.ModelError, match="level"):
        fit.subjects(level=95)
