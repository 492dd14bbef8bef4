"""Checks of the response, the weights and the fixed part, each with a message that names the column."""

from __future__ import annotations

import numpy as np
import pandas as pd

from openreml_core.design.coding import Coding
from openreml_core.design.columns import is_numeric, numbers, resolve
from openreml_core.design.evaluate import Coded, Variable
from openreml_core.design.random import check_finite
from openreml_core.design.rows import row_names
from openreml_core.errors import DataError, FormulaError
from openreml_core.notation.formula import Formula


def check_response(formula: Formula, frame: pd.DataFrame, columns: dict[str, object]) -> np.ndarray:
    """Return the response as numbers.

    Returns
    -------
    float64 array of shape (n,)
    """
    expression = formula.response_expression
    if expression is None:
        raise FormulaError("The formula was not made by parse_formula.")
    if expression.is_column:
        name = expression.names[0]
        column = frame[columns[name]]
        if not is_numeric(column):
            raise DataError(f"The response *{name}* is not numeric: {_first_words(column)}", hint=_numeric_hint(column))
        if name in {n for term in formula.terms for factor in term for n in factor.names} | {
            n for term in formula.random for n in term.columns
        }:
            raise FormulaError(f"*{name}* is the response and stands right of the '~' too.", hint="Take it out there.")
    value = Variable(expression).values(frame, columns)
    if isinstance(value, Coded):
        raise DataError(f"The response {expression.label} is not numeric.")
    if value.ndim > 1:
        raise DataError(f"The response {expression.label} has several columns; a model has one response.")
    check_finite(expression.label, expression.names, value, frame, columns)
    y = np.array(value, dtype=np.float64)
    if np.ptp(y) == 0:
        raise DataError(
            f"The response *{expression.label}* has the value {y[0]:g} in every row: there is nothing to explain."
        )
    return y


def _first_words(column: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(column.dtype):
        return "it holds TRUE and FALSE."
    text = column.dropna().astype(str)
    wrong = np.flatnonzero(pd.to_numeric(text, errors="coerce").isna().to_numpy())
    if len(wrong) == 0:
        return "it is a factor."
    return f"'{text.iloc[wrong[0]]}' stands in {row_names(text.index, wrong)}."


def _numeric_hint(column: pd.Series) -> str:
    return "Choose a column of numbers, or correct the values that are text."


def column_or_array(
    what: str, source: object, data: pd.DataFrame, columns: dict[str, object], used: dict[str, object]
) -> np.ndarray | None:
    """Return weights or an offset as numbers over all rows of the table; a column is noted in `used`.

    Returns
    -------
    float64 array of shape (rows of data,), or None
    """
    if source is None:
        return None
    if isinstance(source, str):
        own = resolve(source, columns, what)
        if not is_numeric(data[own]):
            raise DataError(f"The column *{source}* given as {what} is not numeric.")
        used[source] = own
        values = numbers(data[own])
    else:
        try:
            values = np.asarray(source, dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(
                f"The {what} are not numbers.", hint="Give a column's name or one number per row."
            ) from None
        if values.shape != (len(data),):
            raise DataError(f"The {what} have shape {values.shape}; the table has {len(data)} rows.")
    wrong = np.flatnonzero(np.isinf(values))
    if len(wrong):
        raise DataError(f"The {what} are infinite in {row_names(data.index, wrong)}.")
    return values


def check_weights(weights: np.ndarray, index: pd.Index) -> np.ndarray:
    """Refuse weights that are not above zero."""
    wrong = np.flatnonzero(weights <= 0)
    if len(wrong):
        raise DataError(
            f"The weights are not above zero in {row_names(index, wrong)}.",
            hint="A row that should not count is left out, or its response marked as missing (NA).",
        )
    return np.array(weights)


def fixed_warnings(
    formula: Formula,
    coding: Coding,
    values: dict[str, np.ndarray | Coded],
    frame: pd.DataFrame,
    columns: dict[str, object],
) -> list[str]:
    """Check the factors and covariates of the fixed part; return what the user should be told."""
    warnings: list[str] = []
    groups = {term.group for term in formula.random if term.structure in ("us", "diag", "id") and term.intercept}
    for text, value in values.items():
        expression = coding.variables[text].expression
        if isinstance(value, Coded):
            if len(value.factor.levels) == 1:
                raise DataError(
                    f"The factor *{expression.label}* has one level ({value.factor.levels[0]}): "
                    "there is nothing to compare.",
                    hint="Leave it out of the fixed part.",
                )
            continue
        check_finite(expression.label, expression.names, value, frame, columns)
        if expression.is_column and _looks_like_codes(value):
            name = expression.names[0]
            slopes = {n for term in formula.random for factors in term.terms for f in factors for n in f.names}
            if name not in slopes:
                found = ", ".join(f"{number:g}" for number in np.unique(value))
                warnings.append(
                    f"{name} holds the whole numbers {found} and is used as a number; "
                    f"write C({expression.text}) for one effect per level."
                )
    for term in formula.terms:
        names = tuple(factor.names[0] for factor in term if isinstance(values[factor.text], Coded))
        if len(names) == len(term) and any(frozenset(group) == frozenset(names) for group in groups):
            label = ":".join(names)
            warnings.append(
                f"{label} is in the fixed part and in a random term: "
                "its fixed effects leave the random term nothing to explain."
            )
    return warnings


def _looks_like_codes(value: np.ndarray) -> bool:
    """Return whether a covariate looks like the numbers of groups: three to six consecutive whole numbers."""
    low, high = float(value.min()), float(value.max())
    if not (2 <= high - low <= 5 and low.is_integer() and low >= 0) or len(value) < 6:
        return False
    found = np.unique(value)
    return len(found) == high - low + 1 and bool(np.all(found == np.round(found)))
