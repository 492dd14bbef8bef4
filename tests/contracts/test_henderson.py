"""The mixed-model equations against the dense engine: every number that either gives, on random designs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import openreml_core as reml
from openreml_core.assembly import build_model
from openreml_core.covariance import Diagonal, FactorAnalytic, Unstructured
from openreml_core.engines import (
    HendersonEngine,
    MarginalEngine,
    NotPositiveDefinite,
    choose_engine,
    plan,
    scalar_levels,
)
from openreml_core.model import MixedModel
from tests.contracts.models import KINDS_OF_TERMS, of_a_field_trial, simulated

CASES = {
    "crossed": {},
    "ml": {"method": "ml"},
    "explicit residual": {"profiled": False},
    "weights": {"weighted": True},
    "weights, explicit residual": {"weighted": True, "profiled": False},
    "three terms": {
        "structures": (("g", Unstructured, 3, 7), ("h", Unstructured, 1, 6), ("i", Diagonal, 2, 5)),
        "n": 90,
    },
    "scalar terms": {"structures": (("g", Diagonal, 1, 9), ("h", Diagonal, 1, 7))},
    "scalar terms, sections": {"structures": (("g", Diagonal, 1, 9), ("h", Diagonal, 1, 7)), "residual": "sections"},
    "no random term": {"structures": ()},
    "a variance per section": {"residual": "sections", "weighted": True},
    "a variance per section, ml": {"residual": "sections", "method": "ml"},
    "correlated blocks": {"residual": "blocks", "n": 42},
    "correlated blocks, ml": {"residual": "blocks", "n": 42, "method": "ml"},
    "a field with a nugget": {"residual": "ar1 + units"},
    "related levels": {"related": True},
    "factor analytic": {"structures": (("g", FactorAnalytic, 4, 8), ("h", Diagonal, 1, 5)), "n": 70},
    "related levels, ml": {"related": True, "method": "ml"},
}
WHERE = ("start", "somewhere", "small", "at zero", "large")


def theta_of(model: MixedModel, where: str) -> torch.Tensor:
    torch.manual_seed(5)
    theta = model.start()
    own = sum(t.structure.n_parameters for t in model.terms)
    if where == "somewhere":
        theta = theta * (0.5 + torch.rand(len(theta)).double()) + 0.1 * model.scale * torch.randn(len(theta)).double()
    factor = {"small": 1e-3, "at zero": 0.0, "large": 30.0}.get(where, 1.0)
    return torch.cat([factor * theta[:own], theta[own:]])


def second_order(dense, a, equations, b) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What Kenward and Roger's method asks of either engine; weights of parameters in units of their standard errors."""
    torch.manual_seed(7)
    information = dense.expected_information(a)
    half = torch.randn(len(information), 3).double() / information.diagonal().sqrt()[:, None]
    weights = half @ half.T
    weights[0] = weights[:, 0] = 0.0
    size = information.diagonal().rsqrt()
    excess = dense.beta_covariance_excess(a, weights)
    return [
        (equations.natural_beta_slopes(b), dense.natural_beta_slopes(a)),
        (torch.outer(size, size) * equations.expected_information(b), torch.outer(size, size) * information),
        (a.beta_covariance + equations.beta_covariance_excess(b, weights), a.beta_covariance + excess),
        (a.beta_covariance + equations.beta_covariance_excess(b, -weights), a.beta_covariance - excess),
    ]


def agree(
    model: MixedModel, theta: torch.Tensor, eliminate: int | None = None, near: float = 1e-8, sparse: bool = False
) -> None:
    """Criterion, score, AI, b, BLUPs, covariances of both engines, relative to the largest."""
    dense, equations = MarginalEngine(model), HendersonEngine(model, eliminate=eliminate, sparse=sparse)
    a, b = dense.evaluate(theta), equations.evaluate(theta)
    assert b.criterion == pytest.approx(a.criterion, rel=1e-10)
    assert equations.criterion(theta) == b.criterion
    assert b.sigma2 == pytest.approx(a.sigma2, rel=1e-9)
    pairs = [(getattr(b, k), getattr(a, k)) for k in ("beta", "beta_covariance", "score", "information", "curvature")]
    pairs.append((equations.beta_covariance_derivatives(b), dense.beta_covariance_derivatives(a)))
    pairs.append((equations.random_fit(b), dense.random_fit(a)))
    if not bool((theta == 0).any()):
        pairs += second_order(dense, a, equations, b)
        pairs.append((equations.natural_information(b), dense.natural_information(a)))
    for x, y in zip(equations.random_effects(b), dense.random_effects(a), strict=True):
        pairs += [(x.blup, y.blup), (x.conditional, y.conditional), (x.prediction, y.prediction)]
    scale = max(float(p.abs().max()) for p in a.pairings)
    for x, y in zip(b.pairings, a.pairings, strict=True):
        assert float((x - y).abs().max()) <= near * max(scale, 1.0)
    for x, y in pairs:
        if y.numel():
            assert float((x - y).abs().max()) <= near * max(float(y.abs().max()), 1e-12)
    np.testing.assert_allclose(equations.effective_dimensions(b), dense.effective_dimensions(a), atol=1e-6)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("name", CASES)
