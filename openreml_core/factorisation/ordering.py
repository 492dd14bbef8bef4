"""Orders of elimination that leave few new entries.

Both orders are minimum-degree orders of the symmetric pattern of A (q, q):

colamd   SuperLU's column order of a matrix M with M'M = A's pattern, a row {i, j} for every entry (i, j): what Davis,
         Gilbert, Larimore and Ng (2004, ACM Trans. Math. Softw. 30, 353-376) call symamd. Always there, with scipy.
amd      Amestoy, Davis and Duff (1996, SIAM J. Matrix Anal. Appl. 17, 886-905), from cvxopt, CHOLMOD's own order.
"""

from __future__ import annotations

import importlib.util

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spilu

#: Patterns of fewer columns are not worth an order.
FEW = 3


def cholmod_is_there() -> bool:
    """Whether the extra ``[cholmod]`` is installed."""
    return importlib.util.find_spec("cvxopt") is not None


def elimination_order(pattern: sparse.csc_array, cholmod: bool) -> np.ndarray:
    """The columns of a symmetric pattern in the order of their elimination, (q,)."""
    if pattern.shape[0] <= FEW:
        return np.arange(pattern.shape[0])
    below = sparse.coo_array(sparse.tril(pattern, -1))
    row, column = (c.astype(np.int64) for c in below.coords)
    return amd(row, column, pattern.shape[0]) if cholmod else colamd(row, column, pattern.shape[0])


def colamd(row: np.ndarray, column: np.ndarray, size: int) -> np.ndarray:
    """The order by SuperLU, from the places (e,) below the diagonal.

    M is made square by unit columns, which are eliminated with a row each and change nothing, and its own entries are tiny
    beside a unit in every column: an incomplete factorisation drops them all and ends as soon as the order is known.
    """
    edges = len(row)
    each, every = np.arange(edges), np.arange(size)
    places = (
        np.concatenate([each, each, each, edges + every]),
        np.concatenate([row, column, size + each, every]),
    )
    values = np.repeat([1e-9, 1.0], [2 * edges, edges + size])
    square = sparse.csc_array((values, places), shape=(edges + size, edges + size))
    done = spilu(square, drop_tol=1e-3, fill_factor=1.0, permc_spec="COLAMD")
    order = np.argsort(done.perm_c)
    return order[order < size]


def amd(row: np.ndarray, column: np.ndarray, size: int) -> np.ndarray:
    """The order by cvxopt's AMD, from the places (e,) below the diagonal."""
    from cvxopt import amd as package
    from cvxopt import matrix, spmatrix

    every = np.arange(size)
    places = [matrix(np.concatenate(both).astype(np.int64)) for both in ((row, every), (column, every))]
    found = package.order(spmatrix(1.0, *places, size=(size, size)))
    return np.array(found, dtype=np.int64).reshape(-1)
