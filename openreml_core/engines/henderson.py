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
    tr(P R_k)        for the parameters of R: independent_errors.py, block_errors.py

(Bates 2014, computational methods for mixed models; Smith and Graser 1986, J. Dairy Sci. 69, 1156-1165, on absorption.)
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance.cholesky import semidefinite_factor
from openreml_core.covariance.kernel import related
from openreml_core.engines import levels, sensitivity
from openreml_core.engines.blocked_levels import BlockedLevels
from openreml_core.engines.border import Border, SolvedBorder, border_target
from openreml_core.engines.crossproducts import CrossProducts
from openreml_core.engines.elimination import choose_elimination, eliminate_together
from openreml_core.engines.engine import NotPositiveDefinite, RandomEffects
from openreml_core.engines.equations import Equations, HendersonEvaluation
from openreml_core.engines.errors import SolvedErrors
from openreml_core.engines.independent_errors import IndependentErrors, SolvedIndependent
from openreml_core.engines.layout import errors_of
from openreml_core.engines.observed import observed_by_differences
from openreml_core.engines.places import Places
from openreml_core.engines.scalar_levels import ScalarLevels
from openreml_core.engines.sparse_levels import SparseLevels
from openreml_core.factorisation import cholmod_is_there
from openreml_core.model import MixedModel

#: How fit.engine calls the mixed-model equations with a sparse factor.
SPARSE = "henderson (sparse)"
LOG_2PI = math.log(2 * math.pi)


