"""K, the known relationship of a random term's levels: as a matrix, or by its sparse inverse.

A pedigree's K^-1 has a handful of entries in a row, K itself is full. With K^-1 = L L' sparse, all that is asked of K is

    K x                       two triangular solutions
    K_jj, log|K|              from the selected inverse, from L's diagonal

and K is written out for small models alone.
"""

from __future__ import annotations

from functools import cached_property

import torch
from scipy import sparse
from torch import Tensor

from openreml_core.factorisation import SparseMatrix


class KnownInverse:
    """K (q, q) by its sparse inverse.

    Parameters
    ----------
    inverse : sparse array of shape (q, q)
        K^-1, symmetric and positive definite.
    matrix : Tensor of shape (q, q), optional
        K, where it has been computed anyway.

    Examples
    --------
    >>> k = KnownInverse(sparse.csr_array([[2.0, -1.0], [-1.0, 2.0]]))
    >>> k.times(torch.tensor([[3.0], [0.0]]).double()).ravel()
    tensor([2.0000, 1.0000], dtype=torch.float64)
    """

    def __init__(self, inverse: sparse.sparray, matrix: Tensor | None = None) -> None:
        self.inverse = sparse.csr_array(inverse)
        self.given = matrix
        self._factorised = SparseMatrix(self.inverse)

    @property
    def size(self) -> int:
        """q."""
        return int(self.inverse.shape[0])

    @property
    def log_det(self) -> float:
        """log|K|."""
        return -self._factorised.log_det

    def diagonal(self) -> Tensor:
        """K_jj, (q,)."""
        return self._factorised.inverse_diagonal if self.given is None else self.given.diagonal()

    def times(self, x: Tensor) -> Tensor:
        """K x, x (q, ...)."""
        if self.given is not None:
            return (self.given @ x.reshape(self.size, -1)).reshape(x.shape)
        return self._factorised.solve(x.reshape(self.size, -1)).reshape(x.shape)

    @cached_property
    def matrix(self) -> Tensor:
        """K, written out."""
        if self.given is not None:
            return self.given
        out = self._factorised.solve(torch.eye(self.size, dtype=torch.float64))
        return (out + out.T) / 2


Kernel = Tensor | KnownInverse


def related(kernel: Kernel | None, x: Tensor) -> Tensor:
    """K x, x (q, ...); x itself for unrelated levels."""
    if kernel is None:
        return x
    if isinstance(kernel, KnownInverse):
        return kernel.times(x)
    return (kernel @ x.reshape(len(kernel), -1)).reshape(x.shape)


def written_out(kernel: Kernel) -> Tensor:
    """K (q, q)."""
    return kernel.matrix if isinstance(kernel, KnownInverse) else kernel
