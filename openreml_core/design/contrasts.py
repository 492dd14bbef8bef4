"""Contrasts: the columns that code a factor of m levels beside an intercept, as R's contr.* functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openreml_core.design.columns import level_text
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
    kind : {"treatment", "sas", "sum", "helmert", "poly", "diff", "custom"}
    base : str, optional
        The level (or its number, counted from 1) that treatment contrasts compare with.
    scores : tuple of float, optional
        What polynomials are of, a score per level; equal steps by default.
    matrix : tuple of tuples of float, optional
        A row for each level, for a coding of the user's own.
    names : tuple of str, optional
        Of its columns.
    levels : tuple of str, optional
        The levels that its rows are of; the factor's own in their order by default.
    """

    kind: str = "treatment"
    base: str | None = None
    scores: tuple[float, ...] | None = None
    matrix: tuple[tuple[float, ...], ...] | None = None
    names: tuple[str, ...] | None = None
    levels: tuple[str, ...] | None = None

    @property
    def plain(self) -> Any:
        """The choice in JSON's types, which :func:`contrast_named` reads again: a text, or a matrix with its names."""
        if self.matrix is not None:
            out: dict[str, Any] = {"matrix": [list(row) for row in self.matrix]}
            out |= {"names": list(self.names)} if self.names else {}
            return out | ({"levels": list(self.levels)} if self.levels else {})
        if self.scores is not None:
            return f"{self.kind}({', '.join(f'{x:.15g}' for x in self.scores)})"
        return self.kind if self.base is None else f"{self.kind}({self.base})"


def contrast_named(given: object, column: str) -> Contrast:
    """Return the contrast that an option asks for.

    Parameters
    ----------
    given : str, pair, matrix or mapping
        ``"sum"`` or ``"contr.sum"``; ``"treatment(b)"`` or ``("treatment", "b")`` with the level that others are compared with;
        ``"poly(0, 1, 4)"`` or ``("poly", [0, 1, 4])`` with scores; a matrix (m, m - 1 or less) whose row k codes level k, as a
        DataFrame with levels and columns named, an array, or ``{"matrix": ..., "names": ..., "levels": ...}``.
    column : str
        For messages.

    Examples
    --------
    >>> contrast_named("treatment(b)", "f").base, contrast_named("poly(0, 1, 4)", "f").scores
    ('b', (0.0, 1.0, 4.0))
    """
    if isinstance(given, Contrast):
        return given
    if not isinstance(given, str) and (isinstance(given, Mapping) or hasattr(given, "shape")):
        return _custom(given, column)
    if isinstance(given, list | tuple):
        if len(given) != 2 or not isinstance(given[0], str):
            return _custom(given, column)
        name, more = given
    else:
        name, _, rest = str(given).partition("(")
        more = rest.rstrip()[:-1].strip() if rest.rstrip().endswith(")") else None
        if rest and more is None:
            raise DataError(f"Contrasts {given!r} for *{column}* lack a closing bracket.")
    key = name.strip().lower()
    if key not in _KINDS:
        choices = ["treatment", "sum", "helmert", "poly"]
        hint = did_you_mean(key, choices).replace("The columns are", "Choose among")
        raise DataError(f"Contrasts {given!r} for *{column}* are not known.", hint=hint)
    kind = _KINDS[key]
    if more is None or (isinstance(more, str) and more == ""):
        return Contrast(kind)
    if kind == "treatment":
        return Contrast(kind, base=level_text(more))
    if kind == "poly":
        return Contrast(kind, scores=_scores(more, column))
    raise DataError(f"Contrasts {given!r} for *{column}*: {kind} takes nothing in brackets.")


def _scores(given: object, column: str) -> tuple[float, ...]:
    try:
        values = given.split(",") if isinstance(given, str) else list(given)  # type: ignore[call-overload]
        scores = tuple(float(v) for v in values)
    except (TypeError, ValueError):
        raise DataError(f"The scores of *{column}* are not numbers: {given!r}.", hint="Write poly(0, 1, 4).") from None
    if len(set(scores)) < len(scores) or not np.isfinite(scores).all():
        raise DataError(f"The scores of *{column}* are not all different numbers.", hint="Give each level its own.")
    return scores


