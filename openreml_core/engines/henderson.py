"""The engine of Henderson's mixed-model equations: iterations that never touch the rows.

Symbols: N = W'R^-1 W the cross-products (crossproducts.py), Sigma_t = L_t L_t', Lambda = diag(I (x) L_t) (L_K (x) L_t for
related levels, K = L_K L_K'), and u = Lambda s. In s the equations stay well-conditioned when a variance goes to zero:

    A = Lambda'Z'R^-1 Z Lambda + I,    log|V| = log|R| + log|A|,    M = [A + border]^-1,  u^ = Lambda s^

The inner effects are eliminated level by level (elimination.py, levels.py), the border is solved densely (border.py):

    S0 = N_bb - sum_j Y_j'Y_j,   S = Lambda'S0 Lambda + I,   T = Lambda S^-1 Lambda',   y'P y = S0_yy - r'T r

r being S0's column of y. Of n x n matrices the derivatives need only

    w = Z'P y        = N_zy - N_zz u^ - N_zx b^
    Z'P Z            = N_zz - N_z. M N_.z,   its sum over the levels' own blocks
    f_k'P f_l        = h_k'g_l - g_k'M g_l,  h_k = (K (x) dSigma_k) w,  g = N h
    tr(P R0_s)       = n_s / sigma2_s - <M, N_s> / sigma2_s^2    for a section s of the residual, R_s = sigma2_s R0_s

(Bates 2014, computational methods for mixed models; Smith and Graser 1986, J. Dairy Sci. 69, 1156-1165, on absorption.)
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance.cholesky import semidefinite_factor
from openreml_core.covariance.components import columns
from openreml_core.covariance.kernel import related
from openreml_core.engines import levels
from openreml_core.engines.blocked_levels import BlockedLevels
from openreml_core.engines.border import Border, SolvedBorder, border_target
from openreml_core.engines.crossproducts import CrossProducts, cross_products
from openreml_core.engines.elimination import choose_elimination, eliminate_together
from openreml_core.engines.engine import NotPositiveDefinite, RandomEffects
from openreml_core.engines.equations import Equations, HendersonEvaluation
from openreml_core.engines.places import Places
from openreml_core.engines.scalar_levels import ScalarLevels
from openreml_core.engines.sparse_levels import SparseLevels
from openreml_core.factorisation import cholmod_is_there
from openreml_core.model import MixedModel

LOG_2PI = math.log(2 * math.pi)
#: Step of the differences of the score, in units of a parameter's size.
STEP = 1e-4


class HendersonEngine:
    """Evaluate a model with independent residuals through its mixed-model equations.

    Parameters
    ----------
    model : MixedModel
        Its residual is one variance, with weights or without, or one in each of several sections.
    cross : CrossProducts, optional
        The model's cross-products where they are known already.
    eliminate : int, optional
        The term by whose levels effects are eliminated; the cheapest by default.
    sparse : bool
        Whether all terms are eliminated together, by a sparse Cholesky factor (sparse_levels.py).
    most : float
        Entries that this factor may have.
    """

    exact_is_cheap = False

    def __init__(
        self,
        model: MixedModel,
        cross: CrossProducts | None = None,
        eliminate: int | None = None,
        sparse: bool = False,
        most: float = math.inf,
    ) -> None:
        self.model = model
        self.name = "henderson (sparse)" if sparse else "henderson"
        self.cross = cross = cross_products(model) if cross is None else cross
        elimination = eliminate_together(model, cross) if sparse else choose_elimination(model, cross, eliminate)
        self.inner_terms = elimination.inner_terms
        self.border = Border(model, elimination)
        alone = len(self.inner_terms) == 1 and elimination.sizes[self.inner_terms[0]] == 1
        self.levels: levels.Levels
        if sparse:
            self.levels = SparseLevels(elimination, model, cholmod_is_there(), most)
        else:
            self.levels = ScalarLevels(elimination) if alone else BlockedLevels(elimination)
        self.places = Places(model, elimination, self.levels, self.border)
        row_in, column_in = elimination.is_inner[cross.row], elimination.is_inner[cross.column]
        dense, self._entries = ~row_in & ~column_in, self.levels.entries
        # Entries of N by their place in one vector: the levels' entries, then N_bb; mirror images go to the end, unused.
        target = np.full(len(cross.value), self._entries + self.border.width**2, dtype=np.int64)
        target[row_in] = self.levels.targets(cross.row[row_in], cross.column[row_in])
        target[dense] = self._entries + border_target(elimination, cross.row[dense], cross.column[dense])
        self._target, self._value = target, cross.value
        #: How often an entry counts in a trace: twice where it stands for its mirror image too.
        self._twice = np.where(row_in & ~column_in, 2.0, np.where(~row_in & column_in, 0.0, 1.0))

    # -- the equations ------------------------------------------------------------------------------------------

    def _assemble(self, precision: Tensor) -> tuple[levels.Prepared, Tensor]:
        """N with the sections weighted: within and beside the levels, and in the border."""
        value = self._value if len(precision) == 1 else self._value * precision.numpy()[self.cross.section]
        length = self._entries + self.border.width**2
        flat = torch.from_numpy(np.bincount(self._target, weights=value, minlength=length + 1))
        if len(precision) == 1:
            flat = flat * precision
        n_bb = flat[self._entries : length].reshape(self.border.width, self.border.width)
        return self.levels.prepare(flat[: self._entries]), n_bb

    @cached_property
    def _assembled(self) -> tuple[levels.Prepared, Tensor]:
        return self._assemble(torch.ones(1, dtype=torch.float64))

    def _solve(self, theta: Tensor) -> Equations:
        model = self.model
        relative = model.relative(theta)
        terms, residuals = relative[: len(model.terms)], relative[len(model.terms) :]
        precision = 1 / torch.stack([s[0, 0] for s in residuals])
        finite = all(bool(torch.isfinite(s).all()) for s in terms)
        if not finite or not bool((precision.isfinite() & (precision > 0)).all()):
            raise NotPositiveDefinite
        try:
            factors = tuple(semidefinite_factor(s) for s in terms)
        except ValueError:
            raise NotPositiveDefinite from None
        prepared, n_bb = self._assembled if model.profiled else self._assemble(precision)
        inner = prepared.at(factors)
        border = SolvedBorder(self.border, n_bb - inner.absorbed, factors)
        log_r = -float((torch.from_numpy(self.cross.counts) * precision.log()).sum()) - self.cross.log_weights
        log_det = log_r + inner.log_det + border.log_det(with_fixed=model.method == "reml")
        return Equations(factors, precision, n_bb, inner, border, log_det)

    def _likelihood(self, equations: Equations) -> tuple[float, float]:
        df, rss = self.model.degrees_of_freedom, equations.border.rss
        sigma2 = rss / df if self.model.profiled else 1.0
        if not (0 < rss < math.inf and math.isfinite(equations.log_det)):
            raise NotPositiveDefinite
        return df * (math.log(sigma2) + LOG_2PI) + equations.log_det + rss / sigma2, sigma2

    def criterion(self, theta: Tensor) -> float:
        """-2 l at theta."""
        return self._likelihood(self._solve(theta))[0]

    def evaluate(self, theta: Tensor) -> HendersonEvaluation:
        """Criterion, score, average information, curvature, b at theta."""
        model, equations = self.model, self._solve(theta)
        criterion, sigma2 = self._likelihood(equations)
        border, ml = equations.border, model.method != "reml"
        t = border.t()
        for_traces = border.t(known_fixed=True) if ml else t
        inner_u, inner_w = equations.inner.solution(
            torch.cat([border.solution, torch.tensor([-1.0, 0.0], dtype=torch.float64)])
        )
        traces = equations.inner.traces(for_traces) | border.traces(for_traces, known_fixed=ml)
        w = self.places.by_level(inner_w, border.w)
        pairings = []
        for u, term in enumerate(model.terms):
            own = related(term.kernel, w[u])
            pairings.append(0.5 * (w[u].T @ own / sigma2 - traces[u]))
        by_section = self._by_section(equations, inner_u, inner_w)
        pairings += self._residual_pairings(equations, sigma2, by_section[2], for_traces, pairings)
        free = list(zip(model.components, model.split(theta), pairings, strict=False))
        curvature = [c.structure.curvature(part, m) for c, part, m in free]
        random, width = self.border.random, self.border.width
        variates = self._directions(theta, sigma2, inner_w, border.w, natural=False)
        pivots = border.factor.diagonal()
        return HendersonEvaluation(
            theta=theta,
            sigma2=sigma2,
            criterion=criterion,
            beta=model.least_squares + border.solution[random:],
            beta_covariance=sigma2 * t[random : width - 1, random : width - 1],
            score=model.join([c.structure.gradient(part, m) for c, part, m in free]),
            information=self._information(theta, sigma2, equations, variates, by_section, (inner_w, border.w)),
            curvature=torch.block_diag(*curvature) if curvature else torch.zeros(0, 0, dtype=theta.dtype),
            pairings=tuple(pairings),
            condition=float(pivots.max() / pivots.min()) ** 2,
            equations=equations,
            t=t,
            inner_u=inner_u,
            inner_w=inner_w,
            by_section=by_section,
        )

    # -- the residual's sections --------------------------------------------------------------------------------

    def _by_section(self, equations: Equations, inner_u: Tensor, inner_w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        border, precision = equations.border, equations.precision
        if self.cross.sections == 1:
            # W'R^-1 (y - Zu^ - Xb^) = W'P~y: w, then zero for X, then y'P~y.
            total = torch.tensor([border.rss], dtype=torch.float64)
            over = torch.cat([border.w, torch.zeros(self.model.p, dtype=torch.float64), total])
            square = border.rss - inner_u @ inner_w - border.solution[: self.border.random] @ border.w
            return inner_w[:, None] / precision, over[:, None] / precision, square / precision
        e = self.places.whole(-inner_u, torch.cat([-border.solution, torch.ones(1, dtype=torch.float64)]))
        times = torch.from_numpy(self.cross.times(e.numpy()))
        return (*self.places.parted(times), e @ times)

    def _residual_pairings(
        self, equations: Equations, sigma2: float, squares: Tensor, t: Tensor, pairings: list[Tensor]
    ) -> list[Tensor]:
        """<S, R0_s> of every section."""
        p = equations.precision
        if self.cross.sections == 1:
            # <S, V~> = (y'P~y / sigma2 - df) / 2 is shared by the terms and the residual.
            rest = 0.5 * (equations.border.rss / sigma2 - self.model.degrees_of_freedom)
            for m, factor in zip(pairings, equations.factors, strict=True):
                rest -= float((m * (factor @ factor.T)).sum())
            return [(rest * p).reshape(1, 1)]
        trace = self._section_traces(equations, t)
        return [x.reshape(1, 1) for x in 0.5 * (squares * p.square() / sigma2 - trace)]

    def _section_traces(self, equations: Equations, t: Tensor) -> Tensor:
        """tr(P R0_s) of every section, (S,)."""
        p = equations.precision
        m = torch.cat([equations.inner.on_pattern(t), t[:-1, :-1].reshape(-1), torch.zeros(1, dtype=torch.float64)])
        value = self._value * self._twice * m.numpy()[self._target]
        inside = np.bincount(self.cross.section, weights=value, minlength=self.cross.sections)
        return torch.from_numpy(self.cross.counts) * p - torch.from_numpy(inside) * p.square()

    # -- average information ------------------------------------------------------------------------------------

    def _directions(
        self, theta: Tensor, sigma2: float, inner_w: Tensor, border_w: Tensor, natural: bool
    ) -> tuple[Tensor, Tensor]:
        """h_k = (K (x) dSigma_k) w for every parameter of the terms, at the inner places and in the border."""
        w = self.places.by_level(inner_w, border_w)
        inner_h, border_h = [], []
        for u, (term, part) in enumerate(zip(self.model.terms, self.model.split(theta), strict=False)):
            own = related(term.kernel, w[u])
            directions = term.structure.natural_derivatives(part) if natural else term.structure.derivatives(part)
            for q, d in zip(term.structure.natural, directions, strict=True):
                inner = torch.zeros(self.levels.size, dtype=torch.float64)
                border = torch.zeros(self.border.width, dtype=torch.float64)
                scale = sigma2 ** (1 - q.degree) if natural else 1.0
                (inner if u in self.inner_terms else border)[self.places.of_term[u]] = scale * own @ d.T
                inner_h.append(inner)
                border_h.append(border)
        return columns(inner_h, self.levels.size), columns(border_h, self.border.width)

    def _times(self, equations: Equations, inner: Tensor, border: Tensor) -> tuple[Tensor, Tensor]:
        """N x: x at the inner places (., c) and in the border (B, c)."""
        out_c, out_b = equations.inner.times(inner, border)
        return out_c, equations.n_bb @ border + out_b

    def _information(
        self,
        theta: Tensor,
        sigma2: float,
        equations: Equations,
        h: tuple[Tensor, Tensor],
        by_section: tuple[Tensor, Tensor, Tensor],
        w: tuple[Tensor, Tensor],
        natural: bool = False,
    ) -> Tensor:
        """f'P~ f / (2 sigma2) for theta, sigma2's row last if it is profiled; for V's natural parameters if ``natural``.

        A direction h has f = Z h; a section has f = R0_s P~y, W'R^-1 f = N_s e / sigma2_s^2.
        """
        model = self.model
        g = self._times(equations, *h)
        square = h[0].T @ g[0] + h[1].T @ g[1]
        if natural or not model.profiled:
            p = equations.precision
            slopes = torch.ones(len(p), dtype=torch.float64)
            if not natural:
                parts = model.split(theta)[len(model.terms) :]
                residuals = zip(model.residuals, parts, strict=True)
                slopes = torch.stack([d[0, 0] for r, x in residuals for d in r.structure.derivatives(x)])
            s = [by_section[i] * (slopes * p.square()) for i in (0, 1)]
            mixed = h[0].T @ s[0] + h[1].T @ s[1]
            own = torch.diag(by_section[2] * slopes**2 * p**3)
            square = torch.cat([torch.cat([square, mixed], dim=1), torch.cat([mixed.T, own], dim=1)])
            g = (torch.cat([g[0], s[0]], dim=1), torch.cat([g[1], s[1]], dim=1))
        inside, carried = equations.inner.carry(g[0])
        z = equations.border.half_solve(g[1] - carried)
        information = (square - inside - z.T @ z) / (2 * sigma2)
        if natural:
            return information / sigma2**2
        if not model.profiled:
            return information
        # V~ / sigma2 is the derivative in sigma2, and P~ V~ P~ = P~.
        pairs = (h[0].T @ w[0] + h[1][: self.border.random].T @ w[1]) / (2 * sigma2**2)
        last = torch.tensor([model.degrees_of_freedom / (2 * sigma2**2)], dtype=torch.float64)
        return torch.cat([torch.cat([information, pairs[:, None]], dim=1), torch.cat([pairs, last])[None, :]])

    # -- what inference needs -----------------------------------------------------------------------------------

    def natural_information(self, at: HendersonEvaluation) -> Tensor:
        """AI for the natural parameters on the scale of the data."""
        w = (at.inner_w, at.border_w)
        h = self._directions(at.theta, at.sigma2, *w, natural=True)
        return self._information(at.theta, at.sigma2, at.equations, h, at.by_section, w, natural=True)

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
        # The score is that of the profile likelihood; sigma2's own row is known: d2l / d theta d sigma2 is minus AI's.
        whole = at.information.clone()
        whole[:m, :m] = profile + torch.outer(whole[:m, m], whole[:m, m]) / whole[m, m]
        return whole

    def _beta_columns(self, at: HendersonEvaluation) -> tuple[Tensor, Tensor]:
        """Columns (., p) of Lambda M Lambda' for b, at the inner places and in the border (y's row zero)."""
        border = at.t[:-1, self.border.random : self.border.width - 1]
        return at.equations.inner.back(border), border

    def beta_covariance_derivatives(self, at: HendersonEvaluation) -> Tensor:
        """dC / d theta_k = H'(K (x) dSigma_k) H, H = Z'V~^-1 X C; for a section x'N_s x / sigma2_s^2, x b's columns of M."""
        model, parts = self.model, self.model.split(at.theta)
        x_c, x_b = self._beta_columns(at)
        h = self.places.by_level(*self._times(at.equations, x_c, x_b))
        out = []
        for u, (term, part) in enumerate(zip(model.terms, parts, strict=False)):
            own = related(term.kernel, h[u])
            out += [at.sigma2 * torch.einsum("qap,ab,qbr->pr", h[u], d, own) for d in term.structure.derivatives(part)]
        if model.profiled:
            out.append(at.beta_covariance / at.sigma2)
            return torch.stack(out)
        x = self.places.whole(x_c, x_b).numpy()
        precision = at.equations.precision
        for s, (residual, part) in enumerate(zip(model.residuals, parts[len(model.terms) :], strict=True)):
            inside = torch.from_numpy(x.T @ (self.cross.by_section[s] @ x)) * precision[s] ** 2
            out += [d[0, 0] * inside for d in residual.structure.derivatives(part)]
        return torch.stack(out)

    def random_effects(self, at: HendersonEvaluation) -> tuple[RandomEffects, ...]:
        """u^ = Lambda s^; Var[u^ - u] = sigma2 Lambda M Lambda' by level, and the same without X for Var[u | y]."""
        border = at.equations.border
        u = self.places.by_level(at.inner_u, border.solution)
        prediction = self._level_blocks(at, at.t)
        conditional = self._level_blocks(at, border.t(known_fixed=True))
        return tuple(
            RandomEffects(blup=u[i], conditional=at.sigma2 * conditional[i], prediction=at.sigma2 * prediction[i])
            for i in range(len(self.model.terms))
        )

    def _level_blocks(self, at: HendersonEvaluation, t: Tensor) -> list[Tensor]:
        """Lambda M Lambda' of every level of every term, (q, k, k)."""
        inner = at.equations.inner.level_blocks(t)
        return [
            inner[u] if u in inner else t[place[:, :, None], place[:, None, :]]
            for u, place in enumerate(self.places.of_term)
        ]

    def effective_dimensions(self, at: HendersonEvaluation) -> tuple[float, ...]:
        """tr(V_t P) of every term and section; the sections' and the terms' make up n - p."""
        equations = at.equations
        traces = equations.inner.traces(at.t) | equations.border.traces(at.t, known_fixed=False)
        out = [float((traces[u] * (f @ f.T)).sum()) for u, f in enumerate(equations.factors)]
        if self.cross.sections == 1:
            return (*out, self.model.n - self.model.p - sum(out))
        return (*out, *(self._section_traces(equations, at.t) / equations.precision).tolist())

    def random_fit(self, at: HendersonEvaluation) -> Tensor:
        """sum_t Z_t u^_t, (n,)."""
        out = torch.zeros(self.model.n, dtype=torch.float64)
        for term, u in zip(
            self.model.terms, self.places.by_level(at.inner_u, at.equations.border.solution), strict=True
        ):
            out += term.spread(u[:, :, None])[:, 0]
        return out
