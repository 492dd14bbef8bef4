"""Which columns of X are linear combinations of columns to their left."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack, qr

TOLERANCE = 1e-7


def independent_columns(X: np.ndarray, tolerance: float = TOLERANCE) -> np.ndarray:
    """Return the places of the columns that are not combinations of kept columns to their left.

    A column is dropped when what the kept ones leave of it is shorter than `tolerance` times the column itself.
    The Cholesky factor of the scaled cross-products settles the usual case; only where it leaves doubt is X factored.

    Parameters
    ----------
    X : float64 array of shape (n, p)
    tolerance : float

    Returns
    -------
    int64 array of shape (rank,)
    """
    n, p = X.shape
    if p == 0:
        return np.arange(0)
    length = np.sqrt(np.einsum("ij,ij->j", X, X))
    usable = length > 0
    scaled = X / np.where(usable, length, 1.0)
    if usable.all() and n >= p:
        factor, info = lapack.dpotrf(scaled.T @ scaled, lower=1)
        if info == 0 and np.diag(factor).min() > 1e-5:
            return np.arange(p)
    if n > p:
        scaled = qr(scaled, mode="r", check_finite=False)[0][:p]
    return _sequential(scaled, usable, tolerance)


def null_directions(X: np.ndarray, tolerance: float = 1e-9) -> tuple[np.ndarray, np.ndarray]:
    """Return the directions in which X is zero: what no combination of its rows tells of the coefficients.

    Parameters
    ----------
    X : float64 array of shape (n, p)
    tolerance : float
        Singular values below it, relative to the largest, count as zero.

    Returns
    -------
    size : float64 array of shape (p,)
        Lengths of the columns, 1 for those of zeros, by which X is divided first.
    directions : float64 array of shape (p - rank, p)
        Orthonormal rows v with (X / size) v' = 0.
    """
    size = np.sqrt(np.einsum("ij,ij->j", X, X))
    size[size == 0] = 1.0
    _, values, rows = np.linalg.svd(np.linalg.qr(X / size, mode="r"), full_matrices=True)
    return size, rows[int((values > tolerance * values.max(initial=0.0)).sum()) :]


def _sequential(R: np.ndarray, usable: np.ndarray, tolerance: float) -> np.ndarray:
    """Keep columns of unit length from left to right, each made orthogonal (twice) to those kept before it."""
    basis = np.empty((R.shape[0], min(R.shape)))
    kept: list[int] = []
    for column in np.flatnonzero(usable):
        rest = R[:, column].copy()
        found = basis[:, : len(kept)]
        for _ in range(2):
            rest -= found @ (found.T @ rest)
        left = float(np.linalg.norm(rest))
        if left > tolerance and len(kept) < basis.shape[1]:
            basis[:, len(kept)] = rest / left
            kept.append(int(column))
    return np.array(kept, dtype=np.int64)
