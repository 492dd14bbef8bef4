"""Writing and reading the file of a fit."""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from openreml_core.destination import check_target, name_of, put
from openreml_core.errors import DataError
from openreml_core.factorisation import SparseMatrix
from openreml_core.storage.record import Damaged, Relation, check_record, record_of, relationships_of, stored_rows
from openreml_core.storage.rows import restored, storable, with_plain_index
from openreml_core.streaming import record_of as record_of_reading

FORMAT, VERSION = "openreml-fit", 2
#: The version that reads a fit with its rows.
WITH_ROWS = 1
_AGAIN = "Fit the model again and save it."


@dataclass(frozen=True, eq=False)
class SavedFit:
    """What a file holds.

    Attributes
    ----------
    record : dict
        Specification, estimates and trace; every entry is there and of its type.
    rows : DataFrame
    relationships : dict of str to (labels, matrix, inverse)
        Known covariance of a grouping factor's levels, float64 (q, q), or its sparse inverse; the other is None.
    tables : dict of str to DataFrame
        Cross-products and levels of a fit without rows, whose ``rows`` are an example only.
    """

    record: dict[str, Any]
    rows: pd.DataFrame
    relationships: dict[str, Relation]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)


def write(path: Any, fit: Any) -> None:
    """Write a fit to a path or an open binary file.

    Raises
    ------
    DataError
        The path cannot be written to, or a column holds what no file can.
    """
    check_target(path)
    reading = getattr(fit, "reading", None)
    rows, factors = storable(stored_rows(fit) if reading is None else reading.census.example)
    portions, tables = (None, {}) if reading is None else record_of_reading(reading)
    relationships = relationships_of(fit)
    record = {
        "format": FORMAT,
        "version": WITH_ROWS if reading is None else VERSION,
        **record_of(fit),
        **({} if portions is None else {"portions": portions, "tables": list(tables)}),
        "factors": factors,
        "relationships": list(relationships),
    }
    text = json.dumps(record, ensure_ascii=False, allow_nan=True, default=float)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("fit.json", text)
        archive.writestr("rows.parquet", _rows_parquet(rows))
        for place, relation in enumerate(relationships.values()):
            for name, packed_part in _relation_files(f"relationship{place}", *relation):
                archive.writestr(name, packed_part)
        for name, table in tables.items():
            archive.writestr(f"{name}.parquet", _parquet(table))
    put(path, packed.getvalue())


def read(path: Any) -> SavedFit:
    """Read the file of a fit.

    Raises
    ------
    DataError
        When the file is missing, is no saved fit, is damaged, or was written by a later version.
    """
    if not (isinstance(path, str | os.PathLike) or hasattr(path, "read")):
        raise DataError(f"A fit cannot be read from {path!r}.", hint="Give the path of a file that fit.save wrote.")
    try:
        with zipfile.ZipFile(path) as archive:
            record = json.loads(archive.read("fit.json").decode("utf-8"))
            _check_origin(path, record)
            check_record(record)
            rows = restored(pd.read_parquet(io.BytesIO(archive.read("rows.parquet"))), record["factors"])
            relationships = {
                name: _relation(archive, f"relationship{place}") for place, name in enumerate(record["relationships"])
            }
            tables = {
                name: pd.read_parquet(io.BytesIO(archive.read(f"{name}.parquet"))) for name in record.get("tables", ())
            }
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"There is no file {name_of(path)}.", hint="Check the path.") from None
    except Damaged as error:
        raise DataError(f"{name_of(path)} is damaged: {error}.", hint=_AGAIN) from None
    except Exception as error:  # zip, JSON and Parquet fail in many ways; all of them mean the same to the user
        raise DataError(
            f"{name_of(path)} is not a saved fit, or is damaged ({type(error).__name__}).",
            hint="Choose a file that fit.save wrote.",
        ) from None
    return SavedFit(record, rows, relationships, tables)


def _check_origin(path: Any, record: Any) -> None:
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise DataError(f"{name_of(path)} is not a saved fit.", hint="Choose a file that fit.save wrote.")
    version = record.get("version")
    if type(version) is not int or version < 1:
        raise Damaged(f"its version is {str(version)[:40]!r}")
    if version > VERSION:
        raise DataError(f"{name_of(path)} was written by a later version.", hint="Update this program to open it.")


def _rows_parquet(rows: pd.DataFrame) -> bytes:
    """The rows in Parquet; labels of rows that Parquet does not know become text."""
    try:
        return _parquet(rows)
    except Exception:  # pyarrow raises several kinds
        try:
            return _parquet(with_plain_index(rows))
        except Exception as error:
            raise DataError(
                f"The rows of the fit cannot be stored: {error}.", hint="Make the columns of the table numbers or text."
            ) from None


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=True)
    return buffer.getvalue()


def _relation_files(
    name: str, labels: tuple[str, ...], matrix: np.ndarray | None, inverse: sparse.csr_array | None
) -> list[tuple[str, bytes]]:
    columns = {} if matrix is None else {str(k): matrix[:, k] for k in range(len(labels))}
    files = [(f"{name}.parquet", _parquet(pd.DataFrame({"label": list(labels), **columns})))]
    if inverse is not None:
        listed = sparse.coo_array(inverse)
        row, column = (c.astype(np.int64) for c in listed.coords)
        entries = pd.DataFrame({"row": row, "column": column, "value": listed.data})
        files.append((f"{name}_inverse.parquet", _parquet(entries)))
    return files


def _relation(archive: zipfile.ZipFile, name: str) -> Relation:
    frame = pd.read_parquet(io.BytesIO(archive.read(f"{name}.parquet")))
    if f"{name}_inverse.parquet" not in archive.namelist():
        return (*_matrix(frame), None)
    labels, listed = _labels(frame), pd.read_parquet(io.BytesIO(archive.read(f"{name}_inverse.parquet")))
    places = tuple(listed[c].to_numpy(dtype=np.int64) for c in ("row", "column"))
    value = listed["value"].to_numpy(dtype=np.float64)
    if any(((p < 0) | (p >= len(labels))).any() for p in places) or not np.isfinite(value).all():
        raise Damaged("the inverse of its relationship matrix has entries without a label or a number")
    inverse = sparse.csr_array((value, places), shape=(len(labels),) * 2)
    if abs(inverse - inverse.T).sum() != 0:
        raise Damaged("the inverse of its relationship matrix is not symmetric")
    try:
        SparseMatrix(inverse).factor  # noqa: B018
    except np.linalg.LinAlgError:
        raise Damaged("the inverse of its relationship matrix is not positive definite") from None
    return labels, None, inverse


def _labels(frame: pd.DataFrame) -> tuple[str, ...]:
    labels = tuple(frame["label"].tolist())
    if len(set(labels)) < len(labels) or not all(isinstance(label, str) for label in labels):
        raise Damaged("the labels of its relationship matrix are not unique texts")
    return labels


def _matrix(frame: pd.DataFrame) -> tuple[tuple[str, ...], np.ndarray]:
    labels = _labels(frame)
    matrix = frame.drop(columns="label").to_numpy(dtype=np.float64)
    if matrix.shape != (len(labels),) * 2 or not np.isfinite(matrix).all() or not np.array_equal(matrix, matrix.T):
        raise Damaged("its relationship matrix is not square, not symmetric or not of finite numbers")
    return labels, matrix
