"""Small models built by hand, without formulas: what the engine and structure tests are run on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance import Diagonal, GroupedTerm, IndependentResidual, Structure, Unstructured
from openreml_core.model import MixedModel


def simulated(
    seed: int,
    *,
    n: int = 40,
    structures: tuple[tuple[str, type[Structure], int, int], ...] = (("g", Unstructured, 2, 6), ("h", Diagonal, 1, 5)),
    method: str = "reml",
    profiled: bool = True,
    weighted: bool = False,
    cut: float = 0.0,
) -> MixedModel:
    """A model with random covariates, unbalanced groups, and a response that has every effect in it.

    Parameters
    ----------
    structures : tuple of (name, structure, k, q)
        The random terms: k effects over q levels.
    cut : float
        Size of the random effects relative to the residual; 0.0 leaves them out of the response (singular fits).
    """
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    y = x @ np.array([5.0, 1.0, -2.0]) + rng.normal(size=n)
    terms = []
    for name, structure, k, q in structures:
        codes = np.concatenate([np.arange(q), rng.integers(0, q, n - q)])
        basis = np.column_stack([np.ones(n), rng.normal(size=(n, k - 1)) * 3.0])
        y += cut * (basis * rng.normal(size=(q, k))[codes]).sum(axis=1)
        terms.append(
            GroupedTerm(
                name,
                structure([f"e{j}" for j in range(k)]),
                tuple(f"l{j}" for j in range(q)),
                torch.from_numpy(codes),
                torch.from_numpy(basis),
            )
        )
    weights = rng.uniform(0.5, 2.0, n) if weighted else np.ones(n)
    return MixedModel(
        torch.from_numpy(y),
        torch.from_numpy(x),
        ("(Intercept)", "x1", "x2"),
        tuple(terms),
        (IndependentResidual(torch.from_numpy(1 / weights)),),
        method,
        profiled,
    )


def differences(function: Callable[[Tensor], Tensor], theta: Tensor, size: Tensor, h: float = 1e-4) -> Tensor:
    """d function / d theta by fourth-order central differences, the parameter's axis first."""
    out = []
    for k in range(len(theta)):
        step = torch.zeros_like(theta)
        step[k] = h * size[k]
        out.append(
            (
                8 * (function(theta + step) - function(theta - step))
                - (function(theta + 2 * step) - function(theta - 2 * step))
            )
            / (12 * step[k])
        )
    return torch.stack(out)


def plain_criterion(model: MixedModel, theta: Tensor, sigma2: Tensor | float) -> Tensor:
    """-2 l from its definition, inverses and determinants written out: differentiable, slow, independent of the engine."""
    v = sigma2 * _plain_v(model, theta)
    inverse = torch.linalg.inv(v)
    xvx = model.X.T @ inverse @ model.X
    p = inverse - inverse @ model.X @ torch.linalg.inv(xvx) @ model.X.T @ inverse
    out = torch.linalg.slogdet(v)[1] + model.y @ p @ model.y + model.degrees_of_freedom * np.log(2 * np.pi)
    return out + torch.linalg.slogdet(xvx)[1] if model.method == "reml" else out


def _plain_v(model: MixedModel, theta: Tensor) -> Tensor:
    v = torch.diag(model.residuals[0].variance) * (1.0 if model.profiled else theta[-1] ** 2)
    for term, part in zip(model.terms, model.split(theta), strict=False):
        q, k = len(term.levels), term.structure.size
        z = torch.zeros(model.n, q * k, dtype=torch.float64)
        for row, code in enumerate(term.codes.tolist()):
            z[row, code * k : (code + 1) * k] = term.basis[row]
        v = v + z @ torch.kron(torch.eye(q, dtype=torch.float64), term.structure.matrix(part)) @ z.T
    return v
