"""Files as a source: Parquet and delimited text, one or many, read in batches of the columns that are needed."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd

from openreml_core.errors import DataError, did_you_mean
from openreml_core.streaming.delimited import DelimitedFile
from openreml_core.streaming.parquet import ParquetFile
from openreml_core.streaming.source import Portion, refuse_unknown

T = TypeVar("T")

#: Endings that are looked for in a folder.
ENDINGS = (".parquet", ".pq", ".csv", ".tsv", ".txt")


class TableFile(Protocol):
    """A file that holds a table.

    Attributes
    ----------
    name : str
    columns : tuple of str
    """

    name: str
    columns: tuple[str, ...]

    def holds_text(self, column: str) -> bool:
        """Whether a column's cells may be text where another file has numbers: cells of delimited text may."""

    def frames(self, names: Sequence[str], text: Collection[str], rows: int) -> Iterator[pd.DataFrame]:
        """Its rows, some at a time; the columns in ``text`` as text."""


class FileSource:
    """One or several files of the same columns.

    Parameters
    ----------
    paths : path, pattern (``"part-*.parquet"``), folder, or a list of these

    Raises
    ------
    DataError
        Nothing of that name, or a file that holds no table.
    """

    def __init__(self, paths: Any) -> None:
        listed = list(paths) if isinstance(paths, list | tuple) else [paths]
        self.paths = tuple(dict.fromkeys(path for given in listed for path in found(given)))
        self.files: tuple[TableFile, ...] = tuple(table_file(path) for path in self.paths)
        self.columns = tuple(dict.fromkeys(name for file in self.files for name in file.columns))
        many = len(self.files) > 1
        shown = ", ".join(str(given) for given in listed[:3]) + (", ..." if len(listed) > 3 else "")
        self.words = f"{len(self.files)} files ({shown})" if many else f"the file {shown}"

    def require(self, names: Sequence[str]) -> None:
        refuse_unknown(names, self.columns)
        for file in self.files:
            refuse_unknown(names, file.columns, part=file.name)

    def each(
        self, names: Sequence[str], levels: Collection[str], rows: int, ask: Callable[[Portion], T]
    ) -> Iterator[T]:
        text = {name for name in levels if any(file.holds_text(name) for file in self.files)}
        for file in self.files:
            start = 0
            for frame in file.frames(names, text, rows):
                frame.index = pd.RangeIndex(start, start + len(frame))
                start += len(frame)
                yield ask(Portion(file.name, frame))


def found(given: Any) -> list[Path]:
    """The files that a path, a pattern or a folder stands for, in order of their names."""
    if not isinstance(given, str | os.PathLike) or not str(given).strip():
        raise DataError(f"{given!r} is no path.", hint="Give a path, or a pattern such as 'part-*.parquet'.")
    path = Path(given).expanduser()
    try:
        if path.is_file():
            return [path]
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in ENDINGS and p.is_file())
            if not inside:
                raise DataError(f"The folder *{path}* holds no Parquet or CSV files.", hint="Check the path.")
            return inside
        matching = sorted(Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file())
    except (OSError, ValueError) as error:
        raise DataError(f"*{given}* cannot be opened: {getattr(error, 'strerror', None) or error}.") from None
    if matching:
        return matching
    if glob.has_magic(str(path)):
        raise DataError(f"No file matches *{given}*.", hint="Check the folder and the pattern.")
    beside = [p.name for p in path.parent.glob("*") if p.is_file()][:1000] if path.parent.is_dir() else []
    hint = did_you_mean(path.name, beside)
    raise DataError(f"There is no file *{given}*.", hint=hint if hint.startswith("Did") else "Check the path.")


def table_file(path: Path) -> TableFile:
    """A file by what it holds; its ending is not asked.

    Raises
    ------
    DataError
        It is empty, or of a kind that cannot be read in portions.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
    except OSError as error:
        raise DataError(f"The file *{path.name}* cannot be opened: {error.strerror}.", hint="Check the path.") from None
    if not start:
        raise DataError(f"The file *{path.name}* is empty (0 bytes).", hint="Leave it out, or write it again.")
    return ParquetFile(path) if start.startswith(b"PAR1") else DelimitedFile(path)
