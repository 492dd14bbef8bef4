"""A product of correlations over the same rows: ``ar1(row):ar1(col)``.

    C_ij = prod_f C_f[a_f(i), a_f(j)]

with a_f(i) the level of row i for factor f. Over a full grid this is the Kronecker product of the factors; missing plots
are rows that are not there.
"""

from __future__ import annotations

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
        super().__init__(len(places[0]))
        self.factors, self.places, self.prefixes = tuple(factors), tuple(places), tuple(prefixes)
        self.keyword = ":".join(f.keyword for f in self.factors)
        kinds = {f.kind for f in self.factors if f.n_parameters}
        self.kind = kinds.pop() if len(kinds) == 1 else "correlation"
        self.labels = tuple(p + label for p, f in zip(prefixes, self.factors, strict=True) for label in f.labels)

    def _split(self, rho: Tensor) -> list[Tensor]:
        return list(torch.split(rho, [f.n_parameters for f in self.factors]))

    def _spread(self, which: int, small: Tensor) -> Tensor:
        place = self.places[which]
        return small[..., place, :][..., place]

    def matrix(self, rho: Tensor) -> Tensor:
        out = torch.ones(self.size, self.size, dtype=rho.dtype)
        for which, (factor, part) in enumerate(zip(self.factors, self._split(rho), strict=True)):
            out = out * self._spread(which, factor.matrix(part))
        return out

    def derivative(self, rho: Tensor) -> Tensor:
        parts = self._split(rho)
        whole = [self._spread(w, f.matrix(p)) for w, (f, p) in enumerate(zip(self.factors, parts, strict=True))]
        out = []
        for which, (factor, part) in enumerate(zip(self.factors, parts, strict=True)):
            if factor.n_parameters:
                others = torch.ones_like(whole[0])
                for w, matrix in enumerate(whole):
                    if w != which:
                        others = others * matrix
                out.append(self._spread(which, factor.derivative(part)) * others)
        return torch.cat(out) if out else super().derivative(rho)

    def start(self) -> Tensor:
        return torch.cat([f.start() for f in self.factors])

    def bounds(self) -> tuple[Tensor, Tensor]:
        pairs = [f.bounds() for f in self.factors]
        return torch.cat([low for low, _ in pairs]), torch.cat([high for _, high in pairs])

    def typical(self) -> Tensor:
        return torch.cat([f.typical() for f in self.factors])
