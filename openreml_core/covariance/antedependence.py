"""Antedependence of order k over ordered levels (Gabriel 1962, Ann. Math. Stat. 33, 201-212).

    Sigma^-1 = U D^-1 U',   U unit lower triangular with k bands below its diagonal (transposed: regression on the past)

Each level regresses on the k before it: u_a = sum_h phi_ah u_(a-h) + e_a, Var(e_a) = d_a^2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from openreml_core.covariance.structure import NaturalParameter, Structure
from openreml_core.errors import StructureError


class Antedependence(Structure):
    """Sigma = T^-1 diag(d^2) T^-T with T = I - Phi, Phi lower triangular with ``order`` bands.

    Parameters
    ----------
    names : sequence of str
    order : int
    """

    keyword = "ante"

    def __init__(self, names: Sequence[str] | int, order: int = 1) -> None:
        super().__init__(names)
        if not 1 <= order < max(len(self.names), 2):
            raise StructureError(f"order {order} for {len(self.names)} levels")
        pairs = [(a, a - h) for a in range(self.size) for h in range(1, order + 1) if a - h >= 0]
        self.rows = torch.tensor([a for a, _ in pairs], dtype=torch.int64)
        self.columns = torch.tensor([b for _, b in pairs], dtype=torch.int64)
        self.order = order

    @property
    def n_parameters(self) -> int:
        return self.size + len(self.rows)

    @property
    def natural(self) -> tuple[NaturalParameter, ...]:
        own = [NaturalParameter("innovation variance", n) for n in self.names]
        pairs = zip(self.rows.tolist(), self.columns.tolist(), strict=True)
        return (*own, *(NaturalParameter("regression", self.names[a], self.names[b], scales=False) for a, b in pairs))

    def matrix(self, theta: Tensor) -> Tensor:
        phi = torch.zeros(self.size, self.size, dtype=theta.dtype).index_put(
            (self.rows, self.columns), theta[self.size :]
        )
        eye = torch.eye(self.size, dtype=theta.dtype)
        root = torch.linalg.solve_triangular(eye - phi, torch.diag(theta[: self.size]), upper=False)
        return root @ root.T

    def start(self, scale: Tensor) -> Tensor:
        ratio = torch.where(self.rows - self.columns == 1, 0.3, 0.0) * scale[self.rows] / scale[self.columns]
        return torch.cat([scale, ratio])

    def typical(self, scale: Tensor) -> Tensor:
        return torch.cat([scale, 0.5 * scale[self.rows] / scale[self.columns]])

    def _squared(self) -> Tensor:
        return torch.arange(self.n_parameters) < self.size

    @property
    def powers(self) -> tuple[int, ...]:
        return tuple(2 if squared else 1 for squared in self._squared().tolist())

    def natural_values(self, theta: Tensor) -> Tensor:
        return torch.where(self._squared(), theta.square(), theta)

    def from_natural(self, values: Tensor) -> Tensor:
        if (values[: self.size] < 0).any():
            raise ValueError("an innovation variance is negative")
        return torch.where(self._squared(), values.clamp_min(0).sqrt(), values)

    def natural_derivatives(self, theta: Tensor) -> Iterator[Tensor]:
        for k, derivative in enumerate(self.derivatives(theta)):
            yield derivative / (2 * theta[k]) if k < self.size else derivative

    def boundary(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> tuple[str, ...]:
        zero = (theta[: self.size].abs() < tolerance * scale).tolist()
        return (*("at zero" if z else "" for z in zero), *[""] * len(self.rows))

    def is_singular(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> bool:
        return any(self.boundary(theta, scale, tolerance))

    def settle(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> Tensor:
        own = theta[: self.size].abs()
        return torch.cat([torch.where(own < tolerance * scale, 0.0, own), theta[self.size :]])
