"""Roots of Sigma whose columns are directions of their own, so that variances of zero cost no digits.

In units of N's typical diagonal d (what a level's rows tell about each effect),

    diag(d)^1/2 Sigma diag(d)^1/2 = U diag(l^2) U',   C = diag(d)^-1/2 U,   Lambda = C diag(l),   Lambda Lambda' = Sigma

A direction with l = 0 drops out of the equations, and what the data say about it with them. With l = FLOOR instead V changes
by FLOOR^2 = 1e-18 of the residual's variance, less than rounding does, and J = sum Z'P Z (weighted by K) comes out of

    J Lambda = sum_j N_j. Lambda M_.j         exact to rounding where l < 1, by a division through l
    Lambda'J Lambda = q I - sum K^-1 M        where l > 1, by division through both

both from M = D^-1 on the pattern of D: every entry of M in a column of that direction is a multiple of l and keeps its digits.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: The smallest l that equations are set up with.
FLOOR = 1e-9


class Rotation:
    """A root of one term's Sigma.

    Parameters
    ----------
    factor : Tensor of shape (k, k)
        L of Sigma = L L'.
    typical : Tensor of shape (k,)
        d.

    Attributes
    ----------
    basis : Tensor of shape (k, k)
        C.
    size : Tensor of shape (k,)
        l, at least FLOOR.
    root : Tensor of shape (k, k)
        Lambda from ``size``.
    exact : Tensor of shape (k, k)
        Lambda, directions without variance at zero.
    """

    def __init__(self, factor: Tensor, typical: Tensor) -> None:
        unit = torch.where(typical > 0, typical, 1.0).sqrt()
        u, size, _ = torch.linalg.svd(unit[:, None] * factor)
        self.basis = u / unit[:, None]
        self.size = size.clamp_min(FLOOR)
        self.root = self.basis * self.size
        self.exact = self.basis * torch.where(size > FLOOR, size, 0.0)

    def pairing(self, products: Tensor, shares: Tensor) -> Tensor:
        """J (k, k) from sum_j N_j. Lambda M_.j, and from q I - sum K^-1 M, in this basis."""
        both = torch.outer(self.size, self.size)
        slopes = self.basis.T @ products / self.size
        j = torch.where(both > 1, shares / both, (slopes + slopes.T) / 2)
        left = torch.linalg.solve(self.basis.T, j)
        j = torch.linalg.solve(self.basis.T, left.T)
        return (j + j.T) / 2
