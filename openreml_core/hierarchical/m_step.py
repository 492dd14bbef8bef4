"""The M-step: the group's parameters from the subjects' modes and posterior covariances.

With r_i = m_i - B'x_i and weights w_i (one for the Gaussian),

    B = (sum w_i x_i x_i')^-1 sum w_i x_i m_i',      S = mean of w_i (r_i r_i' + V_i)

Without covariates this is mean = mean of m_i, S = mean(m_i m_i' + V_i) - mean mean' (Huys et al. 2011, PLoS Comput. Biol. 7,
e1002028). A prior on the group (means normal, variances scaled inverse chi-square or inverse Wishart) adds its own terms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from openreml_core.errors import ModelError, did_you_mean
from openreml_core.hierarchical.group import SMALLEST, Group
from openreml_core.hierarchical.posterior import Posteriors

#: A prior of the group as tensors: m, 1 / s^2 and v, each (d,), and df.
Known = tuple[Tensor, Tensor, Tensor, float]


@dataclass(frozen=True)
class GroupPrior:
    """What is known of the group before the data, on the free scale.

        mean_k ~ N(m_k, s_k^2),     variance_k ~ scaled inverse chi-square(df, v_k)

    With a full covariance, S ~ inverse Wishart(df + d - 1, df diag(v)), whose diagonal elements have those distributions.

    Attributes
    ----------
    mean : mapping of str to (float, float)
        m_k and s_k of some parameters; the others' means are free.
    variance : mapping of str to float, or float
        v_k.
    df : float
        How many subjects' worth the prior variance counts; 0 is none.
    """

    mean: Mapping[str, tuple[float, float]] | None = None
    variance: Mapping[str, float] | float = 1.0
    df: float = 0.0

    def means(self, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """m (d,) and 1 / s^2 (d,), zero where nothing is known."""
        m, precision = torch.zeros(len(names), dtype=torch.float64), torch.zeros(len(names), dtype=torch.float64)
        for name, pair in (self.mean or {}).items():
            place = _place(name, names)
            try:
                centre, sd = (float(v) for v in pair)
            except (TypeError, ValueError):
                centre, sd = math.nan, math.nan
            if not (math.isfinite(centre) and math.isfinite(sd) and sd > 0):
                raise ModelError(f"The prior mean of *{name}* is {pair!r}.", hint="Give (mean, standard deviation).")
            m[place], precision[place] = centre, sd**-2
        return m, precision

    def variances(self, names: Sequence[str]) -> Tensor:
        """v (d,)."""
        out = torch.ones(len(names), dtype=torch.float64)
        if isinstance(self.variance, Mapping):
            for name, value in self.variance.items():
                out[_place(name, names)] = float(value)
        else:
            out[:] = float(self.variance)
        if not bool(((out > 0) & out.isfinite()).all()) or not (math.isfinite(self.df) and self.df >= 0):
            raise ModelError("A prior variance, and its df, are positive numbers.", hint="Give df=0 for no prior.")
        return out


def _place(name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise ModelError(f"The prior names *{name}*, which is no free parameter.", hint=did_you_mean(name, list(names)))
    return list(names).index(name)


def maximised(group: Group, posteriors: Posteriors, prior: Known | None = None) -> Group:
    """The group that n subjects' posteriors suggest.

    Parameters
    ----------
    group : Group
        The group before, which a prior on the means needs.
    posteriors : Posteriors
    prior : (m, 1 / s^2, v, df), optional
        Of the intercepts and the variances.
    """
    modes, covariance, covariates = posteriors.modes, posteriors.covariance, posteriors.covariates
    n, d = modes.shape
    each = posteriors.weights.expand(n, d)
    coefficients = _coefficients(group, modes, each, covariates, prior)
    r = modes - covariates @ coefficients
    root = each.sqrt()
    weighted = root * r
    scatter = weighted.T @ weighted + torch.einsum("nd,nde,ne->de", root, covariance, root)
    if prior is not None and prior[3] > 0:
        _, _, v, df = prior
        extra = 2.0 if group.diagonal else 2.0 * d  # the mode of the inverse chi-square, and of the inverse Wishart
        scale = (scatter + df * torch.diag(v)) / (n + df + extra)
    else:
        scale = scatter / n
    if group.diagonal:
        scale = torch.diag(scale.diagonal().clamp_min(SMALLEST))
    else:
        values, vectors = torch.linalg.eigh(0.5 * (scale + scale.T))
        scale = (vectors * values.clamp_min(SMALLEST)) @ vectors.T
    return Group(coefficients, scale, group.diagonal, group.family)


def _coefficients(
    group: Group,
    modes: Tensor,
    weights: Tensor,
    covariates: Tensor,
    prior: Known | None,
) -> Tensor:
    q, d = group.coefficients.shape
    normal = torch.einsum("nq,nd,np->dqp", covariates, weights, covariates)
    right = torch.einsum("nq,nd,nd->dq", covariates, weights, modes)
    if prior is None or not bool((prior[1] > 0).any()):
        return torch.linalg.solve(normal, right[..., None])[..., 0].T.contiguous()
    # vec(B): sum_i w_i S^-1 (x) x_i x_i' plus the prior's precision on the intercepts; S of the M-step before (ECM)
    m, precision, _, _ = prior
    inverse = group.inverse
    if group.diagonal:
        big = torch.block_diag(*(inverse[k, k] * normal[k] for k in range(d)))
        load = (inverse.diagonal()[:, None] * right).reshape(-1)
    else:
        big, load = torch.kron(inverse, normal[0].contiguous()), (inverse @ right).reshape(-1)
    places = torch.arange(d) * q  # intercepts, in parameter-major order
    big[places, places] += precision
    load[places] += precision * m
    return torch.linalg.solve(big, load).reshape(d, q).T.contiguous()
