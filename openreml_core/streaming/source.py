"""Where rows come from when they are not all in memory: portions of a table, one after another."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import pandas as pd

from openreml_core.errors import DataError, FormulaError, ModelError, did_you_mean

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Portion:
    """Some rows.

    Attributes
    ----------
    name : str
        The file or partition that they are of, for the messages.
    frame : DataFrame
        Its index counts the rows of the file from 0.
    """

    name: str
    frame: pd.DataFrame

    def pieces(self, rows: int) -> Iterator[Portion]:
        """The portion in pieces of so many rows at most."""
        for start in range(0, len(self.frame), rows):
            yield Portion(self.name, self.frame.iloc[start : start + rows])

    @contextmanager
    def named(self) -> Iterator[None]:
        """Put the portion's name before the message of an error that comes of its rows."""
        try:
            yield
        except ModelError as error:
            raise type(error)(f"{self.name}: {error.message}", hint=error.hint) from None


class Source(Protocol):
    """A table that is read in portions.

    Attributes
    ----------
    words : str
        What it is, as in "the rows stayed in ...".
    columns : tuple of str
        As text in Unicode's NFC.
    """

    words: str
    columns: tuple[str, ...]

    def require(self, names: Sequence[str]) -> None:
        """Refuse columns that are missing in a part; a FormulaError where they are nowhere."""

    def each(
        self, names: Sequence[str], levels: Collection[str], rows: int, ask: Callable[[Portion], T]
    ) -> Iterator[T]:
        """What ``ask`` returns of every portion, in the order of the rows.

        Parameters
        ----------
        names : sequence of str
            The columns that are read.
        levels : collection of str
            Those that are levels whatever they hold.
        rows : int
            About how many rows make a portion, where the source has a choice.
        ask : callable
            It may run in another process.
        """


class FrameSource:
    """A table in memory, read in portions.

    Parameters
    ----------
    frame : DataFrame
    rows : int
        Rows of a portion.
    """

    def __init__(self, frame: pd.DataFrame, rows: int = 500_000) -> None:
        self.frame, self.rows, self.words = frame, rows, "a table"
        self.own = {as_text(name): name for name in frame.columns}
        self.columns = tuple(self.own)

    def require(self, names: Sequence[str]) -> None:
        refuse_unknown(names, self.columns)

    def each(
        self, names: Sequence[str], levels: Collection[str], rows: int, ask: Callable[[Portion], T]
    ) -> Iterator[T]:
        frame = self.frame[[self.own[name] for name in names]].reset_index(drop=True)
        for piece in Portion("table", frame).pieces(self.rows):
            yield ask(piece)


def as_text(name: object) -> str:
    """A column's name as formulas know it."""
    return unicodedata.normalize("NFC", str(name))


def refuse_unknown(names: Sequence[str], columns: Sequence[str], part: str = "") -> None:
    """Refuse names that are no columns; of one part among others where that is named."""
    for name in names:
        if name in columns:
            continue
        if part:
            raise DataError(
                f"{part}: there is no column *{name}*, which the model uses and other parts have.",
                hint=did_you_mean(name, columns),
            )
        raise FormulaError(f"Column *{name}* is not in this table.", hint=did_you_mean(name, columns))
