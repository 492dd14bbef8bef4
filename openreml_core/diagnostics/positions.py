"""Where plots lie: row and column as numbers, trial by trial, and the path that visits them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from openreml_core.diagnostics.grouping import grouping_of
from openreml_core.errors import DataError, did_you_mean


@dataclass(frozen=True, eq=False)
class Positions:
    """Places of n rows.

    Attributes
    ----------
    row, col : float array of shape (n,)
        NaN where there is none.
    trial : int64 array of shape (n,)
        Rows of different trials are never compared; -1 leaves a row out.
    trials : tuple of str
    row_name, col_name : str
    """

    row: np.ndarray
    col: np.ndarray
    trial: np.ndarray
    trials: tuple[str, ...]
    row_name: str
    col_name: str

    @property
    def known(self) -> np.ndarray:
        """Which rows have a place, (n,) bool."""
        return np.isfinite(self.row) & np.isfinite(self.col) & (self.trial >= 0)

    @property
    def is_grid(self) -> bool:
        """Whether all places are whole numbers: rows and columns of plots, not coordinates."""
        known = self.known
        return bool(np.all(self.row[known] % 1 == 0) and np.all(self.col[known] % 1 == 0))

    def groups(self) -> list[np.ndarray]:
        """The rows of every trial that have a place."""
        known = self.known
        return [np.flatnonzero(known & (self.trial == t)) for t in range(len(self.trials))]


def positions_of(table: pd.DataFrame, row: Any, col: Any, by: Any = None) -> Positions:
    """Places from columns of a table of n rows, or from columns that are given.

    Raises
    ------
    DataError
        An unknown column, or no row with both a row and a column.
    """
    numbers, names = [], []
    for given, what in ((row, "row"), (col, "column")):
        column = _column(table, given)
        numbers.append(place_numbers(column))
        names.append(str(column.name) if column.name is not None else what)
    trial = np.zeros(len(table), dtype=np.int64)
    trials: tuple[str, ...] = ("",)
    if by is not None:
        grouping = grouping_of(table, by)
        trial, trials = grouping.codes, grouping.levels
    out = Positions(numbers[0], numbers[1], trial, trials, names[0], names[1])
    if not out.known.any():
        raise DataError(
            f"No row has both *{names[0]}* and *{names[1]}*.", hint="Name the columns that hold the plots' positions."
        )
    return out


def place_numbers(column: pd.Series) -> np.ndarray:
    """A column of positions as numbers; names of positions count by their order.

    Examples
    --------
    >>> place_numbers(pd.Series(["2", "10"])).tolist(), place_numbers(pd.Series(["b", "a"])).tolist()
    ([2.0, 10.0], [2.0, 1.0])
    """
    plain = column.astype(object) if isinstance(column.dtype, pd.CategoricalDtype) else column
    numbers = pd.to_numeric(plain, errors="coerce")
    if bool((numbers.notna() == plain.notna()).all()):
        return numbers.to_numpy(dtype=float, na_value=np.nan)
    known = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else None
    order = list(known) if known is not None else sorted({str(v) for v in plain.dropna()})
    place = {str(level): i + 1.0 for i, level in enumerate(order)}
    return plain.map(lambda v: place.get(str(v), np.nan), na_action="ignore").to_numpy(dtype=float, na_value=np.nan)


def _column(table: pd.DataFrame, given: Any) -> pd.Series:
    if isinstance(given, str):
        own = {str(c): c for c in table.columns}
        if given not in own:
            near = did_you_mean(given, list(own))
            raise DataError(
                f"There is no column *{given}* among the rows used.",
                hint=f"{near} Any other column can be given itself, as data[...].",
            )
        return table[own[given]]
    if isinstance(given, pd.Series):
        if len(given) == len(table) and given.index.equals(table.index):
            return given
        if given.index.is_unique and table.index.isin(given.index).all():
            return given.loc[table.index]
    values = pd.Series(np.asarray(given).reshape(-1), name=getattr(given, "name", None))
    if len(values) != len(table):
        raise DataError(
            f"Positions are {len(values):,}; the fit used {len(table):,} rows.",
            hint="Give a column's name, or one value for each row of fit.data.",
        )
    return values


def serpentine_order(positions: Positions) -> list[np.ndarray]:
    """The rows of every trial in the order of a path up one column and down the next, as plots are sown and harvested."""
    out = []
    for rows in positions.groups():
        column = np.unique(positions.col[rows], return_inverse=True)[1]
        direction = np.where(column % 2 == 0, 1.0, -1.0)
        out.append(rows[np.lexsort((direction * positions.row[rows], column))])
    return out
