"""The second reading: the cross-products of W's columns, portion by portion.

    N_s = W_s' diag(w) W_s   for every section s of the residual,   C = [X y]'[X y]   without weights

X has all its columns here; which of them are independent is read off C, or off R with R'R = X'X where C leaves doubt. W's
products are symmetric: only N's upper triangle is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse
from scipy.linalg import qr

from openreml_core.design import RandomDesign
from openreml_core.design.arrays import stack_columns
from openreml_core.design.checks import column_or_array, response_values
from openreml_core.design.effects import Columns
from openreml_core.design.evaluate import Coded
from openreml_core.design.finite import check_finite
from openreml_core.design.table import Table
from openreml_core.streaming.census import complete, offset_of
from openreml_core.streaming.layout import Layout
from openreml_core.streaming.source import Portion


@dataclass
class SparseSum:
    """A sum of sparse matrices: partial sums of falling size, so that a small one is not added to a large one each time."""

    parts: list[sparse.csr_array] = field(default_factory=list)

    def add(self, matrix: sparse.csr_array) -> None:
        """Add one more."""
        self.parts.append(matrix)
        while len(self.parts) > 1 and self.parts[-2].nnz <= 2 * self.parts[-1].nnz:
            last = self.parts.pop()
            self.parts.append(self.parts.pop() + last)

    def total(self) -> sparse.csr_array:
        """The sum."""
        while len(self.parts) > 1:
            last = self.parts.pop()
            self.parts.append(self.parts.pop() + last)
        return self.parts[0]


@dataclass(eq=False)
class Products:
    """What some rows add up to.

    Attributes
    ----------
    rows : int64 array of shape (S,)
        Rows of every section.
    n : SparseSum of (S Q, Q)
        The upper triangles of N_s, one under the other.
    c : float64 array of shape (P + 1, P + 1)
        C.
    inverse_weights : float64 array of shape (S,)
        Sum of 1 / w.
    log_weights : float
        Sum of log w.
    squares : tuple of float64 arrays of shape (k, k)
        Of every term the sum over the rows of K_jj b b', b the row's effects and j its level.
    """

    rows: np.ndarray
    n: SparseSum
    c: np.ndarray
    inverse_weights: np.ndarray
    log_weights: float
    squares: tuple[np.ndarray, ...]

    def add(self, other: Products) -> None:
        """Add the products of other rows."""
        self.rows = self.rows + other.rows
        for part in other.n.parts:
            self.n.add(part)
        self.c = self.c + other.c
        self.inverse_weights = self.inverse_weights + other.inverse_weights
        self.log_weights += other.log_weights
        self.squares = tuple(a + b for a, b in zip(self.squares, other.squares, strict=True))


def products_of(portion: Portion, layout: Layout, kernels: Mapping[tuple[str, ...], np.ndarray]) -> Products | None:
    """The products of a portion, None where no row is complete; ``kernels`` are the diagonals of known relationships."""
    with portion.named():
        return summed(_piece(table, layout, kernels) for table in _tables(portion, layout))


def summed(products: Iterable[Products | None]) -> Products | None:
    """Their sum; None of none."""
    total: Products | None = None
    for one in products:
        if one is None:
            continue
        if total is None:
            total = one
        else:
            total.add(one)
    return total


def _tables(portion: Portion, layout: Layout) -> Iterable[Table]:
    """The complete rows of a portion, as many at a time as find room."""
    for piece in portion.pieces(layout.rows_at_once):
        whole = Table.of(piece.frame)
        table = whole.kept(complete(whole, layout.wanted.columns), layout.wanted.columns)
        if len(table):
            yield table


def fixed_columns(table: Table, layout: Layout) -> np.ndarray:
    """X with all its columns, (n, P)."""
    coding = layout.coding
    values = coding.values(table)
    for text, value in values.items():
        if not isinstance(value, Coded):
            check_finite(coding.variables[text].expression, value, table)
    return stack_columns(coding, coding.blocks(values, len(table)), len(table))


def _piece(table: Table, layout: Layout, kernels: Mapping[tuple[str, ...], np.ndarray]) -> Products:
    n, wanted = len(table), layout.wanted
    y = response_values(wanted.formula, table) - offset_of(wanted.formula, wanted.offset, table) - layout.mean
    xy = np.column_stack([fixed_columns(table, layout), y])
    codes = {group: grouping.codes(table) for group, grouping in layout.groupings.items()}
    places, numbers, squares, start = [], [], [], 0
    for random in layout.random:
        basis = _basis(random, table)
        own, k = codes[random.term.group], len(random.effects)
        places.append(start + own[:, None] * k + np.arange(k))
        numbers.append(basis)
        weight = kernels.get(random.term.group)
        squares.append(basis.T @ (basis if weight is None else weight[own][:, None] * basis))
        start += len(random.levels if weight is None else weight) * k
    width = start + xy.shape[1]
    places.append(np.broadcast_to(start + np.arange(xy.shape[1]), xy.shape))
    numbers.append(xy)
    section = np.zeros(n, dtype=np.int64) if layout.section is None else layout.section.level(
        table.column(layout.section.name)
    )  # fmt: skip
    weights = np.ones(n) if wanted.weights is None else column_or_array("weights", wanted.weights, table)
    assert weights is not None
    rows = _rows(np.concatenate(places, axis=1), np.concatenate(numbers, axis=1), width)
    return Products(
        rows=np.bincount(section, minlength=layout.sections),
        n=SparseSum([_upper(rows, weights, section, layout.sections)]),
        c=xy.T @ xy,
        inverse_weights=np.bincount(section, weights=1 / weights, minlength=layout.sections),
        log_weights=float(np.log(weights).sum()),
        squares=tuple(squares),
    )


def _basis(random: RandomDesign, table: Table) -> np.ndarray:
    """A term's effects over the rows of a table, (n, k), all of them finite."""
    basis = random.left.basis(table)
    if not np.isfinite(basis).all() and isinstance(random.left, Columns):
        for variable in random.left.coding.variables.values():
            value = variable.values(table)
            if not isinstance(value, Coded):
                check_finite(variable.expression, value, table)
    return basis


