"""The dense engine: V as an n x n matrix. O(n^3), for any model, and the judge of every faster engine.

Notation as in engine.py. One Cholesky factor V~ = F F' gives everything:

    F^-1 [X y] = [X* y*],   X* = Q U (QR),   b = U^-1 Q'y*,   y'P~y = |y* - Q Q'y*|^2
    log|V~| = 2 sum log F_ii,   log|X'V~^-1X| = 2 sum log |U_ii|
    T = F^-T Q,   P~ = V~^-1 - T T'

No ridge is ever added: a V~ that is not positive definite is an error, and the step that led to it is rejected.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from openreml_core.engines.engine import Evaluation, NotPositiveDefinite, RandomEffects
from openreml_core.model import MixedModel

LOG_2PI = math.log(2 * math.pi)


class MarginalEngine:
    """Evaluate a model through its dense marginal covariance.

    Parameters
    ----------
    model : MixedModel
    """

    name = "marginal"

    def __init__(self, model: MixedModel) -> None:
        self.model = model

    # -- the likelihood -----------------------------------------------------------------------------------------

    def _factorise(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """F, Q, U, y* - QQ'y* and Q'y* at theta."""
        model = self.model
        factor, failed = torch.linalg.cholesky_ex(model.covariance(theta))
        if int(failed) or not bool(torch.isfinite(factor.diagonal()).all()):
            raise NotPositiveDefinite
        whitened = torch.linalg.solve_triangular(factor, torch.column_stack([model.X, model.centred]), upper=False)
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

    def evaluate(self, theta: Tensor) -> Evaluation:
        """Criterion, score, average information, curvature, b at theta."""
        model = self.model
        factor, q, u, rest, fitted = self._factorise(theta)
        criterion, sigma2 = self._likelihood(factor, u, rest)
        u_inverse = torch.linalg.solve_triangular(u, torch.eye(model.p, dtype=u.dtype), upper=True)
        t = torch.linalg.solve_triangular(factor.T, q, upper=True)
        py = torch.linalg.solve_triangular(factor.T, rest[:, None], upper=True)[:, 0]
        v_inverse = torch.cholesky_inverse(factor)

        s = torch.outer(py, py / sigma2) - v_inverse
        if model.method == "reml":
            s += t @ t.T
        s *= 0.5
        pairings = tuple(c.pair(s) for c in model.all_components)

        parts = model.split(theta)
        derivatives = [c.structure.derivative(part) for c, part in zip(model.components, parts, strict=True)]
        free = list(
            zip(model.components, parts, pairings, strict=False)
        )  # the residual's pairing is left over if profiled
        score = [(d * m).sum(dim=(1, 2)) for d, (_, _, m) in zip(derivatives, free, strict=True)]
        curvature = [c.structure.curvature(part, m) for c, part, m in free]
        variates = [c.working_variates(d, py) for c, d in zip(model.components, derivatives, strict=True)]
        if model.profiled:
            variates.append((model.centred - model.X @ (u_inverse @ fitted))[:, None] / sigma2)  # V~ P~ y = y - X b
        f = torch.column_stack(variates) if variates else torch.zeros(model.n, 0, dtype=py.dtype)

        def project(w: Tensor) -> Tensor:
            return v_inverse @ w - t @ (t.T @ w)

        return Evaluation(
            theta=theta,
            sigma2=sigma2,
            criterion=criterion,
            beta=model.least_squares + u_inverse @ fitted,
            beta_covariance=sigma2 * (u_inverse @ u_inverse.T),
            score=model.join(score),
            information=f.T @ project(f) / (2 * sigma2),
            curvature=torch.block_diag(*curvature) if curvature else torch.zeros(0, 0, dtype=py.dtype),
            pairings=pairings,
            project=project,
            condition=float(factor.diagonal().max() / factor.diagonal().min()) ** 2,
        )

    # -- what inference needs -----------------------------------------------------------------------------------

    def natural_information(self, at: Evaluation) -> Tensor:
        """AI = f' P f / 2 with P = P~ / sigma2 and V's derivatives in its natural parameters."""
        model = self.model
        py = at.project(model.centred[:, None])[:, 0] / at.sigma2
        variates = []
        for c, part in zip(model.components, model.split(at.theta), strict=True):
            scales = torch.tensor([1.0 if q.scales else at.sigma2 for q in c.structure.natural], dtype=py.dtype)
            variates.append(scales * c.working_variates(c.structure.natural_derivative(part), py))
        if model.profiled:
            variates.append(model.residuals[0].apply(torch.ones(1, 1, dtype=py.dtype), py[:, None]))
        f = torch.column_stack(variates)
        return f.T @ at.project(f) / (2 * at.sigma2)

    def _derivative_times(self, at: Evaluation, w: Tensor) -> list[Tensor]:
        """V_k W for V_k = dV~ / d theta_k, and for V~ / sigma2 where sigma2 is profiled; W (n, c)."""
        model = self.model
        out = []
        for component, part in zip(model.components, model.split(at.theta), strict=True):
            out += [component.apply(d, w) for d in component.structure.derivative(part)]
        if model.profiled:
            out.append(model.covariance(at.theta) @ w / at.sigma2)
        return out

    def observed_information(self, at: Evaluation) -> Tensor:
        """f' P~ f / sigma2 - tr(P~ V_k P~ V_l) / 2 - C."""
        model = self.model
        if model.method == "reml":
            inner = at.project(torch.eye(model.n, dtype=model.y.dtype))
        else:
            inner = torch.cholesky_inverse(torch.linalg.cholesky(model.covariance(at.theta)))
        products = self._derivative_times(at, inner)
        traces = torch.zeros(len(products), len(products), dtype=inner.dtype)
        for k, a in enumerate(products):
            for j, b in enumerate(products[: k + 1]):
                traces[k, j] = traces[j, k] = (a * b.T).sum()
        observed = 2 * at.information - traces / 2
        observed[: model.n_theta, : model.n_theta] -= at.curvature
        if model.profiled and model.n_theta:
            # V~_k is what is left of the mixed second derivative of sigma2 V~(theta).
            observed[:-1, -1] -= at.score / at.sigma2
            observed[-1, :-1] -= at.score / at.sigma2
        return observed

    def beta_covariance_derivatives(self, at: Evaluation) -> Tensor:
        """dC / d theta_k = C X'V^-1 V_k V^-1 X C, for C = (X'V^-1 X)^-1."""
        model = self.model
        factor = torch.linalg.cholesky(model.covariance(at.theta))
        # V^-1 X C on the scale of y: sigma2 cancels in it.
        weights = torch.cholesky_solve(model.X, factor) @ (at.beta_covariance / at.sigma2)
        return torch.stack([at.sigma2 * weights.T @ w for w in self._derivative_times(at, weights)])

    def random_effects(self, at: Evaluation) -> tuple[RandomEffects, ...]:
        """u^ = G Z'P y; Var[u | y] = G - G Z'V^-1 Z G; Var[u^ - u] = G - G Z'P Z G, block by block of the levels."""
        model = self.model
        eye = torch.eye(model.n, dtype=model.y.dtype)
        v_inverse = torch.cholesky_inverse(torch.linalg.cholesky(model.covariance(at.theta)))
        py, p = at.project(model.centred[:, None]), at.project(eye)
        out = []
        for term, part in zip(model.terms, model.split(at.theta), strict=False):
            sigma = term.structure.matrix(part)
            out.append(
                RandomEffects(
                    blup=(sigma @ term.collect(py))[:, :, 0],
                    conditional=at.sigma2 * term.shrunk(sigma, v_inverse),
                    prediction=at.sigma2 * term.shrunk(sigma, p),
                )
            )
        return tuple(out)

    def random_fit(self, at: Evaluation) -> Tensor:
        """V~ P~ y less its residual part: sum_t Z_t Sigma_t Z_t' P~ y."""
        model = self.model
        py = at.project(model.centred[:, None])
        out = torch.zeros(model.n, dtype=model.y.dtype)
        for term, part in zip(model.terms, model.split(at.theta), strict=False):
            out += term.apply(term.structure.matrix(part), py)[:, 0]
        return out
