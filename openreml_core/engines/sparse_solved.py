"""What the sparse factor of the inner equations answers at one theta; symbols as in sparse_levels.py."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance.kernel import KnownInverse
from openreml_core.engines.engine import NotPositiveDefinite
from openreml_core.engines.levels import Factors
from openreml_core.engines.rotations import Rotation
from openreml_core.factorisation import SparseCholesky, selected_inverse

if TYPE_CHECKING:
    from openreml_core.engines.sparse_levels import SparseEquations


class SparseSolved:
    """See :class:`openreml_core.engines.levels.Solved`."""

    def __init__(self, equations: SparseEquations, factors: Factors) -> None:
        self.equations, self.levels = equations, equations.levels
        links, places = self.levels.links, self.levels.places
        self.rotations: dict[int, Rotation] = {}
        for link, block in zip(links, equations.blocks, strict=True):
            if link.first == link.second:
                typical = block.diagonal(dim1=1, dim2=2).mean(dim=0)
                self.rotations[link.first] = Rotation(factors[link.first], typical)
        flat = torch.zeros(self.levels.symbolic.entries + 1, dtype=torch.float64)
        for link, block in zip(links, equations.blocks, strict=True):
            own = self.rotations[link.first].root.T @ block @ self.rotations[link.second].root
            flat.index_add_(0, link.target.reshape(-1), own.reshape(-1))
        for u, precision in self.levels.precisions.items():
            for a in range(places[u].shape[1]):
                flat.index_add_(0, precision.at[:, a, a], precision.value)
        try:
            self.factor = SparseCholesky(self.levels.symbolic, flat)
        except np.linalg.LinAlgError:
            raise NotPositiveDefinite from None
        self.log_det = self.factor.log_det
        for u, place in places.items():
            kernel = self.levels.model.terms[u].kernel
            if isinstance(kernel, KnownInverse):
                self.log_det += place.shape[1] * kernel.log_det
        side = torch.from_numpy(equations.side.toarray())
        self.w = self.factor.solve(self._scale(side))
        self.u = self._unscale(self.w)
        self.absorbed = self._bc(self.u)

    def _scale(self, x: Tensor) -> Tensor:
        """Lambda'x, x (size, c)."""
        out = torch.empty_like(x)
        for u, place in self.levels.places.items():
            out[place] = self.rotations[u].root.T @ x[place]
        return out

    def _unscale(self, s: Tensor) -> Tensor:
        """Lambda s, s (size, c)."""
        out = torch.empty_like(s)
        for u, place in self.levels.places.items():
            out[place] = self.rotations[u].exact @ s[place]
        return out

    def _cc(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.equations.square @ x.numpy())

    def _cb(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.equations.side @ x.numpy())

    def _bc(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.equations.side.T @ x.numpy())

    def solution(self, known: Tensor) -> tuple[Tensor, Tensor]:
        known = known[:-1]
        u = -(self.u @ known)
        return u, -(self._cb(known) + self._cc(u))

    def times(self, inner: Tensor, border: Tensor) -> tuple[Tensor, Tensor]:
        return self._cc(inner) + self._cb(border), self._bc(inner)

    def reduce(self, inner: Tensor) -> tuple[Tensor, Tensor]:
        local = self._unscale(self.factor.solve(self._scale(inner)))
        return local, self._bc(local)

    def carry(self, inner: Tensor) -> tuple[Tensor, Tensor]:
        scaled = self._scale(inner)
        solved = self.factor.solve(scaled)
        return scaled.T @ solved, self._bc(self._unscale(solved))

    def back(self, border: Tensor) -> Tensor:
        return -(self.u @ border)

    @cached_property
    def m(self) -> Tensor:
        """D^-1 where D's factor has entries."""
        return selected_inverse(self.factor)

    def traces(self, t: Tensor) -> dict[int, Tensor]:
        t = t[: self.levels.width, : self.levels.width]
        places, rotations = self.levels.places, self.rotations
        products = {u: torch.zeros(place.shape[1], place.shape[1], dtype=torch.float64) for u, place in places.items()}
        for link, block in zip(self.levels.links, self.equations.blocks, strict=True):
            m = self.m[link.at]
            products[link.first] += torch.einsum("mac,cd,mbd->ab", block, rotations[link.second].root, m)
            if link.first != link.second:
                products[link.second] += torch.einsum("mca,cd,mdb->ab", block, rotations[link.first].root, m)
        wt = self.w @ t
        rest = torch.from_numpy(self.equations.side.toarray()) - self._cc(self.u)
        out = {}
        for u, place in places.items():
            k, precision = place.shape[1], self.levels.precisions[u]
            products[u] -= torch.einsum("qax,qbx->ab", rest[place], wt[place])
            shares = torch.einsum("m,mab->ab", precision.value * precision.counts, self.m[precision.at])
            shares = (shares + shares.T) / 2
            near, far = self.w[place], wt[place]
            if isinstance(self.levels.model.terms[u].kernel, KnownInverse):
                near = torch.zeros_like(near)
                value = precision.value[:, None, None]
                below = precision.counts > 1
                near.index_add_(0, precision.i, value * self.w[place][precision.j])
                near.index_add_(0, precision.j[below], value[below] * self.w[place][precision.i[below]])
            shares = shares + torch.einsum("qax,qbx->ab", near, far)
            out[u] = rotations[u].pairing(products[u], len(place) * torch.eye(k, dtype=torch.float64) - shares)
        return out

    def on_pattern(self, t: Tensor) -> Tensor:
        t = t[: self.levels.width, : self.levels.width]
        ut, out = self.u @ t, torch.empty(self.levels.entries, dtype=torch.float64)
        for link in self.levels.links:
            left, right = self.rotations[link.first].exact, self.rotations[link.second].exact
            rows, columns = self.levels.places[link.first][link.i], self.levels.places[link.second][link.j]
            block = left @ self.m[link.at] @ right.T + ut[rows] @ self.u[columns].mT
            out[link.own] = block.reshape(-1)
        side = -ut[torch.from_numpy(self.levels.row), torch.from_numpy(self.levels.border_column)]
        out[self.levels.entries - len(side) :] = side
        return out

    def level_blocks(self, t: Tensor) -> dict[int, Tensor]:
        t = t[: self.levels.width, : self.levels.width]
        out = {}
        for link in self.levels.links:
            if link.first == link.second:
                exact, u = self.rotations[link.first].exact, self.u[self.levels.places[link.first]]
                out[link.first] = exact @ self.m[link.at] @ exact.T + u @ t @ u.mT
        return out
