"""What one column holds, found out portion by portion: numbers or levels, and which."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from openreml_core.design.columns import Factor, as_factor, is_numeric, level_text, numbers
from openreml_core.errors import DataError

#: So many different numbers are remembered of a column that is used as a number.
FEW = 7


@dataclass(frozen=True, eq=False)
class ColumnCensus:
    """What a column holds in some rows.

    Attributes
    ----------
    name : str
    numeric : bool
        Whether it holds numbers.
    where : str
        The portion that was looked at first.
    example : str
        A value of it.
    values : Index or None
        The different values in the order in which they appear, of a column that is levels.
    categories : Index or None
        All categories, where the column is a category with the same ones in every portion.
    few : float64 array
        The different numbers, at most seven of them; of a column of numbers.
    """

    name: str
    numeric: bool
    where: str
    example: str
    values: pd.Index | None = None
    categories: pd.Index | None = None
    few: np.ndarray | None = None

    def factor(self) -> Factor:
        """The levels in their order; ``codes`` are of the different values."""
        assert self.values is not None
        if self.categories is not None:
            return as_factor(pd.Series(pd.Categorical(self.values, categories=self.categories), name=self.name))
        return as_factor(pd.Series(self.values, name=self.name))

    def and_then(self, other: ColumnCensus) -> ColumnCensus:
        """With the rows of another portion.

        Raises
        ------
        DataError
            One portion holds numbers, the other text.
        """
        if self.numeric != other.numeric:
            here, there = ("numbers" if c.numeric else "text" for c in (self, other))
            raise DataError(
                f"{other.where}: the column *{self.name}* holds {there} ({other.example}), in {self.where} it holds {here} "
                f"({self.example}).",
                hint="Write the column as one kind in every part.",
            )
        values, categories, few = self.values, self.categories, self.few
        if values is not None and other.values is not None:
            values = values.append(other.values[values.get_indexer(other.values) < 0])
        if categories is None or other.categories is None or not categories.equals(other.categories):
            categories = None
        if few is not None and other.few is not None:
            few = np.union1d(few, other.few)[:FEW]
        return replace(self, values=values, categories=categories, few=few)


def column_census(name: str, column: pd.Series, where: str, *, levels: bool) -> tuple[ColumnCensus, np.ndarray | None]:
    """What a column of complete rows holds; and which of its values each row has, where it is levels.

    Parameters
    ----------
    name : str
    column : Series of n > 0 values
    where : str
        The portion's name.
    levels : bool
        Whether numbers are levels too.
    """
    numeric = is_numeric(column)
    out = ColumnCensus(name, numeric, where, _shown(column.iloc[0], numeric))
    if numeric:
        out = replace(out, few=_few(numbers(column)))
    if numeric and not levels:
        return out, None
    codes, values, categories = distinct(column)
    return replace(out, values=values, categories=categories), codes


def _shown(value: object, numeric: bool) -> str:
    return level_text(value) if numeric else f"'{str(value)[:30]}'"


def _few(values: np.ndarray) -> np.ndarray:
    """The different numbers; seven of them where there are more."""
    beginning = np.unique(values[:1000])
    return (beginning if len(beginning) >= FEW else np.unique(values))[:FEW]


def distinct(column: pd.Series) -> tuple[np.ndarray, pd.Index, pd.Index | None]:
    """The different values of a column: which each row has, int64 (n,), the values, and the categories if it has some."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = column.cat.codes.to_numpy().astype(np.int64)
        occurring = np.unique(codes)
        new = np.full(len(column.cat.categories), -1)
        new[occurring] = np.arange(len(occurring))
        return new[codes], _plain(column.cat.categories[occurring]), _plain(column.cat.categories)
    try:
        codes, values = pd.factorize(column)
    except TypeError:
        raise DataError(f"*{column.name}* holds values that are neither numbers nor text.") from None
    return codes.astype(np.int64), _plain(pd.Index(values)), None


def _plain(values: pd.Index) -> pd.Index:
    """Values in types that do not depend on the library that read them: text is text, however it is held."""
    return values if values.dtype.kind in "iufbM" else values.astype(object)


@dataclass(frozen=True, eq=False)
class Lookup:
    """The levels of a column by its values.

    Attributes
    ----------
    name : str
    values : Index of m values
    codes : int64 array of shape (m,)
        The level of each value.
    levels : tuple of q str
    """

    name: str
    values: pd.Index
    codes: np.ndarray
    levels: tuple[str, ...]

    @classmethod
    def of(cls, census: ColumnCensus) -> Lookup:
        """The levels that a census found."""
        assert census.values is not None
        factor = census.factor()
        return cls(census.name, census.values, factor.codes, factor.levels)

    def level(self, column: pd.Series) -> np.ndarray:
        """The level of each row, int64 (n,).

        Raises
        ------
        DataError
            A value that was not there when the levels were collected.
        """
        codes, values, _ = distinct(column)
        place = self.values.get_indexer(values)
        if (place < 0).any():
            raise DataError(
                f"*{self.name}* holds {values[place < 0][0]!r}, which it did not hold when the levels were collected.",
                hint="The data changed while they were read: fit again.",
            )
        return self.codes[place][codes]