def _rows(places: np.ndarray, numbers: np.ndarray, width: int) -> sparse.csr_array:
    """A sparse matrix from the places and numbers of its rows; what is zero is left out."""
    kept = numbers != 0
    ends = np.concatenate([[0], kept.sum(axis=1).cumsum()])
    return sparse.csr_array((numbers[kept], places[kept], ends), shape=(len(places), width))


def _upper(w: sparse.csr_array, weights: np.ndarray, section: np.ndarray, sections: int) -> sparse.csr_array:
    """The upper triangles of W_s' diag(w) W_s, one under the other, (S Q, Q)."""
    q = w.shape[1]
    counts = np.diff(w.indptr)
    left = w if sections == 1 else sparse.csr_array(
        (w.data, w.indices + np.repeat(section, counts) * q, w.indptr), shape=(w.shape[0], sections * q)
    )  # fmt: skip
    right = w if (weights == 1).all() else sparse.csr_array(
        (w.data * np.repeat(weights, counts), w.indices, w.indptr), shape=w.shape
    )  # fmt: skip
    n = (left.T @ right).tocoo()
    row, column = n.coords
    upper = row % q <= column
    return sparse.csr_array((n.data[upper], (row[upper], column[upper])), shape=n.shape)


def triangle_of(portion: Portion, layout: Layout) -> np.ndarray:
    """R (at most P, P) with R'R = X'X over a portion."""
    out = np.empty((0, len(layout.names)))
    with portion.named():
        for table in _tables(portion, layout):
            out = joined_triangle(out, fixed_columns(table, layout))
    return out


def joined_triangle(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """R of the rows of both."""
    rows = np.vstack([first, second])
    return rows if len(rows) <= rows.shape[1] else qr(rows, mode="r", check_finite=False)[0][: rows.shape[1]]