def test_both_engines_agree_whatever_is_eliminated(name, where):
    model = simulated(11, cut=1.0, **CASES[name])
    choices = [None, *(u for u, t in enumerate(model.terms) if t.kernel is None)]
    for eliminate in choices:
        agree(model, theta_of(model, where), eliminate)


@pytest.mark.parametrize("name", ["crossed", "a variance per section", "related levels"])
def test_second_derivatives_agree(name):
    model = simulated(11, cut=1.0, **CASES[name])
    theta = theta_of(model, "somewhere")
    dense, equations = MarginalEngine(model), HendersonEngine(model)
    expected = dense.observed_information(dense.evaluate(theta))
    found = equations.observed_information(equations.evaluate(theta))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(15, 70),
    terms=st.lists(st.tuples(st.integers(1, 3), st.integers(2, 6)), min_size=1, max_size=3),
    method=st.sampled_from(["reml", "ml"]),
    weighted=st.booleans(),
    profiled=st.booleans(),
    where=st.sampled_from(WHERE),
)
def test_random_designs(seed, n, terms, method, weighted, profiled, where):
    structures = tuple((f"t{i}", Unstructured, k, q) for i, (k, q) in enumerate(terms))
    model = simulated(seed, n=n, structures=structures, method=method, weighted=weighted, profiled=profiled, cut=1.0)
    agree(model, theta_of(model, where), near=1e-7 if where == "large" else 1e-8)


def nested(seed: int = 3) -> MixedModel:
    """Genotypes, genotype by year and by site within them, environments beside them; very unequal numbers."""
    rng = np.random.default_rng(seed)
    rows = [(g, s, y) for g in range(12) for s in range(4) for y in range(3) if rng.random() < 0.1 + 0.07 * g]
    gen, site, year = (np.array(c) for c in zip(*rows, strict=True))
    d = pd.DataFrame({"gen": gen, "site": site, "year": year, "y": rng.normal(size=len(gen)) + 0.3 * gen + site})
    d[["gen", "site", "year"]] = d[["gen", "site", "year"]].astype(str)
    formula = "y ~ 1 + (1 | gen) + (1 | gen:site) + (1 | gen:year) + (1 | site:year)"
    return build_model(formula, d, residual="dsum(id(units) | year)")[1]


def test_terms_nested_in_one_factor_are_eliminated_together():
    model = nested()
    engine = HendersonEngine(model, eliminate=0)
    assert engine.inner_terms == (0, 1, 2)
    for where in WHERE:
        agree(model, theta_of(model, where), 0)


def test_levels_that_meet_by_their_later_effects_only_are_not_taken_as_nested():
    """In county A every plot meets one genotype, in county B others: counting the first effect alone says they are nested."""
    import pandas as pd

    rows = [(f"x{x}", f"g{x % 6}", "A") for x in range(12) for _ in range(3)]
    rows += [(f"x{x}", f"g{(x + 1 + r) % 6}", "B") for x in range(12) for r in range(3)]
    d = pd.DataFrame(rows, columns=["x", "gen", "county"])
    d["y"] = np.random.default_rng(1).normal(size=len(d))
    _, model = build_model("y ~ 1 + us(0 + county | gen) + (1 | x)", d)
    for eliminate in (None, 0, 1):
        agree(model, theta_of(model, "somewhere"), eliminate)


def test_too_many_pairs_are_multiplied_in_portions(monkeypatch):
    monkeypatch.setattr(scalar_levels, "MOST_PAIRS", 3)
    for name in ("scalar terms", "scalar terms, sections"):
        model = simulated(11, cut=1.0, **CASES[name])
        for where in WHERE:
            agree(model, theta_of(model, where), 0)


@pytest.mark.parametrize(("formula", "residual"), KINDS_OF_TERMS)
def test_terms_of_every_kind(formula, residual):
    model = of_a_field_trial(formula, residual)
    for eliminate in (None, 0):
        if eliminate is None or not hasattr(model.terms[0], "z"):
            agree(model, theta_of(model, "somewhere"), eliminate)


