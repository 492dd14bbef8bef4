"""The dense engine: V as an n x n matrix. O(n^3), for any model, and the judge of every faster engine.

Notation as in engine.py. One Cholesky factor V~ = F F' gives everything:

    F^-1 [X y] = [X* y*],   X* = Q U (QR),   b = U^-1 Q'y*,   y'P~y = |y* - Q Q'y*|^2
    log|V~| = 2 sum log F_ii,   log|X'V~^-1X| = 2 sum log |U_ii|
    T = F^-T Q,   P~ = V~^-1 - T T'

No ridge is ever added: a V~ that is not positive definite is an error, and the step that led to it is rejected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from openreml_core.covariance.kernel import related
from openreml_core.engines.engine import Evaluation, NotPositiveDefinite, RandomEffects
from openreml_core.engines.inverse import cholesky_inverse
from openreml_core.engines.second_order import natural_bends, natural_slopes, roots
from openreml_core.model import MixedModel

LOG_2PI = math.log(2 * math.pi)
#: Rows up to which exact second derivatives cost little.
SMALL = 400


@dataclass(frozen=True, eq=False)
class DenseEvaluation(Evaluation):
    """An evaluation with the matrices it came from: V~^-1 (n, n), and T (n, p) with P~ = V~^-1 - T T'."""

    v_inverse: Tensor
    t: Tensor

    def project(self, w: Tensor) -> Tensor:
        """P~ W for W (n, c)."""
        return self.v_inverse @ w - self.t @ (self.t.T @ w)

    @property
    def projection(self) -> Tensor:
        """P~, (n, n)."""
        return torch.addmm(self.v_inverse, self.t, self.t.T, alpha=-1)


