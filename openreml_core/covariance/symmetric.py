"""``cs``: the same correlation between any two effects.

C_ab = rho for a != b,   -1 / (k - 1) < rho < 1
"""

from __future__ import annotations

import torch
from torch import Tensor

from openreml_core.covariance.correlation import EDGE, Correlation


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

    def matrix(self, rho: Tensor) -> Tensor:
        eye = torch.eye(self.size, dtype=rho.dtype)
        return eye + rho * (1 - eye)

    def start(self) -> Tensor:
        return torch.tensor([0.3], dtype=torch.float64)

    def bounds(self) -> tuple[Tensor, Tensor]:
        low = -1.0 / max(self.size - 1, 1)
        return torch.tensor([low * (1 - EDGE)], dtype=torch.float64), torch.tensor([1 - EDGE], dtype=torch.float64)


class Independent(Correlation):
    """``id``, ``diag``: C = I."""

    keyword = "id"
    labels = ()

    def matrix(self, rho: Tensor) -> Tensor:
        return torch.eye(self.size, dtype=rho.dtype)

    def start(self) -> Tensor:
        return torch.zeros(0, dtype=torch.float64)
