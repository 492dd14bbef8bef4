"""Factor-analytic covariance.

    fa(k)   Sigma = L L' + diag(psi),   psi_a = p_a^2
    rr(k)   Sigma = L L'

L (levels x k) has zeros above its diagonal, which fixes its rotation. (Smith, Cullis and Thompson 2001, Biometrics 57,
1138-1147.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from openreml_core.covariance.structure import NaturalParameter, Structure
from openreml_core.errors import StructureError


class FactorAnalytic(Structure):
    """Sigma = L L' + diag(psi) with ``factors`` columns in L; without the specific variances psi when ``reduced``.

    Parameters
    ----------
    names : sequence of str
    factors : int
    reduced : bool
    """

    def __init__(self, names: Sequence[str] | int, factors: int = 1, *, reduced: bool = False) -> None:
        super().__init__(names)
        if not 1 <= factors <= len(self.names):
            raise StructureError(f"{factors} factors for {len(self.names)} effects")
        pairs = [(a, f) for f in range(factors) for a in range(f, self.size)]
        self.rows, self.columns = (torch.tensor(x) for x in zip(*pairs, strict=True))
        self.factors, self.reduced = factors, reduced
        self.keyword = "rr" if reduced else "fa"
        self._loadings = len(pairs)

    @property
    def n_parameters(self) -> int:
        return self._loadings + (0 if self.reduced else self.size)

    @property
    def natural(self) -> tuple[NaturalParameter, ...]:
        loadings = [
            NaturalParameter("loading", self.names[a], f"factor {f + 1}")
            for a, f in zip(self.rows.tolist(), self.columns.tolist(), strict=True)
        ]
        return (*loadings, *(() if self.reduced else (NaturalParameter("specific variance", n) for n in self.names)))

    def loadings(self, theta: Tensor) -> Tensor:
        """L, (k, factors)."""
        empty = torch.zeros(self.size, self.factors, dtype=theta.dtype)
        return empty.index_put((self.rows, self.columns), theta[: self._loadings])

    def matrix(self, theta: Tensor) -> Tensor:
        loadings = self.loadings(theta)
        sigma = loadings @ loadings.T
        return sigma if self.reduced else sigma + torch.diag(theta[self._loadings :].square())

    def derivatives(self, theta: Tensor) -> Iterator[Tensor]:
        loadings = self.loadings(theta)
        for a, f in zip(self.rows.tolist(), self.columns.tolist(), strict=True):
            half = torch.zeros(self.size, self.size, dtype=theta.dtype)
            half[a] = loadings[:, f]
            yield half + half.T
        for a, p in enumerate(theta[self._loadings :].tolist()):
            yield _at(a, 2 * p, self.size)

    def gradient(self, theta: Tensor, m: Tensor) -> Tensor:
        by_loading = ((m + m.T) @ self.loadings(theta))[self.rows, self.columns]
        return torch.cat([by_loading, 2 * m.diagonal() * theta[self._loadings :]]) if not self.reduced else by_loading

    def curvature(self, theta: Tensor, m: Tensor) -> Tensor:
        same_column = self.columns[:, None] == self.columns[None, :]
        by_loading = (m + m.T)[self.rows[:, None], self.rows[None, :]] * same_column
        return by_loading if self.reduced else torch.block_diag(by_loading, torch.diag(2 * m.diagonal()))

    def start(self, scale: Tensor) -> Tensor:
        # The first factor takes half of every variance, further ones a little of either sign, so that they can part.
        signs = torch.where((self.rows + self.columns) % 2 == 0, 1.0, -1.0).double()
        share = torch.where(self.columns == 0, 0.7, 0.2 * signs)
        loadings = share * scale[self.rows]
        return loadings if self.reduced else torch.cat([loadings, 0.7 * scale])

    def typical(self, scale: Tensor) -> Tensor:
        loadings = scale[self.rows]
        return loadings if self.reduced else torch.cat([loadings, scale])

    def _squared(self) -> Tensor:
        out = torch.zeros(self.n_parameters, dtype=torch.bool)
        out[self._loadings :] = True
        return out

    @property
    def powers(self) -> tuple[int, ...]:
        return tuple(2 if squared else 1 for squared in self._squared().tolist())

    def natural_values(self, theta: Tensor) -> Tensor:
        return torch.where(self._squared(), theta.square(), theta)

    def from_natural(self, values: Tensor) -> Tensor:
        if (values[self._loadings :] < 0).any():
            raise ValueError("a specific variance is negative")
        return torch.where(self._squared(), values.clamp_min(0).sqrt(), values)

    def natural_derivatives(self, theta: Tensor) -> Iterator[Tensor]:
        for k, derivative in enumerate(self.derivatives(theta)):
            yield derivative if k < self._loadings else _at(k - self._loadings, 1.0, self.size)

    def boundary(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> tuple[str, ...]:
        flat = (self.loadings(theta).abs() < tolerance * scale[:, None]).all(dim=0)  # a factor without loadings
        marks = ["at zero" if z else "" for z in flat[self.columns].tolist()]
        if not self.reduced:
            marks += ["at zero" if z else "" for z in (theta[self._loadings :].abs() < tolerance * scale).tolist()]
        return tuple(marks)

    def is_singular(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> bool:
        return self.reduced or any(self.boundary(theta, scale, tolerance))

    def settle(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> Tensor:
        loadings = self.loadings(theta)
        loadings = loadings * torch.where(loadings.sum(dim=0) < 0, -1.0, 1.0)
        out = loadings[self.rows, self.columns]
        if self.reduced:
            return out
        specific = theta[self._loadings :].abs()
        return torch.cat([out, torch.where(specific < tolerance * scale, 0.0, specific)])


class ReducedRank(FactorAnalytic):
    """``rr``: L L' alone, of rank ``factors``."""

    def __init__(self, names: Sequence[str] | int, factors: int = 1) -> None:
        super().__init__(names, factors, reduced=True)


def _at(a: int, value: float, size: int) -> Tensor:
    """The matrix (size, size) with ``value`` in place (a, a)."""
    out = torch.zeros(size, size, dtype=torch.float64)
    out[a, a] = value
    return out
