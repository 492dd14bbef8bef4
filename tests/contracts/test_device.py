"""Both engines on a GPU give the CPU's numbers; without one the wish is refused in words."""

from __future__ import annotations

import pytest
import torch

import openreml_core as reml
from openreml_core.engines import HendersonEngine, MarginalEngine
from tests.contracts.models import simulated

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")


@GPU
@pytest.mark.parametrize("engine", [MarginalEngine, HendersonEngine])
@pytest.mark.parametrize("options", [{}, {"method": "ml"}, {"related": True}, {"residual": "ar1 + units"}])
def test_a_gpu_gives_the_same_numbers(engine, options):
    model = simulated(11, cut=1.0, **options)
    here, there = engine(model), engine(model, device="cuda")
    theta = model.start()
    a, b = here.evaluate(theta), there.evaluate(theta)
    assert b.criterion == pytest.approx(a.criterion, rel=1e-10)
    for name in ("beta", "beta_covariance", "score", "information"):
        torch.testing.assert_close(getattr(b, name), getattr(a, name), rtol=1e-8, atol=1e-8)
    for x, y in zip(there.random_effects(b), here.random_effects(a), strict=True):
        torch.testing.assert_close(x.blup, y.blup, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(x.prediction, y.prediction, rtol=1e-8, atol=1e-8)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_wish_is_refused_in_words():
    with pytest.raises(reml.ModelError, match="needs a GPU that torch can use"):
        reml.fit("yield ~ rep + (1 | gen)", reml.load_sample("john_alpha"), device="cuda")
