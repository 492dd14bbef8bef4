"""A table about the columns of a table: role, type, levels or range, what is missing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from openreml_core.tables.roles import Role, as_factor, role_named

#: Levels named in full; of more, the first three and the last.
SHOWN = 6


def describe_columns(table: pd.DataFrame, roles: Mapping[str, Role | str]) -> pd.DataFrame:
    """Describe each column of a table in a row.

    Parameters
    ----------
    table : DataFrame of n rows and m columns
    roles : mapping of str to Role
        Columns that are not named are ignored ones.

    Returns
    -------
    DataFrame of m rows
        ``name``; ``role``; ``type`` (whole numbers, numbers, text, empty); ``n_levels``, different values; ``levels``, in
        short, empty where the range tells more; ``min`` and ``max``, NaN for text and factors; ``missing``, cells.

    Examples
    --------
    >>> trial = pd.DataFrame({"gen": ["b", "a", None], "yield": [4.5, 5.0, 3.0]})
    >>> about = describe_columns(trial, {"gen": "factor", "yield": "response"})
    >>> about[["name", "type", "n_levels", "levels", "max", "missing"]].values.tolist()
    [['gen', 'text', 2, 'a, b', nan, 1], ['yield', 'numbers', 3, '', 5.0, 0]]
    """
    rows = []
    for name in table.columns:
        column, role = table[name], role_named(roles.get(str(name), Role.IGNORE), str(name))
        kind = column_type(column)
        measured = kind in ("numbers", "whole numbers") and role is not Role.FACTOR
        numbers = (
            column.astype(column.cat.categories.dtype) if isinstance(column.dtype, pd.CategoricalDtype) else column
        )
        rows.append(
            {
                "name": str(name),
                "role": role.value,
                "type": kind,
                "n_levels": int(column.nunique()),
                "levels": "" if measured else levels_text(column),
                "min": float(numbers.min()) if measured else np.nan,
                "max": float(numbers.max()) if measured else np.nan,
                "missing": int(column.isna().sum()),
            }
        )
    return pd.DataFrame(rows, columns=["name", "role", "type", "n_levels", "levels", "min", "max", "missing"])


def column_type(column: pd.Series) -> str:
    """Return what the cells of a column are, in words."""
    present = column.dropna()
    dtype = column.cat.categories.dtype if isinstance(column.dtype, pd.CategoricalDtype) else column.dtype
    if present.empty:
        return "empty"
    if not pd.api.types.is_numeric_dtype(dtype):
        return "text"
    return "whole numbers" if bool((present.astype("float64") % 1 == 0).all()) else "numbers"


def levels_text(column: pd.Series) -> str:
    """Return the levels of a column in short: ``G01, G02, G03, …, G24``."""
    levels = [str(level) for level in as_factor(column).cat.categories]
    if len(levels) > SHOWN:
        levels = [*levels[:3], "…", levels[-1]]
    return ", ".join(level if len(level) <= 24 else level[:23] + "…" for level in levels)
