"""A Parquet file, read in batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from openreml_core.errors import DataError
from openreml_core.streaming.source import as_text
from openreml_core.tables.parquet import plain


class ParquetFile:
    """See :class:`openreml_core.streaming.files.TableFile`."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet

        self.path, self.name = path, path.name
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                schema = file.schema_arrow
        except Exception:  # pyarrow raises several kinds for a damaged file, all of them mean the same to the user
            raise self._damaged() from None
        self.own = {as_text(name): name for name in schema.names}
        self.columns = tuple(self.own)
        self.nested = {as_text(f.name) for f in schema if pyarrow.types.is_nested(f.type)}

    def holds_text(self, column: str) -> bool:
        return False

    def frames(self, names: Sequence[str], text: Collection[str], rows: int) -> Iterator[pd.DataFrame]:
        import pyarrow
        import pyarrow.parquet

        for name in names:
            if name in self.nested:
                raise DataError(f"{self.name}: the column *{name}* holds a list in each row.")
        own = [self.own[name] for name in dict.fromkeys(names)]
        held: list[Any] = []
        count = 0
        try:
            with pyarrow.parquet.ParquetFile(self.path, pre_buffer=False) as file:
                for batch in file.iter_batches(batch_size=rows, columns=own):
                    held.append(batch)
                    count += batch.num_rows
                    if count >= rows:
                        table, held, count = pyarrow.Table.from_batches(held), [], 0
                        yield _frame(table, own)
                if count:
                    yield _frame(pyarrow.Table.from_batches(held), own)
        except (pyarrow.ArrowException, OSError):
            raise self._damaged() from None

    def _damaged(self) -> DataError:
        return DataError(
            f"The Parquet file *{self.name}* is damaged and cannot be read.", hint="Write it again and try once more."
        )


def _frame(table: Any, own: Sequence[str]) -> pd.DataFrame:
    """An arrow table's columns as pandas has those of a table read whole."""
    table = table.unify_dictionaries()
    out = {}
    for name in own:
        column = table.column(name).to_pandas(date_as_object=True)
        # Times stay times: whether all of them are midnights is not known of one portion.
        out[name] = column if pd.api.types.is_datetime64_any_dtype(column.dtype) else plain(column)
    return pd.DataFrame(out)
