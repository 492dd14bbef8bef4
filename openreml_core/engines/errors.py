"""The residuals as the mixed-model equations see them: N = W'R^-1 W and what R's parameters need of it.

W = [Z X y]; e = (-u^, -b^, 1), so that W e are the residuals y - Z u^ - X b^ and R^-1 W e = P y.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

Directions = Sequence[Sequence[Tensor]]


class Errors(Protocol):
    """R's layout.

    Attributes
    ----------
    row, column : int64 arrays of shape (nnz,)
        Places of N's entries, both triangles; entries at one place add up.
    size : int
        Columns of W, y's the last.
    """

    row: np.ndarray
    column: np.ndarray
    size: int

    def at(self, sigmas: Sequence[Tensor]) -> SolvedErrors:
        """R at the (k, k) matrices of its parts. Raises NotPositiveDefinite."""


class SolvedErrors(Protocol):
    """R at one theta.

    Attributes
    ----------
    values : array of shape (nnz,)
        N's entries.
    log_det : float
        log|R|.
    """

    values: np.ndarray
    log_det: float

    def squares(self, e: Tensor) -> list[Tensor]:
        """M (k, k) of every part with <Py y'P, R_part> = <M, Sigma>, for e (Q,)."""

    def traces(self, m: Tensor) -> list[Tensor]:
        """M (k, k) of every part with tr(P R_part) = <M, Sigma>; m (nnz,) is Lambda M Lambda' at N's entries."""

    def variates(self, e: Tensor, directions: Directions) -> tuple[Tensor, Tensor]:
        """W'R^-1 f_k (Q, m) and f_k'R^-1 f_l (m, m), f_k = R_k P y, a direction dSigma for every parameter of every part."""

    def sandwiches(self, x: Tensor, directions: Directions) -> list[Tensor]:
        """x'W'R^-1 R_k R^-1 W x (c, c) for every direction, x (Q, c)."""

    def combined(self, x: Tensor, directions: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """W'R^-1 f (Q, c) and f'R^-1 f (c, c), f = sum over the parts of R_direction R^-1 W x, x (Q, c), a direction each."""
