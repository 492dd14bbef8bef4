"""Cross-products: all that Henderson's equations need of the rows.

    W = [Z_1 ... Z_T  X  y],      N_s = W_s' R0_s^-1 W_s   for every section s of the residual, R_s = sigma2_s R0_s

R0 is diagonal (1 / weight). The rows enter the likelihood through N = sum_s N_s / sigma2_s alone, so they are read once, in
whatever portions: cross-products of portions add up.

(Henderson, Kempthorne, Searle and von Krosigk 1959, Biometrics 15, 192-218; Bates 2014, lme4's computational notes, on the
spherical form that the engine gives them.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from scipy import sparse

from openreml_core.covariance import IndependentResidual
from openreml_core.model import MixedModel


@dataclass(frozen=True, eq=False)
class CrossProducts:
    """N_s, as lists of places and values.

    Attributes
    ----------
    row, column : int64 arrays of shape (nnz,)
        Places, both triangles.
    section : int64 array of shape (nnz,)
        Which section an entry is of.
    value : float64 array of shape (nnz,)
    size : int
        Columns of W, y's the last.
    counts : int64 array of shape (S,)
        Rows of each section.
    log_weights : float
        sum log w, so that log|R0| = -log_weights.
    """

    row: np.ndarray
    column: np.ndarray
    section: np.ndarray
    value: np.ndarray
    size: int
    counts: np.ndarray
    log_weights: float

    @property
    def sections(self) -> int:
        """S."""
        return len(self.counts)

    @cached_property
    def by_section(self) -> tuple[sparse.csr_array, ...]:
        """Every N_s as a sparse matrix."""
        shape = (self.size, self.size)
        ends = np.searchsorted(self.section, np.arange(self.sections + 1))
        return tuple(
            sparse.csr_array((self.value[a:b], (self.row[a:b], self.column[a:b])), shape=shape)
            for a, b in pairwise(ends.tolist())
        )

    def times(self, x: np.ndarray) -> np.ndarray:
        """N_s x for every section: x (size,) -> (size, S)."""
        out = np.bincount(
            self.row * self.sections + self.section,
            weights=self.value * x[self.column],
            minlength=self.size * self.sections,
        )
        return out.reshape(self.size, self.sections)


def cross_products(model: MixedModel) -> CrossProducts:
    """The cross-products of a model whose residual is independent, in one section or several."""
    design = wide_design(model)
    parts, counts, log_weights = [], [], 0.0
    for part in model.residuals:
        assert isinstance(part, IndependentResidual)
        variance = part.variance.numpy()
        rows = np.flatnonzero(variance)
        own = design if len(rows) == len(variance) else design[rows]
        if not (variance[rows] == 1.0).all():
            own = sparse.csr_array(own.multiply(variance[rows][:, None] ** -0.5))
        parts.append(own.T @ own)
        counts.append(len(rows))
        log_weights -= float(np.log(variance[rows]).sum())
    return from_matrices(parts, counts, log_weights)


def from_matrices(parts: Sequence[sparse.sparray], counts: Sequence[int], log_weights: float) -> CrossProducts:
    """Cross-products from a sparse N_s for each section."""
    listed = [sparse.coo_array(part) for part in parts]
    return CrossProducts(
        row=np.concatenate([p.coords[0].astype(np.int64) for p in listed]),
        column=np.concatenate([p.coords[1].astype(np.int64) for p in listed]),
        section=np.repeat(np.arange(len(listed)), [p.nnz for p in listed]),
        value=np.concatenate([p.data for p in listed]),
        size=listed[0].shape[0],
        counts=np.asarray(counts, dtype=np.int64),
        log_weights=log_weights,
    )


def wide_design(model: MixedModel) -> sparse.csr_array:
    """W (n, Q): the terms' columns by level and effect, X, and y less its least-squares fit.

    A term's zeros are kept as entries, so that the pattern of N shows which levels meet.
    """
    n, blocks, values, start = model.n, [], [], 0
    for term in model.terms:
        columns, entries = term.incidence
        blocks.append(start + columns.numpy())
        values.append(entries.numpy())
        start += len(term.levels) * term.structure.size
    blocks.append(np.broadcast_to(start + np.arange(model.p + 1), (n, model.p + 1)))
    values.append(np.column_stack([model.X.numpy(), model.centred.numpy()]))
    places, numbers = np.concatenate(blocks, axis=1), np.concatenate(values, axis=1)
    kept = (numbers != 0) | (places < start)
    ends = np.concatenate([[0], kept.sum(axis=1).cumsum()])
    return sparse.csr_array((numbers[kept], places[kept], ends), shape=(n, start + model.p + 1))
