"""The parametric bootstrap: the model refitted to responses drawn from it, and the intervals that come of it.

With t the estimate and t* its replicates, of level 1 - alpha,

    percentile   the alpha/2 and 1 - alpha/2 quantiles of t*
    basic        2 t less those quantiles
    studentized  t -+ q SE, q the 1 - alpha quantile of |t* - t| / SE*, for fixed effects; for standard deviations and ranges
                 basic on the log scale, t^2 / q, for correlations on Fisher's, tanh(2 atanh t - atanh q), q the quantiles of t*
    bca          quantiles of t* at Phi(z0 + (z0 + z) / (1 - a (z0 + z))), z = -+z_(1 - alpha/2)

Studentised intervals rest on a quantity whose distribution depends little on the parameters: t of a fixed effect, and the ratio
t* / t of a standard deviation, the SE of whose logarithm hardly depends on it (Davison and Hinkley 1997, Bootstrap Methods and
their Application, sections 5.2.1 and 5.2.2). In a balanced design that makes the interval of a fixed effect Student's, however
few the blocks, where percentiles, being quantiles of the estimates themselves, are as narrow as Wald's with normal quantiles.
Both tails of t* - t are one, since normal errors e and -e are alike: half the replicates do for the same accuracy.

z0 = Phi^-1(P(t* < t)) corrects for bias; the acceleration a is a sixth of the skewness of the score along the least
favourable direction d = I^-1 dt / d phi (Efron 1987, JASA 82, 171-185). Scores of variance parameters are quadratic forms,
l' = y'P V_d P y / 2 - const with V_d = sum_k d_k dV / d phi_k, so that with A = P V_d the skewness is known exactly,

    skew = tr(A^3) / (tr(A^2) / 2)^(3/2)

and that of a fixed effect's score, which is linear in y, is zero. Where the estimate is at the end of its space, a variance of
zero, half of t* lie there with it and BCa has no meaning: percentiles are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from scipy import stats

from openreml_core.engines import MarginalEngine
from openreml_core.errors import ModelError
from openreml_core.inference import NaturalEstimates, Quantity
from openreml_core.inference.quantities import CORRELATION, RANGE, SD
from openreml_core.reml import Estimates
from openreml_core.simulation.replicates import Refits

KINDS = ("percentile", "basic", "studentized", "bca")
#: Rows up to which the acceleration, which needs V whole, is computed.
MOST_ROWS = 4000


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Replicates of a fit's estimates.

    Attributes
    ----------
    estimates : Estimates
        Of the fit.
    natural : NaturalEstimates
    quantities : sequence of Quantity
    refits : Refits
    """

    estimates: Estimates
    natural: NaturalEstimates
    quantities: Sequence[Quantity]
    refits: Refits

    @property
    def replicates(self) -> pd.DataFrame:
        """A row per replicate that was fitted, a column per quantity; a correlation is missing where a variance is zero."""
        values = {q.name: q.of(self.refits.natural, self.refits.beta) for q in self.quantities}
        return pd.DataFrame(values, index=pd.Index(self.refits.number, name="replicate"))

    @property
    def failed(self) -> pd.DataFrame:
        """Replicates that are left out: replicate, reason."""
        return pd.DataFrame(self.refits.failed, columns=["replicate", "reason"])

    def confint(self, level: float = 0.95, kind: str = "percentile") -> pd.DataFrame:
        """Intervals of a kind: group, kind, estimate, lower, upper, indexed by parameter.

        Parameters
        ----------
        level : float
        kind : {"percentile", "basic", "studentized", "bca"}
            ``"studentized"`` is the one to take for fixed effects of few blocks or whole plots.

        Raises
        ------
        ModelError
            For an unknown kind or level, or BCa intervals of a model with too many rows for it.
        """
        if kind not in KINDS:
            raise ModelError(f"kind={kind!r} is not known.", hint=f"Choose one of {', '.join(KINDS)}.")
        if not isinstance(level, int | float) or isinstance(level, bool) or not 0 < level < 1:
            raise ModelError(
                f"level={level!r} is not a probability.", hint="Give a number between 0 and 1, such as 0.95."
            )
        at, draws, notes = self.estimates.at, self.replicates, self._notes()
        rows = []
        for q in self.quantities:
            estimate = float(q.of(self.natural.values, at.beta.numpy()))
            t = draws[q.name].dropna().to_numpy()
            if len(t) < len(draws):
                notes.append(
                    f"{q.name} is undefined in {len(draws) - len(t)} of the replicates, which are left out for it."
                )
            own = "percentile" if kind in ("bca", "studentized") and at_end(q, estimate) else kind
            if own != kind:
                words = "BCa has" if kind == "bca" else "studentised intervals have"
                notes.append(
                    f"{q.name} is estimated at the end of its space, where {words} no meaning: percentiles instead."
                )
            low, high = self._interval(q, estimate, t, level, own) if len(t) else (np.nan, np.nan)
            if np.isinf(high):
                notes.append(f"{q.name} is estimated as zero in so many replicates that there is no upper bound.")
            rows.append((q.group, q.kind, estimate, low, high))
        index = pd.Index([q.name for q in self.quantities], name="parameter")
        table = pd.DataFrame(rows, index=index, columns=["group", "kind", "estimate", "lower", "upper"])
        table.attrs.update(
            method=f"bootstrap, {kind}",
            level=level,
            n_boot=len(draws),
            n_failed=len(self.refits.failed),
            notes=tuple(notes),
        )
        return table

    def _notes(self) -> list[str]:
        refits = self.refits
        method = self.estimates.engine.model.method.upper()
        notes = [
            f"Parametric bootstrap: {len(refits.number)} responses drawn from the model, refitted by {method}"
            f"{' together, as one batch' if refits.together else ' one by one'}."
        ]
        if refits.failed:
            shown = "; ".join(f"{i}: {reason}" for i, reason in refits.failed[:5])
            notes.append(f"{len(refits.failed)} replicates failed and are left out ({shown}).")
        return notes

    def _interval(self, q: Quantity, estimate: float, t: np.ndarray, level: float, kind: str) -> tuple[float, float]:
        tails = np.array([(1 - level) / 2, (1 + level) / 2])
        if kind == "studentized" and q.is_fixed:
            error = float(self.estimates.at.beta_covariance[q.place, q.place].clamp_min(0).sqrt())
            errors = self.refits.beta_error[:, q.place]
            return student(estimate, error, t, errors, level) if error > 0 else (np.nan, np.nan)
        if kind == "bca":
            tails = bca_tails(t, estimate, tails, acceleration(self.estimates, self.natural, q))
        low, high = np.quantile(t, tails)
        if kind == "studentized" and q.kind in (SD, RANGE, CORRELATION):
            return mirrored(q.kind, estimate, high), mirrored(q.kind, estimate, low)
        if kind in ("basic", "studentized"):
            low, high = 2 * estimate - high, 2 * estimate - low
            if q.kind == SD:
                low = max(low, 0.0)
            elif q.kind == CORRELATION:
                low, high = max(low, -1.0), min(high, 1.0)
        return float(low), float(high)


