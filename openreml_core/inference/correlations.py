"""Correlations between the effects of a random term, with standard errors by the delta method.

    r_ab = S_ab / sqrt(S_aa S_bb),   dr = dS_ab / sqrt(S_aa S_bb) - r (dS_aa / S_aa + dS_bb / S_bb) / 2

for any structure, S = Sigma(phi) and dS by its natural parameters: genetic correlations between environments or traits where
the effects are these. Intervals are by Fisher's z = artanh r, SE(z) = SE(r) / (1 - r^2), so that they stay within -1 and 1.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from openreml_core.errors import ModelError
from openreml_core.inference.components import NaturalEstimates
from openreml_core.inference.functions import Uncertainty
from openreml_core.reml import Estimates


def correlation_table(estimates: Estimates, natural: NaturalEstimates, place: int, level: float) -> pd.DataFrame:
    """The table of ``fit.correlations(term)``: a row per pair of effects.

    Parameters
    ----------
    estimates : Estimates
    natural : NaturalEstimates
    place : int
        Which random term.
    level : float

    Returns
    -------
    DataFrame
        name1, name2, covariance, correlation, std_error, lower, upper; no standard error at -1 and 1.

    Raises
    ------
    ModelError
        For a term with one effect.
    """
    model, at = estimates.engine.model, estimates.at
    term = model.terms[place]
    structure, part = term.structure, model.split(at.theta)[place]
    if structure.size < 2:
        raise ModelError(
            f"*{term.name}* has one effect per level: there is nothing to be correlated.",
            hint="Correlations are of terms such as us(0 + env | gen) or (x | g).",
        )
    sigma = at.sigma2 * structure.matrix(part).numpy()
    first, second = np.triu_indices(structure.size, 1)
    variance = sigma.diagonal()
    product = np.sqrt(np.clip(variance[first] * variance[second], 0.0, None))
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.where(product > 0, np.clip(sigma[first, second] / product, -1.0, 1.0), np.nan)
    gradient = np.zeros((len(r), len(natural.values)))
    for j, (q, slope) in enumerate(
        zip(structure.natural, structure.natural_derivatives(part), strict=True), start=model.slices[place].start
    ):
        d = at.sigma2 ** (1 - q.degree) * slope.numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = d.diagonal() / variance
            gradient[:, j] = d[first, second] / product - r * (relative[first] + relative[second]) / 2
    error = Uncertainty.of(natural).errors(np.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0))
    apart = np.isfinite(r) & (np.abs(r) < 1 - 1e-8)
    error = np.where(apart, error, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        z, half = np.arctanh(r), stats.norm.ppf(0.5 + level / 2) * error / (1 - r**2)
    names = np.array(structure.names, dtype=object)
    table = pd.DataFrame(
        {
            "name1": names[first],
            "name2": names[second],
            "covariance": sigma[first, second],
            "correlation": r,
            "std_error": error,
            "lower": np.tanh(z - half),
            "upper": np.tanh(z + half),
        }
    )
    table.attrs["level"] = level
    return table
