"""Directions in which subjects do not vary: there EM's mean stands still, and a Newton step on the evidence takes its place.

Where the group's variance goes to zero the parameter is one number for all subjects. EM moves its mean by S times the mean
gradient, which is nothing. The evidence itself has, in the directions N (S N = 0) and with the covariates x_i,

    gradient      sum_i x_i (N' g_i)' - d (sum_i log|A_i + P_i|) / 2
    information   sum_i x_i x_i' (x) N' W_i N,     W_i = (S + A_i^-1)^-1 = A_i - A_i V_i A_i

g_i and A_i being gradient and minus the second derivative of log p(y_i | h) at the mode, V_i = (A_i + P_i)^-1 (the
information leaves the second term out, which changes the way but not the end). To maximise the evidence over some parameters
and its bound over the others is ECME (Liu and Rubin 1994, Biometrika 81, 633-648). Zero is the estimate of a variance only if
the evidence falls from there, that is if its score, of second order in the means,

    d evidence / d s_k = (sum_i (n_k' g_i)^2 - n_k' W_i n_k) / 2      at s_k = 0

is not positive.
"""

from __future__ import annotations

import torch
from torch import Tensor

from openreml_core.hierarchical.group import SMALLEST, Group, nothing
from openreml_core.hierarchical.m_step import Known

#: Newton steps are no longer than this many standard deviations that one subject's trials leave.
LONGEST = 3.0


def without_variation(group: Group) -> Tensor:
    """N, orthonormal, (d, r)."""
    if group.diagonal:
        return torch.eye(group.d, dtype=torch.float64)[:, group.at_zero]
    values, vectors = torch.linalg.eigh(group.scale)
    return vectors[:, nothing(values)]


def moved(group: Group, N: Tensor, step: Tensor) -> Group:
    """The group with its coefficients moved by ``step`` (q, r) in the directions N."""
    return Group(group.coefficients + step @ N.T, group.scale, group.diagonal, group.family)


def told(information: Tensor, covariance: Tensor) -> Tensor:
    """W_i, what subject i tells of its mean, of A_i and V_i: (n, d, d)."""
    return information - information @ covariance @ information


def newton_step(
    group: Group, N: Tensor, gradient: Tensor, W: Tensor, x: Tensor, slope: Tensor, prior: Known | None
) -> tuple[Tensor, float]:
    """Step of the coefficients in the directions N, (q, r), and the evidence that it promises.

    Parameters
    ----------
    group : Group
    N : Tensor of shape (d, r)
    gradient, W : Tensor of shape (n, d) and (n, d, d)
        g_i and W_i.
    x : Tensor of shape (n, q)
    slope : Tensor of shape (q, r)
        The last term of the gradient.
    prior : tuple, optional
        Of the group's means; see :func:`openreml_core.hierarchical.m_step.maximised`.
    """
    q, r = x.shape[1], N.shape[1]
    W = N.T @ W @ N
    score = x.T @ (gradient @ N) + slope
    information = torch.einsum("nq,np,nrs->qrps", x, x, W)
    if prior is not None:
        m, precision, _, _ = prior
        score[0] += N.T @ (precision * (m - group.coefficients[0]))
        information[0, :, 0, :] += N.T @ (precision[:, None] * N)
    values, vectors = torch.linalg.eigh(information.reshape(q * r, q * r))
    size = values.abs().clamp_min(1e-10 * float(values.abs().max()) + 1e-300)
    step = (vectors @ ((vectors.T @ score.reshape(-1)) / size)).reshape(q, r)
    length = float(((x @ step).square().mean(0) * W.diagonal(dim1=-2, dim2=-1).mean(0).abs()).sum().sqrt())
    step = step * min(1.0, LONGEST / max(length, 1e-300))
    return step, 0.5 * float((score * step).sum())


def variance_to_free(N: Tensor, gradient: Tensor, W: Tensor) -> Tensor | None:
    """What to add to S, (d, d), where the evidence rises with a variance at zero; None where it does not.

    The size is that of a scoring step, score over (sum_i (n_k' W_i n_k)^2) / 2.
    """
    if N.shape[1] == 0:
        return None
    own = (N.T @ W @ N).diagonal(dim1=-2, dim2=-1)
    score = ((gradient @ N).square() - own).sum(0)
    size = score / own.square().sum(0).clamp_min(1e-300)
    size = torch.where(size > 100 * SMALLEST, size, 0.0)
    return (N * size) @ N.T if bool((size > 0).any()) else None
