"""One sparse positive definite matrix whose numbers are known: its factor, solutions, and the diagonal of its inverse."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from openreml_core.factorisation.cholesky import SparseCholesky
from openreml_core.factorisation.selected import selected_inverse
from openreml_core.factorisation.symbolic import Symbolic


class SparseMatrix:
    """A (q, q), factorised when something is asked of it.

    Parameters
    ----------
    matrix : sparse array of shape (q, q)
        Symmetric, both triangles in it.

    Raises
    ------
    numpy.linalg.LinAlgError
        By everything that needs the factor, where A is not positive definite.

    Examples
    --------
    >>> a = SparseMatrix(sparse.csr_array(np.array([[2.0, -1.0], [-1.0, 2.0]])))
    >>> a.inverse_diagonal, a.solve(torch.eye(2, dtype=torch.float64))[0]
    (tensor([0.6667, 0.6667], dtype=torch.float64), tensor([0.6667, 0.3333], dtype=torch.float64))
    """

    def __init__(self, matrix: sparse.sparray) -> None:
        self.matrix = sparse.csr_array(matrix)

    @cached_property
    def factor(self) -> SparseCholesky:
        """L of P'A P = L L'."""
        eye = sparse.eye_array(self.matrix.shape[0])
        symbolic = Symbolic(abs(self.matrix) + eye)
        below = sparse.coo_array(sparse.tril(self.matrix))
        row, column = (c.astype(np.int64) for c in below.coords)
        flat = np.bincount(symbolic.targets(row, column), weights=below.data, minlength=symbolic.entries + 1)
        return SparseCholesky(symbolic, torch.from_numpy(flat))

    @property
    def log_det(self) -> float:
        """log|A|."""
        return self.factor.log_det

    @cached_property
    def inverse_diagonal(self) -> Tensor:
        """The diagonal of A^-1, (q,)."""
        every = np.arange(self.matrix.shape[0])
        return selected_inverse(self.factor)[torch.from_numpy(self.factor.symbolic.targets(every, every))]

    def solve(self, x: Tensor) -> Tensor:
        """A^-1 x, x (q, c)."""
        return self.factor.solve(x)
