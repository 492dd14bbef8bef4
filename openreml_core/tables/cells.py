"""From the text of cells to columns of numbers or text: missing marks, decimal commas, thousands."""

from __future__ import annotations

import numpy as np
import pandas as pd

#: A cell that reads so is missing in every column.
MISSING = ("", "NA", "NaN", "nan")

#: A cell that reads so is missing where all the others are numbers; elsewhere it is a level.
MISSING_AMONG_NUMBERS = (
    "*",
    ".",
    "-",
    "--",
    "?",
    "na",
    "N/A",
    "n/a",
    "#N/A",
    "#NV",
    "#DIV/0!",
    "#VALUE!",
    "NULL",
    "null",
)

_INTEGER = r"[+-]?[0-9]{1,18}"
_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
_COMMA_NUMBER = r"[+-]?(?:[0-9]+,?[0-9]*|,[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
_POINT_THOUSANDS = r"[+-]?[0-9]{1,3}(?:\.[0-9]{3})+(?:,[0-9]*)?"
_COMMA_THOUSANDS = r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?"


def _all(cells: pd.Series, *patterns: str) -> bool:
    return bool(cells.str.fullmatch("(?:" + "|".join(patterns) + ")").all())


def decimal_mark(columns: list[pd.Series], separator: str) -> str:
    """Find out whether a table writes 4.5 or 4,5.

    A column that is all numbers with decimal commas, while none is all numbers with decimal points, makes it a comma.
    In a file separated by commas, 1,234 (quoted) is a thousand and more; in others it is one and a bit.

    Parameters
    ----------
    columns : list of Series of str
        Cells as they stand in the file.
    separator : str
        What stands between the cells.

    Returns
    -------
    str
        ``"."`` or ``","``.
    """
    comma = False
    for column in columns:
        cells = column[~column.isin(MISSING + MISSING_AMONG_NUMBERS)]
        with_comma = cells[cells.str.contains(",", regex=False)]
        if len(with_comma):
            thousands = separator == "," and _all(with_comma, _COMMA_THOUSANDS)
            comma = comma or (not thousands and _all(cells, _COMMA_NUMBER, _POINT_THOUSANDS))
        elif _all(cells, _NUMBER) and not _all(cells, _INTEGER, _POINT_THOUSANDS):
            return "."
    return "," if comma else "."


def typed(column: pd.Series, *, decimal: str = ".") -> pd.Series:
    """Turn a column of text into whole numbers, numbers or text with missing cells.

    Parameters
    ----------
    column : Series of str, length n
        Cells, stripped.
    decimal : {".", ","}
        The decimal mark of the table.

    Returns
    -------
    Series, length n
        int64, float64 (NaN where missing) or text (missing where missing).

    Examples
    --------
    >>> typed(pd.Series(["4.5", "*", "5"])).tolist()
    [4.5, nan, 5.0]
    >>> typed(pd.Series(["1.234,5", "7"]), decimal=",").tolist()
    [1234.5, 7.0]
    >>> typed(pd.Series(["a", "*", "None"])).tolist()
    ['a', '*', 'None']
    """
    missing = column.isin(MISSING)
    present = column[~missing]
    if present.empty:
        return pd.Series(np.nan, index=column.index, name=column.name, dtype="float64")
    numbers = _numbers(present[~present.isin(MISSING_AMONG_NUMBERS)], decimal)
    if numbers is not None:
        return numbers if len(numbers) == len(column) else numbers.astype("float64").reindex(column.index)
    return column.mask(missing)


def _numbers(cells: pd.Series, decimal: str) -> pd.Series | None:
    """Return the cells as numbers, or None where one of them is not."""
    if cells.empty:
        return None
    if decimal == "," and _all(cells, _COMMA_NUMBER, _POINT_THOUSANDS):
        cells = cells.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    elif decimal == "." and not _all(cells, _NUMBER) and _all(cells, _NUMBER, _COMMA_THOUSANDS):
        cells = cells.str.replace(",", "", regex=False)
    if _all(cells, _INTEGER):
        return cells.astype("int64")
    if bool(cells.str.fullmatch(r"[0-9]{19,}").any()) or not _all(cells, _NUMBER):
        return None
    return cells.astype("float64")
