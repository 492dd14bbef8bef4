"""The rows of a fit as Parquet can hold them: what the model read of a column, not how the column was written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from openreml_core.design.columns import as_factor, is_numeric, numbers


def storable(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, list[Any]]]:
    """Return the rows in types that a file carries, and the levels of the factors whose levels are numbers.

    Numbers become int64, uint64 or float64; text, flags and times stay; everything else (tuples, periods, intervals,
    decimals, text mixed with numbers) becomes a factor of the levels that the model saw.

    Parameters
    ----------
    rows : DataFrame of n complete rows
    """
    columns: dict[str, Any] = {}
    factors: dict[str, list[Any]] = {}
    for name in rows.columns:
        column = rows[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            levels = column.cat.categories.tolist()
            if column.cat.categories.dtype.kind in "iufb" and np.isfinite(levels).all():
                columns[str(name)], factors[str(name)] = np.asarray(levels)[column.cat.codes], levels
                continue
        columns[str(name)] = _plain(column)
    out = pd.DataFrame(columns, index=rows.index)
    if any(own is not None and own in out.columns for own in out.index.names):
        out.index = out.index.set_names([None] * out.index.nlevels)
    return out, factors


def _plain(column: pd.Series) -> Any:
    """Return a column's values as an array that Parquet takes and gives back unchanged."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        levels = column.cat.categories.tolist()
        if all(type(level) is str for level in levels):
            return pd.Categorical.from_codes(column.cat.codes.to_numpy(), categories=levels, ordered=column.cat.ordered)
    elif is_numeric(column):
        values = column.tolist() if types.is_object_dtype(dtype) else []
        if types.is_integer_dtype(dtype):
            return column.to_numpy(dtype=np.uint64 if types.is_unsigned_integer_dtype(dtype) else np.int64)
        if values and all(isinstance(value, int | np.integer) and abs(int(value)) < 2**63 for value in values):
            return np.array([int(value) for value in values], dtype=np.int64)
        return numbers(column)
    elif types.is_bool_dtype(dtype):
        return column.to_numpy(dtype=bool)
    elif types.is_datetime64_any_dtype(dtype):
        return column.array
    elif all(type(value) is str for value in column):
        return column.to_numpy(dtype=object)
    factor = as_factor(column)
    return pd.Categorical.from_codes(factor.codes, categories=list(factor.levels))


def restored(rows: pd.DataFrame, factors: dict[str, list[Any]]) -> pd.DataFrame:
    """Return stored rows with the factors whose levels are numbers as factors again."""
    for name, levels in factors.items():
        rows[name] = pd.Categorical(rows[name], categories=levels)
    return rows


def with_plain_index(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with labels of text."""
    return rows.set_axis(pd.Index([str(label) for label in rows.index], dtype=object), axis="index")
