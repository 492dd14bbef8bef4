"""A product of structures over the same effects: ``kron(us(trait), ar1(time) | animal)``, ``us(trait):ar1(time)``.

    Sigma_ij = prod_f S_f[a_f(i), a_f(j)]

with a_f(i) the level of effect i for factor f; over all combinations this is the Kronecker product S_1 (x) S_2 (x) ...

A product does not say which factor its size belongs to: one of them, the carrier, has its variances on the scale of the
data, and in every other the first variance is 1. A correlation then has only its correlations left, an unstructured
matrix its variances relative to the first. With M~_f the sums of M o (the other factors) over the places of S_f,

    d<M, Sigma> / d theta_f = d<M~_f, S_f> / d theta_f
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from openreml_core.covariance.structure import NaturalParameter, Structure


class KroneckerStructure(Structure):
    """Sigma = S_1 (x) S_2 (x) ... over the combinations of levels that there are.

    Parameters
    ----------
    names : sequence of str
        The k effects.
    factors : sequence of Structure
        S_f. All but the carrier need a first parameter whose square is their first variance.
    places : sequence of Tensor of shape (k,), int64
        The level of each effect, factor by factor.
    carrier : int
        Which factor has the variances.
    prefixes : sequence of str
        Put before the names of the other factors' parameters: ``"us(env)."``.
    """

    def __init__(
        self,
        names: Sequence[str],
        factors: Sequence[Structure],
        places: Sequence[Tensor],
        *,
        carrier: int = 0,
        prefixes: Sequence[str] | None = None,
    ) -> None:
        super().__init__(names)
        self.factors, self.places, self.carrier = tuple(factors), tuple(places), carrier
        self.prefixes = tuple(prefixes or [""] * len(self.factors))
        self.keyword = ":".join(f.keyword for f in self.factors)

    @property
    def n_parameters(self) -> int:
        return sum(self._counts)

    @property
    def _counts(self) -> list[int]:
        return [f.n_parameters - self._fixed(place) for place, f in enumerate(self.factors)]

    def _fixed(self, place: int) -> int:
        """How many of a factor's parameters are not free, its first one or none."""
        return int(place != self.carrier)

    def _split(self, theta: Tensor) -> list[Tensor]:
        """Every factor's parameters, the first of them 1 where it is not free."""
        one = torch.ones(1, dtype=theta.dtype)
        own = torch.split(theta, self._counts)
        return [part if not self._fixed(place) else torch.cat([one, part]) for place, part in enumerate(own)]

    def _join(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.cat([part[self._fixed(place) :] for place, part in enumerate(parts)])

    def _scales(self, scale: Tensor) -> list[Tensor]:
        """``scale`` (k,) for every factor: root mean squares over the effects of a level for the carrier, ones elsewhere."""
        scales = [torch.ones(f.size, dtype=scale.dtype) for f in self.factors]
        where = self.places[self.carrier]
        total = torch.zeros_like(scales[self.carrier]).index_add(0, where, scale.square())
        count = torch.bincount(where, minlength=len(total)).clamp_min(1)
        scales[self.carrier] = (total / count).sqrt()
        return scales

    # -- the matrix -----------------------------------------------------------------------------------------------

    def _spread(self, place: int, small: Tensor) -> Tensor:
        where = self.places[place]
        return small[where][:, where]

    def _collapse(self, place: int, m: Tensor) -> Tensor:
        """Sums of M (k, k) over the places of a factor's elements."""
        where, size = self.places[place], self.factors[place].size
        rows = torch.zeros(size, self.size, dtype=m.dtype).index_add(0, where, m)
        return torch.zeros(size, size, dtype=m.dtype).index_add(1, where, rows)

    def _matrices(self, theta: Tensor) -> list[Tensor]:
        parts = zip(self.factors, self._split(theta), strict=True)
        return [self._spread(place, f.matrix(part)) for place, (f, part) in enumerate(parts)]

    def matrix(self, theta: Tensor) -> Tensor:
        return _product(self._matrices(theta), self.size)

    def derivatives(self, theta: Tensor) -> Iterator[Tensor]:
        return self._slopes(theta, [f.derivatives(part) for f, part in self._pairs(theta)])

    def natural_derivatives(self, theta: Tensor) -> Iterator[Tensor]:
        return self._slopes(theta, [f.natural_derivatives(part) for f, part in self._pairs(theta)])

    def _pairs(self, theta: Tensor) -> list[tuple[Structure, Tensor]]:
        return list(zip(self.factors, self._split(theta), strict=True))

    def parts(self, theta: Tensor) -> list[tuple[Structure, Tensor]]:
        """Every factor S_f and its free parameters; their product is Sigma(theta)."""
        return self._pairs(theta)

    def _slopes(self, theta: Tensor, small: Sequence[Iterator[Tensor]]) -> Iterator[Tensor]:
        matrices = self._matrices(theta)
        for place, slopes in enumerate(small):
            others = _product(matrices, self.size, place)
            for number, slope in enumerate(slopes):
                if number >= self._fixed(place):
                    yield self._spread(place, slope) * others

    def gradient(self, theta: Tensor, m: Tensor) -> Tensor:
        matrices = self._matrices(theta)
        return self._join(
            [
                f.gradient(part, self._collapse(place, m * _product(matrices, self.size, place)))
                for place, (f, part) in enumerate(self._pairs(theta))
            ]
        )

    def curvature(self, theta: Tensor, m: Tensor) -> Tensor:
        matrices, pairs = self._matrices(theta), self._pairs(theta)
        ends = torch.tensor([0, *self._counts]).cumsum(0).tolist()
        out = torch.zeros(len(theta), len(theta), dtype=theta.dtype)
        for a, (factor, part) in enumerate(pairs):
            own = self._fixed(a)
            weighed = m * _product(matrices, self.size, a)
            out[ends[a] : ends[a + 1], ends[a] : ends[a + 1]] = factor.curvature(part, self._collapse(a, weighed))[
                own:, own:
            ]
            for number, slope in enumerate(factor.derivatives(part) if self._counts[a] else ()):
                if number < own:
                    continue
                turned = m * self._spread(a, slope)
                for b in range(a):
                    other, other_part = pairs[b]
                    paired = self._collapse(b, turned * _product(matrices, self.size, a, b))
                    row = other.gradient(other_part, paired)[self._fixed(b) :]
                    out[ends[a] + number - own, ends[b] : ends[b + 1]] = row
                    out[ends[b] : ends[b + 1], ends[a] + number - own] = row
        return out

    # -- the free parameters --------------------------------------------------------------------------------------

    def start(self, scale: Tensor) -> Tensor:
        return self._join([f.start(own) for f, own in zip(self.factors, self._scales(scale), strict=True)])

    def typical(self, scale: Tensor) -> Tensor:
        return self._join([f.typical(own) for f, own in zip(self.factors, self._scales(scale), strict=True)])

    def bounds(self) -> tuple[Tensor, Tensor]:
        pairs = [f.bounds() for f in self.factors]
        return self._join([low for low, _ in pairs]), self._join([high for _, high in pairs])

    def boundary(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> tuple[str, ...]:
        marks: list[list[str]] = []
        for place, ((factor, part), own) in enumerate(zip(self._pairs(theta), self._scales(scale), strict=True)):
            marks.append(list(factor.boundary(part, own, tolerance)[self._fixed(place) :]))
        variances = [
            m for m, q in zip(marks[self.carrier], self.factors[self.carrier].natural, strict=True) if q.scales
        ]
        if all(mark == "at zero" for mark in variances):
            marks = [m if place == self.carrier else ["no variance"] * len(m) for place, m in enumerate(marks)]
        return tuple(mark for own in marks for mark in own)

    def is_singular(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> bool:
        parts = zip(self._pairs(theta), self._scales(scale), strict=True)
        return any(factor.is_singular(part, own, tolerance) for (factor, part), own in parts)

    def settle(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> Tensor:
        parts = zip(self._pairs(theta), self._scales(scale), strict=True)
        return self._join([factor.settle(part, own, tolerance) for (factor, part), own in parts])

    # -- the natural parameters -----------------------------------------------------------------------------------

    @property
    def natural(self) -> tuple[NaturalParameter, ...]:
        out: list[NaturalParameter] = []
        for place, (factor, prefix) in enumerate(zip(self.factors, self.prefixes, strict=True)):
            if place == self.carrier:
                out += factor.natural
            else:
                out += [_relative(q, prefix) for q in factor.natural[1:]]
        return tuple(out)

    def natural_values(self, theta: Tensor) -> Tensor:
        return self._join([factor.natural_values(part) for factor, part in self._pairs(theta)])

    def from_natural(self, values: Tensor) -> Tensor:
        return self._join([factor.from_natural(part) for factor, part in self._pairs(values)])


def _relative(q: NaturalParameter, prefix: str) -> NaturalParameter:
    """A parameter of a factor whose first variance is 1."""
    if not q.scales:
        return q
    pair = f"({q.name1}{', ' + q.name2 if q.name2 else ''})"
    return replace(q, kind=f"relative {q.kind}", scales=False, label=f"{prefix}{q.kind}{pair}")


def _product(matrices: Sequence[Tensor], size: int, *left_out: int) -> Tensor:
    """The elementwise product of the matrices (size, size) but for those left out."""
    held = [matrix for place, matrix in enumerate(matrices) if place not in left_out]
    if not held:
        return torch.ones(size, size, dtype=torch.float64)
    out = held[0]
    for matrix in held[1:]:
        out = out * matrix
    return out
