"""The cubic smoothing spline as random effects: ``spl(x)``.

The curve that goes smoothest through values f at knots t_1 < ... < t_K is the natural cubic spline. With h_j = t_(j+1) - t_j,
Q (K, K-2) its second differences and R (K-2, K-2) tridiagonal,

    Q_jj = 1/h_j,  Q_(j+1)j = -1/h_j - 1/h_(j+1),  Q_(j+2)j = 1/h_(j+1)
    R_jj = (h_j + h_(j+1)) / 3,  R_j(j+1) = h_(j+1) / 6

    integral of f''^2 = f' Q R^-1 Q' f        (Green and Silverman 1994, Nonparametric Regression and Generalized Linear Models)

Smoothing with the penalty lambda times that is the mixed model (Verbyla, Cullis, Kenward and Welham 1999, Appl. Stat. 48,
269-311)

    f = [1 t] b + Z v,   Z = Q (Q'Q)^-1 R^(1/2),   v ~ N(0, s2 I),   lambda = sigma2 / s2

s2 is in units of the response squared over x cubed. Rows between the knots are on the natural spline through Z's columns, rows
beyond them on its straight continuation.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from openreml_core.design.positions import coordinate
from openreml_core.design.table import Table
from openreml_core.errors import DataError

#: Up to how many distinct values are all knots.
MOST_KNOTS = 50


class SmoothingSpline:
    """What a curve bends from a straight line, an effect for each knot but the two at the ends.

    Parameters
    ----------
    column : str
    shown : str
        The term, for the messages.
    table : Table of n complete rows
    knots : int, optional
        How many; all distinct values unless given, or 50 where there are more. Fewer than there are distinct values
        stand at their quantiles.

    Attributes
    ----------
    knots : float64 array of shape (K,)
    """

    def __init__(self, column: str, shown: str, table: Table, knots: int | None = None) -> None:
        self.column, self.shown = column, shown
        values = np.unique(coordinate(table, column, shown))
        if len(values) < 3:
            raise DataError(
                f"*{column}* has {len(values)} distinct value{'s' * (len(values) > 1)}: "
                f"the spline {shown} needs three or more to bend.",
                hint="Leave the spline out; a straight line is what such data can show.",
            )
        count = min(knots or MOST_KNOTS, len(values))
        self.knots = values if count == len(values) else np.quantile(values, np.linspace(0.0, 1.0, count))
        self.names = tuple(f"{column} = {knot:.6g}" for knot in self.knots[1:-1])
        # In units of the mean step between knots the matrices are well conditioned whatever x is measured in.
        unit = float(np.ptp(self.knots)) / (count - 1)
        self._curve = CubicSpline(self.knots, unit**1.5 * _root(np.diff(self.knots) / unit), bc_type="natural")

    def basis(self, table: Table) -> np.ndarray:
        x = coordinate(table, self.column, self.shown)
        inside = np.clip(x, self.knots[0], self.knots[-1])
        return self._curve(inside) + (x - inside)[:, None] * self._curve(inside, 1)


def _root(h: np.ndarray) -> np.ndarray:
    """Z = Q (Q'Q)^-1 R^(1/2) for steps h (K-1,): (K, K-2)."""
    inner = len(h) - 1
    q = np.zeros((inner + 2, inner))
    own = np.arange(inner)
    q[own, own], q[own + 1, own], q[own + 2, own] = 1 / h[:-1], -1 / h[:-1] - 1 / h[1:], 1 / h[1:]
    r = np.diag((h[:-1] + h[1:]) / 3) + np.diag(h[1:-1] / 6, 1) + np.diag(h[1:-1] / 6, -1)
    values, vectors = np.linalg.eigh(r)
    orthogonal, upper = np.linalg.qr(q)  # Q (Q'Q)^-1 = O U^-T
    return orthogonal @ np.linalg.solve(upper.T, (vectors * np.sqrt(values)) @ vectors.T)
