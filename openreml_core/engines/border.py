"""The border of the mixed-model equations: the effects that are not eliminated level by level, X and y, solved densely.

    S  = Lambda'S0 Lambda + I (on random effects) = F F',   T = Lambda S^-1 Lambda',   Lambda = diag(L_K (x) L_t, ..., I)

S0 (B, B) holds N_bb with the inner effects absorbed, y's row and column the last; K = L_K L_K' is the terms' relationship.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance.kernel import written_out
from openreml_core.engines.blocked_levels import well_conditioned
from openreml_core.engines.elimination import Elimination
from openreml_core.engines.engine import NotPositiveDefinite
from openreml_core.engines.inverse import cholesky_inverse
from openreml_core.engines.levels import Factors
from openreml_core.model import MixedModel


class Border:
    """What is fixed about the border: its terms, their columns, and Lambda.

    Attributes
    ----------
    width, random : int
        B; how many of the columns are random effects. They come first, then X, then y.
    terms : dict of int to slice
        The border's random terms and their columns.
    device : str
        Where S is factorised and inverted.
    """

    def __init__(self, model: MixedModel, elimination: Elimination, device: str = "cpu") -> None:
        self.model, self.device = model, device
        self._rooted: tuple[Tensor, Tensor] | None = None
        self.width = len(elimination.border)
        self.random = self.width - model.p - 1
        self.terms: dict[int, slice] = {}
        start = 0
        for u, term in enumerate(model.terms):
            if u not in elimination.inner_terms:
                self.terms[u] = slice(start, start + len(term.levels) * term.structure.size)
                start = self.terms[u].stop

    @cached_property
    def roots(self) -> dict[int, Tensor]:
        """L_K of every term with a known relationship."""
        kernels = {u: self.model.terms[u].kernel for u in self.terms}
        return {u: semidefinite_root(written_out(k).to(self.device)) for u, k in kernels.items() if k is not None}

    def _plain(self, factors: Factors) -> Tensor | None:
        """Lambda's diagonal, where that is all of it; (B - 1,)."""
        if self.roots or any(factors[u].shape[0] > 1 for u in self.terms):
            return None
        out = torch.ones(self.width - 1, dtype=torch.float64, device=self.device)
        for u, where in self.terms.items():
            out[where] = factors[u][0, 0]
        return out

    def unscale(self, s: Tensor, factors: Factors) -> Tensor:
        """Lambda s, s (B - 1, c)."""
        plain = self._plain(factors)
        if plain is not None:
            return plain[:, None] * s
        out = s.clone()
        for u, where in self.terms.items():
            shaped = out[where].reshape(-1, factors[u].shape[0], out.shape[1])
            shaped = torch.einsum("ab,qbc->qac", factors[u], shaped)
            if u in self.roots:
                shaped = torch.einsum("jq,qac->jac", self.roots[u], shaped)
            out[where] = shaped.reshape(-1, out.shape[1])
        return out

    def scale(self, x: Tensor, factors: Factors) -> Tensor:
        """Lambda'x, x (B - 1, c)."""
        plain = self._plain(factors)
        return plain[:, None] * x if plain is not None else self._by_factors(self._by_roots(x), factors)

    def _by_roots(self, x: Tensor) -> Tensor:
        """diag(L_K (x) I, ..., I)'x."""
        if not self.roots:
            return x
        out = x.clone()
        for u, root in self.roots.items():
            where, k = self.terms[u], self.model.terms[u].structure.size
            shaped = out[where].reshape(-1, k * out.shape[1])
            out[where] = (root.T @ shaped).reshape(-1, out.shape[1])
        return out

    def _by_factors(self, x: Tensor, factors: Factors) -> Tensor:
        """diag(I (x) L_t, ..., I)'x."""
        out = x.clone()
        for u, where in self.terms.items():
            shaped = out[where].reshape(-1, factors[u].shape[0], out.shape[1])
            out[where] = torch.einsum("ba,qbc->qac", factors[u], shaped).reshape(-1, out.shape[1])
        return out

    def scaled(self, s0: Tensor, factors: Factors) -> Tensor:
        """Lambda'S0 Lambda of S0 (B, B) without y's row and column, (B - 1, B - 1)."""
        inside = s0[:-1, :-1]
        plain = self._plain(factors)
        if plain is not None:
            return inside * plain[:, None] * plain
        if self._rooted is None or self._rooted[0] is not s0:
            # Where nothing is absorbed S0 stays the same from one theta to the next, and so does this, the costly part.
            self._rooted = (s0, self._by_roots(self._by_roots(inside).T.contiguous()))
        return self._by_factors(self._by_factors(self._rooted[1], factors).T.contiguous(), factors)


