"""Which rows have every value that the model uses."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from openreml_core.design.table import Table
from openreml_core.errors import DataError

_NONE = pd.DataFrame({"row": np.empty(0, dtype=object), "reason": np.empty(0, dtype=object)})


def complete_rows(
    table: Table, names: Collection[str], extra: dict[str, np.ndarray]
) -> tuple[np.ndarray, pd.DataFrame]:
    """Return which rows have every value that the model uses, and why the others have not.

    Parameters
    ----------
    table : Table of n rows
    names : collection of str
        The columns used.
    extra : dict of str to float array of shape (n,)
        Values given beside the table, such as weights.

    Returns
    -------
    keep : bool array of shape (n,)
    dropped : DataFrame
        ``row`` (its label) and ``reason``.
    """
    missing = {name: np.asarray(pd.isna(table.column(name).array)) for name in names}
    missing |= {name: np.isnan(values) for name, values in extra.items()}
    missing = {name: mask for name, mask in missing.items() if mask.any()}
    if not missing:
        return np.ones(len(table), dtype=bool), _NONE.copy()
    lost = np.zeros(len(table), dtype=bool)
    for mask in missing.values():
        lost |= mask
    places = np.flatnonzero(lost)
    reasons = []
    for place in places:
        absent = [name for name, mask in missing.items() if mask[place]]
        reasons.append(f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} missing")
    if len(places) == len(table):
        empty = [name for name, mask in missing.items() if mask.all()]
        what = f"*{empty[0]}* is missing in every row." if empty else "Every row lacks a value that the model uses."
        raise DataError(what, hint="Leave out of the model the columns with most values missing.")
    return ~lost, pd.DataFrame(
        {"row": table.frame.index[places].to_numpy(dtype=object), "reason": np.array(reasons, dtype=object)}
    )
