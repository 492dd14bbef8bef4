"""Wald intervals: an estimate and its standard error, on the scale where it is most nearly normal.

    fixed effects            b +- q SE                      q of the normal, or of t
    standard deviations      exp(log s +- z SE(s) / s)
    correlations             tanh(atanh r +- z SE(r) / (1 - r^2))
    ranges                   exp(log r +- z SE(r) / r)
    others                   x +- z SE

as nlme's ``intervals`` has them for variance parameters (Pinheiro and Bates 2000, Mixed-Effects Models in S and S-PLUS,
section 2.4.3); lme4's have none. SEs are from the average information by the delta method. They are quick, and for variances
of few levels too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from openreml_core.inference.components import NaturalEstimates
from openreml_core.inference.contrasts import contrasts
from openreml_core.inference.quantities import RANGE, SD, Quantity
from openreml_core.reml import Estimates


def wald_intervals(
    estimates: Estimates, natural: NaturalEstimates, taken: Sequence[Quantity], level: float, ddf: str
) -> np.ndarray:
    """Lower and upper bounds, (quantities, 2); NaN for what has no standard error."""
    at = estimates.at
    beta = at.beta.numpy()
    fixed = contrasts(estimates, np.eye(len(beta)), ddf)
    z = float(stats.norm.ppf(0.5 + level / 2))
    out = np.full((len(taken), 2), np.nan)
    for i, q in enumerate(taken):
        if q.is_fixed:
            half = stats.t.ppf(0.5 + level / 2, fixed.df[q.place]) * fixed.std_error[q.place]
            out[i] = beta[q.place] - half, beta[q.place] + half
        else:
            value, se = float(q.of(natural.values, beta)), standard_error(q, natural)
            if np.isfinite(se):
                out[i] = _interval(q.kind, value, z * se)
    return out


def standard_error(quantity: Quantity, natural: NaturalEstimates) -> float:
    """SE of a standard deviation, a correlation or another parameter; NaN where AI gives none."""
    v, c = natural.values, natural.covariance
    k = quantity.place
    slope = np.zeros(len(v))
    if quantity.kind == SD:
        if not v[k] > 0:
            return np.nan
        slope[k] = 0.5 / np.sqrt(v[k])
    elif quantity.variances:
        a, b = quantity.variances
        if not v[a] * v[b] > 0:
            return np.nan
        r = v[k] / np.sqrt(v[a] * v[b])
        slope[[a, b, k]] = -0.5 * r / v[a], -0.5 * r / v[b], 1 / np.sqrt(v[a] * v[b])
        if abs(r) > 1 - 1e-8:
            return np.nan
    else:
        slope[k] = 1.0
    part = np.flatnonzero(slope)
    variance = slope[part] @ c[np.ix_(part, part)] @ slope[part]
    return float(np.sqrt(variance)) if variance > 0 else np.nan


def _interval(kind: str, value: float, half: float) -> tuple[float, float]:
    if kind in (SD, RANGE) and value > 0:
        with np.errstate(over="ignore"):  # a bound of infinity is none
            return value * np.exp(-half / value), value * np.exp(half / value)
    if kind == "correlation" and abs(value) < 1:
        centre, spread = np.arctanh(value), half / (1 - value**2)
        return float(np.tanh(centre - spread)), float(np.tanh(centre + spread))
    return value - half, value + half
