"""Sigma = L L': what the structures that are linear in Sigma share.

The free parameters are the elements of L, with either sign (L L' does not see the sign of a column), so that a variance
may pass through zero and no bound is needed. With L_ab the element in row a and column b,

    d Sigma / d L_ab            = e_a l_b' + l_b e_a'         (l_b the b-th column of L)
    d2 Sigma / d L_ab d L_cd    = [b = d] (e_a e_c' + e_c e_a')

(Pinheiro and Bates 1996, Statistics and Computing 6, 289-296, on the Cholesky parametrisation.)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from openreml_core.covariance.structure import NaturalParameter, Structure


class CholeskyStructure(Structure):
    """Sigma = L L' with a given pattern of elements in L.

    A subclass says which elements of L are free (``rows``, ``columns``) and which natural ones are read; the pattern must
    be such that Sigma has the same pattern in its lower triangle.
    """

    curvature_weight = 1.0

    @property
    def is_linear(self) -> bool:
        return True

    @abstractmethod
    def pattern(self) -> tuple[list[int], list[int]]:
        """Rows and columns of the free elements of L, diagonal included."""

    def __init__(self, names: Sequence[str] | int, *, log: bool = False) -> None:
        super().__init__(names)
        self.log = log
        rows, columns = self.pattern()
        self.places = list(zip(rows, columns, strict=True))
        self.rows, self.columns = torch.tensor(rows), torch.tensor(columns)
        self._on_diagonal = self.rows == self.columns
        self._same_column = self.columns[:, None] == self.columns[None, :]

    @property
    def n_parameters(self) -> int:
        return len(self.places)

    @cached_property
    def natural(self) -> tuple[NaturalParameter, ...]:
        return tuple(
            NaturalParameter("variance", self.names[a])
            if a == b
            else NaturalParameter("covariance", self.names[b], self.names[a])
            for a, b in self.places
        )

    @property
    def powers(self) -> tuple[int, ...]:
        return (2 if bool(self._on_diagonal.all()) else 0,) * self.n_parameters

    def factor(self, theta: Tensor) -> Tensor:
        """L(theta), (k, k) lower triangular."""
        elements = torch.where(self._on_diagonal, theta.exp(), theta) if self.log else theta
        if self.size == 1:
            return elements.reshape(1, 1)
        return torch.zeros(self.size, self.size, dtype=theta.dtype).index_put((self.rows, self.columns), elements)

    def _elements(self, matrix: Tensor) -> Tensor:
        """What stands at the places of L's free elements, (m,)."""
        return matrix.reshape(1) if self.size == 1 else matrix[self.rows, self.columns]

    def _slopes(self, theta: Tensor) -> Tensor:
        """dL / d theta of each element."""
        return torch.where(self._on_diagonal, theta.exp(), 1.0) if self.log else torch.ones_like(theta)

    def start(self, scale: Tensor) -> Tensor:
        diagonal = scale[self.rows].log() if self.log else scale[self.rows]
        return torch.where(self._on_diagonal, diagonal, torch.zeros((), dtype=scale.dtype))

    def matrix(self, theta: Tensor) -> Tensor:
        factor = self.factor(theta)
        return factor @ factor.T

    def derivatives(self, theta: Tensor) -> Iterator[Tensor]:
        factor, slopes = self.factor(theta), self._slopes(theta)
        if self.size == 1:
            yield 2 * slopes * factor
            return
        for (a, b), slope in zip(self.places, slopes, strict=True):
            half = torch.zeros(self.size, self.size, dtype=theta.dtype)
            half[a] = slope * factor[:, b]
            yield half + half.T

    def gradient(self, theta: Tensor, m: Tensor) -> Tensor:
        return self._slopes(theta) * self._elements((m + m.T) @ self.factor(theta))

    def curvature(self, theta: Tensor, m: Tensor) -> Tensor:
        out = (m + m.T)[self.rows[:, None], self.rows[None, :]] * self._same_column
        if not self.log:
            return out
        # L_aa = exp(theta_aa) bends too: its second derivative is its first.
        slopes = self._slopes(theta)
        return slopes[:, None] * out * slopes + torch.diag(self.gradient(theta, m) * self._on_diagonal)

    def natural_values(self, theta: Tensor) -> Tensor:
        return self._elements(self.matrix(theta))

    def typical(self, scale: Tensor) -> Tensor:
        # An off-diagonal element L_ab multiplies the same effect as L_aa: it has row a's scale.
        return torch.where(self._on_diagonal, 0.5, scale[self.rows]) if self.log else scale[self.rows]

    def natural_derivatives(self, theta: Tensor) -> Iterator[Tensor]:
        for a, b in self.places:
            out = torch.zeros(self.size, self.size, dtype=theta.dtype)
            out[a, b] = out[b, a] = 1.0
            yield out

    def from_natural(self, values: Tensor) -> Tensor:
        sigma = torch.zeros(self.size, self.size, dtype=values.dtype)
        sigma[self.rows, self.columns] = values
        sigma[self.columns, self.rows] = values
        elements = self._elements(semidefinite_factor(sigma))
        if not self.log:
            return elements
        if not bool((elements[self._on_diagonal] > 0).all()):
            raise ValueError("the matrix is not positive definite")
        return torch.where(self._on_diagonal, elements.clamp_min(1e-300).log(), elements)

    def em_update(self, theta: Tensor, sigma: Tensor) -> Tensor:
        return self.from_natural(self._elements(sigma))

    def boundary(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> tuple[str, ...]:
        factor = self.factor(theta)
        sd = factor.norm(dim=1)
        zero = (sd < tolerance * scale).tolist()
        flat = (factor.diagonal().abs() < tolerance * torch.maximum(sd, tolerance * scale)).tolist()
        marks = []
        for a, b in self.places:
            if zero[a] or zero[b]:
                marks.append("at zero")
            elif a != b and flat[a] and factor[a, :b].norm() + factor[a, b + 1 :].norm() < tolerance * sd[a]:
                marks.append("correlation at 1" if float(factor[a, b] * factor[b, b]) > 0 else "correlation at -1")
            else:
                marks.append("")
        return tuple(marks)

    def is_singular(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> bool:
        """Whether Sigma has lost rank: a diagonal element of L (in units of ``scale``) below ``tolerance``."""
        return bool((self.factor(theta).diagonal().abs() < tolerance * scale).any())

    def settle(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> Tensor:
        if self.log:
            return theta
        factor = self.factor(theta)
        factor = torch.where(factor.norm(dim=1, keepdim=True) < tolerance * scale[:, None], 0.0, factor)
        diagonal = factor.diagonal()
        small = diagonal.abs() < tolerance * scale
        # Columns whose pivot is negative are turned round: L L' stays as it is.
        factor = factor * torch.where(diagonal < 0, -1.0, 1.0)
        factor = factor - torch.diag(torch.where(small, factor.diagonal(), 0.0))
        return self._elements(factor)


class Unstructured(CholeskyStructure):
    """``us``: a variance for every effect and a covariance for every pair; k (k + 1) / 2 parameters.

        Sigma = L L',   L lower triangular; with ``log=True`` its diagonal is free as a logarithm (never singular)

    Examples
    --------
    >>> import torch
    >>> us = Unstructured(["(Intercept)", "Days"])
    >>> us.matrix(torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64))
    tensor([[1.0000, 0.5000],
            [0.5000, 4.2500]], dtype=torch.float64)
    """

    keyword = "us"

    def pattern(self) -> tuple[list[int], list[int]]:
        pairs = [(a, b) for a in range(self.size) for b in range(a + 1)]
        return [a for a, _ in pairs], [b for _, b in pairs]


class Diagonal(CholeskyStructure):
    """``diag``: a variance for every effect, no covariances; k parameters.

    Sigma = diag(s_1^2, ..., s_k^2)
    """

    keyword = "diag"

    def pattern(self) -> tuple[list[int], list[int]]:
        return list(range(self.size)), list(range(self.size))


def semidefinite_factor(sigma: Tensor) -> Tensor:
    """Lower-triangular L with L L' = Sigma, for Sigma that may be singular.

    A pivot that is zero (to 1e-14 of its diagonal element) leaves a column of zeros, where a plain Cholesky
    decomposition would stop.

    Raises
    ------
    ValueError
        When Sigma is not positive semidefinite.
    """
    factor, failed = torch.linalg.cholesky_ex(sigma)
    if not int(failed) and bool((factor.diagonal().square() > 1e-12 * sigma.diagonal() + 1e-300).all()):
        return factor
    columns: list[Tensor] = []
    for j in range(sigma.shape[0]):
        left = sigma[:, j] - sum((c * c[j] for c in columns), torch.zeros_like(sigma[:, j]))
        below = torch.arange(len(left)) >= j
        pivot, tiny = float(left[j].detach()), 1e-12 * float(sigma[j, j].detach().abs()) + 1e-300
        if pivot < -1e4 * tiny:
            raise ValueError(f"the matrix is not positive semidefinite (row {j + 1})")
        columns.append(torch.where(below, left, 0.0) / left[j].sqrt() if pivot > tiny else torch.zeros_like(left))
    return torch.stack(columns, dim=1)
