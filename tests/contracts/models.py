"""Small models built by hand, without formulas: what the engine and structure tests are run on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

import openreml_core as reml
from openreml_core.assembly import build_model
from openreml_core.covariance import (
    AR1,
    BlockResidual,
    Diagonal,
    Exponential,
    GroupedTerm,
    IndependentResidual,
    PlacedTerm,
    ScaledCorrelation,
    Separable,
    SmoothTerm,
    Structure,
    Unstructured,
)
from openreml_core.model import MixedModel, RandomPart


def simulated(
    seed: int,
    *,
    n: int = 40,
    structures: tuple[tuple[str, type[Structure], int, int], ...] = (("g", Unstructured, 2, 6), ("h", Diagonal, 1, 5)),
    method: str = "reml",
    profiled: bool = True,
    weighted: bool = False,
    cut: float = 0.0,
    residual: str = "",
    related: bool = False,
    spatial: int = 0,
    smooth: int = 0,
) -> MixedModel:
    """A model with random covariates, unbalanced groups, and a response that has every effect in it.

    Parameters
    ----------
    structures : tuple of (name, structure, k, q)
        The random terms: k effects over q levels.
    cut : float
        Size of the random effects relative to the residual; 0.0 leaves them out of the response (singular fits).
    residual : {"", "ar1 + units", "blocks", "sections"}
        A field of plots with a nugget, correlated visits of subjects, or a variance per section.
    related : bool
        Whether the levels of each term are related, with two more levels that have no rows.
    spatial : int
        Number of positions of a spatial term over three blocks; rows share them, and no block has them all.
    smooth : int
        Number of effects of a term with a dense Z and one variance.
    """
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    y = x @ np.array([5.0, 1.0, -2.0]) + rng.normal(size=n)
    terms: list[RandomPart] = []
    for name, structure, k, q in structures:
        codes = np.concatenate([np.arange(q), rng.integers(0, q, n - q)])
        basis = np.column_stack([np.ones(n), rng.normal(size=(n, k - 1)) * 3.0])
        y += cut * (basis * rng.normal(size=(q, k))[codes]).sum(axis=1)
        levels, kernel = _relationship(q, related, rng)
        terms.append(
            GroupedTerm(
                name,
                structure([f"e{j}" for j in range(k)]),
                tuple(f"l{j}" for j in range(levels)),
                torch.from_numpy(codes),
                torch.from_numpy(basis),
                kernel,
            )
        )
    if spatial:
        levels, kernel = _relationship(3, related, rng)
        places, blocks = rng.integers(0, spatial, n), np.arange(n) % 3
        y += cut * rng.normal(size=(3, spatial))[blocks, places]
        distance = Exponential(torch.from_numpy(rng.uniform(0, 5, (spatial, 2))), aniso=True)
        structure = ScaledCorrelation([f"p{j}" for j in range(spatial)], distance)
        names = tuple(f"b{j}" for j in range(levels))
        terms.append(PlacedTerm("b", structure, names, torch.from_numpy(blocks), torch.from_numpy(places), kernel))
    if smooth:
        z = rng.normal(size=(n, smooth))
        y += cut * z @ rng.normal(size=smooth)
        terms.append(SmoothTerm("s", Diagonal([""]), tuple(f"k{j}" for j in range(smooth)), torch.from_numpy(z)))
    weights = rng.uniform(0.5, 2.0, n) if weighted else np.ones(n)
    return MixedModel(
        torch.from_numpy(y),
        torch.from_numpy(x),
        ("(Intercept)", "x1", "x2"),
        tuple(terms),
        _residuals(residual, n, torch.from_numpy(1 / weights)),
        method,
        profiled and not residual,
    )


def _relationship(q: int, related: bool, rng: np.random.Generator) -> tuple[int, Tensor | None]:
    """Number of levels and their relationship, where they have one."""
    if not related:
        return q, None
    half = rng.normal(size=(q + 2, q + 2))
    return q + 2, torch.from_numpy(half @ half.T / (q + 2) + 0.5 * np.eye(q + 2))


def incidence(term: RandomPart, n: int) -> Tensor:
    """Z (n, q, k), written out row by row."""
    if isinstance(term, SmoothTerm):
        return term.z[:, :, None].clone()
    z = torch.zeros(n, len(term.levels), term.structure.size, dtype=torch.float64)
    for row, code in enumerate(term.codes.tolist()):
        if isinstance(term, PlacedTerm):
            z[row, code, term.index[row]] = 1.0
        else:
            z[row, code] = term.basis[row]
    return z


def _residuals(kind: str, n: int, variance: Tensor) -> tuple[IndependentResidual | BlockResidual, ...]:
    rows = torch.arange(n)
    if kind == "ar1 + units":
        grid = ScaledCorrelation(
            [str(i) for i in range(n)],
            Separable([AR1(torch.arange(7)), AR1(torch.arange(n // 7 + 1))], [rows % 7, rows // 7], ["row.", "col."]),
        )
        block = BlockResidual(grid, rows, rows, torch.zeros(n, dtype=torch.int64), n)
        return (block, IndependentResidual(variance, name="units"))
    if kind == "blocks":
        return (BlockResidual(Unstructured(["t1", "t2", "t3"]), rows, rows % 3, rows // 3, n),)
    if kind == "sections":
        first = (rows < n // 2).double()
        parts = (("residual[a]", first), ("residual[b]", 1 - first))
        return tuple(IndependentResidual(variance * own, name=name) for name, own in parts)
    return (IndependentResidual(variance),)


#: A formula and a residual structure for each kind of random term over a field trial.
KINDS_OF_TERMS = [
    ("yield ~ rep + (1 | gen) + (1 | rep:block)", None),
    ("yield ~ spl(row) + (1 | gen)", None),
    ("yield ~ rep + exp(0 + pos(row, col) | rep) + (1 | gen)", "dsum(id(units) | rep)"),
    ("yield ~ rep + kron(us(rep), cs(block) | gen)", None),
]


def of_a_field_trial(formula: str, residual: str | None) -> MixedModel:
    """The model of a formula over john_alpha."""
    return build_model(formula, reml.load_sample("john_alpha"), residual=residual)[1]


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
    v = sigma2 * plain_v(model, theta)
    inverse = torch.linalg.inv(v)
    xvx = model.X.T @ inverse @ model.X
    p = inverse - inverse @ model.X @ torch.linalg.inv(xvx) @ model.X.T @ inverse
    out = torch.linalg.slogdet(v)[1] + model.y @ p @ model.y + model.degrees_of_freedom * np.log(2 * np.pi)
    return out + torch.linalg.slogdet(xvx)[1] if model.method == "reml" else out


def plain_v(model: MixedModel, theta: Tensor) -> Tensor:
    """V spelled out: incidence matrices, Kronecker products, loops over pairs of rows."""
    v = torch.zeros(model.n, model.n, dtype=torch.float64)
    parts = list(model.split(theta))
    for term, part in zip(model.terms, parts, strict=False):
        q, k = len(term.levels), term.structure.size
        z = incidence(term, model.n).reshape(model.n, q * k)
        kernel = torch.eye(q, dtype=torch.float64) if term.kernel is None else term.kernel
        v = v + z @ torch.kron(kernel, term.structure.matrix(part).contiguous()) @ z.T
    if model.profiled:
        return v + torch.diag(model.residuals[0].variance)
    for own, part in zip(model.residuals, parts[len(model.terms) :], strict=True):
        sigma = own.structure.matrix(part)
        if isinstance(own, IndependentResidual):
            v = v + sigma[0, 0] * torch.diag(own.variance)
            continue
        entries = torch.zeros(model.n, model.n, dtype=torch.float64)
        rows, index, codes = own.rows.tolist(), own.index.tolist(), own.codes.tolist()
        for i, row in enumerate(rows):
            for j, other in enumerate(rows):
                if codes[i] == codes[j]:
                    entries = entries.index_put((torch.tensor(row), torch.tensor(other)), sigma[index[i], index[j]])
        v = v + entries
    return v
