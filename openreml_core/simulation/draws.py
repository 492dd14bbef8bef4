"""Responses drawn from a model at its estimates.

    y* = X b + sum_t Z_t u_t + e,    u_t ~ N(0, Sigma_t (x) K_t),    e ~ N(0, R)

u_t = (L_K (x) L) z with z standard normal, L L' = Sigma_t, L_K L_K' = K_t; nothing of size n x n is formed for grouped terms.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance import BlockResidual, IndependentResidual, WholeCovariance
from openreml_core.covariance.kernel import written_out
from openreml_core.engines import Evaluation
from openreml_core.engines.border import semidefinite_root
from openreml_core.errors import ModelError
from openreml_core.model import MixedModel, RandomPart, Residual

#: Numbers that are held at once while responses are drawn.
AT_ONCE = 2**24


def draw_responses(model: MixedModel, at: Evaluation, count: int, rng: np.random.Generator) -> Tensor:
    """Responses of a model, the offset taken off.

    Parameters
    ----------
    model : MixedModel
    at : Evaluation
        Where: b, theta and sigma2 are taken as true.
    count : int
    rng : numpy.random.Generator

    Returns
    -------
    Tensor of shape (n, count)
    """
    sigmas = model.sigmas(at.theta, at.sigma2)
    terms = [(t, _root(s), None if t.kernel is None else semidefinite_root(written_out(t.kernel)))
             for t, s in zip(model.terms, sigmas, strict=False)]  # fmt: skip
    residuals = [(r, _root(s)) for r, s in zip(model.residuals, sigmas[len(model.terms) :], strict=True)]
    largest = max([model.n, *(len(t.levels) * t.structure.size for t in model.terms)])
    out = torch.empty(model.n, count, dtype=torch.float64)
    step = max(1, AT_ONCE // largest)
    for start in range(0, count, step):
        here = out[:, start : start + step]
        here[:] = (model.X @ at.beta)[:, None]
        for term, root, kernel in terms:
            here += _random(term, root, kernel, here.shape[1], rng)
        for part, root in residuals:
            here += _residual(part, root, here.shape, rng)
    return out


def _root(sigma: Tensor) -> Tensor:
    return sigma.sqrt() if sigma.shape == (1, 1) else semidefinite_root(sigma)


def _normal(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape))


def _random(term: RandomPart, root: Tensor, kernel: Tensor | None, count: int, rng: np.random.Generator) -> Tensor:
    """Z u, (n, count)."""
    u = root @ _normal(rng, len(term.levels), root.shape[0], count)
    return term.spread(u if kernel is None else torch.einsum("jq,qkc->jkc", kernel, u))


def _residual(part: Residual, root: Tensor, shape: torch.Size, rng: np.random.Generator) -> Tensor:
    """e, or what a part of R adds to it, (n, count)."""
    if isinstance(part, IndependentResidual):
        return root[0, 0] * part.variance.sqrt()[:, None] * _normal(rng, *shape)
    if isinstance(part, WholeCovariance):
        return root @ _normal(rng, *shape)
    assert isinstance(part, BlockResidual)
    drawn = root @ _normal(rng, part.copies, root.shape[0], shape[1])
    out = torch.zeros(shape, dtype=torch.float64)
    out[part.rows] = drawn[part.codes, part.index]
    return out


def generator(seed: object) -> np.random.Generator:
    """The random numbers that a seed stands for; a Generator is taken as it is, None is a seed of the system's choice.

    Raises
    ------
    ModelError
        For what is no seed.
    """
    if isinstance(seed, np.random.Generator):
        return seed
    if seed is None or (isinstance(seed, int | np.integer) and not isinstance(seed, bool) and seed >= 0):
        return np.random.default_rng(seed)
    raise ModelError(f"seed={seed!r} is not a seed.", hint="Give a whole number such as 1.")


def checked_count(name: str, count: object, least: int = 1) -> int:
    """A number of draws.

    Raises
    ------
    ModelError
        For what is no whole number from ``least`` on.
    """
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < least:
        raise ModelError(f"{name}={count!r} is not a number of draws.", hint=f"Give a whole number from {least} on.")
    return int(count)
