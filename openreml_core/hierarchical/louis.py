"""Standard errors of the group's parameters: the observed information, by what EM knows.

Louis (1982, JRSS B 44, 226-233): the observed information is the complete data's, less what the missing data take,

    I = sum_i E_i[-d2 log p(h_i | group)] - Var_i[d log p(h_i | group)]

E_i and Var_i over subject i's posterior, N(m_i, V_i). With z = S^-1 (h - mu), a = S^-1 (m - mu), W = S^-1 V S^-1, and S changing
in the directions D_k,

    complete   (mu, mu) S^-1      (mu, k) S^-1 D_k a     (k, l) tr(D_k S^-1 D_l (a a' + W)) - tr(S^-1 D_k S^-1 D_l) / 2
    missing    (mu, mu) W         (mu, k) W D_k a        (k, l) a' D_k W D_l a + tr(D_k W D_l W) / 2

Families other than the Gaussian have no such closed form: there the information is the sum over subjects of s_i s_i', s_i the
posterior mean of subject i's score (Meilijson 1989, JRSS B 51, 127-138).
"""

from __future__ import annotations

import torch
from torch import Tensor

from openreml_core.hierarchical.group import Group
from openreml_core.hierarchical.m_step import Known
from openreml_core.hierarchical.posterior import Posteriors


def directions(d: int, diagonal: bool) -> tuple[Tensor, list[tuple[int, int]]]:
    """How S changes with each of its parameters: (m, d, d), and their places (row, column)."""
    places = [(k, k) for k in range(d)] if diagonal else [(j, k) for j in range(d) for k in range(j + 1)]
    out = torch.zeros(len(places), d, d, dtype=torch.float64)
    for number, (j, k) in enumerate(places):
        out[number, j, k] = out[number, k, j] = 1.0
    return out, places


def information(group: Group, posteriors: Posteriors, prior: Known | None = None) -> Tensor:
    """Observed information of vec(B) (by parameter, covariates within) and of S's parameters.

    Parameters
    ----------
    group : Group
    posteriors : Posteriors
    prior : tuple, optional
        Of the group: its normal priors of means are added; its priors of variances are added for a diagonal S.

    Returns
    -------
    Tensor of shape (q d + m, q d + m)
    """
    modes, covariance, covariates = posteriors.modes, posteriors.covariance, posteriors.covariates
    d, q = group.d, covariates.shape[1]
    D, _ = directions(d, group.diagonal)
    inverse = group.inverse
    deviation = modes - group.means(covariates)
    a = deviation @ inverse
    if group.family.is_gaussian:
        total = _louis(inverse, D, a, inverse @ covariance @ inverse, covariates)
    else:
        w = posteriors.weights.expand(len(modes), d)
        root = w.sqrt()
        spread = (root * deviation)[:, :, None] * (root * deviation)[:, None, :]
        spread = spread + root[:, :, None] * covariance * root[:, None, :]
        inner = inverse @ spread @ inverse - inverse
        mean_scores = torch.einsum("nd,nq->ndq", (w * deviation) @ inverse, covariates).reshape(len(modes), -1)
        scores = torch.cat([mean_scores, 0.5 * torch.einsum("nde,kde->nk", inner, D)], dim=1)
        total = scores.T @ scores
    if prior is not None:
        _, precision, v, df = prior
        places = torch.arange(d) * q
        total[places, places] += precision
        if df > 0 and group.diagonal:  # -d2 of -(df/2 + 1) log s - df v / (2 s)
            s, k = group.scale.diagonal(), torch.arange(d) + q * d
            total[k, k] += df * v / s**3 - (df / 2 + 1) / s**2
    return total


def _louis(inverse: Tensor, D: Tensor, a: Tensor, W: Tensor, x: Tensor) -> Tensor:
    n, d = a.shape
    q, m = x.shape[1], len(D)
    out = torch.zeros(q * d + m, q * d + m, dtype=torch.float64)
    means = torch.einsum("nde,nq,np->dqep", inverse - W, x, x).reshape(q * d, q * d)
    mixed = torch.einsum("nde,kef,nf,nq->dqk", inverse - W, D, a, x).reshape(q * d, m)
    outer = a[:, :, None] * a[:, None, :] + W
    middle = torch.einsum("kab,bc,lcd->klad", D, inverse, D)
    complete = torch.einsum("klad,nda->kl", middle, outer)
    complete = complete - 0.5 * n * torch.einsum("ab,kbc,cd,lda->kl", inverse, D, inverse, D)
    da = torch.einsum("kab,nb->nka", D, a)
    missing = torch.einsum("nka,nab,nlb->kl", da, W, da)
    missing = missing + 0.5 * torch.einsum("kab,nbc,lcd,nda->kl", D, W, D, W)
    out[: q * d, : q * d] = means
    out[: q * d, q * d :], out[q * d :, : q * d] = mixed, mixed.T
    out[q * d :, q * d :] = complete - missing
    return out


def covariance_of(information_: Tensor, group: Group, q: int) -> Tensor:
    """The inverse of the information; NaN where it is not positive definite.

    A variance at zero is on the boundary: it, and its covariances, are held there and have no standard error.

    Parameters
    ----------
    information_ : Tensor of shape (q d + m, q d + m)
    group : Group
    q : int
        Number of covariates.
    """
    zero = group.at_zero.tolist()
    free = [not (zero[j] or zero[k]) for j, k in directions(group.d, group.diagonal)[1]]
    moving = torch.tensor([True] * (q * group.d) + free)
    out = torch.full_like(information_, torch.nan)
    part = information_[moving][:, moving]
    factor, info = torch.linalg.cholesky_ex(part)
    if int(info) == 0 and bool(part.isfinite().all()):
        out[moving.nonzero(), moving.nonzero().T] = torch.cholesky_inverse(factor)
    return out
