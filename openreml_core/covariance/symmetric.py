"""``cs``: the same correlation between any two effects.

C_ab = rho for a != b,   -1 / (k - 1) < rho < 1
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from openreml_core.covariance.correlation import EDGE, Correlation
from openreml_core.covariance.structure import labels_of


class Equicorrelation(Correlation):
    """C = (1 - rho) I + rho J.

    Examples
    --------
    >>> import torch
    >>> Equicorrelation(2).matrix(torch.tensor([0.3], dtype=torch.float64))
    tensor([[1.0000, 0.3000],
            [0.3000, 1.0000]], dtype=torch.float64)
    """

    keyword = "cs"
    is_free = True

    def __init__(self, size: Any) -> None:
        super().__init__(1 - torch.eye(len(labels_of(size)), dtype=torch.int64))

    def values(self, rho: Tensor) -> Tensor:
        return torch.cat([torch.ones(1, dtype=rho.dtype), rho])

    def slopes(self, rho: Tensor) -> Tensor:
        return torch.tensor([[0.0], [1.0]], dtype=rho.dtype)

    def bend(self, rho: Tensor, weights: Tensor) -> Tensor:
        return torch.zeros(1, 1, dtype=rho.dtype)

    def start(self) -> Tensor:
        return torch.tensor([0.3], dtype=torch.float64)

    def bounds(self) -> tuple[Tensor, Tensor]:
        low = -1.0 / max(self.size - 1, 1)
        return torch.tensor([low * (1 - EDGE)], dtype=torch.float64), torch.tensor([1 - EDGE], dtype=torch.float64)


class Independent(Correlation):
    """``id``, ``diag``: C = I."""

    keyword = "id"
    labels = ()
    is_free = True

    def __init__(self, size: Any) -> None:
        super().__init__(1 - torch.eye(len(labels_of(size)), dtype=torch.int64))

    def values(self, rho: Tensor) -> Tensor:
        return torch.tensor([1.0, 0.0], dtype=torch.float64)

    def slopes(self, rho: Tensor) -> Tensor:
        return torch.zeros(2, 0, dtype=torch.float64)

    def bend(self, rho: Tensor, weights: Tensor) -> Tensor:
        return torch.zeros(0, 0, dtype=torch.float64)

    def start(self) -> Tensor:
        return torch.zeros(0, dtype=torch.float64)
