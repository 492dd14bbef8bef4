"""The evidence of each subject, log of the integral of p(y_i | h) p(h | group) dh, by three ways.

    laplace      at the mode of the posterior (Tierney and Kadane 1986)
    quadrature   adaptive Gauss-Hermite about the mode, up to three parameters (Naylor and Smith 1982, Applied
                 Statistics 31, 214-225; Liu and Pierce 1994, Biometrika 81, 624-629)
    importance   draws from a multivariate t about the mode (Geweke 1989, Econometrica 57, 1317-1339)

The first is exact for normal posteriors only; the others converge to the integral with points or draws.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from openreml_core.errors import ModelError
from openreml_core.hierarchical.group import Group
from openreml_core.hierarchical.laplace import laplace_terms
from openreml_core.hierarchical.posterior import Likelihood, Modes, Normals

METHODS = ("laplace", "quadrature", "importance")
MOST_DIMENSIONS = 3
#: Degrees of freedom of the t from which importance samples are drawn: heavier tails than any posterior here.
TAILS = 5.0


def laplace(
    likelihood: Likelihood, group: Group, means: Tensor, modes: Modes, normals: Normals
) -> tuple[Tensor, Tensor]:
    """Log evidence (n,), and the same without its determinant (n,).

    Raises
    ------
    ModelError
        For the Laplace family, whose density has a kink where many modes lie.
    """
    family = group.family
    if family.name == "laplace":
        raise ModelError(
            "Laplace's approximation does not hold for the Laplace family: its density has a kink at the mode.",
            hint="Use evidence(method='importance') or 'quadrature'.",
        )
    at, hessian = modes, modes.hessian(normals)
    if not family.is_gaussian:
        at, hessian = _true_mode(likelihood, group, means, modes)
    log_joint = at.value + group.log_density(at.at - means)
    d = group.d
    _, info = torch.linalg.cholesky_ex(hessian)
    return log_joint + laplace_terms(hessian, info == 0), log_joint + 0.5 * d * math.log(2 * math.pi)


def _true_mode(likelihood: Likelihood, group: Group, means: Tensor, modes: Modes) -> tuple[Modes, Tensor]:
    """The mode under the family itself, not its normal bound, and the Hessian there."""
    family, k = group.family, group.k
    for _ in range(100):
        delta = group.distances(modes.at - means)
        moved = modes
        modes = likelihood.maximise(means, Normals(means, group.precision(family.weight(delta, k))), modes, 1e-13)
        if float((modes.at - moved.at).abs().max()) < 1e-9:
            break
    deviation = modes.at - means
    delta = group.distances(deviation)
    weight = family.weight(delta, k)
    precision = group.precision(weight)
    # -d2 psi: W S^-1 less the change of the weight, 2 w^2 / (nu + k) times (S^-1 r)(S^-1 r)'
    if group.diagonal:
        z = deviation / group.scale.diagonal()
        precision = precision - torch.diag_embed(2 * weight.square() / (family.nu + k) * z.square())
    else:
        z = deviation @ group.inverse
        precision = precision - (2 * weight.square() / (family.nu + k))[..., None] * z[:, :, None] * z[:, None, :]
    return modes, modes.information + precision


def quadrature(
    likelihood: Likelihood, group: Group, means: Tensor, modes: Modes, normals: Normals, points: int
) -> Tensor:
    """Log evidence (n,) by adaptive Gauss-Hermite with ``points`` nodes per parameter.

    Raises
    ------
    ModelError
        With more than three parameters.
    """
    d = group.d
    if d > MOST_DIMENSIONS:
        raise ModelError(
            f"Quadrature over {d} parameters takes {points}^{d} evaluations per subject.",
            hint="Use evidence(method='importance').",
        )
    x, w = np.polynomial.hermite.hermgauss(points)
    nodes = torch.from_numpy(np.stack(np.meshgrid(*[x] * d, indexing="ij"), -1).reshape(-1, d))
    log_w = torch.from_numpy(sum(np.meshgrid(*[np.log(w)] * d, indexing="ij")).reshape(-1))  # type: ignore[union-attr]
    root, log_size = _root(modes.hessian(normals))
    h = modes.at + math.sqrt(2) * torch.einsum("nde,se->snd", root, nodes)
    log_f = likelihood.values(h) + group.log_density(h - means)
    terms = log_f + (log_w + nodes.square().sum(-1))[:, None]
    return terms.logsumexp(0) + 0.5 * d * math.log(2) + log_size


def importance(
    likelihood: Likelihood, group: Group, means: Tensor, modes: Modes, normals: Normals, draws: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Log evidence (n,) by importance sampling, and its standard error (n,) from the spread of the weights."""
    d = group.d
    generator = torch.Generator().manual_seed(seed)
    root, log_size = _root(modes.hessian(normals))
    z = torch.randn(draws, len(means), d, dtype=torch.float64, generator=generator)
    chi2 = 2 * torch._standard_gamma(torch.full((draws, len(means)), TAILS / 2, dtype=torch.float64), generator)
    t = z * (TAILS / chi2).sqrt()[..., None]
    log_q = math.lgamma((TAILS + d) / 2) - math.lgamma(TAILS / 2) - 0.5 * d * math.log(TAILS * math.pi) - log_size
    log_q = log_q - 0.5 * (TAILS + d) * torch.log1p(t.square().sum(-1) / TAILS)
    h = modes.at + torch.einsum("nde,sne->snd", root, t)
    log_weight = likelihood.values(h) + group.log_density(h - means) - log_q
    estimate = log_weight.logsumexp(0) - math.log(draws)
    relative = (log_weight - estimate).exp()
    return estimate, relative.std(0) / math.sqrt(draws)


def _root(hessian: Tensor) -> tuple[Tensor, Tensor]:
    """R with R R' = H^-1 (n, d, d), and log|R| (n,)."""
    factor = torch.linalg.cholesky(hessian)
    eye = torch.eye(hessian.shape[-1], dtype=torch.float64).expand_as(hessian)
    root = torch.linalg.solve_triangular(factor, eye, upper=False).mT
    return root, -factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
