"""Refuses values that are not finite, naming the rows and what stands there."""

from __future__ import annotations

import numpy as np

from openreml_core.design.columns import level_text
from openreml_core.design.table import Table
from openreml_core.errors import DataError
from openreml_core.notation.expression import Expression

#: Beyond this the squares and fourth powers that a fit needs leave the range of floats.
LARGEST = 1e75


def check_size(label: str, y: np.ndarray) -> None:
    """Refuse a response of numbers too large, or differences too small, to compute with.

    Parameters
    ----------
    label : str
    y : float64 array of shape (n,), finite
    """
    largest, spread = float(np.abs(y).max()), float(np.abs(y - y[0]).max())
    if largest > LARGEST:
        raise DataError(
            f"The numbers of the response *{label}* are too large to compute with (up to {largest:.2g}).",
            hint="Give the response in another unit.",
        )
    if 0 < spread < 1 / LARGEST:
        raise DataError(
            f"The numbers of the response *{label}* are too close to each other to compute with (within {spread:.2g}).",
            hint="Give the response in another unit.",
        )


def check_finite(expression: Expression, values: np.ndarray, table: Table) -> None:
    """Refuse infinite or undefined values of an expression.

    Parameters
    ----------
    expression : Expression
    values : float64 array of shape (n,) or (n, k)
    table : Table of the same n rows, complete
    """
    wrong = ~np.isfinite(values)
    if not wrong.any():
        return
    places = np.flatnonzero(wrong if wrong.ndim == 1 else wrong.any(axis=1))
    where = table.rows(places)
    if expression.is_column:
        hint = "Correct those values or mark them as missing (NA)."
        raise DataError(f"*{expression.label}* is infinite in {where}.", hint=hint)
    held = ", ".join(f"{name} = {level_text(table.column(name).iloc[places[0]])}" for name in expression.names)
    first = "there" if len(places) == 1 else "in the first of them"
    hint = "Correct those rows, or choose a transform that is defined for them."
    if "log" in expression.label:
        hint = "A logarithm needs values above zero: correct those rows, mark them as missing (NA), or use log1p()."
    raise DataError(f"{expression.label} has no finite value in {where} ({first} {held}).", hint=hint)
