"""Crossing and nesting of factors, by counting: the facts from which a design is recognised."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Codes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Grouping:
    """Rows sorted into the levels of a factor, or into the combinations of several that occur.

    Attributes
    ----------
    names : tuple of str
        The columns.
    codes : int64 array of shape (n,)
        Level of each row, -1 where one of the columns is missing.
    size : int
        Number of levels.
    """

    names: tuple[str, ...]
    codes: Codes
    size: int

    @cached_property
    def counts(self) -> Codes:
        """Rows in each level, shape (size,)."""
        return np.bincount(self.codes[self.codes >= 0], minlength=self.size).astype(np.int64)

    @property
    def balanced(self) -> bool:
        """Whether all levels have the same number of rows."""
        return self.size > 0 and bool((self.counts == self.counts[0]).all())


def grouping(table: pd.DataFrame, name: str) -> Grouping:
    """Return the rows of a table sorted into the levels of one column."""
    codes, levels = pd.factorize(table[name])
    return Grouping((name,), codes.astype(np.int64), len(levels))


def everything(n: int) -> Grouping:
    """Return n rows in one level without a name: the neutral element of `cross`."""
    return Grouping((), np.zeros(n, dtype=np.int64), 1)


def cross(*groupings: Grouping) -> Grouping:
    """Return the combinations of levels that occur.

    >>> a, b = (grouping(pd.DataFrame({"x": list(text)}), "x") for text in ("uuvv", "pqpp"))
    >>> cross(a, b).size, cross(a, b).counts.tolist()
    (3, [1, 1, 2])
    """
    first, *others = groupings
    codes, size, names = first.codes, first.size, first.names
    for other in others:
        missing = (codes < 0) | (other.codes < 0)
        pairs = np.where(missing, -1, codes * max(other.size, 1) + other.codes)
        found = np.unique(pairs[~missing])
        codes = np.where(missing, -1, np.searchsorted(found, pairs)).astype(np.int64)
        size, names = len(found), names + other.names
    return Grouping(names, codes, size)


def levels_within(inner: Grouping, outer: Grouping) -> Codes:
    """Return how many levels of `inner` occur in each level of `outer`, shape (outer.size,)."""
    both = cross(outer, inner)
    first = np.full(both.size, -1, dtype=np.int64)
    rows = both.codes >= 0
    first[both.codes[rows]] = outer.codes[rows]
    return np.bincount(first, minlength=outer.size).astype(np.int64)


def is_nested(inner: Grouping, outer: Grouping) -> bool:
    """Tell whether each level of `inner` occurs in one level of `outer` only."""
    both = cross(inner, outer)
    rows = both.codes >= 0
    return both.size > 0 and both.size == len(np.unique(inner.codes[rows]))


def is_same(a: Grouping, b: Grouping) -> bool:
    """Tell whether two groupings sort the rows alike, under whatever names."""
    return a.size == b.size and is_nested(a, b) and is_nested(b, a)


def is_complete(a: Grouping, b: Grouping) -> bool:
    """Tell whether every level of `a` meets every level of `b`."""
    return cross(a, b).size == a.size * b.size


def absent_cells(entries: Grouping, blocks: Grouping, sections: Grouping) -> int | None:
    """Count the pairs of entry and block of a section that do not occur; None where a pair occurs more than once.

    Parameters
    ----------
    entries : Grouping
        Treatments.
    blocks : Grouping
        Blocks or replicates; each belongs to one section.
    sections : Grouping
        Environments; the entries of one need not be those of another.
    """
    cells = cross(entries, blocks)
    if cells.size == 0 or blocks.size < 2 or int(cells.counts.max()) > 1:
        return None
    return int((levels_within(entries, sections) * levels_within(blocks, sections)).sum()) - cells.size


def are_complete_blocks(entries: Grouping, blocks: Grouping, sections: Grouping) -> bool:
    """Tell whether each entry occurs once in each block of its section, a few lost plots aside.

    Lost plots leave blocks of unequal size; blocks that are all alike and not complete are incomplete by design.
    """
    absent = absent_cells(entries, blocks, sections)
    if absent is None:
        return False
    return absent == 0 or (not blocks.balanced and absent <= 0.12 * (absent + cross(entries, blocks).size))


def fills_boxes(groups: Grouping, row: Codes, column: Codes) -> bool:
    """Tell whether each group of plots is a rectangle of the field without a gap (in at least 95 % of the groups).

    Parameters
    ----------
    groups : Grouping of n rows
        Candidate whole plots.
    row, column : int64 arrays of shape (n,)
        Positions, as ranks.
    """
    frame = pd.DataFrame({"group": groups.codes, "row": row, "column": column})
    frame = frame[groups.codes >= 0]
    if frame.empty:
        return False
    box = frame.groupby("group").agg(["min", "max", "size"])
    area = (box[("row", "max")] - box[("row", "min")] + 1) * (box[("column", "max")] - box[("column", "min")] + 1)
    return bool((area == box[("row", "size")]).mean() >= 0.95)


def runs_together(groups: Grouping, inner: Grouping) -> bool:
    """Tell whether each group stands in consecutive rows, with `inner` in an order that differs between groups.

    A table sorted by its factors lists them so too, but with the same order in every group: that says nothing.
    """
    if (groups.codes < 0).any() or not groups.balanced or groups.size < 2:
        return False
    changes = int(np.count_nonzero(np.diff(groups.codes))) + 1
    if changes != groups.size:
        return False
    order = inner.codes.reshape(groups.size, -1)
    return bool((order != order[0]).any())
