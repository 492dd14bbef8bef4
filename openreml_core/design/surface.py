"""A smooth surface over rows and columns of a field, taken apart into five random terms: ``spl2d(row, col)``.

With B_r, B_c B-splines on equal segments of the two ranges, and D second differences of neighbouring coefficients, the
eigenvectors U of D'D with eigenvalues d > 0 give the part of each direction that is not linear, Z = B U. Beside the fixed
1, r, c and r c there are

    f(row)          Z_r             1 / d_r
    f(col)          Z_c             1 / d_c
    f(row):col      Z_r o c         1 / d_r
    row:f(col)      r o Z_c         1 / d_c
    f(row):f(col)   Z_r [] Z_c      1 / (d_r + d_c)

and every one has a variance of its own (PS-ANOVA: Lee, Durban and Eilers 2013, Comput. Stat. Data Anal. 61, 22-37; for field
trials Rodriguez-Alvarez, Boer, van Eeuwijk and Eilers 2018, Spat. Stat. 23, 52-71, the R package SpATS). The right column is the
prior variance of the effects, which is taken into their basis here: effects are independent and equally variable. r and c in
the products are centred and scaled by their standard deviation over the rows of the fit: centred as in SpATS, which matters;
scaled, which only sets the unit of the variance. The last part has B-splines on fewer segments, nested in the others'
(Lee, Durban and Eilers 2013).
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import BSpline

from openreml_core.design.positions import coordinate
from openreml_core.design.table import Table
from openreml_core.errors import DataError
from openreml_core.notation.bars import RandomTerm

#: How many segments a direction has at most, unless they are given.
MOST_SEGMENTS = 40
ORDER = 2  # of the differences that are penalised


class Direction:
    """One direction of a surface: its range, its centre, and P-splines on any number of segments.

    Parameters
    ----------
    column : str
    shown : str
        The term, for the messages.
    table : Table of n complete rows
    segments : int, optional
    degree : int
    """

    def __init__(self, column: str, shown: str, table: Table, segments: int | None, degree: int) -> None:
        self.column, self.shown, self.degree = column, shown, degree
        x = coordinate(table, column, shown)
        distinct = len(np.unique(x))
        if distinct < 3:
            raise DataError(
                f"*{column}* has {distinct} distinct value{'s' * (distinct > 1)}: "
                f"the surface {shown} needs three or more in each direction.",
                hint=f"Write spl() of the other column, and {column} as a factor.",
            )
        self.low, self.high = float(x.min()), float(x.max())
        self.centre, self.spread = float(x.mean()), float(x.std())
        self.segments = segments or min(distinct, MOST_SEGMENTS)

    def values(self, table: Table) -> np.ndarray:
        """The positions of a table, (m,); an error where they lie beyond those of the fit."""
        x = coordinate(table, self.column, self.shown)
        beyond = np.flatnonzero((x < self.low) | (x > self.high))
        if len(beyond):
            raise DataError(
                f"The surface {self.shown} was fitted over {self.column} from {self.low:g} to {self.high:g}; "
                f"{x[beyond[0]]:g} in {table.rows(beyond)} lies beyond.",
                hint="A surface says nothing about places outside the field.",
            )
        return x

    def standard(self, x: np.ndarray) -> np.ndarray:
        """x centred and scaled, (m, 1)."""
        return (x[:, None] - self.centre) / self.spread

    def smooth(self, x: np.ndarray, segments: int) -> tuple[np.ndarray, np.ndarray]:
        """Z = B U (m, s) and d (s,), s = segments + degree - 2."""
        width = (self.high - self.low) / segments
        count = segments + self.degree
        knots = self.low + width * np.arange(-self.degree, segments + self.degree + 1)
        differences = np.diff(np.eye(count), n=ORDER, axis=0)
        d, u = np.linalg.eigh(differences.T @ differences)
        return BSpline(knots, np.eye(count), self.degree)(x) @ u[:, ORDER:], d[ORDER:]


class SurfacePart:
    """One of the five random parts of a surface.

    Parameters
    ----------
    kind : str
        ``"row"``, ``"col"``, ``"row:linear"``, ``"linear:col"`` or ``"row:col"``.
    row, col : Direction
    nest : int
        By how much fewer segments the last part has.
    """

    def __init__(self, kind: str, row: Direction, col: Direction, nest: int) -> None:
        self.kind, self.row, self.col, self.nest = kind, row, col, nest
        f, g = f"f({row.column})", f"f({col.column})"
        self.label = {
            "row": f,
            "col": g,
            "row:linear": f"{f}:{col.column}",
            "linear:col": f"{row.column}:{g}",
            "row:col": f"{f}:{g}",
        }[kind]
        start = np.array([row.low]), np.array([col.low])
        self.names = tuple(f"{self.label}[{place + 1}]" for place in range(self._of(*start).shape[1]))

    def basis(self, table: Table) -> np.ndarray:
        return self._of(self.row.values(table), self.col.values(table))

    def _of(self, r: np.ndarray, c: np.ndarray) -> np.ndarray:
        fewer = self.nest if self.kind == "row:col" else 1
        by_row, d_row = self.row.smooth(r, max(self.row.segments // fewer, 1))
        by_col, d_col = self.col.smooth(c, max(self.col.segments // fewer, 1))
        if self.kind == "row:col":
            both = by_row[:, :, None] * by_col[:, None, :]
            return (both / np.sqrt(d_row[:, None] + d_col[None, :])).reshape(len(r), -1)
        along_row, along_col = by_row / np.sqrt(d_row), by_col / np.sqrt(d_col)
        return {
            "row": along_row,
            "col": along_col,
            "row:linear": along_row * self.col.standard(c),
            "linear:col": along_col * self.row.standard(r),
        }[self.kind]


def surface_parts(term: RandomTerm, table: Table) -> list[SurfacePart]:
    """The five parts of ``spl2d(row, col)`` over a table of complete rows."""
    options = {name: int(value) for name, value in term.options}
    degree, nest = options.get("degree", 3), options.get("nest", 2)
    row, col = (
        Direction(column, term.text, table, options.get(name), degree)
        for column, name in zip(term.positions, ("knots", "knots2"), strict=True)
    )
    return [SurfacePart(kind, row, col, nest) for kind in ("row", "col", "row:linear", "linear:col", "row:col")]
