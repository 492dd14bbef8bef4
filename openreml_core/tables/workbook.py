"""Tables in Excel workbooks: one sheet, its first row with content the header."""

from __future__ import annotations

import datetime
import io
import warnings
from collections.abc import Sequence
from typing import Any

import pandas as pd

from openreml_core.errors import DataError, did_you_mean
from openreml_core.tables.cells import typed
from openreml_core.tables.header import column_names, drop_row_numbers
from openreml_core.tables.source import Source


def _open(source: Source) -> Any:
    import openpyxl

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return openpyxl.load_workbook(io.BytesIO(source.data), read_only=True, data_only=True)
    except Exception:  # openpyxl raises many kinds for a damaged file, all of them mean the same to the user
        raise DataError(
            f"The workbook *{source.name}* is damaged and cannot be opened.",
            hint="Open it in a spreadsheet program and save it again as xlsx.",
        ) from None


def workbook_sheets(source: Source) -> list[str]:
    """Return the names of the worksheets, in the order of the workbook."""
    book = _open(source)
    try:
        return [sheet.title for sheet in book.worksheets]
    finally:
        book.close()


def read_workbook(source: Source, sheet: str | int | None = None) -> pd.DataFrame:
    """Read one sheet of an Excel workbook.

    Parameters
    ----------
    source : Source
        The file.
    sheet : str or int, optional
        Name, or number from 0. Without it the first is read, and a warning says so where there are others.

    Returns
    -------
    DataFrame

    Raises
    ------
    DataError
        The workbook is damaged, the sheet is not there, or it has no rows.
    """
    book = _open(source)
    try:
        titles = [one.title for one in book.worksheets]
        chosen = _choose(source.name, titles, sheet)
        worksheet = book.worksheets[chosen]
        worksheet.reset_dimensions()
        try:
            rows = [row for row in worksheet.iter_rows(values_only=True) if any(_text(cell) for cell in row)]
        except Exception:  # a damaged sheet inside a workbook that opens
            raise DataError(
                f"The sheet *{titles[chosen]}* of *{source.name}* is damaged.",
                hint="Open the workbook in a spreadsheet program and save it again.",
            ) from None
    finally:
        book.close()
    where = f"{source.name}, sheet {titles[chosen]}"
    if len(rows) < 2:
        what = "is empty" if not rows else "has a header but no rows"
        others = [title for title in titles if title != titles[chosen]]
        hint = f"Name another sheet: {', '.join(others)}." if others else "Add the data below a row of names."
        raise DataError(f"The sheet *{titles[chosen]}* of *{source.name}* {what}.", hint=hint)
    if sheet is None and len(titles) > 1:
        warnings.warn(
            f"The workbook {source.name} has {len(titles)} sheets; the first, {titles[0]}, was read. "
            f"The others: {', '.join(titles[1:])}.",
            stacklevel=3,
        )
    return _table(where, rows)


def _choose(name: str, titles: Sequence[str], sheet: str | int | None) -> int:
    if not titles:
        raise DataError(f"The workbook *{name}* has no worksheet.", hint="Put the table on a worksheet.")
    if sheet is None:
        return 0
    if isinstance(sheet, int):
        if 0 <= sheet < len(titles):
            return sheet
        raise DataError(
            f"The workbook *{name}* has {len(titles)} sheets; there is no number {sheet}.",
            hint=f"They are: {', '.join(titles)}.",
        )
    if sheet not in titles:
        hint = did_you_mean(sheet, titles).replace("The columns are", "The sheets are")
        raise DataError(f"There is no sheet *{sheet}* in *{name}*.", hint=hint)
    return titles.index(sheet)


def _table(where: str, rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    width = max(len(row) - _trailing(row) for row in rows)
    lead = min(next(j for j, cell in enumerate(row) if _text(cell)) for row in rows)
    header = [_text(cell) for cell in rows[0]] + [""] * width
    names = column_names(where, header[lead:width])
    body = rows[1:]
    columns = {}
    for j, name in enumerate(names, start=lead):
        columns[name] = column_of([row[j] if j < len(row) else None for row in body])
    return drop_row_numbers(pd.DataFrame(columns))


def _trailing(row: Sequence[Any]) -> int:
    """Count the empty cells at the end of a row."""
    for count, cell in enumerate(reversed(row)):
        if _text(cell):
            return count
    return len(row)


def column_of(cells: Sequence[Any]) -> pd.Series:
    """Turn the cells of a spreadsheet column into numbers or text; dates become text as 2024-05-31."""
    present = [cell for cell in cells if cell is not None]
    if present and all(type(cell) in (int, float) for cell in present):
        whole = len(present) == len(cells) and all(type(cell) is int and abs(cell) < 2**63 for cell in present)
        return pd.Series(cells, dtype="int64" if whole else "float64")
    return typed(pd.Series([_text(cell) for cell in cells], dtype="str"))


def _text(cell: Any) -> str:
    """Return a cell as a csv file would write it."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, datetime.datetime) and cell.time() == datetime.time():
        return cell.date().isoformat()
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    return str(cell).strip()
