"""Several comparisons at once: adjusted p-values, and the critical values of intervals that hold together.

Tukey    P(range of k independent normals / s > sqrt(2) |t|), s^2 ~ chi2 / df: exact for means of equal precision,
         conservative otherwise (Hayter 1984, Ann. Stat. 12, 61-75)
Dunnett  P(max_i |T_i| > |t|), T multivariate t with the correlations of the estimates (Dunnett 1955, JASA 50, 1096-1121)
Holm, Bonferroni, Sidak, FDR (Benjamini and Hochberg 1995, JRSS B 57, 289-300)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import optimize, special, stats

from openreml_core.errors import ModelError

ADJUSTMENTS = ("tukey", "dunnett", "mvt", "holm", "bonferroni", "sidak", "fdr", "none")
#: Where a standard normal's density is too small to count.
_END = 8.5
#: Probability left out at either end of the distribution of s.
_TAIL = 1e-16
#: Largest number of values worked on together.
_AT_ONCE = 64
#: Draws of the multivariate t where it has no quadrature, and their seed.
_DRAWS, _SEED = 200_000, 20


def adjusted(
    t: np.ndarray, df: np.ndarray, how: str, *, family: int = 0, correlation: np.ndarray | None = None
) -> np.ndarray:
    """Two-sided p-values (c,) of the statistics ``t``, adjusted for being c.

    Parameters
    ----------
    t, df : array of shape (c,)
    how : {"tukey", "dunnett", "mvt", "holm", "bonferroni", "sidak", "fdr", "none"}
    family : int
        How many means Tukey's pairs are of.
    correlation : array of shape (c, c), optional
        Of the estimates, for the multivariate t.
    """
    t = np.abs(t)
    if how == "tukey":
        return studentized_range(np.sqrt(2) * t, family, df)
    if how in ("dunnett", "mvt"):
        assert correlation is not None
        return max_t(t, correlation, df)
    p = 2 * stats.t.sf(t, df)
    c = len(p)
    if how == "bonferroni":
        return np.minimum(1.0, c * p)
    if how == "sidak":
        return -np.expm1(c * np.log1p(-p))
    order = np.argsort(p)
    out = np.empty(c)
    if how == "holm":
        out[order] = np.maximum.accumulate((c - np.arange(c)) * p[order])
        return np.minimum(1.0, out)
    if how == "fdr":
        out[order] = np.minimum.accumulate((c / np.arange(1, c + 1) * p[order])[::-1])[::-1]
        return np.minimum(1.0, out)
    return p


def critical(
    level: float, df: np.ndarray, how: str, count: int, *, family: int = 0, correlation: np.ndarray | None = None
) -> np.ndarray:
    """What standard errors are multiplied by, (c,), for ``count`` intervals that all hold with probability ``level``.

    Holm's intervals are Bonferroni's; for FDR and without adjustment each holds for itself.
    """
    alpha = 1 - level
    if how in ("bonferroni", "holm"):
        return stats.t.isf(alpha / 2 / max(count, 1), df)
    if how == "sidak":
        return stats.t.isf(-np.expm1(np.log1p(-alpha) / max(count, 1)) / 2, df)
    if how in ("tukey", "dunnett", "mvt"):

        def tail(x: float, one: float) -> float:
            return float(adjusted(np.array([x]), np.array([one]), how, family=family, correlation=correlation)[0])

        return _by_df(df, lambda one: _root(lambda x: tail(x, one) - alpha, one, alpha))
    return stats.t.isf(alpha / 2, df)


def check_adjustment(how: str) -> None:
    """Refuse the name of an adjustment that is not known."""
    if not isinstance(how, str) or how not in ADJUSTMENTS:
        raise ModelError(f"adjust={how!r} is not known.", hint=f"Choose one of {', '.join(ADJUSTMENTS)}.")


def _root(function: Callable[[float], float], df: float, alpha: float) -> float:
    low = float(stats.t.isf(alpha / 2, df)) * (1 - 1e-9)
    high = 2 * low
    while function(high) > 0:
        high *= 2
    return float(optimize.brentq(function, low, high, xtol=1e-10)) if function(low) > 0 else low


def _by_df(df: np.ndarray, function: Callable[[float], float]) -> np.ndarray:
    """A smooth function of 1 / df at every df: at each where they are few, by a polynomial through 9 where they are many."""
    known = np.unique(np.round(df[np.isfinite(df) | np.isinf(df)], 9))
    if len(known) <= 12:
        table = {value: function(float(value)) for value in known}
        return np.array([table.get(value, np.nan) for value in np.round(df, 9)])
    low, high = 1 / known[-1], 1 / known[0]
    nodes = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(9) + 0.5) / 9)
    fit = np.polynomial.Chebyshev.fit(nodes, [function(float(1 / node)) for node in nodes], 8, domain=[low, high])
    return np.asarray(fit(1 / df))


def _scales(df: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of s = sqrt(chi2 / df), equally dense in log s."""
    if np.isinf(df):
        return np.ones(1), np.ones(1)
    ends = np.log(np.array([stats.chi2.ppf(_TAIL, df), stats.chi2.isf(_TAIL, df)])) / 2 - np.log(df) / 2
    half = (ends[1] - ends[0]) / 2
    nodes, weights = _legendre(24 + 8 * math.ceil(half))
    log_s = ends.mean() + half * nodes
    log_density = (
        np.log(2) + df / 2 * np.log(df / 2) - special.gammaln(df / 2) + df * log_s - df / 2 * np.exp(2 * log_s)
    )
    return np.exp(log_s), half * weights * np.exp(log_density)


