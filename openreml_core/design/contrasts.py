"""Contrasts: the columns that code a factor of m levels beside an intercept, as R's contr.* functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openreml_core.errors import DataError, did_you_mean

_KINDS = {
    "treatment": "treatment",
    "contr.treatment": "treatment",
    "sas": "sas",
    "contr.sas": "sas",
    "sum": "sum",
    "contr.sum": "sum",
    "helmert": "helmert",
    "contr.helmert": "helmert",
    "poly": "poly",
    "contr.poly": "poly",
    "diff": "diff",
    "contr.diff": "diff",
}


@dataclass(frozen=True)
class Contrast:
    """A way to code a factor.

    Parameters
    ----------
    kind : {"treatment", "sas", "sum", "helmert", "poly", "diff"}
    base : str, optional
        The level (or its number, counted from 1) that treatment contrasts compare with.
    """

    kind: str = "treatment"
    base: str | None = None


def contrast_named(name: object, column: str) -> Contrast:
    """Return the contrast that an option names, such as ``"sum"`` or ``"contr.sum"``."""
    key = str(name).lower()
    if key not in _KINDS:
        choices = ["treatment", "sum", "helmert", "poly"]
        hint = did_you_mean(key, choices).replace("The columns are", "Choose among")
        raise DataError(f"Contrasts {name!r} for *{column}* are not known.", hint=hint)
    return Contrast(_KINDS[key])


def contrast_matrix(contrast: Contrast, levels: Sequence[str], column: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the matrix of a contrast and the names of its columns.

    ``diff`` compares each level with the one before it.

    Parameters
    ----------
    contrast : Contrast
    levels : sequence of m str
    column : str
        For messages.

    Returns
    -------
    matrix : float64 array of shape (m, m - 1)
    names : tuple of m - 1 str
        As formulaic has them: ``"[T.b]"``, ``"[S.a]"``, ``"[H.b]"``, ``"[.L]"``.
    """
    m = len(levels)
    if contrast.kind in ("treatment", "sas"):
        base = m - 1 if contrast.kind == "sas" else _base(contrast.base, levels, column)
        kept = [place for place in range(m) if place != base]
        return np.eye(m)[:, kept], tuple(f"[T.{levels[place]}]" for place in kept)
    if contrast.kind == "sum":
        return np.vstack([np.eye(m - 1), -np.ones((1, m - 1))]), tuple(f"[S.{level}]" for level in levels[:-1])
    if contrast.kind == "helmert":
        matrix = np.triu(-np.ones((m, m - 1)))
        matrix[np.arange(1, m), np.arange(m - 1)] = np.arange(1, m)
        return matrix, tuple(f"[H.{level}]" for level in levels[1:])
    if contrast.kind == "diff":
        step = np.arange(1, m) / m
        matrix = np.where(np.arange(m)[:, None] > np.arange(m - 1)[None, :], step, step - 1.0)
        return matrix, tuple(f"[D.{level}]" for level in levels[1:])
    return polynomial_scores(np.arange(1.0, m + 1.0)), tuple(
        f"[{('.L', '.Q', '.C')[d] if d < 3 else f'^{d + 1}'}]" for d in range(m - 1)
    )


def _base(base: str | None, levels: Sequence[str], column: str) -> int:
    if base is None:
        return 0
    if base in levels:
        return list(levels).index(base)
    if base.isdigit() and 1 <= int(base) <= len(levels):
        return int(base) - 1
    hint = did_you_mean(base, levels).replace("The columns are", "The levels are")
    raise DataError(f"*{column}* has no level '{base}'.", hint=hint)


def polynomial_scores(scores: np.ndarray) -> np.ndarray:
    """Return orthonormal polynomials of m scores, degrees 1 ... m - 1, leading coefficients positive, shape (m, m - 1)."""
    scores = np.asarray(scores, dtype=np.float64)
    centred = scores - scores.mean()
    q, r = np.linalg.qr(np.vander(centred / max(np.abs(centred).max(), 1e-300), len(scores), increasing=True))
    return (q * np.sign(np.diag(r)))[:, 1:]