def visits(seed: int = 8) -> pd.DataFrame:
    """Subjects in two clinics, up to six visits each, some missed, in no order."""
    rng = np.random.default_rng(seed)
    rows = [(s, s % 2, t) for s in range(14) for t in range(6) if rng.random() < 0.8]
    subject, clinic, visit = (np.array(c) for c in zip(*rows, strict=True))
    y = rng.normal(size=len(rows)) + np.repeat(rng.normal(size=14), 6)[: len(rows)] + 0.3 * visit
    d = pd.DataFrame({"subject": subject, "clinic": clinic, "visit": visit, "time": visit * 1.5, "y": y})
    return d.astype({"subject": str, "clinic": str}).sample(frac=1, random_state=seed)


@pytest.mark.parametrize(
    ("formula", "residual"),
    [
        ("y ~ time + (1 | subject)", "id(subject):ar1(visit)"),
        ("y ~ time + (time | subject)", "id(subject):exp(time) + id(units)"),
        ("y ~ time + (1 | clinic) + (1 | clinic:subject)", "id(subject):us(visit)"),
        ("y ~ time", "id(subject):cs(visit)"),
        ("y ~ time + (1 | visit)", "dsum(id(subject):ar1(visit) | clinic)"),
        ("y ~ clinic + (1 | subject)", "dsum(id(subject):toep(visit) | clinic) + id(units)"),
    ],
)
def test_correlated_visits(formula, residual):
    _, model = build_model(formula, visits(), residual=residual)
    for eliminate in (None, *range(len(model.terms))):
        for where in ("start", "somewhere", "small"):
            agree(model, theta_of(model, where), eliminate)


def test_blocks_within_levels_are_eliminated_with_them():
    _, model = build_model("y ~ time + (1 | subject)", visits(), residual="id(subject):ar1(visit)")
    assert HendersonEngine(model).inner_terms == (0,)
    assert HendersonEngine(replace(model, residuals=simulated(3, n=model.n).residuals)).inner_terms == (0,)
    _, model = build_model("y ~ time + (1 | visit)", visits(), residual="id(subject):ar1(visit)")
    assert HendersonEngine(model).inner_terms == ()
    assert HendersonEngine(model, eliminate=0).inner_terms == ()


def test_whole_fits_agree():
    for sample, formula in (
        ("sleepstudy", "Reaction ~ Days + (Days | Subject)"),
        ("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
        ("pastes", "strength ~ 1 + (1 | batch / cask)"),
        ("dyestuff2", "Yield ~ 1 + (1 | Batch)"),
    ):
        d = reml.load_sample(sample)
        if formula.split()[0] not in d:
            formula = formula.replace(formula.split()[0], next(c for c in d if c.lower() == formula.split()[0].lower()))
        fits = [reml.fit(formula, d, engine=engine) for engine in ("marginal", "henderson")]
        assert [f.engine for f in fits] == ["marginal", "henderson"]
        assert fits[1].criterion == pytest.approx(fits[0].criterion, abs=1e-7)
        for name, value in fits[0].parameters.items():
            assert fits[1].parameters[name] == pytest.approx(value, rel=1e-4, abs=1e-6 * fits[0].sigma ** 2)


def test_a_dense_relationship_of_as_many_levels_as_rows_is_fitted_from_v():
    rng = np.random.default_rng(4)
    names = [f"L{i}" for i in range(600)]
    g = np.cov(rng.normal(size=(600, 900))) + 0.05 * np.eye(600)
    d = pd.DataFrame({"y": rng.normal(size=600), "gen": names})
    related = {"gen": pd.DataFrame(g, index=names, columns=names)}
    # K's root times the border costs more than all of V: measured three times as much.
    assert plan("auto", build_model("y ~ 1 + (1 | gen)", d, relationship=related)[1]).engine == "marginal"


def test_auto_takes_the_cheaper_engine_and_says_what_it_takes():
    small, large = simulated(3), simulated(3, n=1500, structures=(("g", Diagonal, 1, 400), ("h", Diagonal, 1, 20)))
    assert plan("auto", small).engine == "marginal"
    assert plan("auto", large).engine == "henderson" and "mixed-model equations" in plan("auto", large).words
    assert choose_engine("auto", large).name == "henderson"
    blocks = simulated(3, residual="blocks", n=1500, structures=())
    assert plan("auto", simulated(3, residual="blocks", n=27)).engine == "marginal"
    assert plan("auto", blocks).engine == "henderson"


def test_what_is_no_number_is_rejected():
    model = simulated(3)
    with pytest.raises(NotPositiveDefinite):
        HendersonEngine(model).evaluate(torch.full((model.n_theta,), float("nan")).double())
    with pytest.raises(NotPositiveDefinite):
        HendersonEngine(replace(model, profiled=False)).evaluate(
            torch.cat([model.start(), torch.zeros(1, dtype=torch.float64)])
        )
