"""A mixed model without rows: what the engines ask of it comes from cross-products.

N_s of [Z X y]   ->   N_s of [Z X (y - X b)],   b the least-squares coefficients, y' = y - X b:
N_zy' = N_zy - N_zx b,   N_xy' = N_xy - N_xx b,   N_y'y' = N_yy - 2 b'N_xy + b'N_xx b
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from openreml_core.covariance import GroupedTerm, IndependentResidual
from openreml_core.engines import CrossProducts, from_matrices
from openreml_core.model import MixedModel


@dataclass(frozen=True, eq=False)
class SummedTerm(GroupedTerm):
    """A random term whose rows are summed up.

    Attributes
    ----------
    mean_square : Tensor of shape (k, k)
        Mean over the rows of K_jj b b', b the row's effects and j its level.
    """

    mean_square: Tensor = field(default_factory=lambda: torch.ones(1, 1, dtype=torch.float64))

    @property
    def average(self) -> Tensor:
        """A (k, k) with tr(Z (Sigma (x) K) Z') / n = <A, Sigma>."""
        return self.mean_square

    @property
    def scale(self) -> Tensor:
        """Standard deviation (k,) that lets each effect alone contribute a variance of 1 to the average row of V."""
        own = self.mean_square.diagonal()
        return torch.where(own > 0, own.clamp_min(1e-300).rsqrt(), 1.0)


@dataclass(frozen=True, eq=False)
class SummedResidual(IndependentResidual):
    """Independent residuals of rows that are summed up.

    Attributes
    ----------
    rows_of_it, all_rows : int
        Rows that it has a share in, and of the model.
    total : float
        Sum of 1 / w over its rows.
    """

    rows_of_it: int = 0
    all_rows: int = 0
    total: float = 0.0

    @property
    def copies(self) -> int:
        """Number of rows it has a share in."""
        return self.rows_of_it

    @property
    def scale(self) -> Tensor:
        """The standard deviation (1,) that contributes a variance of 1 to the average of its rows."""
        return torch.tensor([(self.total / self.rows_of_it) ** -0.5], dtype=torch.float64)

    @property
    def average(self) -> Tensor:
        """Its share in the average row's variance per unit of s^2, (1, 1)."""
        return torch.tensor([[self.total / self.all_rows]], dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class SummedModel(MixedModel):
    """A mixed model whose rows are summed up; ``y`` and ``X`` are elsewhere.

    Attributes
    ----------
    rows : int
        n.
    coefficients : Tensor of shape (p,)
        Least-squares b.
    deviation : float
        Standard deviation of the least-squares residuals.
    """

    rows: int = 0
    coefficients: Any = None
    deviation: float = 0.0

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.rows

    @property
    def p(self) -> int:
        """Number of fixed effects, the rank of X."""
        return len(self.fixed_names)

    @property
    def least_squares(self) -> Tensor:
        """Ordinary least-squares b, (p,)."""
        return self.coefficients

    @property
    def typical_deviation(self) -> float:
        """Standard deviation of the least-squares residuals, to which absolute parameters are scaled."""
        return self.deviation

    @property
    def unit(self) -> float:
        """The residual standard deviation that free parameters are sized by, of the average row."""
        return float(self.residuals[0].average[0, 0]) ** 0.5 if self.profiled else self.deviation

    @property
    def residual_variance(self) -> Tensor:
        """Known part of each row's residual variance: with the rows."""
        return self.y  # whatever is asked of it is answered there


def least_squares(c: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, float]:
    """b (p,) of the columns kept, and the residual sum of squares, from C (P + 1, P + 1)."""
    xx, xy, yy = c[np.ix_(kept, kept)], c[kept, -1], c[-1, -1]
    size = np.sqrt(np.diag(xx))
    b = np.linalg.solve(xx / np.outer(size, size), xy / size) / size if len(kept) else np.empty(0)
    return b, max(float(yy - 2 * b @ xy + b @ xx @ b), 0.0)


def cross_products_of(
    n: sparse.csr_array,
    sections: int,
    random: int,
    kept: np.ndarray,
    b: np.ndarray,
    counts: np.ndarray,
    log_weights: float,
) -> CrossProducts:
    """The cross-products of [Z X y'] from those of [Z X y], X with all its columns.

    Parameters
    ----------
    n : sparse array of shape (S Q, Q)
        Upper triangles of N_s.
    sections, random : int
        S, and Z's columns.
    kept : int64 array of shape (p,)
        Which columns of X count.
    b : float64 array of shape (p,)
        Least-squares coefficients of them.
    counts : int64 array of shape (S,)
    log_weights : float
    """
    width, last = n.shape[1], random + len(kept)
    place = np.full(width, -1, dtype=np.int64)
    place[:random] = np.arange(random)
    place[random + kept] = random + np.arange(len(kept))
    place[-1] = last
    coefficient = np.zeros(last + 1)
    coefficient[random:last] = b
    parts = []
    for s in range(sections):
        own = n[s * width : (s + 1) * width].tocoo()
        row, column, value = place[own.coords[0]], place[own.coords[1]], own.data
        inside = (row >= 0) & (column >= 0)
        row, column, value = row[inside], column[inside], value[inside]
        y = _response_column(row, column, value, coefficient)
        zx = column < last
        row, column, value = row[zx], column[zx], value[zx]
        off = row != column
        met = np.flatnonzero(y)
        side = met[met < last]
        parts.append(
            sparse.coo_array(
                (
                    np.concatenate([value, value[off], y[met], y[side]]),
                    (
                        np.concatenate([row, column[off], met, np.full(len(side), last)]),
                        np.concatenate([column, row[off], np.full(len(met), last), side]),
                    ),
                ),
                shape=(last + 1, last + 1),
            )
        )
    return from_matrices(parts, counts.tolist(), log_weights)


def _response_column(row: np.ndarray, column: np.ndarray, value: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The column of y' (Q,), from an upper triangle whose last column is y's; b has zeros but for X's columns."""
    last = len(b) - 1
    old = np.bincount(row[column == last], weights=value[column == last], minlength=last + 1)
    inner = column < last
    row, column, value = row[inner], column[inner], value[inner]
    fitted = np.bincount(row, weights=value * b[column], minlength=last + 1)
    mirrored = row != column
    fitted += np.bincount(column[mirrored], weights=(value * b[row])[mirrored], minlength=last + 1)
    out = old - fitted
    out[last] = old[last] - 2 * b @ old + b @ fitted
    return out
