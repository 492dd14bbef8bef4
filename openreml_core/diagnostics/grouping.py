"""Which rows are deleted together: the levels of a column, of several joined, or of any labels given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from openreml_core.design.columns import as_factor
from openreml_core.errors import DataError, did_you_mean


@dataclass(frozen=True, eq=False)
class Grouping:
    """Rows in groups.

    Attributes
    ----------
    name : str
    levels : tuple of G str
    codes : int64 array of shape (n,)
        The group of each row; -1 where its label is missing.
    """

    name: str
    levels: tuple[str, ...]
    codes: np.ndarray

    def rows(self) -> list[np.ndarray]:
        """The rows of every group."""
        order = np.argsort(self.codes, kind="stable")
        ends = np.searchsorted(self.codes[order], np.arange(len(self.levels) + 1))
        return [order[a:b] for a, b in pairwise(ends)]


def grouping_of(data: pd.DataFrame, group: Any) -> Grouping:
    """The grouping that a user asked for.

    Parameters
    ----------
    data : DataFrame
        The rows used.
    group : str, list of str, Series or array
        A column; several, ``"rep:block"`` or a list; or a label for each row, a Series by its own labels.

    Raises
    ------
    DataError
        An unknown column, or labels that do not fit the rows.
    """
    if isinstance(group, str):
        own = {str(c): c for c in data.columns}
        return _joined(data, [group] if group in own else group.split(":"))
    if isinstance(group, Sequence) and group and all(isinstance(g, str) for g in group) and len(group) != len(data):
        return _joined(data, list(group))
    if isinstance(group, pd.Series):
        if group.index.is_unique and data.index.isin(group.index).all():
            group = group.loc[data.index]
        name, labels = str(group.name or "group"), group.reset_index(drop=True)
    else:
        name, labels = "group", pd.Series(np.asarray(group).reshape(-1))
    if len(labels) != len(data):
        raise DataError(
            f"The labels of groups are {len(labels):,}; the fit used {len(data):,} rows.",
            hint="Give the name of a column, or one label for each row of fit.data.",
        )
    factor = as_factor(labels)
    return Grouping(name, tuple(factor.levels), factor.codes)


def _joined(data: pd.DataFrame, names: list[str]) -> Grouping:
    own = {str(c): c for c in data.columns}
    for name in names:
        if name not in own:
            raise DataError(
                f"There is no column *{name}* among the rows used.",
                hint=f"{did_you_mean(name, list(own))} Any other column can be given itself, as data[...].",
            )
    factors = [as_factor(data[own[name]]) for name in names]
    if len(factors) == 1:
        return Grouping(names[0], tuple(factors[0].levels), factors[0].codes)
    codes = np.column_stack([f.codes for f in factors])
    missing = (codes < 0).any(axis=1)
    found, place = np.unique(codes, axis=0, return_inverse=True)
    gone = (found < 0).any(axis=1)
    number = np.cumsum(~gone) - 1
    levels = tuple(
        ":".join(str(f.levels[c]) for f, c in zip(factors, row, strict=True)) for row in found[~gone].tolist()
    )
    return Grouping(":".join(names), levels, np.where(missing, -1, number[place.reshape(-1)]))
