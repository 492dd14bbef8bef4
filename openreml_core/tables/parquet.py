"""Tables in Parquet files."""

from __future__ import annotations

import datetime
import decimal
import io

import pandas as pd

from openreml_core.errors import DataError
from openreml_core.tables.header import column_names, drop_row_numbers
from openreml_core.tables.source import MAX_BYTES, Source, check_size


def read_parquet(source: Source, max_bytes: int = MAX_BYTES) -> pd.DataFrame:
    """Read a Parquet file: numbers, text and categories; dates become text, truth values too.

    Raises
    ------
    DataError
        The file is damaged, has no rows, or a column holds lists.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(io.BytesIO(source.data))
        unpacked = sum(file.metadata.row_group(g).total_byte_size for g in range(file.metadata.num_row_groups))
        check_size(f"{source.name}, unpacked,", unpacked, max_bytes)
        arrow = file.read()
        nested = [field.name for field in arrow.schema if pyarrow.types.is_nested(field.type)]
        frame = arrow.to_pandas(date_as_object=True) if not nested else pd.DataFrame()
    except DataError:
        raise
    except Exception:  # pyarrow raises several kinds for a damaged file, all of them mean the same to the user
        raise DataError(
            f"The Parquet file *{source.name}* is damaged and cannot be read.", hint="Write it again and try once more."
        ) from None
    if nested:
        raise DataError(
            f"*{source.name}*: column *{nested[0]}* holds a list in each row.", hint="Spread it over several columns."
        )
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    frame = frame.reset_index(drop=True)
    if frame.empty:
        raise DataError(f"The Parquet file *{source.name}* has no rows.", hint="Choose a file with a table in it.")
    names = column_names(source.name, list(frame.columns))
    frame = pd.concat([plain(frame.iloc[:, j]) for j in range(frame.shape[1])], axis=1)
    frame.columns = pd.Index(names)
    return drop_row_numbers(frame)


def plain(column: pd.Series) -> pd.Series:
    """Return a column as int64, float64, text or categories; what is missing stays missing.

    Whole numbers beyond int64 become text, as in other files.
    """
    types = pd.api.types
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column
    if types.is_bool_dtype(column.dtype):
        return column.map(str).astype("str").where(column.notna())
    if types.is_unsigned_integer_dtype(column.dtype) and column.max() > 2**63 - 1:
        return column.map(str, na_action="ignore").astype("str")
    if types.is_integer_dtype(column.dtype):
        return column.astype("int64") if not column.isna().any() else column.astype("float64")
    if types.is_float_dtype(column.dtype):
        return column.astype("float64")
    if types.is_datetime64_any_dtype(column.dtype):
        days = column.dropna()
        midnight = bool((days == days.dt.normalize()).all())
        text = column.dt.strftime("%Y-%m-%d" if midnight else "%Y-%m-%dT%H:%M:%S")
        return text.astype("str").where(column.notna())
    if column.dtype == object:
        present = column.dropna()
        if len(present) and all(isinstance(cell, decimal.Decimal) for cell in present):
            return column.astype("float64")
        if any(isinstance(cell, datetime.date | datetime.time | datetime.timedelta | bool | bytes) for cell in present):
            return column.map(str).astype("str").where(column.notna())
    elif types.is_timedelta64_dtype(column.dtype):
        return column.dt.total_seconds()
    return column