class MarginalEngine:
    """Evaluate a model through its dense marginal covariance.

    Parameters
    ----------
    model : MixedModel
    device : str
        Where V is factorised and inverted: ``"cpu"``, or ``"cuda"`` for a GPU. What an evaluation keeps is on the CPU.
    """

    name = "marginal"

    def __init__(self, model: MixedModel, device: str = "cpu") -> None:
        self.model, self.device = model, device
        self.exact_is_cheap = model.n <= SMALL

    # -- the likelihood -----------------------------------------------------------------------------------------

    def _factorise(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """F, Q, U, y* - QQ'y* and Q'y* at theta."""
        model = self.model
        factor, failed = torch.linalg.cholesky_ex(model.covariance(theta).to(self.device))
        if int(failed) or not bool(torch.isfinite(factor.diagonal()).all()):
            raise NotPositiveDefinite
        right = torch.column_stack([model.X, model.centred]).to(self.device)
        whitened = torch.linalg.solve_triangular(factor, right, upper=False)
        q, u = torch.linalg.qr(whitened[:, :-1])
        fitted = q.T @ whitened[:, -1]
        return factor, q, u, whitened[:, -1] - q @ fitted, fitted

    def _likelihood(self, factor: Tensor, u: Tensor, rest: Tensor) -> tuple[float, float]:
        """-2 l and sigma2."""
        model, df = self.model, self.model.degrees_of_freedom
        rss = float(rest @ rest)
        sigma2 = rss / df if model.profiled else 1.0
        if not 0 < sigma2 < math.inf:
            raise NotPositiveDefinite
        log_det = 2 * float(factor.diagonal().log().sum())
        if model.method == "reml":
            log_det += 2 * float(u.diagonal().abs().log().sum())
        return df * (math.log(sigma2) + LOG_2PI) + log_det + rss / sigma2, sigma2

    def criterion(self, theta: Tensor) -> float:
        """-2 l at theta."""
        factor, _, u, rest, _ = self._factorise(theta)
        return self._likelihood(factor, u, rest)[0]

    def evaluate(self, theta: Tensor) -> DenseEvaluation:
        """Criterion, score, average information, curvature, b at theta."""
        model = self.model
        factor, q, u, rest, fitted = self._factorise(theta)
        criterion, sigma2 = self._likelihood(factor, u, rest)
        u_inverse = torch.linalg.solve_triangular(u, torch.eye(model.p, dtype=u.dtype, device=u.device), upper=True)
        t = torch.linalg.solve_triangular(factor.T, q, upper=True)
        py = torch.linalg.solve_triangular(factor.T, rest[:, None], upper=True)[:, 0]
        v_inverse = cholesky_inverse(factor)

        s = torch.outer(py, py / sigma2) - v_inverse
        if model.method == "reml":
            s += t @ t.T
        s *= 0.5
        s, t, py, v_inverse, u_inverse, fitted = (x.to("cpu") for x in (s, t, py, v_inverse, u_inverse, fitted))
        pairings = tuple(c.pair(s) for c in model.all_components)

        # The residual's pairing is left over where its variance is profiled out.
        free = list(zip(model.components, model.split(theta), pairings, strict=False))
        score = [c.structure.gradient(part, m) for c, part, m in free]
        curvature = [c.structure.curvature(part, m) for c, part, m in free]
        variates = [c.working_variates(c.structure.derivatives(part), py) for c, part, _ in free]
        if model.profiled:
            variates.append((model.centred - model.X @ (u_inverse @ fitted))[:, None] / sigma2)  # V~ P~ y = y - X b
        f = torch.column_stack(variates) if variates else torch.zeros(model.n, 0, dtype=py.dtype)

        projected = v_inverse @ f - t @ (t.T @ f)
        return DenseEvaluation(
            theta=theta,
            sigma2=sigma2,
            criterion=criterion,
            beta=model.least_squares + u_inverse @ fitted,
            beta_covariance=sigma2 * (u_inverse @ u_inverse.T),
            score=model.join(score),
            information=f.T @ projected / (2 * sigma2),
            curvature=torch.block_diag(*curvature) if curvature else torch.zeros(0, 0, dtype=py.dtype),
            pairings=pairings,
            condition=float(factor.diagonal().max() / factor.diagonal().min()) ** 2,
            v_inverse=v_inverse,
            t=t,
        )

    # -- what inference needs -----------------------------------------------------------------------------------

    def natural_information(self, at: DenseEvaluation) -> Tensor:
        """AI = f' P f / 2 with P = P~ / sigma2 and V's derivatives in its natural parameters."""
        model = self.model
        py = at.project(model.centred[:, None])[:, 0] / at.sigma2
        variates = []
        for c, part in zip(model.components, model.split(at.theta), strict=True):
            scales = torch.tensor([at.sigma2 ** (1 - q.degree) for q in c.structure.natural], dtype=py.dtype)
            variates.append(scales * c.working_variates(c.structure.natural_derivatives(part), py))
        if model.profiled:
            variates.append(model.residuals[0].apply(torch.ones(1, 1, dtype=py.dtype), py[:, None]))
        f = torch.column_stack(variates)
        return f.T @ at.project(f) / (2 * at.sigma2)

    def _derivative_times(self, at: DenseEvaluation, w: Tensor) -> list[Tensor]:
        """V_k W for V_k = dV~ / d theta_k, and for V~ / sigma2 where sigma2 is profiled; W (n, c)."""
        model = self.model
        out = []
        for component, part in zip(model.components, model.split(at.theta), strict=True):
            out += [component.apply(d, w) for d in component.structure.derivatives(part)]
        if model.profiled:
            out.append(model.covariance(at.theta) @ w / at.sigma2)
        return out

    def observed_information(self, at: DenseEvaluation) -> Tensor:
        """f' P~ f / sigma2 - tr(P~ V_k P~ V_l) / 2 - C, the traces within the components' frames, V_k = F E_k F':

        tr(P~ V_k P~ V_l) = <B E_k B', E_l>,   B = F_l' P~ F_k
        """
        model, m = self.model, self.model.n_theta
        inner = at.projection if model.method == "reml" else at.v_inverse
        traces = torch.zeros(len(at.information), len(at.information), dtype=inner.dtype)
        free = list(zip(model.components, model.split(at.theta), model.slices, strict=True))
        for place, (component, part, rows) in enumerate(free):
            framed = component.frame(inner)  # F_k' P~
            across = [other.frame(framed.T) for other, _, _ in free[: place + 1]]
            for k, direction in enumerate(component.structure.derivatives(part), start=rows.start):
                for b, (other, other_part, columns) in zip(across, free, strict=False):
                    paired = other.pair_frame(b @ component.inner(direction, b.T))
                    slopes = other.structure.gradient(other_part, paired)
                    traces[k, columns] = slopes
                    traces[columns, k] = slopes
        observed = 2 * at.information
        observed[:m, :m] -= traces[:m, :m] / 2 + at.curvature
        if model.profiled:
            # V~ / sigma2 is the derivative in sigma2, and P~ V~ P~ = P~: its traces are <P~, V~_k> / sigma2 and df / sigma2^2.
            pairs = [c.structure.gradient(part, c.pair(inner)) for c, part, _ in free]
            # V~_k is what is left of the mixed second derivative of sigma2 V~(theta).
            mixed = model.join(pairs) / (2 * at.sigma2) + at.score / at.sigma2
            observed[:m, m] -= mixed
            observed[m, :m] -= mixed
            observed[m, m] -= model.degrees_of_freedom / (2 * at.sigma2**2)
        return observed

    def beta_covariance_derivatives(self, at: DenseEvaluation) -> Tensor:
        """dC / d theta_k = C X'V^-1 V_k V^-1 X C, for C = (X'V^-1 X)^-1."""
        weights = self._weights_of_beta(at)
        return torch.stack([at.sigma2 * weights.T @ w for w in self._derivative_times(at, weights)])

    def natural_beta_slopes(self, at: DenseEvaluation) -> Tensor:
        """Y'V_k Y, Y = V^-1 X C, for the natural parameters."""
        y = self._weights_of_beta(at)
        slopes = natural_slopes(self.model, at.theta, at.sigma2)
        return torch.stack([y.T @ c.apply(d, y) for c, own in slopes for d in own])

    def beta_covariance_excess(self, at: DenseEvaluation, weights: Tensor) -> Tensor:
        """sum_kl W_kl (Y'V_k P V_l Y - Y'V_kl Y / 4)."""
        y = self._weights_of_beta(at)
        active, sizes, vectors = roots(weights)
        slopes = [(c, d) for c, own in natural_slopes(self.model, at.theta, at.sigma2) for d in own]
        out = torch.zeros(self.model.p, self.model.p, dtype=y.dtype)
        if len(active):
            variates = torch.stack([slopes[k][0].apply(slopes[k][1], y) for k in active.tolist()], dim=2)  # (n, p, a)
            for size, vector in zip(sizes, vectors.T, strict=True):
                f = variates @ vector
                out += size * f.T @ at.project(f) / at.sigma2
        for c, bent in natural_bends(self.model, at.theta, at.sigma2, weights):
            out -= y.T @ c.apply(bent, y) / 4
        return out

    def expected_information(self, at: DenseEvaluation) -> Tensor:
        """tr(P V_k P V_l) / 2 within the components' frames, as in ``observed_information``."""
        components = natural_slopes(self.model, at.theta, at.sigma2)
        inner, rows = at.projection, []
        for place, (component, slopes) in enumerate(components):
            framed = component.frame(inner)
            across = [other.frame(framed.T) for other, _ in components[: place + 1]]
            for d in slopes:
                row = []
                for b, (other, others) in zip(across, components, strict=False):
                    paired = other.pair_frame(b @ component.inner(d, b.T))
                    row += [(paired * e).sum() for e in others]
                rows.append(torch.stack(row))
        size = len(rows)
        lower = torch.stack([torch.nn.functional.pad(row, (0, size - len(row))) for row in rows]).tril()
        return (lower + lower.tril(-1).T) / (2 * at.sigma2**2)

    def _weights_of_beta(self, at: DenseEvaluation) -> Tensor:
        """Y = V^-1 X C on the scale of y, (n, p): b^ = Y'y."""
        return at.v_inverse @ self.model.X @ (at.beta_covariance / at.sigma2)

    def random_effects(self, at: DenseEvaluation) -> tuple[RandomEffects, ...]:
        """u^ = G Z'P y; Var[u | y] = G - G Z'V^-1 Z G; Var[u^ - u] = G - G Z'P Z G, block by block of the levels."""
        model = self.model
        py, p = at.project(model.centred[:, None]), at.projection
        out = []
        for term, part in zip(model.terms, model.split(at.theta), strict=False):
            sigma = term.structure.matrix(part)
            out.append(
                RandomEffects(
                    blup=(sigma @ term.collect(py))[:, :, 0],
                    conditional=at.sigma2 * term.shrunk(sigma, at.v_inverse),
                    prediction=at.sigma2 * term.shrunk(sigma, p),
                )
            )
        return tuple(out)

    def random_fit(self, at: DenseEvaluation) -> Tensor:
        """V~ P~ y less its residual part: sum_t Z_t Sigma_t Z_t' P~ y."""
        model = self.model
        py = at.project(model.centred[:, None])
        out = torch.zeros(model.n, dtype=model.y.dtype)
        for term, part in zip(model.terms, model.split(at.theta), strict=False):
            out += term.apply(term.structure.matrix(part), py)[:, 0]
        return out

    def effective_dimensions(self, at: DenseEvaluation) -> tuple[float, ...]:
        """tr(V_t P): sigma2 in V_t and 1 / sigma2 in P cancel."""
        p, parts = at.projection, zip(self.model.all_components, self.model.relative(at.theta), strict=True)
        return tuple(float((component.pair(p) * sigma).sum()) for component, sigma in parts)

    def prediction_covariance(self, at: DenseEvaluation, fixed: Tensor, random: Sequence[Tensor]) -> Tensor:
        """z'Gz - k'V^-1 k + d'Cd,  k = ZGz the covariance with the rows,  d = x - X'V^-1 k,  C = Cov(b^)."""
        model, c = self.model, len(fixed)
        k, prior = torch.zeros(model.n, c, dtype=fixed.dtype), torch.zeros(c, c, dtype=fixed.dtype)
        for term, part, z in zip(model.terms, model.split(at.theta), random, strict=False):
            gz = torch.einsum("ab,qbc->qac", term.structure.matrix(part), z)
            gz = related(term.kernel, gz)
            prior += z.reshape(-1, c).T @ gz.reshape(-1, c)
            k += term.spread(gz)
        weighed = at.v_inverse @ k
        d = fixed.T - model.X.T @ weighed
        return at.sigma2 * (prior - k.T @ weighed) + d.T @ at.beta_covariance @ d


def dense_bytes(model: MixedModel) -> int:
    """Memory of one evaluation: V, its factor and inverse, S, the terms' masks, and room for products, n x n each."""
    return 8 * model.n**2 * (8 + 2 * len(model.terms))
