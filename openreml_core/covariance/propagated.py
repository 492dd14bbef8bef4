"""Components of V: matrices of size n that parameters carry.

    V(theta) = sum_t Z_t (Sigma_t(theta_t) (x) I) Z_t' + R

Every component answers four questions, from which both the criterion's derivatives and the working variates follow.
With S = dl/dV held fixed and w = P y:

    matrix(theta)         the component itself, (n, n)
    pair(S)               what S is to Sigma: <S, Z (Sigma (x) I) Z'> = <M, Sigma>, M (k, k)
    apply(D, w)           Z (D (x) I) Z' w for a direction D = dSigma, never forming the n x n matrix

Z is stored as a level per row and the row's k numbers: row i of Z has ``basis[i]`` in the columns of level ``codes[i]``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from openreml_core.covariance.cholesky import Diagonal
from openreml_core.covariance.structure import Structure


@dataclass(frozen=True, eq=False)
class Propagated:
    """A random term's share of V, Z (Sigma (x) I) Z'.

    Attributes
    ----------
    name : str
        The term, as tables name it (``"rep:block"``).
    structure : Structure
        Sigma, over the k effects.
    levels : tuple of str
        The q levels of the grouping.
    codes : Tensor of shape (n,), int64
        The level of each row.
    basis : Tensor of shape (n, k)
        The effects' values in each row.
    """

    name: str
    structure: Structure
    levels: tuple[str, ...]
    codes: Tensor
    basis: Tensor

    @cached_property
    def scale(self) -> Tensor:
        """Standard deviation (k,) that lets each effect alone contribute a variance of 1 to the average row of V."""
        mean_square = self.basis.square().mean(dim=0)
        return torch.where(mean_square > 0, mean_square.clamp_min(1e-300).rsqrt(), 1.0)

    @cached_property
    def together(self) -> Tensor:
        """Whether two rows share a level, (n, n) of zeros and ones; for k = 1 with the products of the basis in it."""
        same = (self.codes[:, None] == self.codes[None, :]).to(self.basis.dtype)
        return same * (self.basis @ self.basis.T) if self.structure.size == 1 else same

    def matrix(self, theta: Tensor) -> Tensor:
        """Z (Sigma (x) I) Z', (n, n)."""
        sigma = self.structure.matrix(theta)
        if self.structure.size == 1:
            return sigma * self.together
        return (self.basis @ sigma @ self.basis.T) * self.together

    def pair(self, s: Tensor) -> Tensor:
        """M (k, k) with <S, Z (Sigma (x) I) Z'> = <M, Sigma> for every Sigma."""
        if self.structure.size == 1:
            return (s * self.together).sum().reshape(1, 1)
        return self.basis.T @ (s * self.together) @ self.basis

    def collect(self, w: Tensor) -> Tensor:
        """Z' w by level: w (n, c) -> (q, k, c)."""
        rows = self.basis[:, :, None] * w[:, None, :]
        out = torch.zeros(len(self.levels), *rows.shape[1:], dtype=w.dtype, device=w.device)
        return out.index_add(0, self.codes, rows)

    def spread(self, u: Tensor) -> Tensor:
        """Z u: u (q, k, c) -> (n, c)."""
        return (self.basis[:, :, None] * u[self.codes]).sum(dim=1)

    def apply(self, direction: Tensor, w: Tensor) -> Tensor:
        """Z (D (x) I) Z' w for D (k, k) and w (n, c) -> (n, c)."""
        return self.spread(direction @ self.collect(w))

    def working_variates(self, directions: Tensor, w: Tensor) -> Tensor:
        """Z (D_j (x) I) Z' w for every direction D (m, k, k) and w (n,) -> (n, m)."""
        collected = self.collect(w[:, None])[:, :, 0]  # (q, k)
        return self.spread(torch.einsum("jab,qb->qaj", directions, collected))


@dataclass(frozen=True, eq=False)
class IndependentResidual:
    """R = s^2 diag(1 / w): independent residuals, known weights.

    Attributes
    ----------
    variance : Tensor of shape (n,)
        1 / w: each row's variance in units of the residual variance; ones without weights.
    structure : Structure
        s^2, a 1 x 1 matrix. A model that profiles the residual variance out holds it at 1.
    name : str
        ``"residual"``.
    """

    variance: Tensor
    structure: Structure = field(default_factory=lambda: Diagonal(["units"]))
    name: str = "residual"

    @cached_property
    def scale(self) -> Tensor:
        """The standard deviation (1,) that contributes a variance of 1 to the average row of V."""
        return self.variance.mean().rsqrt().reshape(1)

    def add_to(self, v: Tensor, sigma: Tensor | float = 1.0) -> Tensor:
        """V + sigma R, written into V's diagonal."""
        v.diagonal().add_(sigma * self.variance)
        return v

    def pair(self, s: Tensor) -> Tensor:
        """M (1, 1) with <S, s^2 diag(1 / w)> = M s^2."""
        return (s.diagonal() * self.variance).sum().reshape(1, 1)

    def apply(self, direction: Tensor, w: Tensor) -> Tensor:
        """D diag(1 / w) W for D (1, 1) and W (n, c)."""
        return direction[0, 0] * self.variance[:, None] * w

    def working_variates(self, directions: Tensor, w: Tensor) -> Tensor:
        """The same for every direction D (m, 1, 1) and w (n,) -> (n, m)."""
        return (self.variance * w)[:, None] * directions[:, 0, 0]
