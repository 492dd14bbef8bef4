"""Laying plots out as a grid: rows by columns, a gap where there is no plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from openreml_core.figures.words import is_number_column

WIDEST_EMPTY = 4


@dataclass(frozen=True)
class Grid:
    """Where each plot lies.

    Attributes
    ----------
    rows, cols : tuple of length r and c
        The positions, in order; whole numbers without their holes closed.
    row, col : int array of shape (m,)
        Place of each plot that has a position.
    at : int array of shape (m,)
        Which of the values given each plot is.
    shared : int
        How many positions hold more than one plot.
    """

    rows: tuple[Any, ...]
    cols: tuple[Any, ...]
    row: NDArray[np.intp]
    col: NDArray[np.intp]
    at: NDArray[np.intp]
    shared: int

    def numbers(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Spread values (n,) over the grid (r, c): the mean where plots share a position, NaN where there is none."""
        v = values[self.at]
        known = np.isfinite(v)
        place = (self.row[known], self.col[known])
        total = np.zeros((len(self.rows), len(self.cols)))
        seen = np.zeros_like(total)
        np.add.at(total, place, v[known])
        np.add.at(seen, place, 1.0)
        return np.where(seen > 0, total / np.maximum(seen, 1), np.nan)

    def texts(self, values: Sequence[str]) -> NDArray[np.object_]:
        """Spread texts (n,) over the grid (r, c): joined by commas where plots share a position."""
        out = np.full((len(self.rows), len(self.cols)), "", dtype=object)
        for i, j, k in zip(self.row, self.col, self.at, strict=True):
            out[i, j] = f"{out[i, j]}, {values[k]}" if out[i, j] else values[k]
        return out


def lay_out(rows: Any, cols: Any, present: NDArray[np.bool_] | None = None) -> Grid:
    """Find the grid of plots at the given rows and columns.

    Parameters
    ----------
    rows, cols : array or Series of shape (n,)
        Numbers or names; plots without one are left out.
    present : bool array of shape (n,), optional
        Which plots to lay out.
    """
    r, c = pd.Series(rows).reset_index(drop=True), pd.Series(cols).reset_index(drop=True)
    if len(r) != len(c):
        raise ValueError(f"There are {len(r)} row positions but {len(c)} column positions.")
    keep = (r.notna() & c.notna()).to_numpy()
    if present is not None:
        keep = keep & present
    at = np.flatnonzero(keep)
    row_names, row = _positions(r[keep])
    col_names, col = _positions(c[keep])
    pairs = pd.Series(row * max(len(col_names), 1) + col).value_counts()
    return Grid(row_names, col_names, row, col, at, int((pairs > 1).sum()))


def _positions(values: pd.Series) -> tuple[tuple[Any, ...], NDArray[np.intp]]:
    """Give the ordered positions and each value's place among them."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        numeric = pd.to_numeric(pd.Series(values.astype(str).to_numpy()), errors="coerce")
        values = pd.Series(numeric.to_numpy()) if numeric.notna().all() else values.astype(str)
    if is_number_column(values) and len(values):
        numbers = values.to_numpy(float)
        found = np.unique(numbers)
        whole = bool(np.all(found == np.round(found)))
        span = int(found[-1] - found[0]) + 1 if whole else 0
        if whole and span <= WIDEST_EMPTY * found.size:
            found = np.arange(found[0], found[-1] + 1)
        names: tuple[Any, ...] = tuple(int(v) if whole else float(v) for v in found)
        return names, np.searchsorted(found, numbers)
    texts = values.astype(str).to_numpy()
    found_text, place = np.unique(texts, return_inverse=True)
    return tuple(found_text.tolist()), place
