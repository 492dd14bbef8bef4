"""A local linear smoother: the trend line of a cloud of points (Cleveland 1979, without the robustness steps).

At each x0 a line is fitted by weighted least squares, with tricube weights over the nearest ``span`` of the points; its
value at x0 is the smooth. Many points are first gathered, neighbours along x together, into means with their counts as
weights: a line through a few hundred means is that through the points, at a hundredth of the time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


#: Points above which neighbours are gathered, and into how many groups.
GATHER_ABOVE, GROUPS = 2_000, 800


def local_line(x: Array, y: Array, *, span: float = 0.7, points: int = 60) -> tuple[Array, Array]:
    """Smooth y on x.

    Parameters
    ----------
    x, y : array of shape (n,)
        Finite values.
    span : float
        Share of the points within the window.
    points : int
        Where to evaluate: this many quantiles of x.

    Returns
    -------
    at, smooth : array of shape (m,)
        m <= ``points``; empty where x has fewer than 5 different values.
    """
    if np.unique(x).size < 5:
        return np.empty(0), np.empty(0)
    order = np.argsort(x, kind="stable")
    x, y, n = x[order], y[order], np.ones(x.size)
    at = np.unique(x[np.linspace(0, x.size - 1, points).round().astype(int)])
    k = max(int(np.ceil(span * x.size)), 3)
    if x.size > GATHER_ABOVE:
        x, y, n = _gathered(x, y)
    out = np.empty(at.size)
    for i, x0 in enumerate(at):
        d = x - x0
        away = np.abs(d)
        near = np.argsort(away, kind="stable")
        last = min(int(np.searchsorted(np.cumsum(n[near]), k)), len(near) - 1)
        width = max(float(away[near[last]]), float(np.ptp(x)) * 1e-6) * (1 + 1e-9)
        w = n * np.clip(1 - (away / width) ** 3, 0, None) ** 3
        s0, s1, s2 = w.sum(), w @ d, w @ (d * d)
        t0, t1 = w @ y, w @ (d * y)
        determinant = s0 * s2 - s1 * s1
        flat = determinant <= 1e-10 * s0 * s2 or s2 == 0
        out[i] = t0 / s0 if flat else (s2 * t0 - s1 * t1) / determinant
    return at, out


def _gathered(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Means of neighbours along x, which is sorted, and how many each is of."""
    edges = np.linspace(0, x.size, GROUPS + 1).round().astype(int)
    n = np.diff(edges).astype(float)
    return np.add.reduceat(x, edges[:-1]) / n, np.add.reduceat(y, edges[:-1]) / n, n