class HendersonEngine:
    """Evaluate a model through its mixed-model equations.

    Parameters
    ----------
    model : MixedModel
    cross : CrossProducts, optional
        The cross-products of a model with independent residuals, where they are known already.
    eliminate : int, optional
        The term by whose levels effects are eliminated; the cheapest by default.
    device : str
        Where the border is factorised and inverted: ``"cpu"``, or ``"cuda"`` for a GPU.
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
        device: str = "cpu",
        sparse: bool = False,
        most: float = math.inf,
    ) -> None:
        self.model, self.name = model, SPARSE if sparse else "henderson"
        self.errors = errors = errors_of(model) if cross is None else IndependentErrors(cross)
        elimination = eliminate_together(model, errors) if sparse else choose_elimination(model, errors, eliminate)
        self.inner_terms = elimination.inner_terms
        self.border = Border(model, elimination, device)
        alone = len(self.inner_terms) == 1 and elimination.sizes[self.inner_terms[0]] == 1
        self.levels: levels.Levels
        if sparse:
            self.levels = SparseLevels(elimination, model, cholmod_is_there(), most)
        else:
            self.levels = ScalarLevels(elimination) if alone else BlockedLevels(elimination)
        self.places = Places(model, elimination, self.levels, self.border)
        row, column = errors.row, errors.column
        row_in, column_in = elimination.is_inner[row], elimination.is_inner[column]
        # Entries of N by their place in one vector: the levels' entries, then N_bb. Of two images of an entry that would
        # both count, one goes to the end, unused.
        self._entries = self.levels.entries
        unused = self._entries + self.border.width**2
        target, dense = np.full(len(row), unused, dtype=np.int64), ~row_in & ~column_in
        target[row_in] = self.levels.targets(row[row_in], column[row_in])
        target[dense] = self._entries + border_target(elimination, row[dense], column[dense])
        self._target, self._place, image = target, target.copy(), target == unused
        #: Where an entry or its image is found.
        self._place[image] = self.levels.targets(column[image], row[image])

    def with_products(self, model: MixedModel, cross: CrossProducts) -> HendersonEngine:
        """The same equations with other values in N, of the model of another response."""
        out = copy.copy(self)
        out.model, out.errors = model, IndependentErrors(cross)
        out.__dict__.pop("_profiled", None)
        return out

    # -- the equations ------------------------------------------------------------------------------------------

    def _assemble(self, values: np.ndarray) -> tuple[levels.Prepared, Tensor]:
        """N within and beside the levels, and in the border."""
        length = self._entries + self.border.width**2
        flat = torch.from_numpy(np.bincount(self._target, weights=values, minlength=length + 1))
        n_bb = flat[self._entries : length].reshape(self.border.width, self.border.width)
        return self.levels.prepare(flat[: self._entries]), n_bb

    @cached_property
    def _profiled(self) -> tuple[SolvedErrors, levels.Prepared, Tensor]:
        """R and N where the residual variance is profiled out: the same at every theta."""
        errors = self.errors.at([torch.ones(1, 1, dtype=torch.float64)])
        return errors, *self._assemble(errors.values)

    def _solve(self, theta: Tensor) -> Equations:
        model = self.model
        relative = model.relative(theta)
        terms, residuals = relative[: len(model.terms)], relative[len(model.terms) :]
        if not all(bool(torch.isfinite(s).all()) for s in relative):
            raise NotPositiveDefinite
        try:
            factors = tuple(semidefinite_factor(s) for s in terms)
        except ValueError:
            raise NotPositiveDefinite from None
        if model.profiled:
            errors, prepared, n_bb = self._profiled
        else:
            errors = self.errors.at(residuals)
            prepared, n_bb = self._assemble(errors.values)
        inner = prepared.at(factors)
        border = SolvedBorder(self.border, n_bb - inner.absorbed if self.inner_terms else n_bb, factors)
        log_det = errors.log_det + inner.log_det + border.log_det(with_fixed=model.method == "reml")
        return Equations(factors, errors, n_bb, inner, border, log_det)

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
        inner_u, inner_w = equations.inner.solution(
            torch.cat([border.solution, torch.tensor([-1.0, 0.0], dtype=torch.float64)])
        )
        traces = self._traces(equations, known_fixed=ml)
        w = self.places.by_level(inner_w, border.w)
        pairings = []
        for u, term in enumerate(model.terms):
            own = related(term.kernel, w[u])
            pairings.append(0.5 * (w[u].T @ own / sigma2 - traces[u]))
        e = self.places.whole(-inner_u, torch.cat([-border.solution, torch.ones(1, dtype=torch.float64)]))
        pairings += self._residual_pairings(equations, sigma2, e, pairings)
        free = list(zip(model.components, model.split(theta), pairings, strict=False))
        curvature = [c.structure.curvature(part, m) for c, part, m in free]
        variates = self._directions(theta, sigma2, inner_w, border.w, natural=False)
        pivots = border.factor.diagonal()
        return HendersonEvaluation(
            theta=theta,
            sigma2=sigma2,
            criterion=criterion,
            beta=model.least_squares + border.solution[self.border.random :],
            beta_covariance=sigma2 * border.beta_covariance,
            score=model.join([c.structure.gradient(part, m) for c, part, m in free]),
            information=self._information(theta, sigma2, equations, variates, e, (inner_w, border.w)),
            curvature=torch.block_diag(*curvature) if curvature else torch.zeros(0, 0, dtype=theta.dtype),
            pairings=tuple(pairings),
            condition=float(pivots.max() / pivots.min()) ** 2 if len(pivots) else 1.0,
            equations=equations,
            inner_u=inner_u,
            inner_w=inner_w,
            e=e,
        )

    def _traces(self, equations: Equations, known_fixed: bool) -> dict[int, Tensor]:
        """Z'P Z of every term, summed over its levels and weighted by K, (k, k)."""
        border = equations.border
        inner = equations.inner.traces(border.t(known_fixed)) if self.inner_terms else {}
        return inner | border.traces(known_fixed)

    # -- the residual -------------------------------------------------------------------------------------------

    @cached_property
    def _one_variance(self) -> bool:
        """Whether R is one variance times something known."""
        return len(self.model.residuals) == 1 and isinstance(self.errors, IndependentErrors)

    def _residual_pairings(
        self, equations: Equations, sigma2: float, e: Tensor, pairings: list[Tensor]
    ) -> list[Tensor]:
        """<S, part of R> of every part."""
        if self._one_variance:
            # <S, V~> = (y'P~y / sigma2 - df) / 2 is shared by the terms and the residual.
            rest = 0.5 * (equations.border.rss / sigma2 - self.model.degrees_of_freedom)
            for m, factor in zip(pairings, equations.factors, strict=True):
                rest -= float((m * (factor @ factor.T)).sum())
            return [torch.full((1, 1), rest / self._residual_variance(equations), dtype=torch.float64)]
        t = equations.border.t(known_fixed=self.model.method != "reml")
        traces = equations.errors.traces(self._on_pattern(equations, t))
        return [(s / sigma2 - trace) / 2 for s, trace in zip(equations.errors.squares(e), traces, strict=True)]

    def _residual_variance(self, equations: Equations) -> float:
        """sigma2 of a residual of one variance, in V~'s units."""
        return 1 / float(equations.errors.precision[0]) if isinstance(equations.errors, SolvedIndependent) else 1.0

    def _on_pattern(self, equations: Equations, t: Tensor) -> Tensor:
        """Lambda M Lambda' at N's entries, (nnz,)."""
        m = torch.cat([equations.inner.on_pattern(t), t[:-1, :-1].reshape(-1)])
        return m[torch.from_numpy(self._place)]

    def residual_directions(self, theta: Tensor, natural: bool) -> list[list[Tensor]]:
        """dSigma for every parameter of every part of R."""
        parts = self.model.split(theta)[len(self.model.terms) :]
        if self.model.profiled:
            return [[torch.ones(1, 1, dtype=torch.float64)]]
        pairs = [(r.structure, x) for r, x in zip(self.model.residuals, parts, strict=True)]
        return [list(s.natural_derivatives(x) if natural else s.derivatives(x)) for s, x in pairs]

    # -- average information ------------------------------------------------------------------------------------

    def _directions(
        self, theta: Tensor, sigma2: float, inner_w: Tensor, border_w: Tensor, natural: bool
    ) -> tuple[Tensor, Tensor]:
        """h_k = (K (x) dSigma_k) w for every parameter of the terms, at the inner places and in the border."""
        w = self.places.by_level(inner_w, border_w)
        count = sum(term.structure.n_parameters for term in self.model.terms)
        inner = torch.zeros(self.levels.size, count, dtype=torch.float64)
        border = torch.zeros(self.border.width, count, dtype=torch.float64)
        column = 0
        for u, (term, part) in enumerate(zip(self.model.terms, self.model.split(theta), strict=False)):
            own = related(term.kernel, w[u])
            directions = term.structure.natural_derivatives(part) if natural else term.structure.derivatives(part)
            for q, d in zip(term.structure.natural, directions, strict=True):
                scale = sigma2 ** (1 - q.degree) if natural else 1.0
                (inner if u in self.inner_terms else border)[self.places.of_term[u], column] = scale * own @ d.T
                column += 1
        return inner, border

    def times(self, equations: Equations, inner: Tensor, border: Tensor) -> tuple[Tensor, Tensor]:
        """N x: x at the inner places (., c) and in the border (B, c)."""
        out_c, out_b = equations.inner.times(inner, border)
        return out_c, equations.n_bb @ border + out_b

    def quadratic(self, equations: Equations, inner: Tensor, border: Tensor) -> Tensor:
        """g'M g, (c, c): g at the inner places (., c) and in the border (B, c)."""
        inside, carried = equations.inner.carry(inner)
        z = equations.border.half_solve(border - carried)
        return inside + z.T @ z

    def _information(
        self,
        theta: Tensor,
        sigma2: float,
        equations: Equations,
        h: tuple[Tensor, Tensor],
        e: Tensor,
        w: tuple[Tensor, Tensor],
        natural: bool = False,
    ) -> Tensor:
        """f'P~ f / (2 sigma2) for theta, sigma2's row last if it is profiled; for V's natural parameters if ``natural``.

        A direction h has f = Z h, W'R^-1 f = N h; a parameter of R has f = R_k P~y.
        """
        model = self.model
        g = self.times(equations, *h)
        square = h[0].T @ g[0] + h[1].T @ g[1]
        if natural or not model.profiled:
            over, own = equations.errors.variates(e, self.residual_directions(theta, natural))
            s = self.places.parted(over)
            mixed = h[0].T @ s[0] + h[1].T @ s[1]
            square = torch.cat([torch.cat([square, mixed], dim=1), torch.cat([mixed.T, own], dim=1)])
            g = (torch.cat([g[0], s[0]], dim=1), torch.cat([g[1], s[1]], dim=1))
        information = (square - self.quadratic(equations, *g)) / (2 * sigma2)
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
        return self._information(at.theta, at.sigma2, at.equations, h, at.e, w, natural=True)

    def observed_information(self, at: HendersonEvaluation) -> Tensor:
        """-d2l for theta, by differences of the analytic score; sigma2's row exact."""
        return observed_by_differences(self, at)

    def beta_columns(self, at: HendersonEvaluation) -> tuple[Tensor, Tensor]:
        """Columns (., p) of Lambda M Lambda' for b, at the inner places and in the border (y's row zero)."""
        border = at.t[:-1, self.border.random : self.border.width - 1]
        return at.equations.inner.back(border), border

    def beta_covariance_derivatives(self, at: HendersonEvaluation) -> Tensor:
        """dC / d theta_k, the profiled sigma2 last."""
        return sensitivity.beta_derivatives(self, at)

    def natural_beta_slopes(self, at: HendersonEvaluation) -> Tensor:
        """dC / d nu_k for the natural parameters."""
        return sensitivity.beta_slopes(self, at)

    def expected_information(self, at: HendersonEvaluation) -> Tensor:
        """tr(P V_k P V_l) / 2, by dense matrices of all equations."""
        return sensitivity.expected_information(self, at)

    def beta_covariance_excess(self, at: HendersonEvaluation, weights: Tensor) -> Tensor:
        """sum_kl W_kl C (Q_kl - P_k C P_l - R_kl / 4) C."""
        return sensitivity.beta_excess(self, at, weights)

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
        traces = self._traces(equations, known_fixed=False)
        out = [float((traces[u] * (f @ f.T)).sum()) for u, f in enumerate(equations.factors)]
        if self._one_variance:
            return (*out, self.model.n - self.model.p - sum(out))
        sigmas = self.model.relative(at.theta)[len(out) :]
        pairs = zip(equations.errors.traces(self._on_pattern(equations, at.t)), sigmas, strict=True)
        return (*out, *(float((m * sigma).sum()) for m, sigma in pairs))

    def random_fit(self, at: HendersonEvaluation) -> Tensor:
        """sum_t Z_t u^_t, (n,)."""
        out = torch.zeros(self.model.n, dtype=torch.float64)
        for term, u in zip(
            self.model.terms, self.places.by_level(at.inner_u, at.equations.border.solution), strict=True
        ):
            out += term.spread(u[:, :, None])[:, 0]
        return out

    def prediction_covariance(self, at: HendersonEvaluation, fixed: Tensor, random: Sequence[Tensor]) -> Tensor:
        """l'M l in u's scale: v'v + d'T d,  v = F^-1 Lambda'l_c of the inner effects,  d = l_b - Y'v of the border."""
        inner = torch.zeros(self.levels.size, len(fixed), dtype=torch.float64)
        border = torch.zeros(self.border.width, len(fixed), dtype=torch.float64)
        border[self.border.random : self.border.width - 1] = fixed.T
        for u, z in enumerate(random):
            (inner if u in self.inner_terms else border)[self.places.of_term[u]] = z
        square, carried = at.equations.inner.carry(inner)
        d = border - carried
        return at.sigma2 * (square + d.T @ at.t[:-1, :-1] @ d)