def _custom(given: Any, column: str) -> Contrast:
    names = levels = None
    if isinstance(given, Mapping):
        unknown = set(given) - {"matrix", "names", "levels"}
        if unknown or "matrix" not in given:
            raise DataError(
                f"Contrasts of *{column}* are a mapping without a matrix.", hint='Write {"matrix": [[1], [-1]]}.'
            )
        names, levels, given = given.get("names"), given.get("levels"), given["matrix"]
    if hasattr(given, "columns") and hasattr(given, "index"):
        names, levels = list(given.columns), [level_text(v) for v in given.index]
        given = given.to_numpy()
    try:
        matrix = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"The contrasts of *{column}* are not made of numbers.", hint="Give a row per level.") from None
    if matrix.ndim != 2 or matrix.size == 0 or not np.isfinite(matrix).all():
        raise DataError(f"The contrasts of *{column}* are no matrix of numbers.", hint="Give a row per level.")
    for what, held, count in (("names", names, matrix.shape[1]), ("levels", levels, len(matrix))):
        if held is not None and (len(held) != count or len({str(v) for v in held}) != count):
            raise DataError(f"The contrasts of *{column}* have {len(held)} {what} for {count}.", hint="Name each once.")
    return Contrast(
        "custom",
        matrix=tuple(tuple(row) for row in matrix.tolist()),
        names=None if names is None else tuple(str(v) for v in names),
        levels=None if levels is None else tuple(str(v) for v in levels),
    )


def contrast_matrix(contrast: Contrast, levels: Sequence[str], column: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the matrix of a contrast and the names of its columns.

    ``diff`` compares each level with the one before it. A matrix with fewer than m - 1 columns is completed by columns at right
    angles to it, so that the model stays the same.

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
    if contrast.kind == "custom":
        return _completed(contrast, levels, column)
    scores = np.arange(1.0, m + 1.0) if contrast.scores is None else np.array(contrast.scores)
    if len(scores) != m:
        raise DataError(
            f"*{column}* has {m} levels and {len(scores)} scores.", hint=f"The levels are {', '.join(levels)}."
        )
    return polynomial_scores(scores), tuple(
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


def _completed(contrast: Contrast, levels: Sequence[str], column: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """A user's matrix with its rows in the order of the levels, completed to m - 1 columns."""
    m, matrix = len(levels), np.array(contrast.matrix)
    if contrast.levels is not None:
        missing = [level for level in levels if level not in contrast.levels]
        if missing:
            raise DataError(
                f"The contrasts of *{column}* have no row for the level '{missing[0]}'.",
                hint=f"Their rows are {', '.join(contrast.levels)}.",
            )
        matrix = matrix[[contrast.levels.index(level) for level in levels]]
    if len(matrix) != m or matrix.shape[1] > m - 1:
        raise DataError(
            f"The contrasts of *{column}* are {matrix.shape[0]} x {matrix.shape[1]}; {m} levels take {m} rows and at most "
            f"{m - 1} columns.",
            hint=f"The levels are {', '.join(levels)}.",
        )
    q, r = np.linalg.qr(np.column_stack([np.ones(m), matrix]), mode="complete")
    size = np.abs(np.diag(r))
    if size.min() < 1e-9 * size.max():
        raise DataError(
            f"The contrasts of *{column}* do not stand beside the intercept: a column is a combination of others and of ones.",
            hint="Give independent columns that are not constant.",
        )
    k = matrix.shape[1]
    names = contrast.names or tuple(str(j + 1) for j in range(k))
    more = tuple(f"[rest {j + 1}]" for j in range(m - 1 - k))
    return np.column_stack([matrix, q[:, k + 1 :]]), (*(f"[{name}]" for name in names), *more)


def polynomial_scores(scores: np.ndarray) -> np.ndarray:
    """Return orthonormal polynomials of m scores, degrees 1 ... m - 1, leading coefficients positive, shape (m, m - 1)."""
    scores = np.asarray(scores, dtype=np.float64)
    centred = scores - scores.mean()
    q, r = np.linalg.qr(np.vander(centred / max(np.abs(centred).max(), 1e-300), len(scores), increasing=True))
    return (q * np.sign(np.diag(r)))[:, 1:]
