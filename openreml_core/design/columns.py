"""Columns of a table as the model takes them: numbers as float64, everything else as codes of levels.

Numbers are numbers; text, flags and categories are factors. The levels of a factor are the ones that occur, in the
order of the category, of the numbers, or of the alphabet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api import types

from openreml_core.errors import DataError


@dataclass(frozen=True, eq=False)
class Factor:
    """A factor: level ``levels[codes[i]]`` in row i; -1 where the level is unknown or missing.

    Parameters
    ----------
    levels : tuple of str
    codes : int64 array of shape (n,)
    """

    levels: tuple[str, ...]
    codes: np.ndarray


def is_numeric(column: pd.Series) -> bool:
    """Return whether a column holds numbers (flags are factors, not numbers)."""
    dtype = column.dtype
    if types.is_bool_dtype(dtype) or isinstance(dtype, pd.CategoricalDtype):
        return False
    if types.is_numeric_dtype(dtype):
        return not types.is_complex_dtype(dtype)
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        present = column.dropna()
        return len(present) > 0 and all(
            isinstance(v, int | float | np.number) and not isinstance(v, bool | np.bool_) for v in present
        )
    return False


def numbers(column: pd.Series) -> np.ndarray:
    """Return a numeric column as float64, missing values as NaN."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind != "O":
        return column.to_numpy(dtype=np.float64)
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def level_text(value: object) -> str:
    """Return a level as text: whole numbers without a decimal point, from 2^53 on as Python writes them (1e+20)."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value)) if abs(float(value)) < 2**53 else repr(float(value)).removesuffix(".0")
    if isinstance(value, float | np.floating):
        return format(float(value), ".15g")
    if isinstance(value, pd.Timestamp):
        return str(value.date()) if value == value.normalize() else str(value)
    return str(value)


def as_factor(column: pd.Series) -> Factor:
    """Return a column as a factor whose levels are the values that occur.

    Parameters
    ----------
    column : Series of length n

    Returns
    -------
    Factor
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = column.cat.codes.to_numpy().astype(np.int64)
        values: Sequence[object] = list(column.cat.categories)
    else:
        if types.is_complex_dtype(column.dtype):
            raise DataError(f"*{column.name}* holds complex numbers, which a model cannot take.")
        try:
            raw_codes, uniques = pd.factorize(column, sort=False)
        except TypeError:
            raise DataError(f"*{column.name}* holds values that are neither numbers nor text.") from None
        codes, values = raw_codes.astype(np.int64), np.asarray(uniques, dtype=object).tolist()
        order = _order(values)
        codes = _recode(codes, np.argsort(order))
        values = [values[place] for place in order]
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    if not counts.all():
        kept = np.flatnonzero(counts)
        new = np.full(len(values), -1)
        new[kept] = np.arange(len(kept))
        codes, values = _recode(codes, new), [values[place] for place in kept.tolist()]
    levels = [level_text(value) for value in values]
    if len(set(levels)) < len(levels):
        merged = list(dict.fromkeys(levels))
        codes, levels = _recode(codes, np.array([merged.index(level) for level in levels])), merged
    return Factor(tuple(levels), codes)


def match_levels(column: pd.Series, levels: Sequence[str]) -> Factor:
    """Return a column of new data in the codes of `levels`; -1 for a level that is not among them."""
    found = as_factor(column)
    place = {level: code for code, level in enumerate(levels)}
    return Factor(
        tuple(levels), _recode(found.codes, np.array([place.get(level, -1) for level in found.levels], dtype=np.int64))
    )


def _order(values: Sequence[object]) -> list[int]:
    """Return the places of `values` in order: numbers by size, else text by the alphabet."""
    if all(isinstance(value, int | float | np.number | np.bool_ | pd.Timestamp) for value in values):
        return sorted(range(len(values)), key=lambda place: values[place])  # type: ignore[arg-type, return-value]
    return sorted(range(len(values)), key=lambda place: str(values[place]))


def _recode(codes: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return ``new[codes]`` with -1 kept."""
    if len(new) == 0:
        return np.full(len(codes), -1, dtype=np.int64)
    return np.where(codes >= 0, new[codes], -1).astype(np.int64)


def combine(factors: Sequence[Factor]) -> tuple[np.ndarray, np.ndarray]:
    """Return the combinations of factors that occur.

    Parameters
    ----------
    factors : sequence of Factor over the same n rows, without missing codes

    Returns
    -------
    combinations : int64 array of shape (q, number of factors)
        The codes of each combination that occurs, sorted, first factor slowest.
    codes : int64 array of shape (n,)
        The combination of each row.
    """
    codes = factors[0].codes
    combinations = np.arange(len(factors[0].levels), dtype=np.int64)[:, None]
    for factor in factors[1:]:
        joint = codes * len(factor.levels) + factor.codes
        occurring, codes = _distinct(joint, len(combinations) * len(factor.levels))
        first, last = np.divmod(occurring, len(factor.levels))
        combinations = np.column_stack([combinations[first], last])
    return combinations, codes


def _distinct(joint: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    if size <= 4 * len(joint) + 1000:
        occurring = np.flatnonzero(np.bincount(joint, minlength=size))
        new = np.empty(size, dtype=np.int64)
        new[occurring] = np.arange(len(occurring))
        return occurring, new[joint]
    return np.unique(joint, return_inverse=True)
