"""P at single rows: both engines against V inverted, written out, and each other."""

from __future__ import annotations

import pytest
import torch

from openreml_core.covariance import IndependentResidual
from openreml_core.engines import HendersonEngine, MarginalEngine, random_variances, rows_of
from openreml_core.model import MixedModel
from tests.contracts.models import plain_v, simulated
from tests.contracts.test_henderson import CASES, WHERE, theta_of


def plain_r(model: MixedModel, theta: torch.Tensor) -> torch.Tensor:
    """R spelled out: V of the same model without random terms."""
    bare = MixedModel(model.y, model.X, model.fixed_names, (), model.residuals, model.method, model.profiled)
    own = theta[len(theta) - bare.n_theta :] if not model.profiled else theta[:0]
    return plain_v(bare, own)


def written_out(model: MixedModel, theta: torch.Tensor, sigma2: float) -> dict[str, torch.Tensor]:
    v, r = sigma2 * plain_v(model, theta), sigma2 * plain_r(model, theta)
    inverse = torch.linalg.inv(v)
    c = torch.linalg.inv(model.X.T @ inverse @ model.X)
    y = inverse @ model.X @ c
    p = inverse - y @ model.X.T @ inverse
    torch.manual_seed(4)
    w = torch.randn(model.n, 3).double()
    some = torch.tensor([0, 3, 4, 17, model.n - 1])
    return {
        "py": p @ model.y,
        "beta_weights": y,
        "diagonal": p.diagonal(),
        "left": (r @ p).diagonal(),
        "both": (r @ p @ r).diagonal(),
        "times": p @ w,
        "residual_times": r @ w,
        "among": p[some[:, None], some],
        "random_variances": (v - r).diagonal(),
    }


def found(engine: object, theta: torch.Tensor) -> dict[str, torch.Tensor]:
    at, model = engine.evaluate(theta), engine.model
    rows = rows_of(engine, at)
    torch.manual_seed(4)
    w = torch.randn(model.n, 3).double()
    out = {name: getattr(rows, name) for name in ("py", "beta_weights", "diagonal", "left", "both")}
    out["times"], out["residual_times"] = rows.times(w), rows.residual_times(w)
    out["among"] = rows.among(torch.tensor([0, 3, 4, 17, model.n - 1]))
    out["random_variances"] = random_variances(model, at.theta, at.sigma2)
    return out


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("name", CASES)
def test_rows_of_both_engines(name: str, where: str) -> None:
    model = simulated(11, cut=1.0, **CASES[name])
    theta = theta_of(model, where)
    expected = written_out(model, theta, MarginalEngine(model).evaluate(theta).sigma2)
    engines = [MarginalEngine(model), HendersonEngine(model)]
    engines += [HendersonEngine(model, eliminate=u) for u, t in enumerate(model.terms) if t.kernel is None]
    for engine in engines:
        for what, value in found(engine, theta).items():
            scale = float(expected[what].abs().max()) or 1.0
            error = float((value - expected[what]).abs().max())
            assert error <= 1e-8 * scale, (engine.name, what, error / scale)


def test_the_cases_have_both_layouts_of_the_residual() -> None:
    layouts = {isinstance(r, IndependentResidual) for own in CASES.values() for r in simulated(11, **own).residuals}
    assert layouts == {True, False}
