"""A relationship matrix given as a table with names on both sides."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas.api import types

from openreml_core.errors import DataError
from openreml_core.relationship.labels import a_few, unique_labels

#: Two mirrored elements may differ by this share of the largest one (rounding in a file).
ASYMMETRY = 1e-6


def read_given(table: pd.DataFrame) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names and the matrix, float64 (q, q), exactly symmetric, of a labelled square table.

    Columns may stand in another order than rows. Names may also be the first column, as in a file.

    Raises
    ------
    DataError
        Not square, names that repeat or differ between rows and columns, elements that are missing, infinite or no
        numbers, a matrix that is not symmetric, variances below zero.
    """
    rows, columns = table.shape
    if columns == rows + 1 and types.is_integer_dtype(table.index.dtype):
        table = table.set_index(table.columns[0])
        columns -= 1
    if rows != columns or rows == 0:
        raise DataError(
            f"The relationship matrix is not square: {rows:,} rows, {columns:,} columns.",
            hint="Give a row and a column for each individual, both named.",
        )
    labels = unique_labels(table.index, "relationship matrix")
    across = unique_labels(table.columns, "relationship matrix's list of columns")
    only = [label for label in labels if label not in set(across)]
    if only:
        numbered = isinstance(table.index, pd.RangeIndex)
        raise DataError(
            f"The relationship matrix has rows without a column of that name: {a_few(only)}.",
            hint="Name the rows as the columns." if numbered else "Rows and columns need the same names.",
        )
    place = {label: k for k, label in enumerate(across)}
    matrix = _numbers(table)[:, [place[label] for label in labels]]
    wrong = np.argwhere(~np.isfinite(matrix))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"The relationship of {labels[row]} and {labels[column]} is missing or infinite "
            f"({len(wrong):,} of {matrix.size:,} elements).",
            hint="Fill both triangles of the matrix.",
        )
    negative = [labels[k] for k in np.flatnonzero(matrix.diagonal() < 0)]
    if negative:
        raise DataError(
            f"The relationship matrix has a diagonal element below zero for {a_few(negative)}.",
            hint="The diagonal holds variances; correct the matrix.",
        )
    gap = np.abs(matrix - matrix.T)
    row, column = np.unravel_index(int(gap.argmax()), gap.shape)
    if gap[row, column] > ASYMMETRY * np.abs(matrix).max():
        raise DataError(
            f"The relationship matrix is not symmetric: {labels[row]} with {labels[column]} is {matrix[row, column]:.6g}, "
            f"{labels[column]} with {labels[row]} is {matrix[column, row]:.6g}.",
            hint="Fill both triangles with the same numbers.",
        )
    return labels, (matrix + matrix.T) / 2


def _numbers(table: pd.DataFrame) -> np.ndarray:
    try:
        return table.to_numpy(dtype="float64", na_value=np.nan)
    except (TypeError, ValueError):
        pass
    for j, name in enumerate(table.columns):
        column = table.iloc[:, j]
        wrong = column[pd.to_numeric(column, errors="coerce").isna() & column.notna()]
        if len(wrong):
            raise DataError(
                f'The relationship matrix holds "{wrong.iloc[0]}" in column *{name}*, which is not a number.',
                hint="A relationship matrix holds numbers only, with names on both sides.",
            )
    return table.apply(pd.to_numeric).to_numpy(dtype="float64", na_value=np.nan)
