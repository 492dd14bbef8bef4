"""Reading a table from a file, whatever its kind."""

from __future__ import annotations

from typing import Any

import pandas as pd

from openreml_core.errors import DataError
from openreml_core.tables.delimited import read_text
from openreml_core.tables.parquet import read_parquet
from openreml_core.tables.source import MAX_BYTES, kind_of, open_source
from openreml_core.tables.workbook import read_workbook, workbook_sheets


def read_table(
    source: Any,
    *,
    sheet: str | int | None = None,
    name: str | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> pd.DataFrame:
    """Read a table from a csv, tsv, txt, xlsx or Parquet file.

    The kind of file, its encoding, its separator and its decimal mark are found out from the content. ``NA``, ``NaN`` and
    empty cells are missing; ``*`` and ``.`` are missing where all other cells of the column are numbers. The text ``None``
    is a level.

    Parameters
    ----------
    source : path, bytes or file-like
        The file. Its size is looked at before it is read.
    sheet : str or int, optional
        Sheet of a workbook, by name or by number from 0; without it the first, with a warning where there are others.
    name : str, optional
        How messages call the file.
    separator, decimal : str, optional
        For text files: what stands between the cells, and the decimal mark, where the guess is wrong.
    max_bytes : int
        Largest size taken, in bytes.

    Returns
    -------
    DataFrame of n rows
        Columns of int64, float64 or text; row names that are mere numbers are left out.

    Raises
    ------
    DataError
        What is wrong with the file, and where in it.

    Examples
    --------
    >>> read_table(b"gen;yield\\nA;4,5\\nB;*\\n")
      gen  yield
    0   A    4.5
    1   B    NaN
    """
    if separator is not None and (not isinstance(separator, str) or len(separator) != 1 or separator in '"\r\n'):
        raise DataError(f"separator={separator!r} cannot stand between cells.", hint="Give one character, such as ';'.")
    if decimal is not None and decimal not in (".", ","):
        raise DataError(f"decimal={decimal!r} is no decimal mark.", hint="Choose '.' or ','.")
    if sheet is not None and not isinstance(sheet, str | int):
        raise DataError(f"sheet={sheet!r} names no sheet.", hint="Give its name, or its number from 0.")
    file = open_source(source, name, max_bytes)
    kind = kind_of(file, max_bytes)
    if kind == "xlsx":
        return read_workbook(file, sheet)
    if sheet is not None:
        raise DataError(f"*{file.name}* is not a workbook: it has no sheet *{sheet}*.", hint="Leave `sheet` out.")
    if kind == "parquet":
        return read_parquet(file, max_bytes)
    return read_text(file, separator=separator, decimal=decimal)


def sheet_names(source: Any, *, name: str | None = None, max_bytes: int = MAX_BYTES) -> list[str]:
    """Return the names of a workbook's sheets; none for a file of another kind.

    Parameters
    ----------
    source, name, max_bytes
        As in `read_table`.

    Returns
    -------
    list of str
    """
    file = open_source(source, name, max_bytes)
    return workbook_sheets(file) if kind_of(file, max_bytes) == "xlsx" else []
