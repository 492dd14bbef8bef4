"""Linear functions L b of the fixed effects: estimates, standard errors, degrees of freedom, and joint tests.

Every table of fixed effects comes through here: coefficients, analysis of variance, means.

    t = (l'b - h) / sqrt(l'C l)        F = lambda (L b)'(L C L')^-1 (L b) / q

C, the df and lambda are those of the method named: Satterthwaite, Kenward-Roger, residual (n - p), normal (infinite).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from weakref import WeakKeyDictionary

import numpy as np
from scipy import stats

from openreml_core.errors import ModelError
from openreml_core.inference.kenward_roger import KenwardRoger
from openreml_core.inference.satterthwaite import Satterthwaite
from openreml_core.reml import Estimates

#: Methods for the degrees of freedom, and how tables call them.
DDF = {
    "satterthwaite": "Satterthwaite",
    "kenward-roger": "Kenward-Roger",
    "residual": "residual (n - p)",
    "normal": "normal (infinite)",
}
#: Share of the longest row that a row of L must have of its own.
RANK = 1e-8


class Approximation(Protocol):
    """A method for the degrees of freedom."""

    @property
    def covariance(self) -> np.ndarray:
        """Cov(b) that tests are built on, (p, p)."""

    def df(self, contrasts: np.ndarray) -> np.ndarray:
        """Degrees of freedom (c,) of every row of ``contrasts`` (c, p)."""

    def joint(self, contrasts: np.ndarray) -> tuple[float, float]:
        """Denominator df and scaling of the F of independent rows ``contrasts`` (q, p)."""


@dataclass(frozen=True, eq=False)
class SameForAll:
    """One number of degrees of freedom for every contrast."""

    covariance: np.ndarray
    number: float

    def df(self, contrasts: np.ndarray) -> np.ndarray:
        """The number, for every row."""
        return np.full(len(contrasts), self.number)

    def joint(self, contrasts: np.ndarray) -> tuple[float, float]:
        """The number, and F as it is."""
        return self.number, 1.0


_kept: WeakKeyDictionary[Estimates, dict[str, Approximation]] = WeakKeyDictionary()


def approximation(estimates: Estimates, ddf: str) -> Approximation:
    """The method named ``ddf`` for a fit; what it needs of the fit is computed once.

    Raises
    ------
    ModelError
        For a method that is not known, or Kenward-Roger for estimates by maximum likelihood.
    """
    if not isinstance(ddf, str) or ddf not in DDF:
        raise ModelError(f"ddf={ddf!r} is not available.", hint=f"Choose one of {', '.join(DDF)}.")
    held = _kept.setdefault(estimates, {})
    if ddf not in held:
        model, plain = estimates.engine.model, estimates.at.beta_covariance.numpy()
        if ddf == "satterthwaite":
            held[ddf] = Satterthwaite.of(estimates)
        elif ddf == "kenward-roger":
            held[ddf] = KenwardRoger.of(estimates)
        else:
            held[ddf] = SameForAll(plain, float(model.n - model.p) if ddf == "residual" else np.inf)
    return held[ddf]


@dataclass(frozen=True, eq=False)
class Contrasts:
    """Estimates of L b, a value for every row.

    Attributes
    ----------
    estimate, std_error, df : array of shape (c,)
    covariance : array of shape (c, c)
    """

    estimate: np.ndarray
    covariance: np.ndarray
    df: np.ndarray

    @property
    def std_error(self) -> np.ndarray:
        """sqrt(l'C l)."""
        return np.sqrt(np.clip(np.diag(self.covariance), 0.0, None))

    @property
    def t(self) -> np.ndarray:
        """Estimate over standard error."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.estimate / self.std_error

    @property
    def p_value(self) -> np.ndarray:
        """Two-sided, of t."""
        return 2 * stats.t.sf(np.abs(self.t), self.df)

    def interval(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends."""
        half = stats.t.ppf(0.5 + level / 2, self.df) * self.std_error
        return self.estimate - half, self.estimate + half


def contrasts(estimates: Estimates, rows: np.ndarray, ddf: str = "satterthwaite") -> Contrasts:
    """L b for ``rows`` L (c, p)."""
    method = approximation(estimates, ddf)
    rows = np.asarray(rows, dtype=np.float64)
    return Contrasts(rows @ estimates.at.beta.numpy(), rows @ method.covariance @ rows.T, method.df(rows))


@dataclass(frozen=True)
class JointTest:
    """The test that L b = 0.

    Attributes
    ----------
    num_df : int
        q, the rank of L.
    den_df, F, p_value : float
    scaling : float
        lambda, which F holds already: F / lambda is Wald's statistic over q.
    chi_square : float
        (L b)'(L C L')^-1 (L b), C not adjusted.
    """

    num_df: int
    den_df: float
    F: float
    scaling: float
    p_value: float
    chi_square: float

    @property
    def chi_square_p(self) -> float:
        """Of chi-square on num_df."""
        return float(stats.chi2.sf(self.chi_square, self.num_df)) if self.num_df else np.nan


def joint_test(estimates: Estimates, rows: np.ndarray, ddf: str = "satterthwaite") -> JointTest:
    """Test L b = 0 for ``rows`` L (c, p); rows that others determine count once."""
    method = approximation(estimates, ddf)
    rows = independent_rows(np.asarray(rows, dtype=np.float64))
    q = len(rows)
    if q == 0:
        return JointTest(0, np.nan, np.nan, np.nan, np.nan, np.nan)
    value = rows @ estimates.at.beta.numpy()
    plain = float(value @ np.linalg.solve(rows @ estimates.at.beta_covariance.numpy() @ rows.T, value))
    wald = float(value @ np.linalg.solve(rows @ method.covariance @ rows.T, value))
    den_df, scaling = (float(method.df(rows)[0]), 1.0) if q == 1 else method.joint(rows)
    f = scaling * wald / q
    return JointTest(q, den_df, f, scaling, _f_tail(f, q, den_df), plain)


def _f_tail(f: float, q: int, den_df: float) -> float:
    return float(stats.chi2.sf(q * f, q) if np.isinf(den_df) else stats.f.sf(f, q, den_df))


def independent_rows(rows: np.ndarray) -> np.ndarray:
    """The rows (q, p) that are not combinations of those above them."""
    kept: list[int] = []
    basis = np.zeros((0, rows.shape[1]))
    for k, row in enumerate(rows):
        size = np.linalg.norm(row)
        if size == 0:
            continue
        rest = row / size
        for _ in range(2):
            rest = rest - basis.T @ (basis @ rest)
        left = np.linalg.norm(rest)
        if left > RANK:
            basis = np.vstack([basis, rest / left])
            kept.append(k)
    return rows[kept]
