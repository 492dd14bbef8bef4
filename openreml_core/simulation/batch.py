"""Many responses, one model: the mixed-model equations of all replicates at once, one more dimension of every tensor.

X and Z are shared, so that the rows are read once: N = W'R^-1 W for W = [Z_c Z_b X], and for each replicate W'R^-1 y. One
term's effects (c, q levels of k) are eliminated level by level, the others and X (the border b, m columns) solved densely.
With Sigma of the inner term and G_j = (I + N_jj Sigma)^-1, which needs neither Sigma^-1 nor a difference of large numbers,

    S0 = N_bb - sum_j N_bj Sigma G_j N_jb,    w0_j = G_j N_jy,    s = N_by - sum_j N_bj Sigma w0_j
    S  = Lambda'S0 Lambda + I = F F',         T = Lambda S^-1 Lambda',   [u_b, b] = T s
    log|V~| = log|R0| + sum_j log|I + N_jj Sigma| + log|S|,   y'P~y = y'R0^-1 y - sum_j N_yj Sigma w0_j - s'T s
    w_j = [Z'P~y]_j = w0_j - G_j N_jb [u_b, b],    [Z'P~Z]_jj = G_j N_jj - G_j N_jb T N_bj G_j'

Levels with the same N_jj are a *class* and share G; sums over the levels of a class are made before any theta is known,

    K_u = sum_{j in u} N_jb (x) N_jb

so that S0 and the traces are one matrix product for all replicates. Symbols otherwise as in engines/henderson.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance import CholeskyStructure, GroupedTerm, IndependentResidual
from openreml_core.model import MixedModel
from openreml_core.reml import Estimates

LOG_2PI = math.log(2 * math.pi)
#: The largest border, and numbers in K, for which replicates are worth batching.
WIDEST, LARGEST = 150, 2e7


def can_batch(estimates: Estimates) -> bool:
    """Whether replicates of a model can be refitted together: terms Sigma (x) I, independent residuals, all parameters free."""
    model = estimates.engine.model
    plain = (
        model.profiled
        and model.n_theta > 0
        and bool(estimates.free.all())
        and not estimates.ties.tied.any()
        and len(model.residuals) == 1
        and isinstance(model.residuals[0], IndependentResidual)
    )
    for term in model.terms:
        own = isinstance(term, GroupedTerm) and term.kernel is None
        plain = plain and own and isinstance(term.structure, CholeskyStructure) and not term.structure.log
    if not plain:
        return False
    sizes = [len(t.levels) * t.structure.size for t in model.terms]
    inner = int(np.argmax(sizes))
    m, k = sum(sizes) - sizes[inner] + model.p, model.terms[inner].structure.size
    return m <= WIDEST and len(model.terms[inner].levels) * (k * m) ** 2 <= LARGEST


@dataclass(frozen=True, eq=False)
class BatchEvaluation:
    """B replicates, each at its own theta.

    Attributes
    ----------
    criterion, sigma2 : Tensor of shape (B,)
        -2 l, infinite where V~ has no Cholesky factor; the profiled residual variance.
    score : Tensor of shape (B, m)
    hessian : Tensor of shape (B, m, m)
        AI - C, sigma2 eliminated.
    beta : Tensor of shape (B, p)
    beta_covariance : Tensor of shape (B, p, p)
    """

    criterion: Tensor
    sigma2: Tensor
    score: Tensor
    hessian: Tensor
    beta: Tensor
    beta_covariance: Tensor


@dataclass(frozen=True, eq=False)
class Responses:
    """What replicates have of their own: W'R^-1 y by part, for y less its least-squares fit.

    Attributes
    ----------
    inner : Tensor of shape (B, q, k)
    border : Tensor of shape (B, m)
    square : Tensor of shape (B,)
    beta : Tensor of shape (B, p)
        Least-squares b, to be added to the solution.
    """

    inner: Tensor
    border: Tensor
    square: Tensor
    beta: Tensor

    def __getitem__(self, which: Tensor) -> Responses:
        return Responses(self.inner[which], self.border[which], self.square[which], self.beta[which])


class BatchEquations:
    """The equations that all replicates share.

    Parameters
    ----------
    model : MixedModel
        One that :func:`can_batch` takes.
    """

    def __init__(self, model: MixedModel) -> None:
        self.model = model
        terms: tuple[GroupedTerm, ...] = model.terms  # type: ignore[assignment]
        self.e = int(np.argmax([len(t.levels) * t.structure.size for t in terms]))
        self.inner = inner = terms[self.e]
        self.others = [u for u in range(len(terms)) if u != self.e]
        self.q, self.k = len(inner.levels), inner.structure.size
        #: Rows and columns of the free elements of every L_t.
        self.patterns = [(s.rows, s.columns) for s in (cast(CholeskyStructure, t.structure) for t in terms)]
        self.weight = 1 / model.residual_variance
        self.codes, self.basis = inner.codes, inner.basis
        blocks, self.where, start = [], {}, 0
        for u in self.others:
            q, k = len(terms[u].levels), terms[u].structure.size
            columns, values = terms[u].incidence
            blocks.append(torch.zeros(model.n, q * k, dtype=torch.float64).scatter_(1, columns, values))
            self.where[u] = slice(start, start + q * k)
            start += q * k
        self.random = start
        self.wide = torch.cat([*blocks, model.X], dim=1)
        self.m = self.wide.shape[1]
        weighted = self.weight[:, None] * self.basis
        q, k, m = self.q, self.k, self.m
        self.n_cc = self._by_level((weighted[:, :, None] * self.basis[:, None, :]).reshape(-1, k * k)).reshape(q, k, k)
        self.n_cb = torch.zeros(q, k, m, dtype=torch.float64)
        for a in range(k):
            self.n_cb[:, a] = self._by_level(weighted[:, a : a + 1] * self.wide)
        self.n_bb = self.wide.T @ (self.weight[:, None] * self.wide)
        classes, of_level = np.unique(self.n_cc.reshape(q, -1).numpy(), axis=0, return_inverse=True)
        self.of_level = torch.from_numpy(np.asarray(of_level).reshape(-1))
        self.n_class = torch.from_numpy(classes).reshape(-1, k, k)
        self.counts = torch.bincount(self.of_level).double()
        self.products = torch.zeros(len(classes), k, k, m, m, dtype=torch.float64)
        for u in range(len(classes)):
            own = self.n_cb[self.of_level == u]
            self.products[u] = torch.einsum("jam,jcn->acmn", own, own)
        self.log_r = -float(self.weight.log().sum())
        self.scale = model.scale

    def _by_level(self, rows: Tensor) -> Tensor:
        return torch.zeros(self.q, rows.shape[1], dtype=torch.float64).index_add_(0, self.codes, rows)

    @property
    def numbers(self) -> int:
        """Numbers that one replicate keeps, about: by it batches are cut."""
        return 4 * max(self.m**2, self.q * self.k * (self.k + self.model.n_theta + 2), self.model.n)

    def responses(self, y: Tensor) -> Responses:
        """The replicates' own parts, for y (n, B)."""
        model = self.model
        beta = torch.linalg.lstsq(model.X, y).solution if model.p else y.new_zeros(0, y.shape[1])
        weighted = self.weight[:, None] * (centred := y - model.X @ beta)
        inner = torch.stack([self._by_level(self.basis[:, a : a + 1] * weighted) for a in range(self.k)], dim=1)
        return Responses(
            inner.permute(2, 0, 1).contiguous(),
            (self.wide.T @ weighted).T.contiguous(),
            (centred * weighted).sum(dim=0),
            beta.T.contiguous(),
        )

    # -- parameters ---------------------------------------------------------------------------------------------

    def factors(self, theta: Tensor) -> list[Tensor]:
        """L_t (B, k, k) of every term."""
        out = []
        for term, (rows, columns), where in zip(self.model.terms, self.patterns, self.model.slices, strict=True):
            factor = theta.new_zeros(len(theta), term.structure.size, term.structure.size)
            factor[:, rows, columns] = theta[:, where]
            out.append(factor)
        return out

    def natural_values(self, theta: Tensor, sigma2: Tensor) -> Tensor:
        """All natural parameters (B, m + 1), as ``model.natural_values``."""
        parts = []
        for (rows, columns), factor in zip(self.patterns, self.factors(theta), strict=True):
            parts.append((factor @ factor.mT)[:, rows, columns])
        return sigma2[:, None] * torch.cat([*parts, torch.ones(len(theta), 1, dtype=torch.float64)], dim=1)

    # -- the equations at theta ---------------------------------------------------------------------------------

    def _scaled(self, x: Tensor, factors: list[Tensor], transposed: bool) -> Tensor:
        """Lambda'x, or Lambda x, for x (B, m, c)."""
        out = x.clone()
        for u, where in self.where.items():
            factor = factors[u].mT if transposed else factors[u]
            shaped = x[:, where].reshape(len(x), -1, factor.shape[1], x.shape[2])
            out[:, where] = torch.einsum("bxy,bqyc->bqxc", factor, shaped).reshape(len(x), -1, x.shape[2])
        return out

    def _inverse(self, s: Tensor, factors: list[Tensor]) -> Tensor:
        """T = Lambda S^-1 Lambda' from S's factor, (B, m, m)."""
        left = self._scaled(torch.cholesky_inverse(s), factors, transposed=False)
        return self._scaled(left.mT, factors, transposed=False)

    def evaluate(self, theta: Tensor, own: Responses) -> BatchEvaluation:
        """Criterion, score and the step's matrix of every replicate, theta (B, m)."""
        model, ml = self.model, self.model.method != "reml"
        b, q, k, m = len(theta), self.q, self.k, self.m
        factors = self.factors(theta)
        sigma = factors[self.e] @ factors[self.e].mT
        eye = torch.eye(k, dtype=torch.float64)
        system = eye + self.n_class @ sigma[:, None]  # (B, U, k, k)
        g, log_det = _inverse_and_log_det(system)
        sg = sigma[:, None] @ g
        sg = 0.5 * (sg + sg.mT)
        s0 = self.n_bb - (sg.reshape(b, -1) @ self.products.reshape(len(self.counts) * k * k, m * m)).reshape(b, m, m)
        g_level, sg_level = (x if x.shape[1] == 1 else x[:, self.of_level] for x in (g, sg))
        w0 = (g_level @ own.inner[..., None])[..., 0]
        u0 = w0 @ sigma
        s_y = own.border - u0.reshape(b, -1) @ self.n_cb.reshape(q * k, m)
        s = self._scaled(self._scaled(s0, factors, transposed=True).mT, factors, transposed=True)
        s.diagonal(dim1=1, dim2=2)[:, : self.random].add_(1.0)
        f, failed = torch.linalg.cholesky_ex(s)
        bad = (failed != 0) | ~torch.isfinite(log_det).all(dim=1)
        f = torch.where(bad[:, None, None], torch.eye(m, dtype=torch.float64), f)
        t = self._inverse(f, factors)
        solution = (t @ s_y[..., None])[..., 0]
        rss = own.square - (own.inner * u0).sum(dim=(1, 2)) - (s_y * solution).sum(dim=1)
        bad = bad | ~(rss > 0)
        df = model.degrees_of_freedom
        sigma2 = torch.where(bad, 1.0, rss / df)
        pivots = f.diagonal(dim1=1, dim2=2)
        border_det = 2 * (pivots[:, : self.random] if ml else pivots).log().sum(dim=1)
        criterion = df * (sigma2.log() + LOG_2PI + 1) + self.log_r + log_det @ self.counts + border_det
        criterion = torch.where(bad, math.inf, criterion)

        w_c = w0 - (g_level @ (self.n_cb.reshape(q * k, m) @ solution.T).T.reshape(b, q, k, 1))[..., 0]
        w_b = (s_y - (s0 @ solution[..., None])[..., 0])[:, : self.random]
        w = {self.e: w_c} | {u: w_b[:, x].reshape(b, -1, factors[u].shape[1]) for u, x in self.where.items()}
        traces = self._traces(g, s0, self._without_fixed(f, factors) if ml else t, factors)
        pairings = [0.5 * (w[u].mT @ w[u] / sigma2[:, None, None] - traces[u]) for u in range(len(model.terms))]
        score, curvature = self._slopes(pairings, factors)
        information, mixed = self._information(factors, w, g_level, sg_level, t, sigma2)
        hessian = (
            information - curvature - mixed[:, :, None] * mixed[:, None, :] / (df / (2 * sigma2**2))[:, None, None]
        )
        return BatchEvaluation(
            criterion,
            sigma2,
            score,
            hessian,
            own.beta + solution[:, self.random :],
            sigma2[:, None, None] * t[:, self.random :, self.random :],
        )

    def _without_fixed(self, f: Tensor, factors: list[Tensor]) -> Tensor:
        """T as if b were known, zeros in its rows and columns."""
        r = self.random
        known = torch.zeros_like(f)
        if r:
            known[:, :r, :r] = torch.cholesky_inverse(f[:, :r, :r].contiguous())
        left = self._scaled(known, factors, transposed=False)
        return self._scaled(left.mT, factors, transposed=False)

    def _traces(self, g: Tensor, s0: Tensor, t: Tensor, factors: list[Tensor]) -> dict[int, Tensor]:
        """Sums of Z'P~Z over the levels, (B, k, k) of every term."""
        b, u, k, m = len(t), len(self.counts), self.k, self.m
        through = (t.reshape(b, -1) @ self.products.reshape(u * k * k, m * m).T).reshape(b, u, k, k)
        inner = self.counts[:, None, None] * (g @ self.n_class) - g @ through @ g.mT
        out = {self.e: inner.sum(dim=1)}
        for term, where in self.where.items():
            size = factors[term].shape[1]
            side = s0[:, where]
            zpz = side[:, :, where] - side @ t @ side.mT
            shaped = zpz.reshape(b, -1, size, zpz.shape[1] // size, size)
            out[term] = torch.einsum("bqxqy->bxy", shaped)
        return out

    def _slopes(self, pairings: list[Tensor], factors: list[Tensor]) -> tuple[Tensor, Tensor]:
        """dl / d theta (B, m) and C (B, m, m)."""
        b, m = len(factors[0]), self.model.n_theta
        score, curvature = factors[0].new_zeros(b, m), factors[0].new_zeros(b, m, m)
        places = zip(self.patterns, self.model.slices, pairings, factors, strict=True)
        for (rows, columns), where, pairing, factor in places:
            twice = pairing + pairing.mT
            score[:, where] = (twice @ factor)[:, rows, columns]
            same = columns[:, None] == columns[None, :]
            curvature[:, where, where] = twice[:, rows[:, None], rows[None, :]] * same
        return score, curvature

    def _information(
        self, factors: list[Tensor], w: dict[int, Tensor], g: Tensor, sg: Tensor, t: Tensor, sigma2: Tensor
    ) -> tuple[Tensor, Tensor]:
        """f'P~f / (2 sigma2) for theta, and its row of sigma2, (B, m, m) and (B, m)."""
        model, b = self.model, len(sigma2)
        h_c = sigma2.new_zeros(b, self.q, self.k, model.n_theta)
        h_b = sigma2.new_zeros(b, self.m, model.n_theta)
        mixed = []
        for u, ((rows, columns), where, factor) in enumerate(zip(self.patterns, model.slices, factors, strict=True)):
            across = w[u] @ factor  # l_b'w of every level and column b
            h = torch.zeros(b, *w[u].shape[1:], len(rows), dtype=torch.float64)
            for p, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
                h[:, :, row, p] += across[:, :, column]
                h[..., p] += factor[:, None, :, column] * w[u][:, :, row, None]
            mixed.append((h * w[u][..., None]).sum(dim=(1, 2)))
            if u == self.e:
                h_c[..., where] = h
            else:
                h_b[:, self.where[u], where] = h.reshape(b, -1, len(rows))
        n_cb = self.n_cb.reshape(self.q * self.k, self.m)
        flat = h_c.reshape(b, -1, model.n_theta)
        g_c = self.n_cc @ h_c
        if self.others:
            g_c = g_c + (n_cb @ h_b).reshape(g_c.shape)
        g_b = n_cb.T @ flat + self.n_bb @ h_b
        inner = (sg @ g_c).reshape(flat.shape)
        z = g_b - n_cb.T @ inner
        square = flat.mT @ g_c.reshape(flat.shape) + h_b.mT @ g_b
        information = square - g_c.reshape(flat.shape).mT @ inner - z.mT @ (t @ z)
        information = 0.5 * (information + information.mT) / (2 * sigma2)[:, None, None]
        return information, torch.cat(mixed, dim=1) / (2 * sigma2**2)[:, None]


def _inverse_and_log_det(system: Tensor) -> tuple[Tensor, Tensor]:
    """Inverses (..., k, k) of I + N Sigma, and their log determinants, which are of the positive; by formula for k <= 2."""
    k = system.shape[-1]
    if k == 1:
        return 1 / system, system[..., 0, 0].log()
    if k == 2:
        (a, b), (c, d) = (system[..., 0, :].unbind(-1), system[..., 1, :].unbind(-1))
        det = a * d - b * c
        adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
        return adjugate / det[..., None, None], det.log()
    return torch.linalg.inv_ex(system).inverse, torch.linalg.slogdet(system).logabsdet
