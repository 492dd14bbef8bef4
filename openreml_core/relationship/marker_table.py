"""From a table of markers to names of individuals, names of markers and scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas.api import types

from openreml_core.errors import DataError
from openreml_core.relationship.labels import unique_labels
from openreml_core.tables.cells import MISSING, MISSING_AMONG_NUMBERS


def read_scores(table: pd.DataFrame) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray]:
    """Return the n individuals, the m markers and the scores, float64 (n, m), NaN where missing.

    Raises
    ------
    DataError
        No names of individuals, names that repeat, scores that are not numbers.
    """
    if not isinstance(table, pd.DataFrame):
        raise DataError(
            f"Markers are read from a table, not from a {type(table).__name__}.",
            hint="Give a DataFrame with the individuals in the first column.",
        )
    if not len(table) or not len(table.columns):
        raise DataError(
            "The table of markers is empty.", hint="Give a row for each individual, a column for each marker."
        )
    names, scores = _individuals(table)
    if not len(scores.columns):
        raise DataError("The table of markers has no column of scores.", hint="Give a column for each marker.")
    labels = unique_labels(names, "table of markers")
    markers = tuple(str(name) for name in scores.columns)
    values = np.empty(scores.shape)
    for j, marker in enumerate(markers):
        values[:, j] = _numbers(scores.iloc[:, j], marker, labels)
    return labels, markers, values


def _individuals(table: pd.DataFrame) -> tuple[pd.Series | pd.Index, pd.DataFrame]:
    """Return the names of the individuals and the columns of scores.

    The index holds them unless it merely numbers the rows (and has no name); then the first column does.
    """
    first = table.iloc[:, 0]
    numeric = types.is_numeric_dtype(first.dtype)
    unnamed = table.index.name is None
    numbered = unnamed and isinstance(table.index, pd.RangeIndex)
    if not numbered and unnamed and types.is_integer_dtype(table.index.dtype):
        numbered = not numeric  # rows were taken out of a numbered table
    if numbered:
        if numeric and (
            first.isna().any() or (first % 1 != 0).any() or (first.duplicated().any() and first.max() <= 2)
        ):
            raise DataError(
                f"The table of markers does not name its individuals: its first column, *{first.name}*, holds scores.",
                hint="Put the names into the first column or into the index.",
            )
        return first, table.iloc[:, 1:]
    return table.index, table


def _numbers(column: pd.Series, marker: str, labels: tuple[str, ...]) -> np.ndarray:
    if types.is_numeric_dtype(column.dtype) and not types.is_complex_dtype(column.dtype):
        return column.to_numpy(dtype="float64", na_value=np.nan)
    text = column.astype("object")
    text = text.map(lambda cell: cell.strip() if isinstance(cell, str) else cell)
    text = text.mask(text.isin([*MISSING, *MISSING_AMONG_NUMBERS]))
    values = pd.to_numeric(text, errors="coerce")
    wrong = np.flatnonzero((values.isna() & text.notna()).to_numpy())
    if len(wrong):
        raise DataError(
            f'The marker *{marker}* is not a number for {labels[wrong[0]]}: "{text.iloc[wrong[0]]}".',
            hint="Write scores as -1/0/1 or 0/1/2; if the column is no marker, leave it out.",
        )
    return values.to_numpy(dtype="float64", na_value=np.nan)
