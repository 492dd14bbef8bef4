"""Correlation of residuals with their neighbours' along rows, columns, the path of the harvester, or time.

    r(h) = mean of e_i e_j over the pairs at lag h / mean of e_i^2,     e less its mean
    expected: the same of Var(e^) in the place of e e', what the model lets one expect

The band is expected +- 1.96 / sqrt(pairs), the usual approximation for residuals without correlation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from openreml_core.diagnostics.between import estimated_covariance
from openreml_core.diagnostics.positions import Positions, serpentine_order
from openreml_core.diagnostics.variogram import EXPECTED
from openreml_core.diagnostics.view import RowView
from openreml_core.errors import DataError, ModelError

DIRECTIONS = ("row", "column", "serpentine")


def grid_autocorrelation(
    view: RowView,
    values: np.ndarray,
    positions: Positions,
    directions: Sequence[str],
    max_lag: int | None,
    marginal: bool,
) -> pd.DataFrame:
    """Correlations by lag in each of some directions.

    Returns
    -------
    DataFrame
        direction, lag, pairs, correlation, expected, lower, upper.

    Raises
    ------
    DataError, ModelError
        Places that are no grid; an unknown direction.
    """
    unknown = [d for d in directions if d not in DIRECTIONS]
    if unknown:
        raise ModelError(f"direction={unknown[0]!r} is not known.", hint=f"Choose of {', '.join(DIRECTIONS)}.")
    if not positions.is_grid:
        raise DataError(
            f"*{positions.row_name}* and *{positions.col_name}* are coordinates, not rows and columns.",
            hint="Ask for a variogram, which takes any distance.",
        )
    lines: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for direction in directions:
        if direction == "serpentine":
            lines[direction] = [(rows, np.arange(len(rows))) for rows in serpentine_order(positions)]
        else:
            along, across = positions.row, positions.col
            if direction == "column":
                along, across = across, along
            lines[direction] = [
                (rows[across[rows] == line], along[rows[across[rows] == line]].astype(int))
                for rows in positions.groups()
                for line in np.unique(across[rows])
            ]
    return _table(view, values, lines, max_lag, marginal)


def serial_autocorrelation(
    view: RowView,
    values: np.ndarray,
    order: np.ndarray,
    within: np.ndarray,
    name: str,
    max_lag: int | None,
    marginal: bool,
) -> pd.DataFrame:
    """Correlations by lag along an order (n,), within groups (n,); lags count the observations between."""
    lines = []
    for group in np.unique(within[within >= 0]):
        rows = np.flatnonzero((within == group) & np.isfinite(order))
        lines.append((rows[np.argsort(order[rows], kind="stable")], np.arange(len(rows))))
    return _table(view, values, {name: lines}, max_lag, marginal)


def _table(
    view: RowView,
    values: np.ndarray,
    lines: dict[str, list[tuple[np.ndarray, np.ndarray]]],
    max_lag: int | None,
    marginal: bool,
) -> pd.DataFrame:
    e = values - np.nanmean(values)
    scale = float(np.nanmean(e**2))
    s: Tensor | None = estimated_covariance(view, marginal) if view.n <= EXPECTED else None
    matrix = None if s is None else s.numpy()
    spread = np.nan if matrix is None else float(matrix.diagonal()[np.isfinite(values)].mean())
    out = []
    for direction, found in lines.items():
        longest = max((int(np.ptp(place)) for _, place in found if len(place)), default=0)
        most = min(longest, max_lag) if max_lag is not None else min(longest, max(longest // 2, 1))
        for lag in range(1, most + 1):
            pairs = [np.concatenate(own) for own in zip(*_at_lag(found, lag), strict=True)]
            if not pairs or not len(pairs[0]):
                continue
            i, j = pairs
            known = np.isfinite(e[i]) & np.isfinite(e[j])
            i, j = i[known], j[known]
            if not len(i) or scale == 0:
                continue
            expected = np.nan if matrix is None else float(matrix[i, j].mean()) / spread
            half, middle = 1.96 / np.sqrt(len(i)), 0.0 if np.isnan(expected) else expected
            out.append(
                (direction, lag, len(i), float((e[i] * e[j]).mean()) / scale, expected, middle - half, middle + half)
            )
    columns = ["direction", "lag", "pairs", "correlation", "expected", "lower", "upper"]
    return pd.DataFrame(out, columns=columns)


def _at_lag(lines: list[tuple[np.ndarray, np.ndarray]], lag: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs at a lag on every line; a missing plot breaks the pairs that it belongs to, no others."""
    for rows, place in lines:
        order = np.argsort(place, kind="stable")
        rows, place = rows[order], place[order]
        at = np.searchsorted(place, place + lag)
        inside = at < len(place)
        hit = inside.copy()
        hit[inside] = place[at[inside]] == place[inside] + lag
        yield rows[hit], rows[at[hit]]
