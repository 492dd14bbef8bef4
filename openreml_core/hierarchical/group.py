"""The group: the distribution of subjects' free parameters, and what it says of each subject.

    h_i ~ family(mu_i, S),   mu_i = B' x_i

x_i are subject i's covariates (q,), an intercept first; without covariates B is the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from openreml_core.hierarchical.families import Family

#: Variances do not fall below this: EM would approach zero for ever.
SMALLEST = 1e-8


def nothing(variances: Tensor) -> Tensor:
    """Which variances count as zero."""
    return variances <= 10 * SMALLEST


@dataclass(frozen=True, eq=False)
class Group:
    """Parameters of the group.

    Attributes
    ----------
    coefficients : Tensor of shape (q, d)
        B.
    scale : Tensor of shape (d, d)
        S; diagonal where ``diagonal``.
    diagonal : bool
    family : Family
    """

    coefficients: Tensor
    scale: Tensor
    diagonal: bool
    family: Family

    @property
    def d(self) -> int:
        """Number of parameters."""
        return int(self.scale.shape[0])

    @property
    def k(self) -> int:
        """Dimension of one family: 1 if parameters are independent, else d."""
        return 1 if self.diagonal else self.d

    @property
    def standard_deviations(self) -> Tensor:
        """Square roots of the scale's diagonal, (d,)."""
        return self.scale.diagonal().sqrt()

    @property
    def at_zero(self) -> Tensor:
        """Which variances are as small as they may be, (d,) bool: subjects do not vary there."""
        return nothing(self.scale.diagonal())

    @property
    def inverse(self) -> Tensor:
        """S^-1."""
        if self.diagonal:
            return torch.diag(1 / self.scale.diagonal())
        return torch.cholesky_inverse(torch.linalg.cholesky(self.scale))

    @property
    def log_determinant(self) -> Tensor:
        """log|S|."""
        if self.diagonal:
            return self.scale.diagonal().log().sum()
        return 2 * torch.linalg.cholesky(self.scale).diagonal().log().sum()

    def means(self, covariates: Tensor) -> Tensor:
        """mu_i for covariates (n, q): (n, d)."""
        return covariates @ self.coefficients

    def distances(self, deviation: Tensor, covariance: Tensor | None = None) -> Tensor:
        """delta of deviations (..., n, d), plus tr(S^-1 V): (..., n, 1), or (..., n, d) where parameters are independent."""
        if self.diagonal:
            square = deviation.square()
            if covariance is not None:
                square = square + covariance.diagonal(dim1=-2, dim2=-1)
            return square / self.scale.diagonal()
        inverse = self.inverse
        delta = ((deviation @ inverse) * deviation).sum(-1, keepdim=True)
        if covariance is not None:
            delta = delta + (covariance * inverse).sum((-2, -1))[..., None]
        return delta

    def precision(self, weights: Tensor) -> Tensor:
        """W_i S^-1 of the normal that stands for the family, weights as :meth:`distances`: (n, d, d)."""
        if self.diagonal:
            return torch.diag_embed((weights / self.scale.diagonal()).expand(len(weights), self.d))
        return weights[..., None] * self.inverse

    def log_density(self, deviation: Tensor) -> Tensor:
        """log p(h) of deviations h - mu (..., d): (...)."""
        family, d, k = self.family, self.d, self.k
        total = family.psi(self.distances(deviation), k).sum(-1)
        return total + (d // k) * family.constant(k) - 0.5 * self.log_determinant

    def bound(self, deviation: Tensor, weights: Tensor, tangent: Tensor) -> Tensor:
        """The normal bound of ``log_density``, touching it where delta is ``tangent``: (n,)."""
        family, d, k = self.family, self.d, self.k
        delta = self.distances(deviation)
        total = (family.psi(tangent, k) - 0.5 * weights * (delta - tangent)).sum(-1)
        return total + (d // k) * family.constant(k) - 0.5 * self.log_determinant

    # -- as a vector of free numbers, for extrapolation ----------------------------------------------------------

    def vector(self) -> Tensor:
        """Coefficients in standard deviations, and the logarithm (diagonal) or log-Cholesky (full) of the scale."""
        if self.diagonal:
            free = self.scale.diagonal().log()
        else:
            factor = torch.linalg.cholesky(self.scale)
            rows, columns = torch.tril_indices(self.d, self.d, -1)
            below = factor[rows, columns] / factor.diagonal()[rows]
            free = torch.cat([2 * factor.diagonal().log(), below])
        return torch.cat([self.coefficients.reshape(-1), free])

    def of_vector(self, vector: Tensor) -> Group:
        """The group of such a vector."""
        size, d = self.coefficients.numel(), self.d
        coefficients, free = vector[:size].reshape(self.coefficients.shape), vector[size:]
        if self.diagonal:
            scale = torch.diag(free.exp().clamp_min(SMALLEST))
        else:
            size_ = (free[:d] / 2).exp().clamp_min(SMALLEST**0.5)
            rows, columns = torch.tril_indices(d, d, -1)
            factor = torch.diag(size_)
            factor[rows, columns] = free[d:] * size_[rows]
            scale = factor @ factor.T
        return Group(coefficients, scale, self.diagonal, self.family)
