"""A product of correlations over the same rows: ``ar1(row):ar1(col)``.

    C_ij = prod_f C_f[a_f(i), a_f(j)]

with a_f(i) the level of row i for factor f. Over a full grid this is the Kronecker product of the factors; missing plots
are rows that are not there. Two pairs of rows that have the same lags in every factor share a value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from openreml_core.covariance.correlation import Correlation


class Separable(Correlation):
    """The product of correlations.

    Parameters
    ----------
    factors : sequence of Correlation
    places : sequence of Tensor of shape (k,), int64
        The level of each row, factor by factor.
    prefixes : sequence of str
        Put before each factor's parameter names: ``"ar1(row)."``.
    """

    def __init__(self, factors: Sequence[Correlation], places: Sequence[Tensor], prefixes: Sequence[str]) -> None:
        self.factors, self.prefixes = tuple(factors), tuple(prefixes)
        joined = torch.zeros(len(places[0]), len(places[0]), dtype=torch.int64)
        sizes = [int(f.pattern.max()) + 1 if f.pattern.numel() else 1 for f in self.factors]
        for factor, place, size in zip(self.factors, places, sizes, strict=True):
            joined = joined * size + factor.pattern[place][:, place]
        met, pattern = torch.unique(joined, return_inverse=True)
        super().__init__(pattern.reshape(joined.shape))
        #: Which of each factor's values a value of the product holds.
        self.parts: list[Tensor] = []
        for size in reversed(sizes):
            self.parts.insert(0, met % size)
            met = met // size
        self.keyword = ":".join(f.keyword for f in self.factors)
        self.levels_out = all(f.levels_out for f in self.factors)
        kinds = {f.kind for f in self.factors if f.n_parameters}
        self.kind = kinds.pop() if len(kinds) == 1 else "correlation"
        self.labels = tuple(p + label for p, f in zip(prefixes, self.factors, strict=True) for label in f.labels)

    def _split(self, rho: Tensor) -> list[Tensor]:
        return list(torch.split(rho, [f.n_parameters for f in self.factors]))

    def _each(self, rho: Tensor) -> list[Tensor]:
        """Every factor's values, over the values of the product."""
        parts = zip(self.factors, self._split(rho), self.parts, strict=True)
        return [factor.values(own)[part] for factor, own, part in parts]

    def values(self, rho: Tensor) -> Tensor:
        return torch.stack(self._each(rho)).prod(dim=0)

    def adjacent(self, rho: Tensor) -> tuple[float, Tensor]:
        each = [f.adjacent(own) for f, own in zip(self.factors, self._split(rho), strict=True)]
        values = [q for q, _ in each]
        slopes = [math.prod(values[:f] + values[f + 1 :]) * slope for f, (_, slope) in enumerate(each)]
        return math.prod(values), torch.cat(slopes)

    def slopes(self, rho: Tensor) -> Tensor:
        each, split = self._each(rho), self._split(rho)
        columns = [
            factor.slopes(own)[part] * _others(each, f)[:, None]
            for f, (factor, own, part) in enumerate(zip(self.factors, split, self.parts, strict=True))
        ]
        return torch.cat(columns, dim=1)

    def bend(self, rho: Tensor, weights: Tensor) -> Tensor:
        each, split = self._each(rho), self._split(rho)
        slopes = [factor.slopes(own)[part] for factor, own, part in zip(self.factors, split, self.parts, strict=True)]
        rows = []
        for f, (factor, own, part) in enumerate(zip(self.factors, split, self.parts, strict=True)):
            row = []
            for g, other in enumerate(slopes):
                if f != g:
                    row.append(slopes[f].T @ ((weights * _others(each, f, g))[:, None] * other))
                    continue
                count = len(factor.values(own))
                summed = torch.zeros(count, dtype=weights.dtype).index_add(0, part, weights * _others(each, f))
                row.append(factor.bend(own, summed))
            rows.append(torch.cat(row, dim=1))
        return torch.cat(rows)

    def start(self) -> Tensor:
        return torch.cat([f.start() for f in self.factors])

    def bounds(self) -> tuple[Tensor, Tensor]:
        pairs = [f.bounds() for f in self.factors]
        return torch.cat([low for low, _ in pairs]), torch.cat([high for _, high in pairs])

    def typical(self) -> Tensor:
        return torch.cat([f.typical() for f in self.factors])


def _others(each: list[Tensor], *left_out: int) -> Tensor:
    """The product of the factors' values but for those left out."""
    out = torch.ones_like(each[0])
    for f, values in enumerate(each):
        if f not in left_out:
            out = out * values
    return out
