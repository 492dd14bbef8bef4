"""The role of a column, and a table whose columns are what their roles ask."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from enum import StrEnum

import numpy as np
import pandas as pd

from openreml_core.errors import DataError, did_you_mean


class Role(StrEnum):
    """What a column is in the study; equal to its lower-case text.

    >>> Role("factor") is Role.FACTOR, Role.FACTOR == "factor"
    (True, True)
    """

    RESPONSE = "response"
    FACTOR = "factor"
    COVARIATE = "covariate"
    ROW = "row"
    COLUMN = "column"
    IDENTIFIER = "identifier"
    IGNORE = "ignore"


def apply_roles(table: pd.DataFrame, roles: Mapping[str, Role | str]) -> pd.DataFrame:
    """Return the table with each column as its role asks.

    Parameters
    ----------
    table : DataFrame of n rows
        As read.
    roles : mapping of str to Role
        Role by column; columns that are not named stay as they are.

    Returns
    -------
    DataFrame of n rows
        Factors as categories (numbers in numerical, text in alphabetical order; categories keep theirs), response and
        covariates as float64, positions as numbers. Identifiers and ignored columns are left as they are.

    Raises
    ------
    DataError
        An unknown column or role, or a cell that is not a number where the role asks for one; the row is named, counted from 1.
    """
    if not isinstance(table, pd.DataFrame):
        raise DataError(f"The data are a {type(table).__name__}, not a table (pandas.DataFrame).")
    if not isinstance(roles, Mapping):
        raise DataError(f"roles={roles!r} does not name columns.", hint='Give a dictionary such as {"gen": "factor"}.')
    out = table.copy()
    for name, role in roles.items():
        if name not in table.columns:
            raise DataError(
                f"Column *{name}* is not in this table.", hint=did_you_mean(str(name), [str(c) for c in table.columns])
            )
        match known := role_named(role, str(name)):
            case Role.FACTOR:
                out[name] = as_factor(table[name])
            case Role.RESPONSE | Role.COVARIATE:
                out[name] = as_numbers(table[name], known).astype("float64")
            case Role.ROW | Role.COLUMN:
                out[name] = as_numbers(table[name], known)
    return out


def role_named(role: object, column: str) -> Role:
    """Return the role that a text names; a DataError naming the column where there is none.

    >>> role_named("factor", "gen")
    <Role.FACTOR: 'factor'>
    """
    try:
        return Role(role)  # type: ignore[arg-type]
    except ValueError:
        raise DataError(
            f"Column *{column}* has the role {role!r}, which does not exist.", hint=f"Roles are {', '.join(Role)}."
        ) from None


def as_factor(column: pd.Series) -> pd.Series:
    """Return a column as categories; whole numbers in a column with gaps are levels 1, 2, not 1.0, 2.0.

    From 2^53 on, where floats no longer tell whole numbers apart, levels are text as Python writes it: 1e+20.

    >>> as_factor(pd.Series([10.0, 2.0, np.nan])).cat.categories.tolist()
    [2, 10]
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.remove_unused_categories()
    present = column.dropna()
    levels: Sequence[Hashable]
    if pd.api.types.is_float_dtype(column.dtype) and bool((present.abs() >= 2**53).any()):
        levels = [_large(level) for level in sorted(present.unique().tolist())]
        column = column.map(_large, na_action="ignore")
    elif pd.api.types.is_float_dtype(column.dtype) and len(present) and bool((present % 1 == 0).all()):
        column = column.astype("Int64")
        levels = sorted(int(level) for level in present.unique())
    elif pd.api.types.is_numeric_dtype(column.dtype):
        levels = sorted(present.unique().tolist())
    else:
        column = column.map(str, na_action="ignore")
        levels = sorted({str(level) for level in present})
    return pd.Series(pd.Categorical(column, categories=levels), index=column.index, name=column.name)


def _large(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def as_numbers(column: pd.Series, role: Role) -> pd.Series:
    """Return a column of numbers, text that reads as numbers included; NaN where missing.

    Raises
    ------
    DataError
        Names the first row whose cell is not a finite number.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    numbers = column if pd.api.types.is_numeric_dtype(column.dtype) else pd.to_numeric(column, errors="coerce")
    if pd.api.types.is_bool_dtype(numbers.dtype):
        numbers = numbers.astype("int64")
    wrong = np.flatnonzero((numbers.isna() & column.notna()).to_numpy() | np.isinf(numbers.to_numpy(dtype="float64")))
    if wrong.size:
        raise _not_numbers(column, role, wrong)
    return numbers


def _not_numbers(column: pd.Series, role: Role, wrong: Sequence[int] | np.ndarray) -> DataError:
    article = "the " if role is Role.RESPONSE else "a "
    what = {Role.ROW: "row position", Role.COLUMN: "column position"}.get(role, role.value)
    more = "" if len(wrong) == 1 else f" ({len(wrong)} such cells)"
    if len(wrong) == int(column.notna().sum()):
        hint = f"Text cannot be {article}{what}: give the column another role."
    else:
        hint = "Correct the cell, or leave it empty if the value is missing."
    return DataError(
        f"Column *{column.name}*, row {wrong[0] + 1}: '{column.iloc[wrong[0]]}' is not a number{more}.", hint=hint
    )
