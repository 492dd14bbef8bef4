"""Names of individuals: as text, each once, and a few of them in a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd

from openreml_core.design.columns import level_text
from openreml_core.errors import DataError

#: Names that a message lists before it counts the rest.
SHOWN = 5


def a_few(names: Sequence[str]) -> str:
    """Return the first names and how many follow.

    >>> a_few(["a", "b"]), a_few(list("abcdefg"))
    ('a, b', 'a, b, c, d, e and 2 more')
    """
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which takes an s in the plural.

    >>> counted(1, "marker"), counted(1200, "marker")
    ('1 marker', '1,200 markers')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def as_label(value: object) -> str | None:
    """Return a name as text, as the levels of a factor are written; None where the cell is empty.

    >>> as_label(12.0), as_label(" B73 "), as_label(float("nan")), as_label("")
    ('12', 'B73', None, None)
    """
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return None
    return level_text(value).strip() or None


def unique_labels(values: Iterable[object], what: str) -> tuple[str, ...]:
    """Return the names of the rows of `what`, refusing empty and repeated ones.

    Parameters
    ----------
    values : iterable of q names
    what : str
        ``"marker table"``, ``"relationship matrix"``, as messages call it.

    Returns
    -------
    tuple of q str
    """
    labels = [as_label(value) for value in values]
    empty = [str(place) for place, label in enumerate(labels, start=1) if label is None]
    if empty:
        raise DataError(
            f"The {what} has no name in row {a_few(empty)}.", hint="Give every individual a name, or remove the row."
        )
    named = [label for label in labels if label is not None]
    repeated = [label for label, times in Counter(named).items() if times > 1]
    if repeated:
        raise DataError(
            f"The {what} has more than one row for {a_few(repeated)}.", hint="Keep one row for each individual."
        )
    return tuple(named)
