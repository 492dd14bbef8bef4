"""Satterthwaite's degrees of freedom.

For a contrast l'b, with C(theta) = Cov(b), g = d(l'C l) / d theta and A the inverse of the observed information for theta
(sigma2 in it),

    df = 2 (l'C l)^2 / (g'A g)

For several contrasts L at once, L C L' = U D U' and nu_m the df of the m-th row of U'L, E = sum_m nu_m / (nu_m - 2):

    F = (L b)'(L C L')^-1 (L b) / q   on q and 2 E / (E - q)

(Satterthwaite 1946, Biometrics Bulletin 2, 110-114; Fai and Cornelius 1996, J. Stat. Comput. Simul. 54, 363-378.) The df do
not depend on the parametrisation; in Cholesky parameters a variance at zero has g = 0 and drops out by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import block_diag

from openreml_core.reml import Estimates


@dataclass(frozen=True, eq=False)
class Satterthwaite:
    """What Satterthwaite's formula needs of a fit.

    Attributes
    ----------
    covariance : array of shape (p, p)
        C.
    slopes : array of shape (f, p, p)
        dC / d phi, phi the parameters that were estimated of themselves.
    moves : array of shape (m, f)
        d theta / d phi, the profiled sigma2 the last of theta.
    parameters : array of shape (f, f)
        A.
    """

    covariance: np.ndarray
    slopes: np.ndarray
    moves: np.ndarray
    parameters: np.ndarray

    @classmethod
    def of(cls, estimates: Estimates) -> Satterthwaite:
        """Read it off a fit."""
        engine, at = estimates.engine, estimates.at
        derivatives = engine.beta_covariance_derivatives(at).numpy()
        information = engine.observed_information(at).numpy()
        moves = estimates.ties.directions(estimates.free)
        moves = block_diag(moves, np.eye(len(information) - len(moves)))
        information = moves.T @ information @ moves
        size = np.sqrt(np.clip(np.abs(np.diag(information)), 1e-300, None))
        values, vectors = np.linalg.eigh(information / np.outer(size, size))
        good = values > 1e-9 * max(values.max(initial=0.0), 1e-300)
        half = vectors[:, good] / np.sqrt(values[good]) / size[:, None]
        return cls(at.beta_covariance.numpy(), np.tensordot(moves.T, derivatives, 1), moves, half @ half.T)

    def df(self, contrasts: np.ndarray) -> np.ndarray:
        """Degrees of freedom of every row l of ``contrasts`` (c, p)."""
        variance = np.einsum("cp,pq,cq->c", contrasts, self.covariance, contrasts)
        return self.df_of(variance, np.einsum("cp,kpq,cq->ck", contrasts, self.slopes, contrasts))

    def df_of(self, variance: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """2 v^2 / (g'A g) for variances (c,) and their derivatives in phi (c, f)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return 2 * variance**2 / np.einsum("ck,kl,cl->c", slopes, self.parameters, slopes)

    def joint(self, contrasts: np.ndarray) -> tuple[float, float]:
        """Denominator df and scaling (1) of the F of independent rows ``contrasts`` (q, p)."""
        _, vectors = np.linalg.eigh(contrasts @ self.covariance @ contrasts.T)
        return pooled_df(self.df(vectors.T @ contrasts)), 1.0


def pooled_df(df: np.ndarray) -> float:
    """The denominator df of an F whose square-summed t have ``df`` (q,) of their own.

    Examples
    --------
    >>> round(pooled_df(np.array([8.0, 12.0])), 4)
    9.5
    """
    if (df <= 2).any():  # an F of so few has no mean
        return float(df[0]) if np.allclose(df, df[0]) else 2.0
    excess = float((2 / (df - 2)).sum())  # E - q
    return 2 * (excess + len(df)) / excess if excess > 0 else float("inf")
