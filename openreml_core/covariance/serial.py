"""Serial correlations: over levels that have an order, a row, a column or a time.

    ar1   C_ab = rho^|t_a - t_b|                                  t whole numbers, gaps count
    ar2   C_ab = c_|t_a - t_b|,  c_0 = 1,  c_1 = f1 / (1 - f2),  c_h = f1 c_(h-1) + f2 c_(h-2)
    toep  C_ab = rho_|a - b|

(Gilmour, Cullis and Verbyla 1997, JABES 2, 269-293, on the separable ar1 x ar1; Box and Jenkins 1970, Time Series Analysis,
on ar2.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from openreml_core.covariance.correlation import EDGE, Correlation


class AR1(Correlation):
    """First-order autoregression.

    Parameters
    ----------
    positions : Tensor of shape (k,)
        Whole numbers; only their differences matter.

    Examples
    --------
    >>> import torch
    >>> AR1(torch.tensor([1, 2, 4])).matrix(torch.tensor([-0.5], dtype=torch.float64))[0]
    tensor([ 1.0000, -0.5000, -0.1250], dtype=torch.float64)
    """

    keyword = "ar1"

    def __init__(self, positions: Tensor) -> None:
        super().__init__(len(positions))
        self.lag = (positions[:, None] - positions[None, :]).abs().to(torch.float64)

    def matrix(self, rho: Tensor) -> Tensor:
        return torch.pow(rho, self.lag)

    def derivative(self, rho: Tensor) -> Tensor:
        return (self.lag * torch.pow(rho, (self.lag - 1).clamp_min(0)))[None]

    def start(self) -> Tensor:
        return torch.tensor([0.3], dtype=torch.float64)


class AR2(Correlation):
    """Second-order autoregression, stationary: |f2| < 1, |f1| < 1 - f2; parametrised by its partial correlations.

    f2 is the second partial correlation, c_1 = f1 / (1 - f2) the first: both range freely over (-1, 1).
    """

    keyword = "ar2"
    labels = ("rho1", "partial2")

    def __init__(self, positions: Tensor) -> None:
        super().__init__(len(positions))
        self.lag = (positions[:, None] - positions[None, :]).abs().to(torch.int64)

    def matrix(self, rho: Tensor) -> Tensor:
        first, second = rho[0], rho[1]
        by_lag = [torch.ones_like(first), first]
        for _ in range(2, int(self.lag.max()) + 1):
            by_lag.append(first * (1 - second) * by_lag[-1] + second * by_lag[-2])
        return torch.stack(by_lag)[self.lag]

    def start(self) -> Tensor:
        return torch.tensor([0.3, 0.0], dtype=torch.float64)


class Toeplitz(Correlation):
    """A correlation for every lag.

    Not every rho gives a positive definite matrix: the search rejects steps that lead outside.
    """

    keyword = "toep"

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.labels = tuple(f"rho{lag}" for lag in range(1, size))
        place = torch.arange(size)
        self.lag = (place[:, None] - place[None, :]).abs()

    def matrix(self, rho: Tensor) -> Tensor:
        return torch.cat([torch.ones(1, dtype=rho.dtype), rho])[self.lag]

    def start(self) -> Tensor:
        return 0.3 ** torch.arange(1, self.size, dtype=torch.float64)

    def bounds(self) -> tuple[Tensor, Tensor]:
        high = torch.full((self.size - 1,), 1.0 - EDGE, dtype=torch.float64)
        return -high, high