@lru_cache(maxsize=64)
def _legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(count)


def _normal(start: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes from ``start`` on and weights of a standard normal."""
    nodes, weights = _legendre(96)
    half = (_END - start) / 2
    z = start + half * (nodes + 1)
    return z, half * weights * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)


def _power(x: np.ndarray, k: int) -> np.ndarray:
    """x^k by squaring."""
    out, square = np.ones_like(x), x
    while k:
        if k & 1:
            out = out * square
        square, k = square * square, k >> 1
    return out


def studentized_range(q: np.ndarray, k: int, df: np.ndarray) -> np.ndarray:
    """P(Q > q), Q the range of k standard normals over s.

        P(range <= w) = k int phi(z) [Phi(z) - Phi(z - w)]^(k - 1) dz

    Examples
    --------
    >>> studentized_range(np.array([3.5]), 3, np.array([10.0])).round(5)
    array([0.0771])
    """
    out = np.full(len(q), np.nan)
    given = np.isfinite(q) & (df > 0)
    # z is the largest of k: below the start all but nothing of its distribution lies.
    z, z_weight = _normal(max(-_END, float(special.ndtri(math.exp(-39 / (k - 1))))) if k > 1 else -_END)
    inside = special.ndtr(z)
    for one in np.unique(df[given]):
        s, weight = _scales(float(one))
        same = np.flatnonzero(given & (df == one))
        for some in np.array_split(same, max(len(same) // _AT_ONCE, 1)):
            w = (q[some][:, None] * s).reshape(-1, 1)
            below = k * _power(inside - special.ndtr(z - w), k - 1) @ z_weight
            out[some] = np.clip((1 - below).reshape(len(some), -1) @ weight, 0.0, 1.0)
    return out


def max_t(t: np.ndarray, correlation: np.ndarray, df: np.ndarray) -> np.ndarray:
    """P(max_i |T_i| > t) for each t (c,), T multivariate t with ``correlation`` and the df of that t.

    By quadrature where the correlations are products l_i l_j, as those of differences from a control of balanced means are:

        P(all |T_i| <= t) = E_s int phi(z) prod_i [Phi((t s - l_i z) / m_i) - Phi((-t s - l_i z) / m_i)] dz,   m_i^2 = 1 - l_i^2

    otherwise by the quasi-random draws of scipy's multivariate t (Genz and Bretz 2009), good to about 1e-4.
    """
    loading = _product_loading(correlation)
    z, z_weight = _normal(-_END)
    out = np.full(len(t), np.nan)
    for k in np.flatnonzero(np.isfinite(t) & (df > 0)):
        if loading is None:
            out[k] = _drawn(float(t[k]), correlation, float(df[k]))
            continue
        s, weight = _scales(float(df[k]))
        rest = np.sqrt(1 - loading**2)
        shift = loading[:, None] * z / rest[:, None]
        inside = np.ones((len(s), len(z)))
        for own, m in zip(shift, rest, strict=True):
            ends = (t[k] * s / m)[:, None]
            inside *= special.ndtr(ends - own) - special.ndtr(-ends - own)
        out[k] = np.clip(1 - float(weight @ (inside @ z_weight)) / float(weight.sum() * z_weight.sum()), 0.0, 1.0)
    return out


def _product_loading(correlation: np.ndarray) -> np.ndarray | None:
    """l with correlation_ij = l_i l_j for i != j; None where there is none, or |l| = 1."""
    c = len(correlation)
    if c == 1:
        return np.zeros(1)
    if c == 2:
        r = float(correlation[0, 1])
        return None if abs(r) > 1 - 1e-9 else np.array([np.sqrt(abs(r)), np.copysign(np.sqrt(abs(r)), r)])
    off = correlation - np.diag(np.diag(correlation))
    if np.abs(off).max() < 1e-12:
        return np.zeros(c)
    i, j, k = (int(v) for v in (*np.unravel_index(np.abs(off).argmax(), off.shape), 0))
    k = int(np.argmax([abs(off[i, m] * off[j, m]) if m not in (i, j) else -1.0 for m in range(c)]))
    square = off[i, j] * off[i, k] / off[j, k] if off[j, k] else -1.0
    if not 0 < square < 1:
        return None
    loading = np.empty(c)
    loading[i] = np.sqrt(square)
    others = np.arange(c) != i
    loading[others] = off[i, others] / loading[i]
    rest = np.outer(loading, loading) - off
    np.fill_diagonal(rest, 0.0)
    good = np.abs(rest).max() < 1e-7 and np.abs(loading).max() < 1 - 1e-9
    return loading if good else None


def _drawn(t: float, correlation: np.ndarray, df: float) -> float:
    ends = np.full(len(correlation), t)
    draws = min(_DRAWS, 5_000 * len(correlation))
    if np.isinf(df):
        law = stats.multivariate_normal(cov=correlation, allow_singular=True, seed=_SEED, maxpts=draws, abseps=1e-5)
        inside = law.cdf(ends, lower_limit=-ends)
    else:
        inside = stats.multivariate_t.cdf(
            ends, shape=correlation, df=df, allow_singular=True, lower_limit=-ends, maxpts=draws, random_state=_SEED
        )
    return float(np.clip(1 - inside, 0.0, 1.0))
