"""The sparse factor of the mixed-model equations against the dense engine: every number that either gives."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from openreml_core.covariance import KnownInverse, Unstructured
from openreml_core.engines import HendersonEngine, MarginalEngine, NotPositiveDefinite
from openreml_core.model import MixedModel
from tests.contracts.models import KINDS_OF_TERMS, of_a_field_trial, simulated
from tests.contracts.test_henderson import CASES, WHERE, agree, nested, theta_of


def by_inverse(model: MixedModel) -> MixedModel:
    """The model with every relationship given by its inverse."""
    terms = []
    for term in model.terms:
        if isinstance(term.kernel, torch.Tensor):
            inverse = torch.linalg.inv(term.kernel)
            term = replace(term, kernel=KnownInverse(sparse.csr_array(((inverse + inverse.T) / 2).numpy())))
        terms.append(term)
    return replace(model, terms=tuple(terms))


#: A sparse factor takes independent residuals, and needs effects.
TAKEN = [
    name
    for name, options in CASES.items()
    if options.get("structures", True) and options.get("residual", "") in ("", "sections")
]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("name", TAKEN)
def test_the_sparse_factor_agrees(name, where):
    model = simulated(11, cut=1.0, **CASES[name])
    agree(by_inverse(model), theta_of(model, where), sparse=True)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(15, 70),
    terms=st.lists(st.tuples(st.integers(1, 3), st.integers(2, 6)), min_size=1, max_size=3),
    method=st.sampled_from(["reml", "ml"]),
    weighted=st.booleans(),
    profiled=st.booleans(),
    related=st.booleans(),
    where=st.sampled_from(WHERE),
)
def test_random_designs(seed, n, terms, method, weighted, profiled, related, where):
    structures = tuple((f"t{i}", Unstructured, k, q) for i, (k, q) in enumerate(terms))
    options = dict(method=method, weighted=weighted, profiled=profiled, related=related)
    model = by_inverse(simulated(seed, n=n, structures=structures, cut=1.0, **options))
    agree(model, theta_of(model, where), near=1e-7 if where == "large" else 1e-8, sparse=True)


@pytest.mark.parametrize("where", [*WHERE, "one effect without variance"])
@pytest.mark.parametrize("related", [False, True])
def test_singular_covariances(where, related):
    """Correlations of one, and effects whose variance alone is zero."""
    model = by_inverse(
        simulated(5, structures=(("g", Unstructured, 2, 9), ("h", Unstructured, 3, 6)), n=80, related=related)
    )
    theta = theta_of(model, where)
    theta[model.terms[0].structure.n_parameters - 1] = 0.0
    if where.startswith("one"):
        theta[:2] = torch.tensor([0.0, 0.0])
        theta[2] = 0.7
    agree(model, theta, sparse=True)


def test_variances_just_above_zero_keep_their_digits():
    """Where a variance is 1e-4 to 1e-16 of the residual's, the score's trace has no cancellation."""
    model = simulated(3, structures=(("g", Unstructured, 2, 9), ("h", Unstructured, 1, 6)), n=80, cut=1.0)
    for size in (1e-2, 1e-3, 1e-4, 1e-6, 1e-8):
        theta = model.start()
        theta[:3] *= size
        agree(model, theta, sparse=True)


def test_terms_in_the_border_beside_the_factor():
    """A dense relationship and a spline stand in the border, the others in the factor."""
    model = simulated(
        11, cut=1.0, related=True, smooth=4, structures=(("g", Unstructured, 2, 6), ("h", Unstructured, 1, 5))
    )
    g, h, spline = model.terms
    plain = replace(h, levels=h.levels[:5], kernel=None)
    for terms in ((g, plain, spline), (by_inverse(model).terms[0], h, spline)):
        mixed = replace(model, terms=terms)
        for where in WHERE:
            agree(mixed, theta_of(mixed, where), sparse=True)


def test_nested_terms_with_a_variance_per_section():
    model = nested()
    for where in WHERE:
        agree(model, theta_of(model, where), sparse=True)


@pytest.mark.parametrize(("formula", "residual"), KINDS_OF_TERMS)
def test_terms_of_every_kind(formula, residual):
    model = of_a_field_trial(formula, residual)
    agree(model, theta_of(model, "somewhere"), sparse=True)


@pytest.mark.parametrize("name", ["crossed", "a variance per section", "related levels"])
def test_second_derivatives_agree(name):
    model = by_inverse(simulated(11, cut=1.0, **CASES[name]))
    theta = theta_of(model, "somewhere")
    dense, equations = MarginalEngine(model), HendersonEngine(model, sparse=True)
    expected = dense.observed_information(dense.evaluate(theta))
    found = equations.observed_information(equations.evaluate(theta))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


def test_what_is_no_number_is_rejected():
    model = simulated(3)
    with pytest.raises(NotPositiveDefinite):
        HendersonEngine(model, sparse=True).evaluate(torch.full((model.n_theta,), float("nan")).double())
