"""Serial correlations: over levels that have an order, a row, a column or a time. c_h is the correlation at lag h:

    ar1   c_h = rho^h                                             positions are whole numbers, gaps count
    ar2   c_0 = 1,  c_1 = f1 / (1 - f2),  c_h = f1 c_(h-1) + f2 c_(h-2)
    toep  c_h = rho_h

(Gilmour, Cullis and Verbyla 1997, JABES 2, 269-293, on the separable ar1 x ar1; Box and Jenkins 1970, Time Series Analysis,
on ar2.)
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from openreml_core.covariance.correlation import Correlation
from openreml_core.covariance.structure import labels_of
from openreml_core.errors import ModelError


def lags(positions: Any) -> Tensor:
    """|t_a - t_b|, (k, k), of whole numbers t: a tensor of them, a number k (1 to k), or a factor or list of k levels.

    Levels that are whole numbers are their own positions, gaps counting; others follow each other in their order.
    """
    if not isinstance(positions, Tensor):
        labels = labels_of(positions)
        whole = all(re.fullmatch(r"-?\d+", label) for label in labels)
        positions = torch.tensor([int(label) for label in labels]) if whole else torch.arange(len(labels))
    t = positions.to(torch.int64)
    if not bool((t == positions).all()):
        raise ModelError(
            f"Positions {positions.tolist()} are no whole numbers.", hint="Choose Exponential for positions in between."
        )
    return (t[:, None] - t[None, :]).abs()


class AR1(Correlation):
    """First-order autoregression.

    Parameters
    ----------
    positions : Tensor of shape (k,), int, factor or list
        Whole numbers, of which only the differences matter; how many there are; or levels that hold or have an order.

    Examples
    --------
    >>> import torch
    >>> AR1(torch.tensor([1, 2, 4])).matrix(torch.tensor([-0.5], dtype=torch.float64))[0]
    tensor([ 1.0000, -0.5000, -0.1250], dtype=torch.float64)
    """

    keyword = "ar1"
    levels_out = True

    def __init__(self, positions: Any) -> None:
        whole = lags(positions)
        longest = int(whole.max()) if whole.numel() else 0
        if longest <= 4 * len(whole):
            met, pattern = torch.arange(longest + 1), whole
        else:  # wide gaps: only the lags that occur
            met, pattern = torch.unique(whole, return_inverse=True)
        super().__init__(pattern.reshape(whole.shape))
        self.lags = met.to(torch.float64)

    def values(self, rho: Tensor) -> Tensor:
        # The 1 at lag 0 apart: autograd's second derivative of rho^0 is none at rho = 0.
        return torch.cat([torch.ones(1, dtype=rho.dtype), torch.pow(rho, self.lags[1:])])

    def adjacent(self, rho: Tensor) -> tuple[float, Tensor]:
        return float(rho[0]), torch.ones_like(rho)

    def slopes(self, rho: Tensor) -> Tensor:
        return (self.lags * torch.pow(rho, (self.lags - 1).clamp_min(0)))[:, None]

    def bend(self, rho: Tensor, weights: Tensor) -> Tensor:
        second = self.lags * (self.lags - 1) * torch.pow(rho, (self.lags - 2).clamp_min(0))
        return (weights @ second).reshape(1, 1)

    def start(self) -> Tensor:
        return torch.tensor([0.3], dtype=torch.float64)


class AR2(Correlation):
    """Second-order autoregression, stationary: |f2| < 1, |f1| < 1 - f2; parametrised by its partial correlations.

    f2 is the second partial correlation, c_1 = f1 / (1 - f2) the first: both range freely over (-1, 1).
    """

    keyword = "ar2"
    labels = ("rho1", "partial2")

    def __init__(self, positions: Any) -> None:
        super().__init__(lags(positions))
        self.longest = int(self.pattern.max()) if self.pattern.numel() else 0

    def values(self, rho: Tensor) -> Tensor:
        first, second = rho[0], rho[1]
        by_lag = [torch.ones_like(first), first]
        for _ in range(2, self.longest + 1):
            by_lag.append(first * (1 - second) * by_lag[-1] + second * by_lag[-2])
        return torch.stack(by_lag)

    def start(self) -> Tensor:
        return torch.tensor([0.3, 0.0], dtype=torch.float64)


class Toeplitz(Correlation):
    """A correlation for every lag.

    Not every rho gives a positive definite matrix: the search rejects steps that lead outside.
    """

    keyword = "toep"
    is_free = True

    def __init__(self, size: Any) -> None:
        super().__init__(lags(torch.arange(size) if isinstance(size, int) else size))
        self.labels = tuple(f"rho{lag}" for lag in range(1, self.size))

    def values(self, rho: Tensor) -> Tensor:
        return torch.cat([torch.ones(1, dtype=rho.dtype), rho])

    def slopes(self, rho: Tensor) -> Tensor:
        return torch.eye(self.size, dtype=rho.dtype)[:, 1:]

    def bend(self, rho: Tensor, weights: Tensor) -> Tensor:
        return torch.zeros(len(rho), len(rho), dtype=rho.dtype)

    def start(self) -> Tensor:
        return 0.3 ** torch.arange(1, self.size, dtype=torch.float64)
