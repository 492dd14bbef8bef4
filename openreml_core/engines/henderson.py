"""The engine of Henderson's mixed-model equations: iterations that never touch the rows.

Symbols: N = W'R^-1 W the cross-products (crossproducts.py), Sigma_t = L_t L_t', Lambda = diag(I (x) L_t) (L_K (x) L_t for
related levels, K = L_K L_K'), and u = Lambda s. In s the equations stay well-conditioned when a variance goes to zero:

    A = Lambda'Z'R^-1 Z Lambda + I,    log|V| = log|R| + log|A|,    M = [A + border]^-1,  u^ = Lambda s^

The inner effects are eliminated level by level (elimination.py). With F_j F_j' = D_j, Y_j = F_j^-1 Lambda' N_cb,

    S0 = N_bb - sum_j Y_j'Y_j                the border's equations (other terms, X, y), the inner effects absorbed
    S  = Lambda'S0 Lambda + I                factorised densely;   T = Lambda S^-1 Lambda'
    y'P y = S0_yy - r'T r,                   r = S0's column of y

and all that the derivatives need of n x n matrices are a few small ones per level (Bates 2014; Smith and Graser 1986, J.
Dairy Sci. 69, 1156-1165, on absorption):

    w = Z'P y        = N_zy - N_zz u^ - N_zx b^
    Z'P Z            = N_zz - N_z. M N_.z,   only its sum over the levels' own blocks; also L^-T (J I - sum_j M_jj) L^-1
    f_k'P f_l        = h_k'g_l - g_k'M g_l,  h_k = dSigma_k w (by level),  g = N h
    tr(P_s R0_s)     = n_s / sigma2_s - <M, N_s> / sigma2_s^2
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance.cholesky import semidefinite_factor
from openreml_core.covariance.components import columns
from openreml_core.engines.crossproducts import CrossProducts, cross_products
from openreml_core.engines.elimination import Bucket, lay_out, spread_factors
from openreml_core.engines.engine import Evaluation, NotPositiveDefinite, RandomEffects
from openreml_core.model import MixedModel

LOG_2PI = math.log(2 * math.pi)
#: Step of the differences of the score, in units of a parameter's size.
STEP = 1e-4


@dataclass(frozen=True, eq=False)
class Block:
    """A bucket at one theta.

    Attributes
    ----------
    square, side : Tensor of shape (G, b, b), (G, b, m)
        N within the levels, and between them and the border.
    scale : Tensor of shape (G, b, b)
        Lambda.
    factor : Tensor of shape (G, b, b)
        F.
    y : Tensor of shape (G, b, m)
        F^-1 Lambda'N_cb.
    back : Tensor of shape (G, b, b)
        Lambda F^-T.
    """

    square: Tensor
    side: Tensor
    scale: Tensor
    factor: Tensor
    y: Tensor
    back: Tensor


@dataclass(frozen=True, eq=False)
class Solved:
    """The equations at one theta, factorised.

    Attributes
    ----------
    theta : Tensor
    factors : tuple of Tensor
        L_t.
    precision : Tensor of shape (S,)
        1 / sigma2_s of every section.
    blocks : tuple of Block
    s0 : Tensor of shape (B, B)
        S0, y's row and column the last.
    border : Tensor of shape (B - 1, B - 1)
        Cholesky factor of S.
    solution : Tensor of shape (B - 1,)
        u^ of the border's effects, then b less its least-squares value.
    rss : float
        y'P y.
    log_det : float
        log|V~| (+ log|X'V~^-1X| for REML).
    """

    theta: Tensor
    factors: tuple[Tensor, ...]
    precision: Tensor
    blocks: tuple[Block, ...]
    s0: Tensor
    border: Tensor
    solution: Tensor
    rss: float
    log_det: float


@dataclass(frozen=True, eq=False)
class HendersonEvaluation(Evaluation):
    """An evaluation and the solved equations it came from.

    Attributes
    ----------
    solved : Solved
    t : Tensor of shape (B - 1, B - 1)
        T, b's covariance over sigma2 in its last p rows.
    inner_solution, inner_w : Tensor of shape (inner places,)
        u^ and Z'P~y of the inner effects.
    border_w : Tensor of shape (random,)
        Z'P~y of the border's effects.
    traces : tuple of Tensor
        Sum over the levels of a term's blocks of Z'P~Z (ML: Z'V~^-1 Z).
    by_section : tuple of Tensor, (inner places, S), (B, S), (S,)
        N_s e at the inner places and in the border, and e'N_s e, with e = (-u^, -b^, 1): W'R0^-1 and R0^-1 times the
        residuals of each section.
    """

    solved: Solved
    t: Tensor
    inner_solution: Tensor
    inner_w: Tensor
    border_w: Tensor
    traces: tuple[Tensor, ...]
    by_section: tuple[Tensor, Tensor, Tensor]


class HendersonEngine:
    """Evaluate a model with independent residuals through its mixed-model equations.

    Parameters
    ----------
    model : MixedModel
        Its residual is one variance, with weights or without, or one in each of several sections.
    cross : CrossProducts, optional
        The model's cross-products where they are known already.
    """

    name = "henderson"

    def __init__(self, model: MixedModel, cross: CrossProducts | None = None, eliminate: int | None = None) -> None:
        self.model = model
        self.cross = cross_products(model) if cross is None else cross
        self.layout = lay_out(model, self.cross, eliminate)
        self._target, self._value = self.layout.target, torch.from_numpy(self.cross.value)
        self._section = torch.from_numpy(self.cross.section)
        width = self.layout.border_size + 1
        self._pairs = [b.pairs(width).reshape(-1) for b in self.layout.buckets]

    # -- the equations ------------------------------------------------------------------------------------------

    def _precision(self, theta: Tensor) -> Tensor:
        if self.model.profiled:
            return torch.ones(1, dtype=theta.dtype)
        residuals = self.model.relative(theta)[len(self.model.terms) :]
        variances = torch.stack([s[0, 0] for s in residuals])
        if not bool((variances > 0).all()):
            raise NotPositiveDefinite
        return 1 / variances

    @cached_property
    def _flat_once(self) -> Tensor:
        return self._flat(torch.ones(self.cross.sections, dtype=torch.float64))

    def _flat(self, precision: Tensor) -> Tensor:
        """N's entries where the layout has them."""
        value = self._value if len(precision) == 1 else self._value * precision[self._section]
        out = torch.zeros(self.layout.flat + 1, dtype=torch.float64).index_add_(0, self._target, value)
        return out * precision[0] if len(precision) == 1 else out

    def _solve(self, theta: Tensor) -> Solved:
        model, layout = self.model, self.layout
        precision = self._precision(theta)
        flat = self._flat_once if model.profiled else self._flat(precision)
        sigmas = model.relative(theta)[: len(model.terms)]
        if not all(bool(torch.isfinite(s).all()) for s in sigmas):
            raise NotPositiveDefinite
        try:
            factors = tuple(semidefinite_factor(s) for s in sigmas)
        except ValueError:
            raise NotPositiveDefinite from None
        width = layout.border_size
        absorbed = torch.zeros((width + 1) ** 2, dtype=torch.float64)
        blocks, log_det = [], 0.0
        for bucket, pairs in zip(layout.buckets, self._pairs, strict=True):
            block = self._block(bucket, flat, factors)
            log_det += 2 * float(block.factor.diagonal(dim1=1, dim2=2).log().sum())
            absorbed.index_add_(0, pairs, (block.y.mT @ block.y).reshape(-1))
            blocks.append(block)
        start = layout.flat - width**2
        s0 = flat[start : layout.flat].reshape(width, width) - absorbed.reshape(width + 1, width + 1)[:-1, :-1]
        r, random = s0[:-1, -1], layout.random
        s = self._scaled(self._scaled(s0[:-1, :-1], factors).T, factors)
        s.diagonal()[:random] += 1.0
        border, failed = torch.linalg.cholesky_ex(s)
        if int(failed) or not bool(torch.isfinite(border.diagonal()).all()):
            raise NotPositiveDefinite
        half = torch.linalg.solve_triangular(border, self._scaled(r[None, :], factors).T, upper=False)
        inner = torch.linalg.solve_triangular(border.T, half, upper=True)
        pivots = border.diagonal().log()
        log_det += 2 * float((pivots if model.method == "reml" else pivots[:random]).sum())
        log_det -= float((torch.from_numpy(self.cross.counts) * precision.log()).sum()) + self.cross.log_weights
        return Solved(
            theta=theta,
            factors=factors,
            precision=precision,
            blocks=tuple(blocks),
            s0=s0,
            border=border,
            solution=self._unscaled(inner[:, 0], factors),
            rss=float(s0[-1, -1] - half[:, 0] @ half[:, 0]),
            log_det=log_det,
        )

    def _block(self, bucket: Bucket, flat: Tensor, factors: tuple[Tensor, ...]) -> Block:
        square = flat[bucket.square].reshape(bucket.levels, bucket.inner, bucket.inner)
        side = flat[bucket.side].reshape(bucket.levels, bucket.inner, bucket.border)
        scale = spread_factors(self.layout, factors, bucket)
        if bucket.inner == 1:
            factor = (scale * square * scale + 1).sqrt()
            y, back = scale * side / factor, scale / factor
        else:
            d = scale.mT @ square @ scale
            d.diagonal(dim1=1, dim2=2).add_(1.0)
            factor, failed = torch.linalg.cholesky_ex(d)
            if bool(failed.any()):
                raise NotPositiveDefinite
            y = torch.linalg.solve_triangular(factor, scale.mT @ side, upper=False)
            back = torch.linalg.solve_triangular(factor, scale.mT, upper=False).mT
        return Block(square, side, scale, factor, y, back)

    # -- Lambda in the border -----------------------------------------------------------------------------------

    @cached_property
    def _outer(self) -> tuple[tuple[int, slice], ...]:
        """The border's terms and their columns."""
        out, start = [], 0
        for u, term in enumerate(self.model.terms):
            if u not in self.layout.inner:
                count = len(term.levels) * term.structure.size
                out.append((u, slice(start, start + count)))
                start += count
        return tuple(out)

    @cached_property
    def _roots(self) -> dict[int, Tensor]:
        """L_K of every term with a known relationship."""
        return {u: semidefinite_root(t.kernel) for u, t in enumerate(self.model.terms) if t.kernel is not None}

    def _scaled(self, x: Tensor, factors: tuple[Tensor, ...]) -> Tensor:
        """X Lambda over the border's columns, a new array; X (c, B - 1)."""
        out = x.clone()
        for u, where in self._outer:
            shaped = x[:, where].reshape(len(x), -1, factors[u].shape[0]) @ factors[u]
            if u in self._roots:
                shaped = torch.einsum("cqk,qj->cjk", shaped, self._roots[u])
            out[:, where] = shaped.reshape(len(x), -1)
        return out

    def _unscaled(self, s: Tensor, factors: tuple[Tensor, ...]) -> Tensor:
        """Lambda s over the border's columns: s (B - 1,) or (B - 1, c)."""
        out = s.clone().reshape(len(s), -1)
        for u, where in self._outer:
            shaped = out[where].reshape(-1, factors[u].shape[0], out.shape[1])
            shaped = torch.einsum("ab,qbc->qac", factors[u], shaped)
            if u in self._roots:
                shaped = torch.einsum("jq,qac->jac", self._roots[u], shaped)
            out[where] = shaped.reshape(-1, out.shape[1])
        return out.reshape(s.shape)

    def _widened(self, t: Tensor) -> Tensor:
        """T with rows and columns of zeros for y and for padding."""
        return torch.nn.functional.pad(t, (0, 2, 0, 2))

    def _inverse(self, solved: Solved, random_only: bool = False) -> Tensor:
        """T = Lambda S^-1 Lambda', of the whole border or, without X, of its random effects (zeros for X)."""
        factor, size = solved.border, len(solved.border)
        if random_only:
            factor = factor[: self.layout.random, : self.layout.random]
        inverse = torch.cholesky_inverse(factor)
        if random_only:
            inverse = torch.nn.functional.pad(inverse, (0, size - len(inverse), 0, size - len(inverse)))
        return self._unscaled(self._unscaled(inverse, solved.factors).T, solved.factors)

    # -- the likelihood -----------------------------------------------------------------------------------------

    def _likelihood(self, solved: Solved) -> tuple[float, float]:
        model, df = self.model, self.model.degrees_of_freedom
        sigma2 = solved.rss / df if model.profiled else 1.0
        if not 0 < sigma2 < math.inf or not solved.rss > 0 or not math.isfinite(solved.log_det):
            raise NotPositiveDefinite
        return df * (math.log(sigma2) + LOG_2PI) + solved.log_det + solved.rss / sigma2, sigma2

    def criterion(self, theta: Tensor) -> float:
        """-2 l at theta."""
        return self._likelihood(self._solve(theta))[0]

    def evaluate(self, theta: Tensor) -> HendersonEvaluation:
        """Criterion, score, average information, curvature, b at theta."""
        model, layout, solved = self.model, self.layout, self._solve(theta)
        criterion, sigma2 = self._likelihood(solved)
        t = self._inverse(solved)
        for_traces = t if model.method == "reml" else self._inverse(solved, random_only=True)
        inner_u, inner_w = self._inner_solution(solved)
        random = layout.random
        border_w = (solved.s0[:-1, -1] - solved.s0[:-1, :-1] @ solved.solution)[:random]
        traces = self._traces(solved, for_traces)
        w = self._by_level(inner_w, border_w)
        pairings = []
        for u, term in enumerate(model.terms):
            own = w[u] if term.kernel is None else term.kernel @ w[u]
            pairings.append(0.5 * (w[u].T @ own / sigma2 - traces[u]))
        by_section = self._by_section(solved, inner_u, inner_w, border_w)
        pairings += self._residual_pairings(solved, sigma2, by_section, for_traces, pairings)
        free = list(zip(model.components, model.split(theta), pairings, strict=False))
        curvature = [c.structure.curvature(part, m) for c, part, m in free]
        evaluation = HendersonEvaluation(
            theta=theta,
            sigma2=sigma2,
            criterion=criterion,
            beta=model.least_squares + solved.solution[random:],
            beta_covariance=sigma2 * t[random:, random:],
            score=model.join([c.structure.gradient(part, m) for c, part, m in free]),
            information=torch.zeros(0, 0),
            curvature=torch.block_diag(*curvature) if curvature else torch.zeros(0, 0, dtype=theta.dtype),
            pairings=tuple(pairings),
            condition=float(solved.border.diagonal().max() / solved.border.diagonal().min()) ** 2,
            solved=solved,
            t=t,
            inner_solution=inner_u,
            inner_w=inner_w,
            border_w=border_w,
            traces=traces,
            by_section=by_section,
        )
        return replace(evaluation, information=self._information(evaluation, natural=False))

    # -- parts of the derivatives -------------------------------------------------------------------------------

    def _inner_solution(self, solved: Solved) -> tuple[Tensor, Tensor]:
        """u^ and w of the inner effects, a padded vector each."""
        u = torch.zeros(self.layout.inner_size, dtype=torch.float64)
        w = torch.zeros_like(u)
        known = torch.cat([solved.solution, torch.tensor([-1.0, 0.0], dtype=torch.float64)])
        for bucket, block in zip(self.layout.buckets, solved.blocks, strict=True):
            local = known[bucket.meets][:, :, None]
            own = -(block.back @ (block.y @ local))
            u[bucket.own] = own.reshape(-1)
            w[bucket.own] = -(block.side @ local + block.square @ own).reshape(-1)
        return u, w

    def _by_level(self, inner: Tensor, border: Tensor) -> list[Tensor]:
        """Vectors over the places as (q, k) for every term (or (q, k, c))."""
        return [
            (inner if u in self.layout.inner else border)[place] for u, place in enumerate(self.layout.places)
        ]

    def _traces(self, solved: Solved, t: Tensor) -> tuple[Tensor, ...]:
        """For every term the sum over its levels of Z'P Z, (k, k), weighted by K; t is T of P or of V^-1."""
        model, layout = self.model, self.layout
        wide = self._widened(t)
        out = [torch.zeros(term.structure.size, term.structure.size, dtype=torch.float64) for term in model.terms]
        stable = {u: self._stable(solved, u) for u in range(len(model.terms))}
        for bucket, block in zip(layout.buckets, solved.blocks, strict=True):
            present = [u for u in layout.inner if self._in_bucket(u, bucket) is not None]
            local = wide[bucket.meets[:, :, None], bucket.meets[:, None, :]] if present else wide
            if any(stable[u] for u in present):
                shape = block.y @ local @ block.y.mT
                shape.diagonal(dim1=1, dim2=2).add_(1.0)
                m = self._within(block, shape)
                for u in present:
                    if stable[u]:
                        at, k = self._in_bucket(u, bucket), model.terms[u].structure.size
                        levels = at.shape[0]
                        inverse = torch.linalg.inv(solved.factors[u])
                        eye = levels * torch.eye(k, dtype=torch.float64)
                        out[u] += inverse.T @ (eye - m.reshape(-1)[at].sum(dim=0)) @ inverse
            if not all(stable[u] for u in present):
                half = block.back.mT @ block.square
                side = block.side - half.mT @ block.y
                zpz = block.square - half.mT @ half - side @ local @ side.mT
                for u in present:
                    if not stable[u]:
                        out[u] += zpz.reshape(-1)[self._in_bucket(u, bucket)].sum(dim=0)
        if self._outer:
            self._border_traces(solved, t, stable, out)
        return tuple(out)

    @staticmethod
    def _within(block: Block, shape: Tensor) -> Tensor:
        """F^-T X F^-1."""
        if block.factor.shape[-1] == 1:
            return shape / block.factor.square()
        left = torch.linalg.solve_triangular(block.factor.mT, shape, upper=True)
        return torch.linalg.solve_triangular(block.factor.mT, left.mT, upper=True)

    def _border_traces(self, solved: Solved, t: Tensor, stable: dict[int, bool], out: list[Tensor]) -> None:
        model = self.model
        if all(stable[u] for u, _ in self._outer):
            # T = Lambda S^-1 Lambda': the spherical blocks are S^-1's own.
            factor = solved.border
            if model.method != "reml":
                factor = factor[: self.layout.random, : self.layout.random]
            inverse = torch.cholesky_inverse(factor)
            for u, where in self._outer:
                k, q = model.terms[u].structure.size, len(model.terms[u].levels)
                block = inverse[where, where].reshape(q, k, q, k)
                m = torch.einsum("qaqb->ab", block)
                back = torch.linalg.inv(solved.factors[u])
                out[u] += back.T @ (q * torch.eye(k, dtype=torch.float64) - m) @ back
            return
        s0 = solved.s0[:-1, :-1]
        random = self.layout.random
        left = s0[:random] @ t
        for u, where in self._outer:
            k, q = model.terms[u].structure.size, len(model.terms[u].levels)
            if model.terms[u].kernel is None:
                diagonal = s0[where].reshape(q, k, -1)
                product = torch.einsum("qac,qbc->ab", left[where].reshape(q, k, -1), diagonal)
                own = torch.einsum("qaqb->ab", s0[where, where].reshape(q, k, q, k))
                out[u] += own - product
            else:
                zpz = (s0[where, where] - left[where] @ s0[:, where]).reshape(q, k, q, k)
                out[u] += torch.einsum("qj,qajb->ab", model.terms[u].kernel, zpz)

    def _stable(self, solved: Solved, u: int) -> bool:
        """Whether Z'PZ is better had from M (L_t well away from singular) than by differences."""
        factor = solved.factors[u]
        smallest = float(factor.diagonal().abs().min())
        typical = float(self._typical_square[u]) * float(solved.precision.mean())
        return smallest > 1e-3 * float(factor.abs().max()) and smallest**2 * typical > 1e-2

    @cached_property
    def _typical_square(self) -> list[float]:
        """Of every term the mean of Z'R0^-1 Z's diagonal."""
        cross = self.cross
        diagonal = cross.row == cross.column
        sums = np.bincount(cross.row[diagonal], weights=cross.value[diagonal], minlength=cross.size)
        out, start = [], 0
        for term in self.model.terms:
            count = len(term.levels) * term.structure.size
            out.append(float(sums[start : start + count].mean()))
            start += count
        return out

    def _in_bucket(self, u: int, bucket: Bucket) -> Tensor:
        """Flat places (levels, k, k) of term u's blocks in a bucket's squares."""
        key = (u, bucket.own.start)
        if key not in self._block_places:
            place = self.layout.places[u]
            mine = (place[:, 0] >= bucket.own.start) & (place[:, 0] < bucket.own.stop)
            local = place[mine] - bucket.own.start
            self._block_places[key] = local[:, :, None] * bucket.inner + (local % bucket.inner)[:, None, :]
        return self._block_places[key]

    @cached_property
    def _block_places(self) -> dict[tuple[int, int], Tensor]:
        return {}

    def _by_section(
        self, solved: Solved, inner_u: Tensor, inner_w: Tensor, border_w: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        if self.cross.sections == 1:
            # W'R^-1 (y - Zu^ - Xb^) = W'P~y: w, and zero for X, and y'P~y.
            nothing = torch.zeros(self.model.p, dtype=torch.float64)
            total = torch.tensor([solved.rss], dtype=torch.float64)
            border = torch.cat([border_w, nothing, total])
            square = solved.rss - inner_u @ inner_w - solved.solution[: self.layout.random] @ border_w
            sigma2 = 1 / solved.precision
            return (sigma2 * inner_w)[:, None], (sigma2 * border)[:, None], sigma2 * square
        e = self._global(-inner_u, torch.cat([-solved.solution, torch.ones(1, dtype=torch.float64)]))
        times = torch.from_numpy(self.cross.times(e.numpy()))  # (Q, S)
        return (*self._local(times), e @ times)

    def _residual_pairings(
        self,
        solved: Solved,
        sigma2: float,
        by_section: tuple[Tensor, Tensor, Tensor],
        t: Tensor,
        pairings: list[Tensor],
    ) -> list[Tensor]:
        """<S, R0_s> of every section."""
        if self.cross.sections == 1:
            # <S, V~> = (y'P~y / sigma2 - df) / 2 is shared by the terms and the residual.
            rest = 0.5 * (solved.rss / sigma2 - self.model.degrees_of_freedom)
            for m, factor in zip(pairings, solved.factors, strict=True):
                rest -= float((m * (factor @ factor.T)).sum())
            return [(rest * solved.precision).reshape(1, 1)]
        m = self._on_pattern(solved, t)
        value = self._value * m[self._target] * self.layout.twice
        inside = torch.zeros(self.cross.sections, dtype=torch.float64).index_add_(0, self._section, value)
        p, counts = solved.precision, torch.from_numpy(self.cross.counts).double()
        out = 0.5 * (by_section[2] * p.square() / sigma2 - (counts * p - inside * p.square()))
        return [x.reshape(1, 1) for x in out]

    def _on_pattern(self, solved: Solved, t: Tensor) -> Tensor:
        """Lambda M Lambda' where N has entries, in the layout's flat order; zero for y."""
        layout, wide = self.layout, self._widened(t)
        out = torch.zeros(layout.flat + 1, dtype=torch.float64)
        for bucket, block in zip(layout.buckets, solved.blocks, strict=True):
            local = wide[bucket.meets[:, :, None], bucket.meets[:, None, :]]
            across = block.y @ local
            shape = across @ block.y.mT
            shape.diagonal(dim1=1, dim2=2).add_(1.0)
            out[bucket.square] = (block.back @ shape @ block.back.mT).reshape(-1)
            out[bucket.side] = -(block.back @ across).reshape(-1)
        width = layout.border_size
        out[layout.flat - width**2 : layout.flat] = torch.nn.functional.pad(t, (0, 1, 0, 1)).reshape(-1)
        return out

    def _global(self, inner: Tensor, border: Tensor) -> Tensor:
        """A vector over the places as one over W's columns, (Q,) or (Q, c)."""
        place, is_inner = torch.from_numpy(self.layout.of_column), torch.from_numpy(self.layout.is_inner)
        out = torch.empty(self.cross.size, *inner.shape[1:], dtype=torch.float64)
        out[is_inner] = inner[place[is_inner]]
        out[~is_inner] = border[place[~is_inner]]
        return out

    def _local(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The reverse: x (Q, c) at the inner places and in the border."""
        place, is_inner = torch.from_numpy(self.layout.of_column), torch.from_numpy(self.layout.is_inner)
        inner = torch.zeros(self.layout.inner_size, x.shape[1], dtype=torch.float64)
        border = torch.zeros(self.layout.border_size, x.shape[1], dtype=torch.float64)
        inner[place[is_inner]] = x[is_inner]
        border[place[~is_inner]] = x[~is_inner]
        return inner, border

    def _times(self, solved: Solved, inner: Tensor, border: Tensor) -> tuple[Tensor, Tensor]:
        """N x over all columns but y's: x at the inner places (., c) and in the border (B, c), y's row left out of it."""
        layout, c = self.layout, inner.shape[1]
        flat = self._flat_once if self.model.profiled else self._flat(solved.precision)
        width = layout.border_size
        dense = flat[layout.flat - width**2 : layout.flat].reshape(width, width)
        out_b = torch.zeros(width + 1, c, dtype=torch.float64)
        out_b[:-1] = dense @ border
        out_c = torch.zeros_like(inner)
        known = torch.nn.functional.pad(border, (0, 0, 0, 1))
        for bucket, block in zip(layout.buckets, solved.blocks, strict=True):
            own = inner[bucket.own].reshape(bucket.levels, bucket.inner, c)
            out_c[bucket.own] = (block.square @ own + block.side @ known[bucket.meets]).reshape(-1, c)
            out_b.index_add_(0, bucket.meets.reshape(-1), (block.side.mT @ own).reshape(-1, c))
        return out_c, out_b[:-1]

    def _directions(self, at: HendersonEvaluation, natural: bool) -> tuple[Tensor, Tensor]:
        """h_k = (K (x) dSigma_k) w for every parameter of the terms, at the inner places and in the border."""
        layout, w = self.layout, self._by_level(at.inner_w, at.border_w)
        inner_h, border_h = [], []
        for u, (term, part) in enumerate(zip(self.model.terms, self.model.split(at.theta), strict=False)):
            own = w[u] if term.kernel is None else term.kernel @ w[u]
            directions = term.structure.natural_derivatives(part) if natural else term.structure.derivatives(part)
            for q, d in zip(term.structure.natural, directions, strict=True):
                inner = torch.zeros(layout.inner_size, dtype=torch.float64)
                border = torch.zeros(layout.border_size, dtype=torch.float64)
                scale = at.sigma2 if natural and not q.scales else 1.0
                (inner if u in layout.inner else border)[layout.places[u]] = scale * own @ d.T
                inner_h.append(inner)
                border_h.append(border)
        return columns(inner_h, layout.inner_size), columns(border_h, layout.border_size)

    def _information(self, at: HendersonEvaluation, natural: bool) -> Tensor:
        """f'P~ f / (2 sigma2) for theta, sigma2's row last if it is profiled; for V's natural parameters if ``natural``.

        A direction h has f = Z h; a section has f = R0_s P~y, W'R^-1 f = N_s e / sigma2_s^2.
        """
        model, layout, solved = self.model, self.layout, at.solved
        h_c, h_b = self._directions(at, natural)
        g_c, g_b = self._times(solved, h_c, h_b)
        square = h_c.T @ g_c + h_b.T @ g_b
        if natural or not model.profiled:
            s_c, s_b, s_square = at.by_section
            p = solved.precision
            slopes = torch.ones(len(p), dtype=torch.float64)
            if not natural:
                parts = model.split(at.theta)[len(model.terms) :]
                slopes = torch.stack(
                    [d[0, 0] for r, x in zip(model.residuals, parts, strict=True) for d in r.structure.derivatives(x)]
                )
            s_c, s_b = s_c * (slopes * p.square()), s_b * (slopes * p.square())
            mixed = h_c.T @ s_c + h_b.T @ s_b
            square = torch.cat(
                [torch.cat([square, mixed], 1), torch.cat([mixed.T, torch.diag(s_square * slopes**2 * p**3)], 1)]
            )
            g_c, g_b = torch.cat([g_c, s_c], dim=1), torch.cat([g_b, s_b], dim=1)
        inside = torch.zeros_like(square)
        carried = torch.zeros(layout.border_size + 1, g_b.shape[1], dtype=torch.float64)
        for bucket, block in zip(layout.buckets, solved.blocks, strict=True):
            own = block.back.mT @ g_c[bucket.own].reshape(bucket.levels, bucket.inner, -1)
            flat = own.reshape(-1, own.shape[-1])
            inside += flat.T @ flat
            carried.index_add_(0, bucket.meets.reshape(-1), (block.y.mT @ own).reshape(-1, own.shape[-1]))
        rest = self._scaled((g_b[:-1] - carried[:-2]).T.contiguous(), solved.factors).T
        z = torch.linalg.solve_triangular(solved.border, rest, upper=False)
        information = (square - inside - z.T @ z) / (2 * at.sigma2)
        if natural:
            return information / at.sigma2**2
        if not model.profiled:
            return information
        # V~ / sigma2 is the derivative in sigma2, and P~ V~ P~ = P~.
        random = layout.random
        pairs = (h_c.T @ at.inner_w + h_b[:random].T @ at.border_w) / (2 * at.sigma2**2)
        last = torch.tensor([model.degrees_of_freedom / (2 * at.sigma2**2)], dtype=torch.float64)
        top = torch.cat([information, pairs[:, None]], dim=1)
        return torch.cat([top, torch.cat([pairs, last])[None, :]])

    # -- what inference needs -----------------------------------------------------------------------------------

    def natural_information(self, at: HendersonEvaluation) -> Tensor:
        """AI for the natural parameters on the scale of the data."""
        return self._information(at, natural=True)

    def observed_information(self, at: HendersonEvaluation) -> Tensor:
        """-d2l for theta, by central differences of the analytic score; sigma2's row exact.

        The score's own derivative would need all of Z'PZ, of which only the levels' blocks exist here.
        """
        model, m = self.model, self.model.n_theta
        size = torch.maximum(at.theta.abs(), 0.1 * model.scale)
        rows = []
        for k in range(m):
            step = torch.zeros_like(at.theta)
            step[k] = STEP * size[k]
            rows.append((self.evaluate(at.theta - step).score - self.evaluate(at.theta + step).score) / (2 * step[k]))
        profile = torch.stack(rows) if rows else torch.zeros(0, 0, dtype=torch.float64)
        profile = (profile + profile.T) / 2
        if not model.profiled:
            return profile
        # l(theta, sigma2) = l_profile where sigma2 is at its best; the mixed derivative is f_k'P~y / sigma2^2 less half a trace
        # that the score has taken off it already: d l / d theta d sigma2 = -y'P~ V~_k P~ y / (2 sigma2^2).
        last = model.degrees_of_freedom / (2 * at.sigma2**2)
        mixed = at.information[:m, m]
        whole = torch.empty(m + 1, m + 1, dtype=torch.float64)
        whole[:m, :m] = profile + torch.outer(mixed, mixed) / last
        whole[:m, m] = whole[m, :m] = mixed
        whole[m, m] = last
        return whole

    def _beta_columns(self, at: HendersonEvaluation) -> tuple[Tensor, Tensor]:
        """Columns (., p) of Lambda M Lambda' for b, at the inner places and in the border (y's row zero)."""
        layout = self.layout
        border = torch.nn.functional.pad(at.t[:, layout.random :], (0, 0, 0, 1))
        known = torch.nn.functional.pad(border, (0, 0, 0, 1))
        inner = torch.zeros(layout.inner_size, self.model.p, dtype=torch.float64)
        for bucket, block in zip(layout.buckets, at.solved.blocks, strict=True):
            inner[bucket.own] = -(block.back @ (block.y @ known[bucket.meets])).reshape(-1, self.model.p)
        return inner, border

    def beta_covariance_derivatives(self, at: HendersonEvaluation) -> Tensor:
        """dC / d theta_k = H'(K (x) dSigma_k) H with H = Z'V~^-1 X C; for a section x'N_s x / sigma2_s^2, x = b's columns of M."""
        model = self.model
        x_c, x_b = self._beta_columns(at)
        h = self._by_level(*self._times(at.solved, x_c, x_b))
        out = []
        parts = model.split(at.theta)
        for u, (term, part) in enumerate(zip(model.terms, parts, strict=False)):
            own = h[u] if term.kernel is None else torch.einsum("qj,jkp->qkp", term.kernel, h[u])
            out += [
                at.sigma2 * torch.einsum("qap,ab,qbr->pr", h[u], d, own) for d in term.structure.derivatives(part)
            ]
        if model.profiled:
            out.append(at.beta_covariance / at.sigma2)
        else:
            x = self._global(x_c, x_b).numpy()
            for s, (residual, part) in enumerate(zip(model.residuals, parts[len(model.terms) :], strict=True)):
                inside = torch.from_numpy(x.T @ (self.cross.by_section[s] @ x)) * at.solved.precision[s] ** 2
                out += [d[0, 0] * inside for d in residual.structure.derivatives(part)]
        return torch.stack(out)

    def random_effects(self, at: HendersonEvaluation) -> tuple[RandomEffects, ...]:
        """u^ = Lambda s^; Var[u^ - u] = sigma2 Lambda M Lambda' by level, and the same without X for Var[u | y]."""
        model, layout, solved = self.model, self.layout, at.solved
        u = self._by_level(at.inner_solution, solved.solution)
        prediction = self._level_blocks(solved, at.t)
        conditional = self._level_blocks(solved, self._inverse(solved, random_only=True))
        return tuple(
            RandomEffects(blup=u[i], conditional=at.sigma2 * conditional[i], prediction=at.sigma2 * prediction[i])
            for i in range(len(model.terms))
        )

    def _level_blocks(self, solved: Solved, t: Tensor) -> list[Tensor]:
        """Lambda M Lambda' of every level of every term, (q, k, k)."""
        layout, wide = self.layout, self._widened(t)
        out = [torch.empty(len(x), x.shape[1], x.shape[1], dtype=torch.float64) for x in layout.places]
        for u, _ in self._outer:
            place = layout.places[u]
            out[u] = t[place[:, :, None], place[:, None, :]]
        for bucket, block in zip(layout.buckets, solved.blocks, strict=True):
            local = wide[bucket.meets[:, :, None], bucket.meets[:, None, :]]
            shape = block.y @ local @ block.y.mT
            shape.diagonal(dim1=1, dim2=2).add_(1.0)
            square = (block.back @ shape @ block.back.mT).reshape(-1)
            for u in layout.inner:
                place = layout.places[u]
                mine = (place[:, 0] >= bucket.own.start) & (place[:, 0] < bucket.own.stop)
                out[u][mine] = square[self._in_bucket(u, bucket)]
        return out

    def random_fit(self, at: HendersonEvaluation) -> Tensor:
        """sum_t Z_t u^_t, (n,)."""
        out = torch.zeros(self.model.n, dtype=torch.float64)
        for term, u in zip(self.model.terms, self._by_level(at.inner_solution, at.solved.solution), strict=True):
            out += term.spread(u[:, :, None])[:, 0]
        return out


def semidefinite_root(kernel: Tensor) -> Tensor:
    """L_K (q, q) with L_K L_K' = K, for K that may be singular."""
    factor, failed = torch.linalg.cholesky_ex(kernel)
    if not int(failed):
        return factor
    values, vectors = torch.linalg.eigh(kernel)
    return vectors * values.clamp_min(0).sqrt()
