"""A fit as one file: a zip of JSON and Parquet. Nothing in it is executable, nothing is unpickled.

fit.json        version, specification, estimates, trace
rows.parquet    the rows that were used, the columns that the model names
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd

from openreml_core.errors import DataError

FORMAT, VERSION = "openreml-fit", 1


def write(path: str | Path, record: dict[str, Any], rows: pd.DataFrame) -> None:
    """Write a fit's record (JSON types only) and its rows."""
    buffer = io.BytesIO()
    rows.to_parquet(buffer, index=True)
    text = json.dumps({"format": FORMAT, "version": VERSION, **record}, ensure_ascii=False, allow_nan=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("fit.json", text)
        archive.writestr("rows.parquet", buffer.getvalue())


def read(path: str | Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """The record and the rows of a saved fit.

    Raises
    ------
    DataError
        When the file is missing, is no saved fit, is damaged, or was written by a later version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            record = json.loads(archive.read("fit.json").decode("utf-8"))
            rows = pd.read_parquet(io.BytesIO(archive.read("rows.parquet")))
    except FileNotFoundError:
        raise DataError(f"There is no file {path}.", hint="Check the path.") from None
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise DataError(
            f"{path} is not a saved fit, or is damaged ({type(error).__name__}).",
            hint="Choose a file that fit.save wrote.",
        ) from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise DataError(f"{path} is not a saved fit.", hint="Choose a file that fit.save wrote.")
    if int(record.get("version", 0)) > VERSION:
        raise DataError(f"{path} was written by a later version.", hint="Update this program to open it.")
    return record, rows