def at_end(quantity: Quantity, estimate: float) -> bool:
    """Whether an estimate is where its quantity ends, or undefined: no transformation makes such an estimate normal."""
    if quantity.kind == SD:
        return estimate == 0
    return not np.isfinite(estimate) or (quantity.kind == CORRELATION and abs(estimate) > 1 - 1e-8)


def student(estimate: float, error: float, t: np.ndarray, errors: np.ndarray, level: float) -> tuple[float, float]:
    """The interval of an estimate with its standard error, from the quantile of abs(t* - t) / SE*.

    Examples
    --------
    >>> student(10.0, 2.0, np.array([9.0, 10.0, 13.0]), np.array([1.0, 2.0, 1.0]), 0.5)
    (8.0, 12.0)
    """
    usable = errors > 0
    half = error * float(np.quantile(np.abs(t[usable] - estimate) / errors[usable], level))
    return estimate - half, estimate + half


def mirrored(kind: str, estimate: float, quantile: float) -> float:
    """A quantile of the replicates mirrored about the estimate, on the scale where its standard error is about constant.

    Examples
    --------
    >>> mirrored("standard deviation", 2.0, 1.0), round(mirrored("correlation", 0.5, 0.2), 6)
    (4.0, 0.714286)
    """
    with np.errstate(divide="ignore"):
        if kind == CORRELATION:
            return float(np.tanh(2 * np.arctanh(estimate) - np.arctanh(quantile)))
        return float(np.divide(estimate**2, quantile))


def bca_tails(t: np.ndarray, estimate: float, tails: np.ndarray, a: float) -> np.ndarray:
    """The probabilities at which BCa reads the quantiles of the replicates ``t``."""
    below = np.mean(t < estimate) + 0.5 * np.mean(t == estimate)
    z0 = stats.norm.ppf(np.clip(below, 0.5 / len(t), 1 - 0.5 / len(t)))
    z = z0 + stats.norm.ppf(tails)
    return stats.norm.cdf(z0 + z / (1 - a * z))


def acceleration(estimates: Estimates, natural: NaturalEstimates, quantity: Quantity) -> float:
    """Efron's a of a quantity; zero for fixed effects, and for what has no standard error.

    Raises
    ------
    ModelError
        For a model with more rows than V is formed for.
    """
    if quantity.is_fixed:
        return 0.0
    model, at = estimates.engine.model, estimates.at
    if model.n > MOST_ROWS:
        raise ModelError(
            f"BCa intervals need the covariance of all {model.n:,} rows; {MOST_ROWS:,} are the most.",
            hint="Choose kind='percentile' or 'basic'.",
        )
    covariance = np.nan_to_num(natural.covariance, nan=0.0)
    d = covariance @ _slope(quantity, natural.values)
    if not np.any(d):
        return 0.0
    v = torch.zeros(model.n, model.n, dtype=torch.float64)
    start = 0
    parts = list(zip(model.components, model.split(at.theta), strict=True))
    for component, part in parts:
        directions = component.structure.natural_derivatives(part)
        for q, direction in zip(component.structure.natural, directions, strict=True):
            if d[start]:
                component.add_to(v, float(d[start]) * at.sigma2 ** (1 - q.degree) * direction)
            start += 1
    if model.profiled:
        model.residuals[0].add_to(v, torch.full((1, 1), float(d[start]), dtype=torch.float64))
    dense = MarginalEngine(replace(model)).evaluate(at.theta)
    a = dense.projection @ v / at.sigma2
    square = a @ a
    second, third = float(square.trace()), float((square * a.T).sum())
    return third / (second / 2) ** 1.5 / 6 if second > 0 else 0.0


def _slope(quantity: Quantity, values: np.ndarray) -> np.ndarray:
    """d quantity / d natural parameters."""
    out = np.zeros(len(values))
    k = quantity.place
    if quantity.kind == SD:
        out[k] = 0.5 / np.sqrt(values[k]) if values[k] > 0 else 0.0
    elif quantity.variances:
        a, b = quantity.variances
        if values[a] > 0 and values[b] > 0:
            scale = np.sqrt(values[a] * values[b])
            out[[a, b, k]] = -0.5 * values[k] / scale / values[a], -0.5 * values[k] / scale / values[b], 1 / scale
    else:
        out[k] = 1.0
    return out
