"""Components of V: matrices of size n that parameters carry.

    V(theta) = sum_t Z_t (Sigma_t(theta_t) (x) K_t) Z_t' + R

Every component answers a few questions, from which the criterion's derivatives and the working variates follow.
With S = dl/dV held fixed and w = P y:

    add_to(V, Sigma)      V and the component itself, (n, n)
    pair(S)               what S is to Sigma: <S, Z (Sigma (x) K) Z'> = <M, Sigma>, M (k, k)
    apply(D, w)           Z (D (x) K) Z' w for a direction D = dSigma, never forming the n x n matrix

and, for the exact second derivatives, the same within its frame F (n, r), the columns that it lives in: V_k = F E(D_k) F'.

    frame(W)              F' W
    inner(D, B)           E(D) B
    pair_frame(M)         what M (r, r) is to Sigma: <M, E(Sigma)>

Z is stored as a level per row and the row's k numbers: row i of Z has ``basis[i]`` in the columns of level ``codes[i]``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from openreml_core.covariance.cholesky import Diagonal
from openreml_core.covariance.kernel import Kernel, related, written_out
from openreml_core.covariance.structure import Structure


class Component(Protocol):
    """What engines ask of a share of V; the symbols are the module's."""

    @property
    def name(self) -> str: ...
    @property
    def structure(self) -> Structure: ...
    @property
    def copies(self) -> int: ...
    @property
    def scale(self) -> Tensor: ...
    @property
    def average(self) -> Tensor: ...
    def add_to(self, v: Tensor, sigma: Tensor) -> Tensor: ...
    def pair(self, s: Tensor) -> Tensor: ...
    def apply(self, direction: Tensor, w: Tensor) -> Tensor: ...
    def working_variates(self, directions: Iterable[Tensor], w: Tensor) -> Tensor: ...
    def frame(self, w: Tensor) -> Tensor: ...
    def inner(self, direction: Tensor, b: Tensor) -> Tensor: ...
    def pair_frame(self, m: Tensor) -> Tensor: ...


