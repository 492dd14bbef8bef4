"""Checks of the response, the weights and the fixed part, each with a message that names the column."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from openreml_core.design.coding import Coding
from openreml_core.design.columns import is_numeric, numbers
from openreml_core.design.contrasts import Contrast
from openreml_core.design.evaluate import Coded, Variable
from openreml_core.design.finite import check_finite, check_size
from openreml_core.design.table import Table
from openreml_core.errors import DataError, FormulaError
from openreml_core.notation.formula import Formula
from openreml_core.notation.tokens import quote


def check_response(formula: Formula, table: Table) -> np.ndarray:
    """Return the response as numbers, refusing one that does not vary.

    Returns
    -------
    float64 array of shape (n,)
    """
    y = response_values(formula, table)
    check_spread(formula, y)
    return y


def check_spread(formula: Formula, y: np.ndarray) -> None:
    """Refuse a response that has one value, or values too large or too close to compute with."""
    label = formula.response_expression.label if formula.response_expression else formula.response
    check_size(label, y)
    if np.ptp(y) == 0:
        raise DataError(f"The response *{label}* has the value {y[0]:g} in every row: there is nothing to explain.")


def response_values(formula: Formula, table: Table) -> np.ndarray:
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
        column = table.column(name)
        if not is_numeric(column):
            raise DataError(
                f"The response *{name}* is not numeric: {_first_words(column, table)}", hint=_numeric_hint(column)
            )
        if name in {n for term in formula.terms for factor in term for n in factor.names} | {
            n for term in formula.random for n in term.columns
        }:
            raise FormulaError(f"*{name}* is the response and stands right of the '~' too.", hint="Take it out there.")
    value = Variable(expression).values(table)
    if isinstance(value, Coded):
        raise DataError(f"The response {expression.label} is not numeric.")
    if value.ndim > 1:
        raise DataError(f"The response {expression.label} has several columns; a model has one response.")
    check_finite(expression, value, table)
    return np.array(value, dtype=np.float64)


def _first_words(column: pd.Series, table: Table) -> str:
    if pd.api.types.is_bool_dtype(column.dtype):
        return "it holds TRUE and FALSE."
    text = column.astype(str)
    wrong = np.flatnonzero((pd.to_numeric(text, errors="coerce").isna() & column.notna()).to_numpy())
    if len(wrong) == 0:
        return "it is a factor."
    return f"'{text.iloc[wrong[0]]}' stands in {table.rows(wrong)}."


def _numeric_hint(column: pd.Series) -> str:
    return "Choose a column of numbers, or correct the values that are text."


def column_or_array(what: str, source: object, table: Table) -> np.ndarray | None:
    """Return weights or an offset as numbers over all rows of the table.

    Returns
    -------
    float64 array of shape (rows of data,), or None
    """
    if source is None:
        return None
    if isinstance(source, str):
        column = table.column(source, what)
        if not is_numeric(column):
            raise DataError(f"The column *{source}* given as {what} is not numeric.", hint="Name a column of numbers.")
        values = numbers(column)
    else:
        try:
            values = np.asarray(source, dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(
                f"The {what} {_are(what)} not made of numbers.", hint="Give a column's name or one number per row."
            ) from None
        if values.shape != (len(table),):
            raise DataError(
                f"The {what} given {_are(what)} of shape {values.shape}; the table has {len(table)} rows.",
                hint="Give one number per row, or a column's name.",
            )
    wrong = np.flatnonzero(np.isinf(values))
    if len(wrong):
        own = f" *{source}*" if isinstance(source, str) else ""
        raise DataError(
            f"The {what}{own} {_are(what)} infinite in {table.rows(wrong)}.",
            hint="Correct those values or mark them as missing (NA).",
        )
    return values


def _are(what: str) -> str:
    return "are" if what == "weights" else "is"


def check_weights(weights: np.ndarray, table: Table, column: str | None = None) -> np.ndarray:
    """Refuse weights that are not above zero; `column` is their name where they have one."""
    wrong = np.flatnonzero(weights <= 0)
    if len(wrong):
        raise DataError(
            f"The weights{f' *{column}*' if column else ''} are not above zero in {table.rows(wrong)}.",
            hint="A row that should not count is left out, or its response marked as missing (NA).",
        )
    return np.array(weights)


def fixed_warnings(
    formula: Formula,
    coding: Coding,
    values: dict[str, np.ndarray | Coded],
    table: Table,
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
        check_finite(expression, value, table)
        if expression.is_column and _looks_like_codes(value):
            name = expression.names[0]
            slopes = {n for term in formula.random for factors in term.terms for f in factors for n in f.names}
            smooth = {n for term in formula.random if term.is_smooth for n in term.positions}
            if name not in slopes | smooth:
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


def contrast_warnings(
    asked: Mapping[str, Contrast], coding: Coding, values: dict[str, np.ndarray | Coded], table: Table
) -> list[str]:
    """Check that contrasts are asked for factors of the fixed part; return what the user should be told."""
    warnings = []
    for name in asked:
        table.name(name, "contrasts")
        uses = {text for text, variable in coding.variables.items() if variable.expression.names == (name,)}
        if any(isinstance(values[text], Coded) for text in uses):
            continue
        if uses:
            raise DataError(
                f"Contrasts are asked for *{name}*, which is a number.", hint=f"Write factor({quote(name)})."
            )
        warnings.append(f"Contrasts are asked for {name}, which is not in the fixed part.")
    return warnings
