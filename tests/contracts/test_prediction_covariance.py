"""Var(x'(b^ - b) + z'(u^ - u)): both engines against Henderson's equations written out and inverted, and each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import openreml_core as reml
from openreml_core.assembly import build_model
from openreml_core.engines import HendersonEngine, MarginalEngine
from openreml_core.model import MixedModel
from tests.contracts.models import incidence, plain_v, simulated
from tests.contracts.test_henderson import CASES, WHERE, nested, theta_of


def combinations(model: MixedModel, count: int = 7) -> tuple[torch.Tensor, list[torch.Tensor]]:
    torch.manual_seed(2)
    shapes = [(len(t.levels), t.structure.size, count) for t in model.terms]
    return torch.randn(count, model.p).double(), [torch.randn(*shape).double() for shape in shapes]


def by_the_book(model: MixedModel, theta: torch.Tensor, sigma2: float, fixed, random) -> np.ndarray:
    """The joint variance of y, u and the BLUP's weights, written out: Var(L y - z'u), L y the best linear unbiased predictor."""
    v = sigma2 * plain_v(model, theta)
    g, z = [], []
    for term, part in zip(model.terms, model.split(theta), strict=False):
        q = len(term.levels)
        kernel = torch.eye(q).double() if term.kernel is None else term.kernel
        g.append(sigma2 * torch.kron(kernel, term.structure.matrix(part).contiguous()))
        z.append(incidence(term, model.n).reshape(model.n, -1))
    g_all = torch.block_diag(*g) if g else torch.zeros(0, 0).double()
    z_all = torch.cat(z, dim=1) if z else torch.zeros(model.n, 0).double()
    c = len(fixed)
    l_u = torch.cat([r.reshape(-1, c) for r in random]) if random else torch.zeros(0, c).double()
    # Predictor weights w (n, c): minimise w'Vw - 2 w'ZGl subject to X'w = x.
    p = model.p
    saddle = torch.cat([torch.cat([v, model.X], 1), torch.cat([model.X.T, torch.zeros(p, p).double()], 1)])
    w = torch.linalg.solve(saddle, torch.cat([z_all @ g_all @ l_u, fixed.T]))[: model.n]
    cross = w.T @ z_all @ g_all @ l_u
    return (w.T @ v @ w - cross - cross.T + l_u.T @ g_all @ l_u).numpy()


def compare(model: MixedModel, theta: torch.Tensor, eliminate: int | None = None) -> None:
    fixed, random = combinations(model)
    dense, equations = MarginalEngine(model), HendersonEngine(model, eliminate=eliminate)
    a, b = dense.evaluate(theta), equations.evaluate(theta)
    first = dense.prediction_covariance(a, fixed, random).numpy()
    second = equations.prediction_covariance(b, fixed, random).numpy()
    scale = np.abs(first).max()
    np.testing.assert_allclose(second, first, atol=1e-8 * scale)
    np.testing.assert_allclose(first, by_the_book(model, theta, a.sigma2, fixed, random), atol=1e-8 * scale)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("name", CASES)
def test_both_engines_give_the_joint_covariance(name: str, where: str) -> None:
    model = simulated(11, cut=1.0, **CASES[name])
    for eliminate in [None, *(u for u, t in enumerate(model.terms) if t.kernel is None)]:
        compare(model, theta_of(model, where), eliminate)


def test_nested_terms() -> None:
    model = nested()
    for eliminate in (None, 0):
        compare(model, theta_of(model, "somewhere"), eliminate)


def test_terms_of_every_kind() -> None:
    d = reml.load_sample("john_alpha").assign(row=np.arange(72) % 12 + 1, col=np.arange(72) // 12 + 1)
    for formula in (
        "yield ~ spl(row) + (1 | gen)",
        "yield ~ rep + exp(0 + pos(row, col) | rep) + (1 | gen)",
        "yield ~ rep + kron(us(rep), cs(block) | gen)",
    ):
        _, model = build_model(formula, d)
        compare(model, theta_of(model, "somewhere"))


@pytest.mark.parametrize("residual", ["ar1 + units", "blocks"])
def test_correlated_residuals_and_spatial_terms(residual: str) -> None:
    model = simulated(4, n=27, cut=1.0, residual=residual, spatial=9, smooth=3, related=True)
    theta = model.start()
    engine = MarginalEngine(model)
    at = engine.evaluate(theta)
    fixed, random = combinations(model)
    expected = by_the_book(model, theta, at.sigma2, fixed, random)
    found = engine.prediction_covariance(at, fixed, random).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-8 * np.abs(expected).max())


def test_the_blocks_are_those_of_the_other_answers() -> None:
    """Cov(b) where z is zero, the prediction error variance of a level where x is."""
    model = simulated(11, cut=1.0)
    engine = HendersonEngine(model)
    at = engine.evaluate(theta_of(model, "somewhere"))
    nothing = [torch.zeros(len(t.levels), t.structure.size, model.p).double() for t in model.terms]
    found = engine.prediction_covariance(at, torch.eye(model.p).double(), nothing)
    torch.testing.assert_close(found, at.beta_covariance, rtol=1e-9, atol=1e-12)
    one = [torch.zeros(len(t.levels), t.structure.size, 2).double() for t in model.terms]
    one[0][3] = torch.eye(2)
    found = engine.prediction_covariance(at, torch.zeros(2, model.p).double(), one)
    torch.testing.assert_close(found, engine.random_effects(at)[0].prediction[3], rtol=1e-8, atol=1e-12)
