"""Fixed effects: estimates, standard errors, and t tests whose degrees of freedom are named.

Satterthwaite's df of a contrast l'b, with C(theta) = Cov(b), g = d(l'C l) / d theta and A the inverse of the observed
information for theta (sigma2 in it):

    df = 2 (l'C l)^2 / (g'A g)

(Satterthwaite 1946, Biometrics Bulletin 2, 110-114; Fai and Cornelius 1996, J. Stat. Comput. Simul. 54, 363-378.) It does
not depend on the parametrisation; in Cholesky parameters a variance at zero has g = 0 and drops out by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from scipy import stats
from scipy.linalg import block_diag

from openreml_core.errors import ModelError
from openreml_core.reml import Estimates

DDF = {
    "satterthwaite": "Satterthwaite",
    "residual": "residual (n - p)",
    "normal": "normal (infinite)",
}


@dataclass(frozen=True, eq=False)
class Satterthwaite:
    """What Satterthwaite's formula needs of a fit.

    Attributes
    ----------
    estimates : Estimates
    """

    estimates: Estimates

    @cached_property
    def _parts(self) -> tuple[np.ndarray, np.ndarray]:
        """d Cov(b) / d phi (f, p, p) and A (f, f), phi the parameters that were estimated."""
        engine, at = self.estimates.engine, self.estimates.at
        derivatives = engine.beta_covariance_derivatives(at).numpy()
        information = engine.observed_information(at).numpy()
        moves = self.estimates.ties.directions(self.estimates.free)
        moves = block_diag(moves, np.eye(len(information) - len(moves)))
        information = moves.T @ information @ moves
        size = np.sqrt(np.clip(np.abs(np.diag(information)), 1e-300, None))
        values, vectors = np.linalg.eigh(information / np.outer(size, size))
        good = values > 1e-9 * max(values.max(initial=0.0), 1e-300)
        half = vectors[:, good] / np.sqrt(values[good]) / size[:, None]
        return np.tensordot(moves.T, derivatives, 1), half @ half.T

    def df(self, contrasts: np.ndarray) -> np.ndarray:
        """Degrees of freedom of every row l of ``contrasts`` (c, p)."""
        derivatives, a = self._parts
        variance = np.einsum("cp,pq,cq->c", contrasts, self.estimates.at.beta_covariance.numpy(), contrasts)
        g = np.einsum("cp,kpq,cq->ck", contrasts, derivatives, contrasts)
        with np.errstate(divide="ignore", invalid="ignore"):
            return 2 * variance**2 / np.einsum("ck,kl,cl->c", g, a, g)


def degrees_of_freedom(estimates: Estimates, contrasts: np.ndarray, ddf: str) -> np.ndarray:
    """Degrees of freedom (c,) of the rows of ``contrasts`` (c, p) by the method named ``ddf``.

    Raises
    ------
    ModelError
        For a method that is not known.
    """
    model = estimates.engine.model
    if ddf == "satterthwaite":
        return Satterthwaite(estimates).df(contrasts)
    if ddf == "residual":
        return np.full(len(contrasts), float(model.n - model.p))
    if ddf == "normal":
        return np.full(len(contrasts), np.inf)
    raise ModelError(f"ddf={ddf!r} is not available.", hint=f"Choose one of {', '.join(DDF)}.")


def coefficient_table(estimates: Estimates, ddf: str = "satterthwaite", level: float = 0.95) -> pd.DataFrame:
    """The table of ``fit.fixed_effects()``."""
    if not 0 < level < 1:
        raise ModelError(f"level={level} is not a probability.", hint="Give a number between 0 and 1, such as 0.95.")
    model, at = estimates.engine.model, estimates.at
    beta = at.beta.numpy()
    error = at.beta_covariance.diagonal().sqrt().numpy()
    df = degrees_of_freedom(estimates, np.eye(model.p), ddf)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = beta / error
    half = stats.t.ppf(0.5 + level / 2, df) * error
    table = pd.DataFrame(
        {
            "estimate": beta,
            "std_error": error,
            "df": df,
            "t": t,
            "p_value": 2 * stats.t.sf(np.abs(t), df),
            "lower": beta - half,
            "upper": beta + half,
        },
        index=pd.Index(model.fixed_names, name="coefficient"),
    )
    table.attrs["ddf"] = DDF[ddf]
    table.attrs["level"] = level
    return table


def covariance_table(estimates: Estimates) -> pd.DataFrame:
    """Cov(b), (p, p), labelled."""
    names = list(estimates.engine.model.fixed_names)
    return pd.DataFrame(torch.Tensor.numpy(estimates.at.beta_covariance), index=names, columns=names)