def columns(variates: Iterable[Tensor], n: int) -> Tensor:
    """Vectors (n,) side by side, (n, 0) where there are none."""
    held = list(variates)
    return torch.stack(held, dim=1) if held else torch.zeros(n, 0, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class GroupedTerm:
    """A random term's share of V, Z (Sigma (x) I) Z'.

    Attributes
    ----------
    name : str
        The term, as tables name it (``"rep:block"``).
    structure : Structure
        Sigma, over the k effects.
    levels : tuple of str
        The q levels of the grouping.
    codes : Tensor of shape (n,), int64
        The level of each row.
    basis : Tensor of shape (n, k)
        The effects' values in each row.
    kernel : Tensor of shape (q, q) or KnownInverse, optional
        K, the known relationship of the levels; the identity by default.
    """

    name: str
    structure: Structure
    levels: tuple[str, ...]
    codes: Tensor
    basis: Tensor
    kernel: Kernel | None = None

    @property
    def copies(self) -> int:
        """How many independent copies of the effects there are, q."""
        return len(self.levels)

    @cached_property
    def scale(self) -> Tensor:
        """Standard deviation (k,) that lets each effect alone contribute a variance of 1 to the average row of V."""
        weight = 1.0 if self.kernel is None else self.kernel.diagonal()[self.codes][:, None]
        mean_square = (weight * self.basis.square()).mean(dim=0)
        return torch.where(mean_square > 0, mean_square.clamp_min(1e-300).rsqrt(), 1.0)

    @cached_property
    def average(self) -> Tensor:
        """A (k, k) with tr(Z (Sigma (x) K) Z') / n = <A, Sigma>: the term's share in the average row's variance."""
        weight = 1.0 if self.kernel is None else self.kernel.diagonal()[self.codes][:, None]
        return self.basis.T @ (weight * self.basis) / len(self.basis)

    @cached_property
    def together(self) -> Tensor:
        """K between the levels of two rows, (n, n); for k = 1 with the products of the basis in it."""
        if self.kernel is None:
            same = (self.codes[:, None] == self.codes[None, :]).to(self.basis.dtype)
        else:
            same = written_out(self.kernel)[self.codes][:, self.codes]
        return same * (self.basis @ self.basis.T) if self.structure.size == 1 else same

    def add_to(self, v: Tensor, sigma: Tensor) -> Tensor:
        """V + Z (Sigma (x) K) Z', written into V."""
        v += sigma * self.together if self.structure.size == 1 else (self.basis @ sigma @ self.basis.T) * self.together
        return v

    def pair(self, s: Tensor) -> Tensor:
        """M (k, k) with <S, Z (Sigma (x) K) Z'> = <M, Sigma> for every Sigma."""
        if self.structure.size == 1:
            return (s * self.together).sum().reshape(1, 1)
        return self.basis.T @ (s * self.together) @ self.basis

    def collect(self, w: Tensor) -> Tensor:
        """(I (x) K) Z' w by level: w (n, c) -> (q, k, c)."""
        rows = self.basis[:, :, None] * w[:, None, :]
        out = torch.zeros(len(self.levels), *rows.shape[1:], dtype=w.dtype, device=w.device)
        out = out.index_add(0, self.codes, rows)
        return related(self.kernel, out)

    def spread(self, u: Tensor) -> Tensor:
        """Z u: u (q, k, c) -> (n, c)."""
        return (self.basis[:, :, None] * u[self.codes]).sum(dim=1)

    def apply(self, direction: Tensor, w: Tensor) -> Tensor:
        """Z (D (x) K) Z' w for D (k, k) and w (n, c) -> (n, c)."""
        return self.spread(direction @ self.collect(w))

    def working_variates(self, directions: Iterable[Tensor], w: Tensor) -> Tensor:
        """Z (D_j (x) K) Z' w for every direction D (k, k) and w (n,) -> (n, m)."""
        collected = self.collect(w[:, None])[:, :, 0]  # (q, k)
        if self.structure.size == 1:
            own = self.basis[:, 0] * collected[self.codes, 0]
            return columns((d[0, 0] * own for d in directions), len(w))
        return columns(((self.basis * (collected @ d.T)[self.codes]).sum(dim=1) for d in directions), len(w))

    def frame(self, w: Tensor) -> Tensor:
        """Z' w, a row for each level and effect: w (n, c) -> (q k, c)."""
        q, k = len(self.levels), self.structure.size
        out = torch.zeros(q * k, w.shape[1], dtype=w.dtype)
        for a in range(k):
            out.index_add_(0, self.codes * k + a, self.basis[:, a : a + 1] * w)
        return out

    def inner(self, direction: Tensor, b: Tensor) -> Tensor:
        """(K (x) D) b: b (q k, c)."""
        shaped = b.reshape(len(self.levels), self.structure.size, -1)
        return related(self.kernel, torch.einsum("ab,qbc->qac", direction, shaped)).reshape(b.shape)

    def pair_frame(self, m: Tensor) -> Tensor:
        """(k, k): the sum of the levels' blocks of M (q k, q k), weighted by K."""
        q, k = len(self.levels), self.structure.size
        blocks = m.reshape(q, k, q, k)
        return (
            torch.einsum("qaqb->ab", blocks)
            if self.kernel is None
            else torch.einsum("qj,qajb->ab", written_out(self.kernel), blocks)
        )

    @property
    def incidence(self) -> tuple[Tensor, Tensor]:
        """Z by rows: columns (n, k), level by level, and what stands there."""
        k = self.structure.size
        return self.codes[:, None] * k + torch.arange(k), self.basis

    def shrunk(self, sigma: Tensor, inner: Tensor) -> Tensor:
        """K_jj Sigma - [(Sigma (x) K) Z' inner Z (Sigma (x) K)]_jj for every level j: (q, k, k)."""
        if self.kernel is None:
            same = self.codes[:, None] == self.codes[None, :]
            return sigma - sigma @ self.collect((inner * same) @ self.basis) @ sigma
        # Z K in columns: level j's share of row i is basis[i] K[code_i, j].
        kernel = written_out(self.kernel)
        weights = kernel[self.codes]  # (n, q)
        out = torch.empty(len(self.levels), *sigma.shape, dtype=sigma.dtype)
        for j in range(len(self.levels)):
            z = self.basis * weights[:, j : j + 1]
            out[j] = kernel[j, j] * sigma - sigma @ (z.T @ (inner @ z)) @ sigma
        return out


@dataclass(frozen=True, eq=False)
class IndependentResidual:
    """R = s^2 diag(1 / w) over some rows: independent residuals, known weights.

    Attributes
    ----------
    variance : Tensor of shape (n,)
        1 / w: each row's variance in units of the residual variance, zero in rows of other sections.
    structure : Structure
        s^2, a 1 x 1 matrix. A model that profiles the residual variance out holds it at 1.
    name : str
        ``"residual"``, ``"residual[C1]"`` for a section, ``"units"`` for a nugget.
    """

    variance: Tensor
    structure: Structure = field(default_factory=lambda: Diagonal(["units"]))
    name: str = "residual"

    @cached_property
    def copies(self) -> int:
        """Number of rows it has a share in."""
        return int((self.variance != 0).sum())

    @cached_property
    def scale(self) -> Tensor:
        """The standard deviation (1,) that contributes a variance of 1 to the average of its rows."""
        return (self.variance.sum() / self.copies).rsqrt().reshape(1)

    @cached_property
    def average(self) -> Tensor:
        """Its share in the average row's variance per unit of s^2, (1, 1)."""
        return self.variance.mean().reshape(1, 1)

    def add_to(self, v: Tensor, sigma: Tensor) -> Tensor:
        """V + sigma diag(1 / w), written into V's diagonal."""
        v.diagonal().add_(sigma[0, 0] * self.variance)
        return v

    def pair(self, s: Tensor) -> Tensor:
        """M (1, 1) with <S, s^2 diag(1 / w)> = M s^2."""
        return (s.diagonal() * self.variance).sum().reshape(1, 1)

    def apply(self, direction: Tensor, w: Tensor) -> Tensor:
        """D diag(1 / w) W for D (1, 1) and W (n, c)."""
        return direction[0, 0] * self.variance[:, None] * w

    def working_variates(self, directions: Iterable[Tensor], w: Tensor) -> Tensor:
        """The same for every direction D (1, 1) and w (n,) -> (n, m)."""
        return columns((d[0, 0] * self.variance * w for d in directions), len(w))

    @cached_property
    def rows(self) -> Tensor:
        """Rows that it has a share in."""
        return self.variance.nonzero()[:, 0]

    def frame(self, w: Tensor) -> Tensor:
        """Its rows of w."""
        return w[self.rows]

    def inner(self, direction: Tensor, b: Tensor) -> Tensor:
        """D diag(1 / w) b over its rows."""
        return direction[0, 0] * self.variance[self.rows][:, None] * b

    def pair_frame(self, m: Tensor) -> Tensor:
        """(1, 1): <M, diag(1 / w)> over its rows."""
        return (m.diagonal() * self.variance[self.rows]).sum().reshape(1, 1)


@dataclass(frozen=True, eq=False)
class BlockResidual:
    """R over some rows: Sigma within blocks (subjects, a trial), nothing between them.

    Row i of the section stands at place ``index[i]`` of Sigma, in block ``codes[i]``; a block that lacks a place (a missing
    plot, a missed visit) just has no row there.

    Attributes
    ----------
    structure : Structure
        Sigma, (k, k).
    rows : Tensor of shape (s,), int64
        The section's rows.
    index, codes : Tensor of shape (s,), int64
    n : int
        Rows of the whole model.
    name : str
    """

    structure: Structure
    rows: Tensor
    index: Tensor
    codes: Tensor
    n: int
    name: str = "residual"

    @cached_property
    def copies(self) -> int:
        """Number of blocks."""
        return int(self.codes.max()) + 1

    @cached_property
    def scale(self) -> Tensor:
        """Ones (k,): a variance of 1 is a variance of 1 in every row."""
        return torch.ones(self.structure.size, dtype=torch.float64)

    @cached_property
    def average(self) -> Tensor:
        """A (k, k) with tr(R) / n = <A, Sigma>."""
        return torch.diag(torch.bincount(self.index, minlength=self.structure.size).double() / self.n)

    @cached_property
    def same(self) -> Tensor | None:
        """Whether two rows share a block, (s, s); None where all do."""
        return None if self.copies == 1 else self.codes[:, None] == self.codes[None, :]

    @cached_property
    def in_order(self) -> bool:
        """Whether the section is one block with its rows as Sigma has them: then nothing needs to be moved."""
        k = self.structure.size
        return self.same is None and len(self.index) == k and bool((self.index == torch.arange(k)).all())

    @cached_property
    def whole(self) -> bool:
        """Whether the section is the whole table, in order."""
        return len(self.rows) == self.n and bool((self.rows == torch.arange(self.n)).all())

    def _spread(self, sigma: Tensor) -> Tensor:
        if self.in_order:
            return sigma
        whole = sigma[self.index][:, self.index]
        return whole if self.same is None else whole * self.same

    def _own(self, s: Tensor) -> Tensor:
        return s if self.whole else s[self.rows[:, None], self.rows[None, :]]

    def add_to(self, v: Tensor, sigma: Tensor) -> Tensor:
        """V + R, written into V."""
        if self.whole:
            v += self._spread(sigma)
        else:
            v[self.rows[:, None], self.rows[None, :]] += self._spread(sigma)
        return v

    def pair(self, s: Tensor) -> Tensor:
        """M (k, k) with <S, R> = <M, Sigma>."""
        return self.pair_frame(self._own(s))

    def apply(self, direction: Tensor, w: Tensor) -> Tensor:
        """The block-diagonal direction times W (n, c)."""
        if self.whole:
            return self._spread(direction) @ w
        out = torch.zeros_like(w)
        out[self.rows] = self._spread(direction) @ w[self.rows]
        return out

    def working_variates(self, directions: Iterable[Tensor], w: Tensor) -> Tensor:
        """The same for every direction D (k, k) and w (n,) -> (n, m)."""
        return columns((self.apply(d, w[:, None])[:, 0] for d in directions), len(w))

    def frame(self, w: Tensor) -> Tensor:
        """The section's rows of w."""
        return w if self.whole else w[self.rows]

    def inner(self, direction: Tensor, b: Tensor) -> Tensor:
        """The blocks of a direction times b, over the section's rows."""
        return self._spread(direction) @ b

    def pair_frame(self, m: Tensor) -> Tensor:
        """(k, k): M (s, s) summed over the rows that share a place, within blocks."""
        if self.in_order:
            return m
        m = m if self.same is None else m * self.same
        k = self.structure.size
        left = torch.zeros(k, len(self.rows), dtype=m.dtype).index_add(0, self.index, m)
        return torch.zeros(k, k, dtype=m.dtype).index_add(1, self.index, left)
