"""The search: its subproblem, its stopping, its rows, and what it does at the edges."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import optimize

from openreml_core.covariance import Unstructured
from openreml_core.engines import MarginalEngine
from openreml_core.errors import FitCancelled
from openreml_core.reml import maximise, trace_frame
from openreml_core.reml.em import em_step
from openreml_core.reml.trace import SHORTENED
from openreml_core.reml.trust_region import next_radius, solve, solve_bounded
from tests.contracts.models import differences, simulated


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("radius", [0.1, 1.0, 50.0])
def test_the_subproblem_is_solved_exactly(seed, radius):
    """Against many random points of the region, none of which may be better, and the optimality condition."""
    rng = np.random.default_rng(seed)
    m = 4
    g, a = rng.normal(size=m), rng.normal(size=(m, m))
    h, d = (a + a.T) / 2 + (seed % 3 - 1) * np.eye(m), rng.uniform(0.1, 3.0, m)
    found = solve(g, h, d, radius)
    assert np.linalg.norm(found.step / d) <= radius * (1 + 1e-9)
    z = rng.normal(size=(5000, m))
    z *= radius * rng.uniform(0, 1, (5000, 1)) ** (1 / m) / np.linalg.norm(z, axis=1, keepdims=True)
    s = z * d
    others = -(s @ g + 0.5 * np.einsum("ij,jk,ik->i", s, h, s))
    assert found.gain >= others.max() - 1e-9 * abs(found.gain)
    # (DHD + mu I) z = -Dg with mu >= 0, and positive semidefinite
    zf, dhd = found.step / d, h * np.outer(d, d)
    rest = -(d * g) - dhd @ zf
    mu = float(rest @ zf / (zf @ zf))
    np.testing.assert_allclose(rest, mu * zf, atol=1e-6 * max(1.0, abs(mu)))
    assert mu >= -1e-8 and np.linalg.eigvalsh(dhd + (mu + 1e-6) * np.eye(m))[0] >= -1e-6


def test_a_saddle_is_left():
    """Gradient zero, one direction falling: the step goes to the region's edge along it."""
    found = solve(np.zeros(2), np.diag([-1.0, 2.0]), np.ones(2), 0.5)
    assert abs(found.step[0]) == pytest.approx(0.5) and found.step[1] == pytest.approx(0.0, abs=1e-9)
    assert found.gain == pytest.approx(0.125)


def test_bounds_hold_and_the_rest_is_solved():
    g, h = np.array([-4.0, -1.0]), np.array([[2.0, 0.5], [0.5, 1.0]])
    found = solve_bounded(g, h, np.ones(2), 100.0, np.zeros(2), np.full(2, -10.0), np.array([1.0, 10.0]))
    best = optimize.minimize(lambda s: g @ s + 0.5 * s @ h @ s, np.zeros(2), bounds=[(-10, 1), (-10, 10)])
    np.testing.assert_allclose(found.step, best.x, atol=1e-5)


@pytest.mark.parametrize(("ratio", "bigger"), [(-1.0, False), (0.1, False), (float("nan"), False), (0.9, True)])
def test_the_radius_follows_the_ratio(ratio, bigger):
    assert (next_radius(1.0, ratio, 1.0) > 1.0) is bigger


def test_a_good_step_at_the_edge_widens_the_region():
    """From far away the region's edge stops the first steps: each good one must let the next go further."""
    engine = MarginalEngine(simulated(2))
    start = engine.model.start() * 40
    rows = maximise(engine, start).rows
    edge = [(a, b) for a, b in pairwise(rows) if b.step == SHORTENED and b.ratio > 0.75]
    assert edge and all(b.radius > a.radius for a, b in edge)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("size", [0.0, 1.0])
def test_nothing_better_is_near(seed, method, size):
    """From the estimates a derivative-free search finds nothing lower; singular optima among them."""
    model = simulated(seed, method=method, cut=size)
    found = maximise(MarginalEngine(model), model.start())
    assert found.converged, found.message
    engine = MarginalEngine(model)
    rng = np.random.default_rng(seed)
    start = found.at.theta.numpy() + 0.3 * rng.normal(size=model.n_theta) * model.scale.numpy()
    other = optimize.minimize(
        lambda t: engine.evaluate(torch.from_numpy(t)).criterion,
        start,
        method="Powell",
        options={"xtol": 1e-8, "ftol": 1e-12},
    )
    assert found.at.criterion <= other.fun + 1e-6