class SolvedBorder:
    """The border at one theta; what it answers is on the CPU.

    Attributes
    ----------
    s0 : Tensor of shape (B, B)
    factor : Tensor of shape (B - 1, B - 1)
        F.
    solution : Tensor of shape (B - 1,)
        u^, then b less its least-squares value.
    rss : float
        y'P y.
    """

    def __init__(self, border: Border, s0: Tensor, factors: Factors) -> None:
        self.border, self.s0, self.factors = border, s0.to(border.device), tuple(f.to(border.device) for f in factors)
        self._t: dict[bool, Tensor] = {}
        s = border.scaled(self.s0, self.factors)
        s.diagonal()[: border.random] += 1.0
        self.factor, failed = torch.linalg.cholesky_ex(s)
        if int(failed) or not bool(torch.isfinite(self.factor.diagonal()).all()):
            raise NotPositiveDefinite
        half = self._half_solve(self.s0[:-1, -1:])
        inner = torch.linalg.solve_triangular(self.factor.T, half, upper=True)
        self.solution = border.unscale(inner, self.factors)[:, 0].to("cpu")
        self.rss = float(self.s0[-1, -1] - half[:, 0] @ half[:, 0])

    def log_det(self, with_fixed: bool) -> float:
        """log|S|, of the random effects alone or with X (REML)."""
        pivots = self.factor.diagonal()
        return 2 * float((pivots if with_fixed else pivots[: self.border.random]).log().sum())

    @cached_property
    def w(self) -> Tensor:
        """Z'P y of the border's effects, (random,)."""
        return (self.s0[:-1, -1] - self.s0[:-1, :-1] @ self.solution.to(self.s0.device))[: self.border.random].to("cpu")

    @cached_property
    def _inverse(self) -> Tensor:
        return cholesky_inverse(self.factor)

    @cached_property
    def _inverse_random(self) -> Tensor:
        """S^-1 as if X were known, zeros in its rows and columns."""
        random, size = self.border.random, len(self.factor)
        inverse = cholesky_inverse(self.factor[:random, :random])
        return torch.nn.functional.pad(inverse, (0, size - random, 0, size - random))

    @cached_property
    def beta_covariance(self) -> Tensor:
        """b's covariance over sigma2, (p, p)."""
        return self._inverse[self.border.random :, self.border.random :].to("cpu")

    def t(self, known_fixed: bool = False) -> Tensor:
        """T, two rows and columns of zeros behind it for y and for nothing; as if b were known with ``known_fixed``."""
        if known_fixed not in self._t:
            inverse = self._inverse_random if known_fixed else self._inverse
            plain = self.border._plain(self.factors)
            if plain is not None:
                t = inverse * plain[:, None] * plain
            else:
                t = self.border.unscale(self.border.unscale(inverse, self.factors).T.contiguous(), self.factors)
            self._t[known_fixed] = torch.nn.functional.pad(t, (0, 2, 0, 2)).to("cpu")
        return self._t[known_fixed]

    def half_solve(self, x: Tensor) -> Tensor:
        """F^-1 Lambda'x, x (B, c), y's row left out."""
        return self._half_solve(x[:-1].to(self.s0.device)).to("cpu")

    def _half_solve(self, x: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self.factor, self.border.scale(x, self.factors), upper=False)

    def traces(self, known_fixed: bool) -> dict[int, Tensor]:
        """Sum over the levels of Z'P Z, weighted by K, (k, k) of every term in the border."""
        out, terms = {}, self.border.model.terms
        typical = {u: float(self.s0.diagonal()[where].mean()) for u, where in self.border.terms.items()}
        direct = [u for u in self.border.terms if not well_conditioned(self.factors[u], typical[u])]
        for u, where in self.border.terms.items():
            k, q = terms[u].structure.size, len(terms[u].levels)
            if u in direct:
                continue
            inverse = self._inverse_random if known_fixed else self._inverse
            m = torch.einsum("qaqb->ab", inverse[where, where].reshape(q, k, q, k))
            back = torch.linalg.inv(self.factors[u])
            out[u] = (back.T @ (q * torch.eye(k, dtype=torch.float64, device=m.device) - m) @ back).to("cpu")
        s0 = self.s0[:-1, :-1]
        t = self.t(known_fixed).to(self.s0.device) if direct else s0
        for u in direct:
            where, kernel = self.border.terms[u], terms[u].kernel
            k, q = terms[u].structure.size, len(terms[u].levels)
            left = s0[where] @ t[:-2, :-2]
            if kernel is None:
                own = torch.einsum("qaqb->ab", s0[where, where].reshape(q, k, q, k))
                product = torch.einsum("qac,qbc->ab", left.reshape(q, k, -1), s0[where].reshape(q, k, -1))
                out[u] = (own - product).to("cpu")
            else:
                zpz = (s0[where, where] - left @ s0[:, where]).reshape(q, k, q, k)
                out[u] = torch.einsum("qj,qajb->ab", written_out(kernel).to(zpz.device), zpz).to("cpu")
        return out


def semidefinite_root(kernel: Tensor) -> Tensor:
    """L_K (q, q) with L_K L_K' = K, for K that may be singular."""
    factor, failed = torch.linalg.cholesky_ex(kernel)
    if not int(failed):
        return factor
    values, vectors = torch.linalg.eigh(kernel)
    return vectors * values.clamp_min(0).sqrt()


def border_target(elimination: Elimination, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Where in N_bb, row by row, entries of N with both ends in the border go."""
    place = elimination.border_place
    return place[row] * len(elimination.border) + place[column]
