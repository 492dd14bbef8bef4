"""A relationship matrix given as its inverse, K^-1 with names: sparse, as pedigree programs write it."""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse

from openreml_core.errors import DataError
from openreml_core.factorisation import SparseMatrix
from openreml_core.relationship.given import ASYMMETRY
from openreml_core.relationship.labels import counted, unique_labels
from openreml_core.relationship.matrix import Relationship
from openreml_core.relationship.pedigree import LabelledInverse

#: Smallest pivot of K^-1, scaled to a unit diagonal, that is not zero.
PIVOT = 1e-12
#: Up to so many rows K is written out; beyond, its inverse alone is kept.
WRITTEN = 2_000


def read_inverse(given: LabelledInverse) -> Relationship:
    """Return K and K^-1, K written out up to ``WRITTEN`` rows.

    Parameters
    ----------
    given : LabelledInverse
        K^-1, sparse or dense (q, q), and the q names of its rows.

    Raises
    ------
    DataError
        Not square, names that are too few or repeat, elements that are missing or infinite, a matrix that is not symmetric,
        or not positive definite and so the inverse of none.
    """
    try:
        inverse = sparse.csr_array(given.matrix, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            "The inverse of the relationship matrix holds no numbers.", hint="Give a sparse matrix or an array."
        ) from None
    labels = unique_labels(given.labels, "inverse of the relationship matrix")
    if inverse.ndim != 2 or inverse.shape != (len(labels), len(labels)) or not labels:
        shape = " x ".join(f"{size:,}" for size in inverse.shape)
        raise DataError(
            f"The inverse of the relationship matrix is {shape}, with {counted(len(labels), 'name')}.",
            hint="Give a square matrix and a name for each of its rows.",
        )
    if not np.isfinite(inverse.data).all():
        raise DataError(
            "The inverse of the relationship matrix has missing or infinite elements.", hint="Compute it again."
        )
    gap = abs(inverse - inverse.T).tocoo()
    if gap.nnz and gap.data.max() > ASYMMETRY * abs(inverse).max():
        where = int(gap.data.argmax())
        raise DataError(
            "The inverse of the relationship matrix is not symmetric: "
            f"{labels[gap.row[where]]} and {labels[gap.col[where]]} differ by {gap.data.max():.3g}.",
            hint="Fill both triangles with the same numbers.",
        )
    inverse = ((inverse + inverse.T) * 0.5).tocsr()
    if len(labels) > WRITTEN:
        _check_definite(inverse)
        return Relationship(labels, None, inverse)
    return Relationship(labels, _inverted(inverse), inverse)


def _check_definite(inverse: sparse.csr_array) -> None:
    """Refuse a matrix that is no inverse, by its sparse factor scaled to a unit diagonal."""
    diagonal = inverse.diagonal()
    if not (diagonal > 0).all():
        raise _singular()
    size = sparse.diags_array(1 / np.sqrt(diagonal))
    try:
        factor = SparseMatrix(size @ inverse @ size).factor
    except np.linalg.LinAlgError:
        raise _singular() from None
    if float(factor.pivots.min()) ** 2 < PIVOT:
        raise _singular()


def _inverted(inverse: sparse.csr_array) -> np.ndarray:
    """K (q, q), by the Cholesky factor of K^-1 scaled to a unit diagonal."""
    dense = inverse.toarray()
    diagonal = dense.diagonal()
    if not (diagonal > 0).all():
        raise _singular()
    size = 1 / np.sqrt(diagonal)
    try:
        factor = linalg.cholesky(dense * np.outer(size, size), lower=True)
    except linalg.LinAlgError:
        raise _singular() from None
    if factor.diagonal().min() ** 2 < PIVOT:
        raise _singular()
    half = linalg.solve_triangular(factor, np.diag(size), lower=True)
    return half.T @ half


def _singular() -> DataError:
    return DataError(
        "The matrix given as an inverse is not positive definite: it is the inverse of no relationship matrix.",
        hint="With genetic groups, or for a singular matrix, give the pedigree or the matrix itself.",
    )
