"""The engine's numbers against the likelihood written out and differentiated, on random designs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from openreml_core.covariance import Diagonal, FactorAnalytic, KroneckerStructure, Unstructured
from openreml_core.engines import MarginalEngine, NotPositiveDefinite
from openreml_core.model import MixedModel
from tests.contracts.models import differences, incidence, plain_criterion, plain_v, simulated


def product(names: list[str]) -> KroneckerStructure:
    """us (x) us over the four effects."""
    places = [torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])]
    return KroneckerStructure(names, [Unstructured(["a", "b"]), Unstructured(["c", "d"])], places)


CASES = {
    "crossed": {},
    "ml": {"method": "ml"},
    "explicit residual": {"profiled": False},
    "explicit residual, ml": {"profiled": False, "method": "ml"},
    "weights": {"weighted": True},
    "three effects": {"structures": (("g", Unstructured, 3, 5),)},
    "uncorrelated": {"structures": (("g", Diagonal, 3, 5), ("h", Unstructured, 1, 7))},
    "no random term": {"structures": ()},
    "ar1 x ar1 and units": {"residual": "ar1 + units", "n": 28},
    "unstructured blocks": {"residual": "blocks", "n": 27},
    "a variance per section": {"residual": "sections", "weighted": True},
    "related levels": {"related": True},
    "factor analytic": {"structures": (("g", FactorAnalytic, 3, 8),)},
    "product": {"structures": (("g", product, 4, 8),)},
    "spatial": {"structures": (("g", Diagonal, 1, 5),), "spatial": 9},
    "spatial, ml, with a nugget": {"structures": (), "spatial": 6, "residual": "ar1 + units", "n": 28, "method": "ml"},
    "spatial, related blocks": {"structures": (), "spatial": 6, "related": True},
    "smooth": {"smooth": 7},
    "smooth, more effects than rows": {"structures": (), "smooth": 50, "n": 30, "profiled": False},
    "related levels, ml": {"related": True, "method": "ml"},
}


@pytest.fixture(params=CASES, ids=str)
def model(request) -> MixedModel:
    return simulated(11, cut=1.0, **CASES[request.param])


def somewhere(model: MixedModel) -> torch.Tensor:
    torch.manual_seed(3)
    return (
        model.start() * (0.5 + torch.rand(model.n_theta).double())
        + 0.1 * model.scale * torch.randn(model.n_theta).double()
    )


def test_criterion_is_the_definition(model):
    at = MarginalEngine(model).evaluate(somewhere(model))
    assert at.criterion == pytest.approx(float(plain_criterion(model, at.theta, at.sigma2)), rel=1e-11)


def test_profiled_sigma2_is_the_best_one(model):
    at = MarginalEngine(model).evaluate(somewhere(model))
    if not model.profiled:
        assert at.sigma2 == 1.0
        return
    sigma2 = torch.tensor(at.sigma2, requires_grad=True, dtype=torch.float64)
    (slope,) = torch.autograd.grad(plain_criterion(model, at.theta, sigma2), sigma2)
    assert abs(float(slope) * at.sigma2) < 1e-8


def test_score_is_the_gradient(model):
    at = MarginalEngine(model).evaluate(somewhere(model))
    if not model.n_theta:
        assert at.score.shape == (0,)
        return
    theta = at.theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(plain_criterion(model, theta, at.sigma2), theta)
    torch.testing.assert_close(at.score, -gradient / 2, rtol=1e-8, atol=1e-8)


def joined(model: MixedModel, at) -> tuple[torch.Tensor, callable]:
    """theta with the profiled sigma2 last, and -2 l as a function of both."""
    if not model.profiled:
        return at.theta, lambda t: plain_criterion(model, t, 1.0)
    last = torch.tensor([at.sigma2], dtype=torch.float64)
    return torch.cat([at.theta, last]), lambda t: plain_criterion(model, t[:-1], t[-1])


def test_observed_information_is_the_hessian(model):
    engine = MarginalEngine(model)
    at = engine.evaluate(somewhere(model))
    both, criterion = joined(model, at)
    hessian = torch.autograd.functional.hessian(criterion, both) / 2
    torch.testing.assert_close(engine.observed_information(at), hessian, rtol=1e-7, atol=1e-7)


def test_average_information_is_f_p_f_over_2(model):
    """From the definition: y'P V_k P V_l P y / 2 with V's derivatives by finite differences of V itself."""
    engine = MarginalEngine(model)
    at = engine.evaluate(somewhere(model))
    both, _ = joined(model, at)
    v = at.sigma2 * model.covariance(at.theta)

    def whole(t):
        return model.covariance(t) if not model.profiled else t[-1] * model.covariance(t[:-1])

    inverse = torch.linalg.inv(v)
    xvx = model.X.T @ inverse @ model.X
    p = inverse - inverse @ model.X @ torch.linalg.inv(xvx) @ model.X.T @ inverse
    variates = differences(whole, both, both.abs().clamp_min(0.1)) @ p @ model.y
    torch.testing.assert_close(at.information, variates @ p @ variates.T / 2, rtol=1e-7, atol=1e-8)


def test_derivatives_of_cov_beta(model):
    engine = MarginalEngine(model)
    at = engine.evaluate(somewhere(model))
    both, _ = joined(model, at)

    def covariance(t):
        v = model.covariance(t) if not model.profiled else t[-1] * model.covariance(t[:-1])
        return torch.linalg.inv(model.X.T @ torch.linalg.solve(v, model.X))

    expected = differences(covariance, both, both.abs().clamp_min(0.1))
    torch.testing.assert_close(engine.beta_covariance_derivatives(at), expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(at.beta_covariance, covariance(both), rtol=1e-9, atol=1e-12)


def residual_matrix(model: MixedModel, at) -> torch.Tensor:
    """R, all of V that the random terms do not account for."""
    bare = replace(model, terms=())
    own = at.theta[sum(t.structure.n_parameters for t in model.terms) :]
    return at.sigma2 * plain_v(bare, own)


def test_blups_solve_the_mixed_model_equations(model):
    """Henderson's equations, written out and solved whole: BLUE, BLUPs, and the prediction error variances."""
    engine = MarginalEngine(model)
    at = engine.evaluate(somewhere(model))
    effects = engine.random_effects(at)
    sigmas = model.sigmas(at.theta, at.sigma2)
    blocks, precisions = [model.X], [torch.zeros(model.p, model.p, dtype=torch.float64)]
    for term, sigma in zip(model.terms, sigmas, strict=False):
        q, k = len(term.levels), term.structure.size
        blocks.append(incidence(term, model.n).reshape(model.n, q * k))
        related = torch.eye(q, dtype=torch.float64) if term.kernel is None else torch.linalg.inv(term.kernel)
        precisions.append(torch.kron(related.contiguous(), torch.linalg.inv(sigma).contiguous()))
    w = torch.cat(blocks, dim=1)
    r_inverse = torch.linalg.inv(residual_matrix(model, at))
    left = w.T @ r_inverse @ w + torch.block_diag(*precisions)
    inverse = torch.linalg.inv(left)
    solution = inverse @ w.T @ r_inverse @ model.y
    torch.testing.assert_close(at.beta, solution[: model.p], rtol=1e-8, atol=1e-9)
    position = model.p
    without_x = torch.linalg.inv(left[model.p :, model.p :])
    fit = torch.zeros(model.n, dtype=torch.float64)
    for term, found, z in zip(model.terms, effects, blocks[1:], strict=True):
        q, k = len(term.levels), term.structure.size
        mine = slice(position, position + q * k)
        torch.testing.assert_close(found.blup.reshape(-1), solution[mine], rtol=1e-7, atol=1e-8)
        error = inverse[mine, mine].reshape(q, k, q, k)
        inside = without_x[position - model.p :, position - model.p :][: q * k, : q * k].reshape(q, k, q, k)
        for level in range(q):
            torch.testing.assert_close(found.prediction[level], error[level, :, level], rtol=1e-7, atol=1e-8)
            torch.testing.assert_close(found.conditional[level], inside[level, :, level], rtol=1e-7, atol=1e-8)
        fit += z @ solution[mine]
        position += q * k
    torch.testing.assert_close(engine.random_fit(at), fit, rtol=1e-7, atol=1e-8)


