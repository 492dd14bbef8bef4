"""BLUPs: the predicted random effects of a term, with their conditional standard deviations and reliabilities.

    u^ = G Z'P y,   Var[u | y] = G - G Z'V^-1 Z G,   Var[u^ - u] = G - G Z'P Z G

The interval and ``std_error`` are conditional on b (lme4's conditional variance). ``pev`` is the prediction error variance
Var[u^ - u], b's uncertainty in it; ``reliability`` is 1 - Var[u^ - u] / Var[u], and ``accuracy`` its root, the correlation of u^
with u (Mrode 2014, Linear Models for the Prediction of Animal Breeding Values). Var[u_j] is K_jj Sigma for level j, K_jj =
1 + F_j by pedigree.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from openreml_core.covariance import PlacedTerm
from openreml_core.engines import RandomEffects
from openreml_core.model import RandomPart


def blup_table(term: RandomPart, effects: RandomEffects, sigma: np.ndarray, level: float = 0.95) -> pd.DataFrame:
    """The table of ``fit.random_effects(term)``: a row per level and effect.

    Parameters
    ----------
    term : random part of a model
        Of a spatial term the rows are the positions that each level has; a spline's levels are its effects.
    effects : RandomEffects
    sigma : array of shape (k, k)
        The term's covariance matrix on the scale of the data.
    level : float
        Coverage of the interval.
    """
    q, k = effects.blup.shape
    own = np.ones(q) if term.kernel is None else term.kernel.diagonal().numpy()
    table = blup_frame(
        np.repeat(np.array(term.levels, dtype=object), k),
        np.tile(np.array(term.structure.names, dtype=object), q),
        effects.blup.numpy().reshape(-1),
        effects.conditional.diagonal(dim1=1, dim2=2).numpy().reshape(-1),
        effects.prediction.diagonal(dim1=1, dim2=2).numpy().reshape(-1),
        np.outer(own, np.diag(sigma)).reshape(-1),
        level,
    )
    return table[term.occurs.reshape(-1).numpy()].reset_index(drop=True) if isinstance(term, PlacedTerm) else table


def blup_frame(
    levels: np.ndarray,
    effects: np.ndarray,
    blup: np.ndarray,
    conditional: np.ndarray,
    prediction: np.ndarray,
    variance: np.ndarray,
    level: float,
) -> pd.DataFrame:
    """A row per effect (m,): u^, sqrt Var[u | y], the interval, 1 - Var[u^ - u] / Var[u] and its root, Var[u^ - u]."""
    spread = np.sqrt(np.clip(conditional, 0.0, None))
    with np.errstate(divide="ignore", invalid="ignore"):
        reliability = np.where(variance > 0, np.clip(1 - prediction / variance, 0.0, 1.0), 0.0)
    half = stats.norm.ppf(0.5 + level / 2) * spread
    return pd.DataFrame(
        {
            "level": levels,
            "effect": effects,
            "blup": blup,
            "std_error": spread,
            "lower": blup - half,
            "upper": blup + half,
            "reliability": reliability,
            "accuracy": np.sqrt(reliability),
            "pev": np.clip(prediction, 0.0, None),
        }
    )
