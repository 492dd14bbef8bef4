"""Which rows are complete, and how rows are named in messages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from openreml_core.errors import DataError


def row_names(index: pd.Index, places: Sequence[int] | np.ndarray, most: int = 5) -> str:
    """Return rows for a message: by their labels, or counted from 1 where the table has no labels of its own.

    Parameters
    ----------
    index : Index of the table
    places : places of the rows, counted from 0
    most : int
        How many are shown.
    """
    counted = isinstance(index, pd.RangeIndex) or (index.dtype.kind in "iu" and index.is_monotonic_increasing)
    shown = [str(int(index[place]) + 1) if counted else str(index[place]) for place in list(places)[:most]]
    more = f" and {len(places) - most} more" if len(places) > most else ""
    return f"row{'s' * (len(places) > 1)} {', '.join(shown)}{more}"


def complete_rows(
    data: pd.DataFrame, names: dict[str, object], extra: dict[str, np.ndarray]
) -> tuple[np.ndarray, pd.DataFrame]:
    """Return which rows have every value that the model uses, and why the others have not.

    Parameters
    ----------
    data : DataFrame of n rows
    names : dict
        Column as text -> as the table has it.
    extra : dict of str to float array of shape (n,)
        Values given beside the table, such as weights.

    Returns
    -------
    keep : bool array of shape (n,)
    dropped : DataFrame
        ``row`` (its label) and ``reason``.
    """
    missing = {name: data[own].isna().to_numpy() for name, own in names.items()}
    missing |= {name: np.isnan(values) for name, values in extra.items()}
    missing = {name: mask for name, mask in missing.items() if mask.any()}
    lost = np.zeros(len(data), dtype=bool)
    for mask in missing.values():
        lost |= mask
    places = np.flatnonzero(lost)
    reasons = []
    for place in places:
        absent = [name for name, mask in missing.items() if mask[place]]
        reasons.append(f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} missing")
    if len(places) == len(data):
        empty = [name for name, mask in missing.items() if mask.all()]
        what = f"*{empty[0]}* is missing in every row." if empty else "Every row lacks a value that the model uses."
        raise DataError(what, hint="Leave out of the model the columns with most values missing.")
    return ~lost, pd.DataFrame(
        {"row": data.index[places].to_numpy(dtype=object), "reason": np.array(reasons, dtype=object)}
    )
