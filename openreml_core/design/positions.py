"""Positions left of a bar: ``pos(x, y)``, an effect for every distinct one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from openreml_core.design.columns import is_numeric, numbers
from openreml_core.design.table import Table
from openreml_core.errors import DataError


def coordinate(table: Table, name: str, shown: str) -> np.ndarray:
    """Return a column of positions as numbers, a factor's levels read as such; missing ones are NaN.

    Parameters
    ----------
    table : Table of m rows
    name : str
    shown : str
        The term, for the messages.

    Returns
    -------
    float64 array of shape (m,)

    Raises
    ------
    DataError
        A value that is no finite number.
    """
    column = table.column(name, shown)
    values = numbers(column if is_numeric(column) else pd.to_numeric(column.astype("object"), errors="coerce"))
    wrong = np.flatnonzero((np.isnan(values) & column.notna().to_numpy()) | np.isinf(values))
    if len(wrong):
        raise DataError(
            f"Column *{name}* in {shown} must hold numbers; {column.iloc[wrong[0]]} in {table.rows(wrong)} is none.",
            hint="Give positions as numbers.",
        )
    return values


class Positions:
    """Effects that are places: a row has the effect of its position.

    Parameters
    ----------
    columns : sequence of c str
        The coordinates.
    shown : str
        The term, for the messages.
    table : Table of n complete rows
    aniso : bool
        Whether every coordinate has a range of its own.

    Attributes
    ----------
    coordinates : float64 array of shape (k, c)
        The distinct positions, in order.
    """

    def __init__(self, columns: Sequence[str], shown: str, table: Table, *, aniso: bool = False) -> None:
        self.columns, self.shown = tuple(columns), shown
        given = self.given(table)
        self.coordinates, index = np.unique(given, axis=0, return_inverse=True)
        self.index: np.ndarray = index.reshape(-1).astype(np.int64)
        if len(self.coordinates) < 2:
            raise DataError(
                f"All rows are at one position in {shown}: there is no distance to learn from.",
                hint="Name the columns that tell the plots apart.",
            )
        flat = [name for name, values in zip(self.columns, self.coordinates.T, strict=True) if np.ptp(values) == 0]
        if aniso and flat:
            raise DataError(
                f"*{flat[0]}* has one value in all rows: {shown} cannot give it a range of its own.",
                hint="Leave the column or aniso=TRUE out.",
            )
        shapes = [", ".join(f"{value:g}" for value in row) for row in self.coordinates]
        exact = (
            shapes if len(set(shapes)) == len(shapes) else [", ".join(map(repr, r)) for r in self.coordinates.tolist()]
        )
        self.names = tuple(f"({place})" for place in exact)

    def given(self, table: Table) -> np.ndarray:
        """The coordinates of each row, float64 (m, c); NaN where they are missing."""
        return np.column_stack([coordinate(table, name, self.shown) for name in self.columns])

    def places(self, table: Table) -> np.ndarray:
        """The place of each row among the positions of the fit, int64 (m,); -1 for a position that the fit has not seen."""
        known = {tuple(row): place for place, row in enumerate(self.coordinates.tolist())}
        return np.array([known.get(tuple(row), -1) for row in self.given(table).tolist()], dtype=np.int64)

    def basis(self, table: Table) -> np.ndarray:
        places = self.places(table)
        out = (places[:, None] == np.arange(len(self.names))).astype(np.float64)
        out[places < 0] = np.nan
        return out