@pytest.mark.parametrize("algorithm", ["ai", "em", "ai-em"])
@pytest.mark.parametrize("profiled", [True, False])
def test_all_algorithms_reach_the_same_optimum(algorithm, profiled):
    model = simulated(4, n=80, cut=1.0, profiled=profiled)
    best = maximise(MarginalEngine(model), model.start())
    found = maximise(MarginalEngine(model), model.start(), algorithm=algorithm, max_iterations=5000)
    assert found.converged, found.message
    assert found.at.criterion == pytest.approx(best.at.criterion, abs=1e-7)


def test_every_em_step_raises_the_likelihood():
    model = simulated(2, cut=0.7)
    found = maximise(MarginalEngine(model), model.start(), algorithm="em", max_iterations=60)
    changes = trace_frame(found.rows)["change"].iloc[1:]
    assert (changes <= 1e-10).all()


def test_em_is_the_textbook_step():
    """Sigma_new is the mean over the levels of u^ u^' + Var[u^ - u] (Henderson's blocks); the residual's has its own equation."""
    model = simulated(7, cut=1.0, structures=(("g", Unstructured, 2, 6),), profiled=False)
    engine = MarginalEngine(model)
    at = engine.evaluate(model.start())
    effects = engine.random_effects(at)[0]
    expected = (effects.blup[:, :, None] * effects.blup[:, None, :] + effects.prediction).mean(dim=0)
    parts = model.split(em_step(model, at))
    torch.testing.assert_close(model.terms[0].structure.matrix(parts[0]), expected, rtol=1e-8, atol=1e-10)


def test_a_rejected_step_is_shown_and_the_search_goes_on():
    model = simulated(3, cut=5.0)
    found = maximise(MarginalEngine(model), 300.0 * model.start())
    kinds = [row.step for row in found.rows]
    assert found.converged and {"rejected", "Newton"} & set(kinds)
    better = maximise(MarginalEngine(model), model.start())
    assert found.at.criterion == pytest.approx(better.at.criterion, abs=1e-7)


def test_the_iteration_limit_is_said():
    model = simulated(3, cut=1.0)
    found = maximise(MarginalEngine(model), 50.0 * model.start(), max_iterations=1)
    assert not found.converged and "1 iteration was not enough" in found.message


def test_cancelling_keeps_the_trace():
    model = simulated(3, cut=1.0)
    with pytest.raises(FitCancelled) as caught:
        maximise(MarginalEngine(model), model.start(), on_iteration=lambda row: row.iteration < 2)
    assert [row.iteration for row in caught.value.trace] == [0, 1, 2]


def test_starting_at_zero_is_no_trap():
    """At L = 0 the score vanishes; the curvature tells the search that the likelihood rises."""
    model = simulated(3, n=80, cut=1.5)
    found = maximise(MarginalEngine(model), 0.0 * model.start())
    best = maximise(MarginalEngine(model), model.start())
    assert found.at.criterion == pytest.approx(best.at.criterion, abs=1e-7)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
@pytest.mark.parametrize("profiled", [True, False])
def test_the_scale_of_y_does_not_matter(scale, profiled):
    model = simulated(9, cut=1.0, profiled=profiled)
    scaled = replace(model, y=model.y * scale)
    a, b = (maximise(MarginalEngine(m), m.start()) for m in (model, scaled))
    assert abs(len(a.rows) - len(b.rows)) <= 1
    torch.testing.assert_close(
        scaled.natural_values(b.at.theta, b.at.sigma2) / scale**2,
        model.natural_values(a.at.theta, a.at.sigma2),
        rtol=1e-6,
        atol=1e-9,
    )


def test_held_parameters_stay():
    model = simulated(9, cut=1.0, profiled=False)
    free = np.array([True, True, True, False, True])
    found = maximise(MarginalEngine(model), model.start(), free=free)
    assert float(found.at.theta[3]) == float(model.start()[3])
    score = differences(
        lambda t: torch.tensor(MarginalEngine(model).evaluate(t).criterion, dtype=torch.float64),
        found.at.theta,
        model.scale,
    )
    assert float((score * model.scale)[torch.from_numpy(free)].abs().max()) < 1e-4
