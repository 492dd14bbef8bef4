"""Rows that are left out on purpose, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from openreml_core.errors import DataError

#: Labels of rows and why they are left out, in the order that they were named.
Excluded: TypeAlias = tuple[tuple[int | str, str], ...]


def exclusions(exclude: Any) -> Excluded:
    """Rows to leave out, by label, with their reasons.

    Parameters
    ----------
    exclude : mapping of label to reason, sequence of labels, or None

    Raises
    ------
    DataError
        A single text, or reasons that are no text.

    Examples
    --------
    >>> exclusions({12: "lodged", 40: ""}), exclusions([3])
    (((12, 'lodged'), (40, '')), ((3, ''),))
    """
    if exclude is None:
        return ()
    if isinstance(exclude, Mapping):
        pairs = list(exclude.items())
    elif isinstance(exclude, Sequence | np.ndarray | pd.Index | pd.Series | set) and not isinstance(
        exclude, str | bytes
    ):
        pairs = [(label, "") for label in exclude]
    else:
        raise DataError(
            f"exclude={exclude!r} does not name rows.",
            hint='Give labels, [12, 40], or reasons with them, {12: "lodged"}.',
        )
    if wrong := [reason for _, reason in pairs if not isinstance(reason, str)]:
        raise DataError(f"The reason {wrong[0]!r} for leaving out a row is no text.", hint='Write {12: "lodged"}.')
    return tuple({plain_label(label): reason for label, reason in pairs}.items())


def plain_label(label: Any) -> int | str:
    """A row's label as a number or text that a file can hold."""
    if isinstance(label, int | np.integer) and not isinstance(label, bool):
        return int(label)
    return str(label)


def left_in(data: Any, excluded: Excluded, *beside: Any) -> tuple[Any, ...]:
    """A table without the rows that are left out, and values given beside it, one a row, likewise.

    Raises
    ------
    DataError
        Labels that the table does not have; no row is left; rows in files.
    """
    if not excluded:
        return (data, *beside)
    if not isinstance(data, pd.DataFrame):
        raise DataError("Rows can be left out by their labels from a DataFrame only.", hint="Leave exclude= out.")
    labels = [plain_label(label) for label in data.index]
    gone, known = {label for label, _ in excluded}, set(labels)
    if missing := [str(label) for label, _ in excluded if label not in known]:
        raise DataError(
            f"The table has no row {', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''} to leave out.",
            hint="Name rows by the labels of the table's index.",
        )
    kept = np.array([label not in gone for label in labels], dtype=bool)
    if not kept.any():
        raise DataError("Every row is left out.", hint="Leave some rows in.")
    return (data[kept], *(_at(given, kept) for given in beside))


def _at(given: Any, kept: np.ndarray) -> Any:
    if given is None or isinstance(given, str):
        return given
    values = np.asarray(given)
    return values[kept] if values.shape == kept.shape else given


def exclusion_words(excluded: Excluded, most: int = 10) -> str:
    """Rows and reasons in words.

    Examples
    --------
    >>> exclusion_words(((12, "lodged"), (40, "lodged"), (7, "")))
    'rows 12, 40 (lodged); row 7'
    """
    by_reason: dict[str, list[str]] = {}
    for label, reason in excluded:
        by_reason.setdefault(reason, []).append(str(label))
    parts = []
    for reason, labels in by_reason.items():
        shown = ", ".join(labels[:most]) + (f" and {len(labels) - most} more" if len(labels) > most else "")
        parts.append(f"row{'s' if len(labels) > 1 else ''} {shown}{f' ({reason})' if reason else ''}")
    return "; ".join(parts)
