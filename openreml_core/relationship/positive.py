"""Matrices that are not positive definite, bent or blended until they are.

    bend     K* = U max(Lambda, floor) U'      K = U Lambda U'
    blend    K* = (1 - w) K + w I

Sources: Hayes and Hill (1981) Biometrics 37, 483-493 (bending); VanRaden (2008) J Dairy Sci 91, 4414-4423 (blending).
"""

from __future__ import annotations

import numpy as np

from openreml_core.errors import DataError

REPAIRS = ("bend", "blend", "none")

#: Smallest eigenvalue that counts as positive, in units of the mean of the diagonal.
FLOOR = 1e-6

#: Negative eigenvalues may add up to this share of the positive ones; beyond it the matrix is no covariance matrix.
MOST_NEGATIVE = 0.1


def make_positive(matrix: np.ndarray, repair: str = "bend", weight: float = 0.05) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the matrix, or one near it that is positive definite, and a notice where it was changed.

    Parameters
    ----------
    matrix : float64 array of shape (q, q)
        Symmetric.
    repair : {"bend", "blend", "none"}
        What to do; "none" lets a singular matrix pass and refuses an indefinite one.
    weight : float
        w of blending.

    Raises
    ------
    DataError
        A matrix that is far from a covariance matrix, or that the repair asked for cannot mend.
    """
    if repair not in REPAIRS:
        raise DataError(f'Unknown repair "{repair}".', hint=f"Repairs are {', '.join(REPAIRS)}.")
    if not 0.0 < weight < 1.0:
        raise DataError(f"The weight of blending must lie between 0 and 1, not at {weight}.")
    floor = FLOOR * float(matrix.diagonal().mean())
    if floor > 0 and _exceeds(matrix, floor):
        return matrix, ()
    values, vectors = np.linalg.eigh(matrix)
    positive, negative = values[values > 0].sum(), -values[values < 0].sum()
    if negative >= MOST_NEGATIVE * positive:
        raise DataError(
            f"The relationship matrix is not a covariance matrix: its eigenvalues run from {values[0]:.3g} to "
            f"{values[-1]:.3g}.",
            hint="Check that it holds relationships and not distances, and that rows and columns stand in one order.",
        )
    indefinite = values[0] < -1e-10 * values[-1]
    low = int((values < floor).sum())
    state = "not positive definite" if indefinite else "singular"
    words = f"The relationship matrix is {state}: {low:,} of {len(values):,} eigenvalues are below {floor:.2g}, the smallest"
    words += (
        f" {values[0]:.2g}." if indefinite else " zero." if values[0] < 1e-10 * values[-1] else f" {values[0]:.2g}."
    )
    if repair == "none":
        if indefinite:
            raise DataError(words, hint="Bend it or blend it.")
        return matrix, ()
    if repair == "bend":
        bent = (vectors * np.maximum(values, floor)) @ vectors.T
        return (bent + bent.T) / 2, (f"{words} They were raised to {floor:.2g}.",)
    blended = (1.0 - weight) * matrix + weight * np.eye(len(matrix))
    if not _exceeds(blended, floor):
        raise DataError(
            f"{words} Blending with a weight of {weight:g} does not mend it.", hint="Take a larger weight, or bend."
        )
    return blended, (f"{words} It was blended: {1 - weight:g} of it and {weight:g} of the identity.",)


def _exceeds(matrix: np.ndarray, floor: float) -> bool:
    """Whether all eigenvalues are above `floor`: matrix - floor I has a Cholesky factor."""
    shifted = matrix.copy()
    shifted[np.diag_indices_from(shifted)] -= floor
    try:
        np.linalg.cholesky(shifted)
    except np.linalg.LinAlgError:
        return False
    return True
