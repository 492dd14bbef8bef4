"""Tables in text files: encoding, separator and decimal mark are found out; rows must be as long as the header."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice

import pandas as pd

from openreml_core.errors import DataError
from openreml_core.tables.cells import decimal_mark, typed
from openreml_core.tables.header import column_names, drop_row_numbers
from openreml_core.tables.source import Source

#: Separators looked for, in the order in which a tie is decided; a blank stands for any run of blanks.
SEPARATORS = (";", "\t", "|", ",", " ")

_SAMPLE = 200
_CHUNK = 50_000
_CONTROL = bytes(set(range(32)) - {9, 10, 11, 12, 13, 26, 27})


def read_text(source: Source, *, separator: str | None = None, decimal: str | None = None) -> pd.DataFrame:
    """Read a table from delimited text.

    Parameters
    ----------
    source : Source
        The file.
    separator, decimal : str, optional
        What stands between the cells, and the decimal mark; found out where not given.

    Returns
    -------
    DataFrame

    Raises
    ------
    DataError
        Not text, no rows, or rows of unequal length, named by line.
    """
    encoding = find_encoding(source)
    separator = separator or find_separator(source, encoding)
    names, cells = text_cells(source, encoding, separator)
    columns = [cells.iloc[:, j] for j in range(len(names))]
    decimal = decimal or decimal_mark(columns, separator)
    table = pd.concat([typed(column, decimal=decimal) for column in columns], axis=1)
    table.columns = pd.Index(names)
    return drop_row_numbers(table)


def text_cells(source: Source, encoding: str, separator: str) -> tuple[list[str], pd.DataFrame]:
    """Return the names of the columns and the cells as text, (n, width); width is larger where lines end in a separator.

    Raises
    ------
    DataError
        No rows, or rows of unequal length, named by line.
    """
    records = _records(source, encoding, separator)
    header = next((cells for _, cells in records), None)
    if header is None:
        raise DataError(f"The file *{source.name}* is empty.", hint="Choose a file with a table in it.")
    cells = _body(source.name, header, records)
    if cells.empty:
        shown = ", ".join(name[:24] for name in header[:6] if name)
        raise DataError(
            f"The file *{source.name}* has a header ({shown}) but no rows.", hint="Add the data below the header."
        )
    return _names_for(source.name, header, cells), cells


def find_encoding(source: Source) -> str:
    """Return the encoding of a text file: by its byte-order mark, else UTF-8 where valid, else Windows' Latin-1."""
    data = source.data
    if data.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    head = data[:4096]
    if b"\x00" in head:
        even, odd = head[0::2].count(0), head[1::2].count(0)
        if odd > 0.4 * len(head) / 2 and even == 0:
            return "utf-16-le"
        if even > 0.4 * len(head) / 2 and odd == 0:
            return "utf-16-be"
    if b"\x00" in data or len(head) - len(head.translate(None, _CONTROL)) > 0.02 * len(head):
        raise DataError(
            f"*{source.name}* is not a text file: it holds binary content.", hint="Save it as csv, xlsx or parquet."
        )
    for encoding in ("utf-8", "cp1252"):
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            for start in range(0, len(data), 1 << 20):
                decoder.decode(data[start : start + (1 << 20)])
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"


def find_separator(source: Source, encoding: str) -> str:
    """Return the separator that splits the header and the most of the first rows into the same number of cells."""
    best, best_score = ",", (0.0, 0, 0)
    for place, candidate in enumerate(SEPARATORS):
        try:
            sample = [cells for _, cells in islice(_records(source, encoding, candidate), _SAMPLE)]
        except DataError:
            continue
        if not sample or len(sample[0]) < 2:
            continue
        width, rows = len(sample[0]), sample[1:]
        alike = sum(len(cells) == width for cells in rows)
        longer = sum(len(cells) == width + 1 for cells in rows)
        share = max(alike, longer) / len(rows) if rows else 0.5
        if candidate == " " and (share < 0.5 or best_score[0] > 0):
            continue
        score = (round(share, 2), width, -place)
        if score > best_score:
            best, best_score = candidate, score
    return best


def _lines(source: Source, encoding: str) -> Iterator[str]:
    with io.TextIOWrapper(io.BytesIO(source.data), encoding=encoding, errors="strict", newline="") as text:
        yield from text


def _records(source: Source, encoding: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) for every line that is not blank; cells are stripped."""
    lines = _lines(source, encoding)
    if separator == " ":
        lines = (line.replace("\t", " ").strip() + "\n" for line in lines)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    try:
        for cells in reader:
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(
            f"*{source.name}*, line {reader.line_num}: {error}.",
            hint="A quotation mark may be open: quote texts with a pair of them, or with none.",
        ) from None
    except UnicodeError:
        raise DataError(
            f"*{source.name}* is not readable as text ({encoding}).", hint="Save it again, with the encoding UTF-8."
        ) from None


def _body(name: str, header: Sequence[str], records: Iterator[tuple[int, list[str]]]) -> pd.DataFrame:
    """Collect the rows below the header; all must be of one length, the header's or one more (row names).

    Returns
    -------
    DataFrame of str, shape (n, width)
    """
    width, first, count = len(header), True, 0
    short: list[tuple[int, int, bool]] = []
    parts: list[pd.DataFrame] = []
    while True:
        chunk = list(islice(records, _CHUNK))
        if not chunk:
            break
        if first:
            first = False
            if all(len(cells) == width + 1 for _, cells in chunk):
                width += 1
        for line, cells in chunk:
            if len(cells) != width:
                count += 1
                if len(short) < 3:
                    short.append((line, len(cells), "\n" in "".join(cells)))
        if not short:
            part = pd.DataFrame([cells for _, cells in chunk], dtype="str")
            parts.append(part.apply(lambda column: column.str.strip()))
    if short:
        raise _ragged(name, len(header), short, count)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _ragged(name: str, width: int, short: list[tuple[int, int, bool]], count: int) -> DataError:
    said = ", ".join(f"line {line} has {n} cell{'s' * (n != 1)}" for line, n, _ in short)
    more = f" and {count - len(short)} more lines" if count > len(short) else ""
    if any(quoted for _, _, quoted in short):
        hint = "A quotation mark may have been opened and not closed."
    else:
        hint = "Look for a separator too many or too few; a text that contains the separator needs quotation marks."
    return DataError(f"*{name}*: the header has {width} cell{'s' * (width != 1)}, but {said}{more}.", hint=hint)


def _names_for(name: str, header: Sequence[str], cells: pd.DataFrame) -> list[str]:
    if cells.shape[1] == len(header) + 1:
        if bool(cells.iloc[:, -1].eq("").all()):
            return column_names(name, header)
        header = ["", *header]
    return column_names(name, header)
