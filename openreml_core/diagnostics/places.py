"""Which columns of a table say where plots lie, and which the trials are that they lie in."""

from __future__ import annotations

from typing import Any

import pandas as pd

from openreml_core.diagnostics.positions import positions_of
from openreml_core.errors import DataError
from openreml_core.tables import Role, guess_roles


def guessed_positions(table: pd.DataFrame, row: Any, col: Any) -> tuple[str, str] | None:
    """The names of the columns of rows and of columns, as given or as the table's own names say."""
    if isinstance(row, str) and isinstance(col, str):
        return (row, col) if {row, col} <= {str(c) for c in table.columns} else None
    roles = guess_roles(table)
    rows = [name for name, role in roles.items() if role is Role.ROW]
    cols = [name for name, role in roles.items() if role is Role.COLUMN]
    return (str(rows[0]), str(cols[0])) if rows and cols else None


def sections(table: pd.DataFrame, names: tuple[str, str]) -> list[str]:
    """Columns within which positions might be unique, those of few levels first."""
    out = []
    for name in table.columns:
        if str(name) in names or pd.api.types.is_float_dtype(table[name].dtype):
            continue
        if table[name].nunique() <= 30 and not table.duplicated([name, *names]).any():
            out.append(str(name))
    return sorted(out, key=lambda name: table[name].nunique())


def places_of(table: pd.DataFrame, row: Any = None, col: Any = None) -> tuple[str, str, str | None] | None:
    """The columns of rows, of columns, and of the trials within which a place holds one plot; None where there are none.

    The trials are None where no place holds two plots, and where no column tells them apart.
    """
    names = guessed_positions(table, row, col)
    if names is None:
        return None
    try:
        known = positions_of(table, *names).known
    except DataError:
        return None
    placed = table[known]
    if not placed.duplicated(list(names)).any():
        return (*names, None)
    return (*names, next(iter(sections(placed, names)), None))