def test_natural_information_is_the_transformed_one(model):
    """J'AI(natural) J = AI(theta, sigma2), J = d natural / d (theta, sigma2)."""
    engine = MarginalEngine(model)
    at = engine.evaluate(somewhere(model))
    both, _ = joined(model, at)

    def natural(t):
        return model.natural_values(t, 1.0) if not model.profiled else model.natural_values(t[:-1], float(t[-1]))

    jacobian = differences(natural, both, both.abs().clamp_min(0.1)).T
    torch.testing.assert_close(
        jacobian.T @ engine.natural_information(at) @ jacobian, at.information, rtol=1e-6, atol=1e-7
    )


def test_natural_parameters_are_those_of_the_data_s_scale(model):
    """Read back by its structure, what people are shown of a term is its covariance matrix in the response's units."""
    at = MarginalEngine(model).evaluate(somewhere(model))
    values, position = model.natural_values(at.theta, at.sigma2), 0
    for component, sigma in zip(model.all_components, model.sigmas(at.theta, at.sigma2), strict=True):
        structure = component.structure
        own = values[position : position + structure.n_parameters]
        position += structure.n_parameters
        torch.testing.assert_close(structure.matrix(structure.from_natural(own)), sigma, rtol=1e-9, atol=1e-12)
    assert position == len(values)


