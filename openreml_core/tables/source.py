"""Where a table comes from: a path, bytes or an open file, measured before it is read; and what kind of file it is."""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from openreml_core.errors import DataError, did_you_mean

#: Files larger than this (bytes) are not read unless the caller raises the limit.
MAX_BYTES = 1_000_000_000

_CONVERT = "Save it as csv, xlsx or parquet and read that."

#: First bytes of files that are no table this reader knows, and what they are.
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"\xd0\xcf\x11\xe0", "an Excel workbook of the old kind (xls)"),
    (b"\x1f\x8b", "a compressed file (gzip) or an R data file"),
    (b"BZh", "a compressed file (bzip2)"),
    (b"\xfd7zXZ", "a compressed file (xz)"),
    (b"7z\xbc\xaf", "a compressed file (7z)"),
    (b"RDX", "an R data file"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"$FL2", "an SPSS file"),
    (b"SQLite format 3", "a database"),
)
_PAGE_STARTS = (b"<!doctype", b"<html", b"<table", b"<?xml")


@dataclass(frozen=True)
class Source:
    """A file in memory.

    Attributes
    ----------
    name : str
        How messages call it.
    data : bytes
        Its content.
    """

    name: str
    data: bytes


def size_text(n_bytes: int) -> str:
    """Return a size for people.

    >>> size_text(2_147_483_648), size_text(1_000_000_000), size_text(1536)
    ('2.1 GB', '1 GB', '1.5 kB')
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:.1f}".removesuffix(".0") + f" {unit}"
    return f"{n_bytes} bytes"


def check_size(name: str, n_bytes: int, max_bytes: int) -> None:
    """Raise `DataError` where a file is larger than the limit."""
    if n_bytes > max_bytes:
        raise DataError(
            f"The file *{name}* has {size_text(n_bytes)}; up to {size_text(max_bytes)} can be read.",
            hint="Leave out the rows or columns that the model does not need, and try again.",
        )


def open_source(source: Any, name: str | None = None, max_bytes: int = MAX_BYTES) -> Source:
    """Bring a file into memory, its size looked at first.

    Parameters
    ----------
    source : path, bytes or file-like
        What `read_table` was given.
    name : str, optional
        How messages call it; by default the file's own name.
    max_bytes : int
        Largest size taken, in bytes.

    Returns
    -------
    Source

    Raises
    ------
    DataError
        No such file, not readable, or too large.
    """
    if isinstance(source, str | os.PathLike):
        return _open_path(Path(source), name, max_bytes)
    if isinstance(source, bytes | bytearray | memoryview):
        name = name or "table"
        check_size(name, len(source), max_bytes)
        return Source(name, bytes(source))
    if hasattr(source, "read"):
        own = getattr(source, "name", None)
        name = name or (Path(own).name if isinstance(own, str) else "table")
        return _open_stream(source, name, max_bytes)
    raise DataError(f"A table cannot be read from {type(source).__name__}.", hint="Give a path, bytes or an open file.")


def _open_path(path: Path, name: str | None, max_bytes: int) -> Source:
    name = name or path.name or str(path)
    try:
        if path.is_dir():
            raise DataError(f"*{path}* is a folder.", hint="Give the path of a file.")
        check_size(name, path.stat().st_size, max_bytes)
        return Source(name, path.read_bytes())
    except FileNotFoundError:
        beside = [p.name for p in path.parent.glob("*") if p.is_file()][:1000] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, beside)
        raise DataError(
            f"There is no file *{path}*.", hint=hint if hint.startswith("Did") else "Check the folder and the spelling."
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"The file *{name[:120]}* cannot be opened: {reason}.", hint="Check the path.") from None


def _open_stream(stream: IO[Any], name: str, max_bytes: int) -> Source:
    size = getattr(stream, "size", None)
    if isinstance(size, int):
        check_size(name, size, max_bytes)
    try:
        if hasattr(stream, "seekable") and stream.seekable():
            if isinstance(stream, io.BufferedIOBase | io.RawIOBase):
                check_size(name, stream.seek(0, io.SEEK_END), max_bytes)
            stream.seek(0)
        content = stream.read(max_bytes + 1)
    except (OSError, ValueError, UnicodeError) as error:
        raise DataError(
            f"The file *{name}* cannot be read: {error}.", hint="Open it again and try once more."
        ) from None
    data = content.encode("utf-8") if isinstance(content, str) else bytes(content)
    if len(data) > max_bytes:
        raise DataError(
            f"The file *{name}* has more than {size_text(max_bytes)}, the most that can be read.",
            hint="Leave out the rows or columns that the model does not need, and try again.",
        )
    return Source(name, data)


def kind_of(source: Source, max_bytes: int = MAX_BYTES) -> str:
    """Tell text, workbook and parquet apart by content; the name's ending is not asked.

    Returns
    -------
    str
        ``"text"``, ``"xlsx"`` or ``"parquet"``.

    Raises
    ------
    DataError
        The file is empty, or of a kind that holds no table for this reader; the message says which.
    """
    head = source.data[:512]
    if not source.data:
        raise DataError(f"The file *{source.name}* is empty (0 bytes).", hint="Choose a file with a table in it.")
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _kind_of_zip(source, max_bytes)
    for start, what in _FOREIGN:
        if head.startswith(start):
            raise DataError(f"*{source.name}* is {what}, not a table that can be read here.", hint=_CONVERT)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGE_STARTS):
        raise DataError(f"*{source.name}* is a web page or XML, not a table.", hint=_CONVERT)
    ending = Path(source.name).suffix.lower()
    if ending in {".xlsx", ".xlsm", ".parquet"} and b"\x00" in head:
        raise DataError(
            f"*{source.name}* is called {ending} but does not hold such a file.",
            hint="Save it again and try once more.",
        )
    return "text"


def _kind_of_zip(source: Source, max_bytes: int) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(source.data)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError):
        raise DataError(
            f"*{source.name}* is damaged: its content cannot be unpacked.", hint="Save it again and try once more."
        ) from None
    names = {entry.filename for entry in entries}
    if "xl/workbook.xml" in names:
        check_size(f"{source.name}, unpacked,", sum(entry.file_size for entry in entries), max_bytes)
        return "xlsx"
    if any(name.startswith("xl/") for name in names):
        raise DataError(f"*{source.name}* is a binary Excel workbook (xlsb).", hint=_CONVERT)
    what = "an OpenDocument file" if "content.xml" in names else "a zip archive"
    raise DataError(f"*{source.name}* is {what}, not a table that can be read here.", hint=_CONVERT)
