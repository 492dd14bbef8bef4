"""The variogram of residuals: half the mean squared difference of two plots, by how far they lie apart.

    sample     mean of (e_i - e_j)^2 / 2 over the pairs at a lag
    fitted     mean of (R_ii + R_jj) / 2 - R_ij over the same pairs: what the model says of the errors (V for marginal ones)
    expected   mean of the same for Var(e^): what the model lets one expect of *estimated* residuals, which fixed effects have
               drawn together; the sample is to be compared with this

Pairs of one trial only. (Gilmour, Cullis and Verbyla 1997, JABES 2, 269-293; Cressie 1993, Statistics for Spatial Data.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.diagnostics.between import estimated_covariance, residual_between, response_between
from openreml_core.diagnostics.positions import Positions
from openreml_core.diagnostics.view import RowView
from openreml_core.errors import DataError, ModelError

DIRECTIONS = ("surface", "all", "row", "column", "diagonal")
#: Rows up to which the variance of the estimated residuals, an n x n matrix, is computed for what is to be expected.
EXPECTED = 2_500
#: Pairs looked at together, and rows of one trial whose pairs are listed.
AT_ONCE, MOST_ROWS = 2**21, 20_000
#: Bins of distance where places are no grid.
BINS = 20

Pairs = tuple[np.ndarray, np.ndarray]


def variogram_table(
    view: RowView,
    values: np.ndarray,
    positions: Positions,
    *,
    direction: str = "surface",
    spacing: tuple[float, float] = (1.0, 1.0),
    width: float | None = None,
    max_lag: float | None = None,
    marginal: bool = False,
) -> pd.DataFrame:
    """The sample variogram with the fitted one beside it.

    Parameters
    ----------
    view : RowView
    values : array of shape (n,)
        Residuals on the scale of the data.
    positions : Positions
    direction : {"surface", "all", "row", "column", "diagonal"}
        By lag in rows and in columns; by distance in any direction; within a column; within a row; at 45 degrees.
    spacing : (float, float)
        Distance between neighbouring rows, and between neighbouring columns.
    width : float, optional
        Width of a bin of distance.
    max_lag : float, optional
        The largest distance.
    marginal : bool
        Whether the residuals are marginal ones.

    Returns
    -------
    DataFrame
        row_lag and col_lag (surface) or distance; pairs, semivariance, fitted, expected.

    Raises
    ------
    DataError, ModelError
    """
    if direction not in DIRECTIONS:
        raise ModelError(f"direction={direction!r} is not known.", hint=f"Choose one of {', '.join(DIRECTIONS)}.")
    if direction == "surface" and not positions.is_grid:
        raise DataError(
            f"*{positions.row_name}* and *{positions.col_name}* are coordinates, not rows and columns: lags do not repeat.",
            hint="Ask for direction='all', 'row' or 'column'.",
        )
    keys = _keys(positions, direction, spacing, width)
    between = response_between if marginal else residual_between
    whole = estimated_covariance(view, marginal) if view.n <= EXPECTED else None
    sums: dict[tuple[float, float], np.ndarray] = {}
    for i, j in _pairs(positions, values):
        first, second, kept = keys(i, j)
        apart = np.hypot(
            spacing[0] * (positions.row[i] - positions.row[j]), spacing[1] * (positions.col[i] - positions.col[j])
        )
        if max_lag is not None:
            kept &= apart <= max_lag
        i, j, first, second, apart = i[kept], j[kept], first[kept], second[kept], apart[kept]
        if not len(i):
            continue
        parts = [apart, np.ones(len(i)), 0.5 * (values[i] - values[j]) ** 2, _implied(view, between, i, j)]
        parts.append(_of_matrix(whole, i, j) if whole is not None else np.full(len(i), np.nan))
        both = np.column_stack([first, second])
        found, place = np.unique(both, axis=0, return_inverse=True)
        totals = np.column_stack([np.bincount(place.reshape(-1), weights=part) for part in parts])
        for key, total in zip(map(tuple, found.tolist()), totals, strict=True):
            sums[key] = sums[key] + total if key in sums else total
    if not sums:
        raise DataError("No two plots of a trial lie apart in this direction.", hint="Choose another direction.")
    table = pd.DataFrame([(*key, *total) for key, total in sorted(sums.items())])
    table.columns = ["row_lag", "col_lag", "distance", "pairs", "semivariance", "fitted", "expected"]
    for name in ("distance", "semivariance", "fitted", "expected"):
        table[name] /= table["pairs"]
    table["pairs"] = table["pairs"].astype(int)
    if direction == "surface":
        table[["row_lag", "col_lag"]] = table[["row_lag", "col_lag"]].astype(int)
    else:
        table = table.drop(columns=["row_lag", "col_lag"])
    table.attrs = {
        "direction": direction, "row": positions.row_name, "col": positions.col_name, "trials": len(positions.trials),
        "kind": "marginal" if marginal else "conditional",
    }  # fmt: skip
    return table


def _pairs(positions: Positions, values: np.ndarray) -> Iterator[Pairs]:
    """The pairs of rows of one trial, each once."""
    for rows in positions.groups():
        rows = rows[np.isfinite(values[rows])]
        n = len(rows)
        if n > MOST_ROWS:
            raise ModelError(
                f"{n:,} plots make {n * (n - 1) // 2:,} pairs, too many to look at.",
                hint="Name the trials they lie in, by=...",
            )
        step = max(AT_ONCE // max(n, 1), 1)
        for start in range(0, n, step):
            first = np.arange(start, min(start + step, n))
            a, b = np.nonzero(np.arange(n) > first[:, None])
            yield rows[first[a]], rows[b]


def _keys(
    positions: Positions, direction: str, spacing: tuple[float, float], width: float | None
) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What tells the lag of pairs: the two numbers of it, and which pairs count."""
    row, col, grid = positions.row, positions.col, positions.is_grid
    if width is None:
        width = _width(positions, spacing)

    def of(i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        dr, dc = np.abs(row[i] - row[j]), np.abs(col[i] - col[j])
        if direction == "surface":
            return dr, dc, np.ones(len(dr), dtype=bool)
        y, x = spacing[0] * dr, spacing[1] * dc
        distance, nothing = np.hypot(y, x), np.zeros(len(dr))
        if direction == "all":
            kept = distance > 0
        elif grid and direction != "diagonal":
            kept = (dc == 0) & (dr > 0) if direction == "row" else (dr == 0) & (dc > 0)
        elif grid:
            kept = (dr == dc) & (dr > 0)
        else:
            angle = np.degrees(np.arctan2(y, x))
            kept = (distance > 0) & (np.abs(angle - {"row": 90, "column": 0, "diagonal": 45}[direction]) <= 22.5)
        if grid and direction != "all":
            return distance, nothing, kept
        return (
            np.round(distance / width),
            nothing,
            kept,
        )  # the number of a bin: its pairs' mean distance is what is shown

    return of


def _width(positions: Positions, spacing: tuple[float, float]) -> float:
    known = positions.known
    if positions.is_grid:
        return float(min(spacing))
    y, x = spacing[0] * positions.row[known], spacing[1] * positions.col[known]
    return float(np.hypot(np.ptp(y), np.ptp(x)) / 2 / BINS) or 1.0


def _implied(
    view: RowView, between: Callable[[RowView, Tensor, Tensor], Tensor], i: np.ndarray, j: np.ndarray
) -> np.ndarray:
    """(S_ii + S_jj) / 2 - S_ij of every pair."""
    rows_i, place_i = np.unique(i, return_inverse=True)
    rows_j, place_j = np.unique(j, return_inverse=True)
    across = between(view, torch.from_numpy(rows_i), torch.from_numpy(rows_j)).numpy()[place_i, place_j]
    own = view.residual_variance
    if between is response_between:
        own = own + view.random_variance
    return (own.numpy()[i] + own.numpy()[j]) / 2 - across


def _of_matrix(s: Tensor, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    matrix = s.numpy()
    return (matrix[i, i] + matrix[j, j]) / 2 - matrix[i, j]
