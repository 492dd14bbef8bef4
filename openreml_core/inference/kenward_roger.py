"""Kenward and Roger's adjusted covariance of b, and the scaled F that goes with it.

With C = (X'V^-1 X)^-1, nu V's natural parameters, W the inverse of their expected information, P_k = X'V^-1 V_k V^-1 X,

    C_A = C + 2 C [ sum_kl W_kl (Q_kl - P_k C P_l - R_kl / 4) ] C                           (Q, R: engines/engine.py)

and for q independent rows L, with Theta = L'(L C L')^-1 L, T_k = C P_k C:

    A1 = sum_kl W_kl tr(Theta T_k) tr(Theta T_l)      A2 = sum_kl W_kl tr(Theta T_k Theta T_l)      B = (A1 + 6 A2) / (2 q)
    g  = ((q + 1) A1 - (q + 4) A2) / ((q + 2) A2)     c1, c2, c3 = (g, q - g, q + 2 - g) / (3 q + 2 (1 - g))
    E* = 1 / (1 - A2 / q)                             V* = (2 / q) (1 + c1 B) / ((1 - c2 B)^2 (1 - c3 B))
    m  = 4 + (q + 2) / (q r - 1),  r = V* / (2 E*^2)  F = lambda (L b)'(L C_A L')^-1 (L b) / q,  lambda = m / (E* (m - 2))

which makes F and its df exact where they are known. For one row lambda = 1 and m = 2 / A2. (Kenward and Roger 1997,
Biometrics 53, 983-997; Halekoh and Hojsgaard 2014, J. Stat. Softw. 59(9), on the linear case.)

R is not invariant under a change of the parameters. Where V ranges over a linear space of matrices (variances, us, cs, toep)
it is taken in the elements that V is linear in, where it is zero; otherwise in the natural parameters that tables show
(variance and correlation, or range), as SAS takes it. A variance at zero was estimated as well as any other and counts, as in
pbkrtest: a split plot keeps the degrees of freedom of its whole plots (SAS drops it); but not where V is not linear in it.
Parameters held, at another bound or not identified count as known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from openreml_core.errors import ModelError
from openreml_core.inference.components import natural_moves
from openreml_core.reml import Estimates


@dataclass(frozen=True, eq=False)
class KenwardRoger:
    """What Kenward and Roger's method needs of a fit.

    Attributes
    ----------
    plain, covariance : array of shape (p, p)
        C and C_A.
    slopes : array of shape (m, p, p)
        T_k of the natural parameters; zero for those that count as known.
    parameters : array of shape (m, m)
        W.
    """

    plain: np.ndarray
    covariance: np.ndarray
    slopes: np.ndarray
    parameters: np.ndarray

    @classmethod
    def of(cls, estimates: Estimates) -> KenwardRoger:
        """Read it off a fit.

        Raises
        ------
        ModelError
            For estimates by maximum likelihood, whose bias the method does not know.
        """
        engine, at = estimates.engine, estimates.at
        if engine.model.method != "reml":
            raise ModelError(
                "Kenward and Roger's method is for REML estimates; this fit is by maximum likelihood.",
                hint="Fit with method='reml', or choose ddf='satterthwaite'.",
            )
        moves = natural_moves(estimates, zeros_count=True)
        inverse, _ = moves.inverse(engine.expected_information(at).numpy())
        w = moves.directions @ np.nan_to_num(inverse) @ moves.directions.T
        w = (w + w.T) / 2
        counts = w.any(axis=1)
        slopes = np.where(counts[:, None, None], engine.natural_beta_slopes(at).numpy(), 0.0)
        plain = at.beta_covariance.numpy()
        excess = engine.beta_covariance_excess(at, torch.from_numpy(w)).numpy()
        adjusted = plain + excess + excess.T
        if not (np.diag(adjusted) > 0).all():
            raise ModelError(
                "Kenward and Roger's adjusted variance of a coefficient is not positive: the covariance parameters are known too "
                "badly for their expansion.",
                hint="Choose ddf='satterthwaite', or a covariance structure with fewer parameters.",
            )
        return cls(plain, adjusted, slopes, w)

    def df(self, contrasts: np.ndarray) -> np.ndarray:
        """Degrees of freedom of every row l of ``contrasts`` (c, p): 2 (l'C l)^2 / sum_kl W_kl (l'T_k l)(l'T_l l)."""
        variance = np.einsum("cp,pq,cq->c", contrasts, self.plain, contrasts)
        t = np.einsum("cp,kpq,cq->ck", contrasts, self.slopes, contrasts)
        with np.errstate(divide="ignore", invalid="ignore"):
            return 2 * variance**2 / np.einsum("ck,kl,cl->c", t, self.parameters, t)

    def joint(self, contrasts: np.ndarray) -> tuple[float, float]:
        """Denominator df and scaling of the F of independent rows ``contrasts`` (q, p); NaN where the method has none."""
        q = len(contrasts)
        half = np.linalg.solve(np.linalg.cholesky(contrasts @ self.plain @ contrasts.T), contrasts)
        t = np.einsum("ap,kpq,bq->kab", half, self.slopes, half)  # tr(Theta T_k) = tr(half T_k half')
        traces = np.trace(t, axis1=1, axis2=2)
        a1 = float(traces @ self.parameters @ traces)
        a2 = float(np.einsum("kab,kl,lba->", t, self.parameters, t))
        return scaled_f(a1, a2, q)


def scaled_f(a1: float, a2: float, q: int) -> tuple[float, float]:
    """Denominator df m and scaling lambda from A1, A2 and the number of rows.

    Examples
    --------
    >>> m, scaling = scaled_f(0.1, 0.1, 1)  # one row: 2 / A2, and F as it is
    >>> round(m, 6), round(scaling, 6)
    (20.0, 1.0)
    """
    if a2 <= 0:  # the variance parameters are known: chi-square
        return float("inf"), 1.0
    if q == 1:
        return 2 / a2, 1.0
    b = (a1 + 6 * a2) / (2 * q)
    g = ((q + 1) * a1 - (q + 4) * a2) / ((q + 2) * a2)
    c1, c2, c3 = (c / (3 * q + 2 * (1 - g)) for c in (g, q - g, q + 2 - g))
    # r q = ((1 - A2 / q) / v1)^2 v0 / v2, whose factors vanish in some small balanced designs: v0 alone, the first two together.
    e, v0, v1, v2 = (0.0 if abs(x) < 1e-10 else x for x in (1 - a2 / q, 1 + c1 * b, 1 - c2 * b, 1 - c3 * b))
    if v2 == 0 or (e != 0 and v1 == 0):
        m = 4.0
    else:
        ratio = (e / v1 if v1 else 1.0) ** 2 * v0 / v2
        m = 4 + (q + 2) / (ratio - 1) if ratio != 1 else float("inf")
    scaling = e if np.isinf(m) else 1.0 if abs(m - 2) < 1e-2 else m * e / (m - 2)
    return (m, scaling) if m > 0 and scaling > 0 else (float("nan"), float("nan"))
