"""A file of delimited text, read in batches: separator, decimal mark and kinds of columns are found out from its beginning."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from openreml_core.design.columns import is_numeric
from openreml_core.errors import DataError
from openreml_core.tables.cells import MISSING, MISSING_AMONG_NUMBERS, decimal_mark
from openreml_core.tables.delimited import find_encoding, find_separator, read_text, text_cells
from openreml_core.tables.source import Source, kind_of

#: Bytes that are looked at to find out how a file is written.
HEAD = 1 << 20
#: Bytes read at once.
BLOCK = 1 << 24


class DelimitedFile:
    """See :class:`openreml_core.streaming.files.TableFile`."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        with path.open("rb") as stream:
            head = stream.read(HEAD)
            whole = not stream.read(1)
        if not whole:
            head = head[: head.rfind(b"\n") + 1] or head
        source = Source(self.name, head)
        if kind_of(source) != "text":
            raise DataError(
                f"*{self.name}* is a workbook, which is not read in portions.", hint="Read it with reml.read_table."
            )
        self.encoding = find_encoding(source)
        self.separator = find_separator(source, self.encoding)
        if self.separator == " ":
            raise DataError(
                f"The cells of *{self.name}* are separated by blanks, which is not read in portions.",
                hint="Read it with reml.read_table, or write it with commas.",
            )
        names, cells = text_cells(source, self.encoding, self.separator)
        self.header = [*names, *(f"(beyond {j})" for j in range(len(names), cells.shape[1]))]
        frame = read_text(source, separator=self.separator)
        self.decimal = decimal_mark([cells.iloc[:, j] for j in range(len(names))], self.separator)
        self.columns = tuple(str(name) for name in frame.columns)
        present = {str(name): frame[name].notna().any() for name in frame.columns}
        self.text = {str(name) for name in frame.columns if present[str(name)] and not is_numeric(frame[name])}

    def holds_text(self, column: str) -> bool:
        return column in self.text

    def frames(self, names: Sequence[str], text: Collection[str], rows: int) -> Iterator[pd.DataFrame]:
        import pyarrow
        from pyarrow import csv

        wanted = list(dict.fromkeys(names))
        encoding = {"utf-8-sig": "utf-8"}.get(self.encoding, self.encoding)
        held: list[Any] = []
        count = done = 0
        try:
            reader = csv.open_csv(
                self.path,
                read_options=csv.ReadOptions(
                    block_size=BLOCK, column_names=self.header, skip_rows=1, encoding=encoding, use_threads=False
                ),
                parse_options=csv.ParseOptions(delimiter=self.separator),
                convert_options=csv.ConvertOptions(
                    include_columns=wanted,
                    column_types=dict.fromkeys(wanted, pyarrow.string()),
                    null_values=list(MISSING),
                    strings_can_be_null=True,
                ),
            )
            with reader:
                for batch in reader:
                    held.append(batch)
                    count += batch.num_rows
                    if count >= rows:
                        yield self._frame(held, wanted, text, done)
                        held, done, count = [], done + count, 0
            if count:
                yield self._frame(held, wanted, text, done)
        except (pyarrow.ArrowException, OSError, UnicodeError) as error:
            said = str(error).splitlines()[0][:200]
            raise DataError(
                f"The file *{self.name}* cannot be read in portions: {said}.", hint="Read it with reml.read_table."
            ) from None

    def _frame(self, batches: list[Any], names: Sequence[str], text: Collection[str], done: int) -> pd.DataFrame:
        import pyarrow
        import pyarrow.compute as pc

        table = pyarrow.Table.from_batches(batches)
        out = {}
        for name in names:
            cells = pc.utf8_trim_whitespace(table.column(name))
            cells = _without(cells, MISSING)
            as_text = name in text or name in self.text
            out[name] = cells.to_pandas() if as_text else self._numbers(name, cells, done)
        return pd.DataFrame(out)

    def _numbers(self, name: str, cells: Any, done: int) -> np.ndarray:
        import pyarrow
        import pyarrow.compute as pc

        cells = _without(cells, MISSING_AMONG_NUMBERS)
        plain = cells
        if self.decimal == ",":
            plain = pc.replace_substring(pc.replace_substring(cells, ".", ""), ",", ".")
        for kind in (pyarrow.int64(), pyarrow.float64()):
            if kind == pyarrow.int64() and cells.null_count:
                continue
            try:
                return pc.cast(plain, kind).to_numpy()
            except pyarrow.ArrowInvalid:
                continue
        shown = plain.to_pandas()
        wrong = np.flatnonzero((pd.to_numeric(shown, errors="coerce").isna() & shown.notna()).to_numpy())
        where = (
            f"'{cells[int(wrong[0])].as_py()}' in row {done + int(wrong[0]) + 1}" if len(wrong) else "something else"
        )
        raise DataError(
            f"{self.name}: the column *{name}* holds {where}, where the rows before hold numbers.",
            hint="Correct the cell or mark it as missing (NA); a factor is written as text from the first row on.",
        )


def _without(cells: Any, missing: Collection[str]) -> Any:
    """Cells with some texts as missing."""
    import pyarrow
    import pyarrow.compute as pc

    there = pc.is_in(cells, value_set=pyarrow.array(list(missing), pyarrow.string()))
    return pc.if_else(pc.fill_null(there, False), pyarrow.scalar(None, pyarrow.string()), cells)