def test_effective_dimensions_add_up_to_the_rows(model):
    """tr(V_t P) of every part from V_t and P written out; the fixed effects are the rest (of REML; P is REML's in both)."""
    engine = MarginalEngine(model)
    at = engine.evaluate(somewhere(model))
    found = engine.effective_dimensions(at)
    assert sum(found) + model.p == pytest.approx(model.n)
    v = at.sigma2 * plain_v(model, at.theta)
    inverse = torch.linalg.inv(v)
    p = inverse - inverse @ model.X @ torch.linalg.inv(model.X.T @ inverse @ model.X) @ model.X.T @ inverse
    for term, sigma, dimension in zip(model.terms, model.sigmas(at.theta, at.sigma2), found, strict=False):
        z = incidence(term, model.n).reshape(model.n, -1)
        related = torch.eye(len(term.levels), dtype=torch.float64) if term.kernel is None else term.kernel
        own = z @ torch.kron(related.contiguous(), sigma.contiguous()) @ z.T
        assert dimension == pytest.approx(float((own * p).sum()), rel=1e-8, abs=1e-10)


def test_a_mean_of_a_million_costs_no_digits():
    model = simulated(5, cut=1.0)
    far = MixedModel(model.y + 1e6, model.X, model.fixed_names, model.terms, model.residuals)
    near_at, far_at = (MarginalEngine(m).evaluate(model.start()) for m in (model, far))
    assert far_at.criterion == pytest.approx(near_at.criterion, abs=1e-7)
    assert float(far_at.beta[0] - near_at.beta[0]) == pytest.approx(1e6, rel=1e-12)


def test_an_indefinite_v_is_refused_not_mended():
    model = simulated(5)
    bad = MixedModel(
        model.y, model.X, model.fixed_names, model.terms, (type(model.residuals[0])(-model.residuals[0].variance),)
    )
    with pytest.raises(NotPositiveDefinite):
        MarginalEngine(bad).evaluate(0.1 * model.start())


def test_what_kenward_and_roger_ask_for_is_its_definition(model):
    """P_k, Q_kl, R_kl and tr(P V_k P V_l) / 2 with V's natural derivatives by differences of V itself."""
    engine = MarginalEngine(model)
    start = somewhere(model)
    theta = model.join(
        [
            c.structure.settle(part, c.scale * model.unit)
            for c, part in zip(model.components, model.split(start), strict=True)
        ]
    )
    at = engine.evaluate(theta)
    values = model.natural_values(at.theta, at.sigma2)

    def whole(nu):
        """V of natural parameters on the scale of the data."""
        if model.profiled:
            sigma2 = nu[-1]
            parts, first = [], 0
            for c in model.components:
                own = nu[first : first + c.structure.n_parameters]
                power = torch.tensor([q.degree for q in c.structure.natural]).double()
                parts.append(c.structure.from_natural(own / sigma2**power))
                first += len(own)
            return sigma2 * model.covariance(model.join(parts))
        cut = [c.structure.from_natural(nu[s]) for c, s in zip(model.components, model.slices, strict=True)]
        return model.covariance(model.join(cut))

    step = 0.1 * values.abs().clamp_min(0.05)
    v, first = whole(values), differences(whole, values, step)
    second = differences(lambda nu: differences(whole, nu, step, h=1e-3), values, step, h=1e-3)
    inverse = torch.linalg.inv(v)
    c = torch.linalg.inv(model.X.T @ inverse @ model.X)
    left = c @ model.X.T @ inverse
    p = torch.einsum("ai,kij,bj->kab", left, first, left)
    torch.testing.assert_close(engine.natural_beta_slopes(at), p, rtol=1e-6, atol=1e-8)
    projection = inverse - inverse @ model.X @ c @ model.X.T @ inverse
    through = first @ projection
    information = torch.einsum("kij,lji->kl", through, through) / 2
    torch.testing.assert_close(engine.expected_information(at), information, rtol=1e-6, atol=1e-7)

    torch.manual_seed(2)
    half = torch.randn(len(values), len(values)).double()
    weights = half + half.T
    bent = torch.zeros_like(v)
    for component, rows in zip(model.components, model.slices, strict=True):
        if not component.structure.is_linear:
            bent += torch.einsum("kl,klij->ij", weights[rows, rows], second[rows, rows])
    q = torch.einsum("ai,kij,jm,lmn,bn->klab", left, first, inverse, first, left)
    pcp = torch.einsum("kab,bc,lcd->klad", p, torch.linalg.inv(c), p)
    expected = torch.einsum("kl,klab->ab", weights, q - pcp) - left @ bent @ left.T / 4
    torch.testing.assert_close(engine.beta_covariance_excess(at, weights), expected, rtol=1e-5, atol=1e-6)
