"""Random-effects model selection: subjects may differ in the model that made their data.

    r ~ Dirichlet(1, ..., 1),   subject i's model m_i ~ r,   log p(y_i | m_i = k) = L_ik

Variational updates alpha_k = 1 + sum_i g_ik, g_ik ~ exp(L_ik + digamma(alpha_k) - digamma(sum alpha)); the exceedance probability
of model k is P(r_k > all others) under Dirichlet(alpha) (Stephan, Penny, Daunizeau, Moran and Friston 2009, NeuroImage 46,
1004-1017).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import integrate, special, stats

from openreml_core.errors import ModelError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Selection:
    """Models in the population.

    Attributes
    ----------
    alpha : array of shape (k,)
        Of the Dirichlet distribution of the models' frequencies.
    assignment : array of shape (n, k)
        Probability that a subject's data come from a model.
    frequency : array of shape (k,)
        Expected frequencies, alpha / sum alpha.
    exceedance : array of shape (k,)
        Probability that a model is more frequent than every other.
    """

    alpha: Array
    assignment: Array
    frequency: Array
    exceedance: Array


def random_effects_selection(log_evidence: ArrayLike) -> Selection:
    """Frequencies of models in the population.

    Parameters
    ----------
    log_evidence : array of shape (n, k)
        Of n subjects under k models.

    Raises
    ------
    ModelError
        When the array has another shape, or holds what is no number.

    Examples
    --------
    >>> chosen = random_effects_selection([[-10.0, -14.0], [-12.0, -15.0], [-9.0, -13.0]])
    >>> chosen.alpha.round(2).tolist(), chosen.exceedance.round(3).tolist()
    ([3.99, 1.01], [0.935, 0.065])
    """
    evidence = np.asarray(log_evidence, dtype=float)
    if evidence.ndim != 2 or 0 in evidence.shape or not np.isfinite(evidence).all():
        raise ModelError(
            "Selection needs a finite log evidence of every subject under every model.", hint="Give an (n, k) array."
        )
    k = evidence.shape[1]
    alpha = np.ones(k)
    for _ in range(10_000):
        log_g = evidence + special.digamma(alpha) - special.digamma(alpha.sum())
        g = np.exp(log_g - special.logsumexp(log_g, axis=1, keepdims=True))
        new = 1 + g.sum(axis=0)
        moved = np.abs(new - alpha).max()
        alpha = new
        if moved < 1e-10:
            break
    return Selection(alpha, g, alpha / alpha.sum(), exceedance_probabilities(alpha))


def exceedance_probabilities(alpha: ArrayLike) -> Array:
    """P(r_k > all others) of r ~ Dirichlet(alpha), by one-dimensional quadrature.

    A Dirichlet is independent gammas over their sum, so that P = integral of the density of gamma_k times the product of the
    others' distribution functions.

    Examples
    --------
    >>> exceedance_probabilities([3.0, 3.0]).round(6).tolist()
    [0.5, 0.5]
    """
    a = np.asarray(alpha, dtype=float)
    if a.ndim != 1 or not (np.isfinite(a).all() and (a > 0).all()):
        raise ModelError("A Dirichlet distribution has positive parameters.", hint="Give a list of positive numbers.")
    if len(a) == 1:
        return np.ones(1)
    out = np.empty(len(a))
    for k in range(len(a)):
        others = np.delete(a, k)

        def given(p: float, k: int = k, others: Array = others) -> float:
            return float(np.prod(special.gammainc(others, stats.gamma.ppf(p, a[k]))))

        out[k] = integrate.quad(given, 0, 1, limit=200, epsabs=1e-9)[0]
    return out / out.sum()
