"""Variance components: what is read off the estimated Sigmas, with standard errors.

Standard errors are sqrt(diag(AI^-1)), AI the average information for the natural parameters at the estimates, as ASReml
reports them; what lies on a boundary has none and is taken out of AI first. A correlation r = c / sqrt(v1 v2) has its by
the delta method. Shares are of the variance of the average row: tr(Z Sigma Z') / n, split over Sigma's elements.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.covariance import IndependentResidual, Structure
from openreml_core.model import Component
from openreml_core.reml import Estimates

#: Mark of a parameter about which the data say nothing.
UNKNOWN = "not identified"

#: Kinds of parameters that variance is made of, and the share of value x dSigma / d value that is theirs.
_PARTS = {"variance": 1.0, "covariance": 1.0, "specific variance": 1.0, "innovation variance": 1.0, "loading": 0.5}
_VARIANCES = ("variance", "specific variance", "innovation variance")

COLUMNS = ["group", "structure", "name1", "name2", "kind", "estimate", "std_error", "std_dev", "percent", "bound"]


@dataclass(frozen=True, eq=False)
class NaturalEstimates:
    """The natural parameters of a fit.

    Attributes
    ----------
    names : tuple of str
    values : array of shape (m,)
    covariance : array of shape (m, m)
        AI^-1; NaN rows for parameters on a boundary or held.
    bounds : tuple of str
        ``""``, ``"at zero"``, ``"correlation at 1"``, ``"held"``, ...
    """

    names: tuple[str, ...]
    values: np.ndarray
    covariance: np.ndarray
    bounds: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class NaturalMoves:
    """How the natural parameters move with those that were estimated of themselves.

    Attributes
    ----------
    bounds : list of str
        A mark for each, empty or in words.
    free, inside : array of shape (m,), bool
        Which were estimated of themselves; which of these lie where they have a standard error.
    source, ratio : array of shape (m,)
        What each follows, and its ratio to that.
    directions : array of shape (m, m)
        d nu_k / d nu_l, zero for all that is held or on a boundary.
    """

    bounds: list[str]
    free: np.ndarray
    inside: np.ndarray
    source: np.ndarray
    ratio: np.ndarray
    directions: np.ndarray

    def inverse(self, information: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inverse of the information (m, m) for those inside, NaN elsewhere; and which the data say nothing about."""
        # What does not count may have no derivative there.
        counts = self.inside[self.source]
        information = np.where(counts & counts[:, None], information, 0.0)
        return _inverse(self.directions.T @ information @ self.directions, self.inside)


def natural_moves(estimates: Estimates, zeros_count: bool = False) -> NaturalMoves:
    """What bounds, ties and held values leave of the natural parameters.

    ``zeros_count`` leaves variances at zero among them where Sigma is linear in its natural parameters: elsewhere it has no
    derivative there.
    """
    at, model = estimates.at, estimates.engine.model
    bounds: list[str] = []
    for component, part in zip(model.components, model.split(at.theta), strict=True):
        marks = component.structure.boundary(part, component.scale * model.unit)
        counts = zeros_count and _linear_in_natural(component.structure)
        bounds += ["" if counts and mark == "at zero" else mark for mark in marks]
    own = len(model.parameter_names) - len(bounds)  # the residual variance that is profiled out
    bounds += [""] * own
    free = np.concatenate([estimates.free, np.ones(own, dtype=bool)])
    source, ratio = _natural_ties(estimates, own)
    # A correlation at its bound still leaves V differentiable in the covariance: only zeros and held values drop out.
    out = {source[k] for k, b in enumerate(bounds) if b in ("at zero", "at its bound", "no upper bound")}
    out |= {k for k in range(len(source)) if all(bounds[j] == "no variance" for j in np.flatnonzero(source == k))}
    inside = free & ~np.isin(np.arange(len(source)), list(out))
    followed = np.where(inside[source], ratio, 0.0)
    moves = np.where(source[:, None] == np.arange(len(source)), followed[:, None], 0.0)
    return NaturalMoves(bounds, free, inside, source, ratio, moves)


def _linear_in_natural(structure: Structure) -> bool:
    return structure.is_linear and all(q.kind in ("variance", "covariance") for q in structure.natural)


def natural_estimates(estimates: Estimates) -> NaturalEstimates:
    """Read the natural parameters and their covariance off the estimates."""
    engine, at, model = estimates.engine, estimates.at, estimates.engine.model
    moves = natural_moves(estimates)
    bounds, source, ratio = moves.bounds, moves.source, moves.ratio
    covariance, unknown = moves.inverse(engine.natural_information(at).numpy())
    covariance = np.outer(ratio, ratio) * covariance[np.ix_(source, source)]
    values = model.natural_values(at.theta, at.sigma2).numpy()
    for k in range(len(bounds)):
        if source[k] != k and bounds[k] and not bounds[source[k]]:
            bounds[source[k]] = bounds[k]  # a bound that the one who follows has met holds the leader
    for k in range(len(bounds)):
        if source[k] != k:
            times = "" if np.isclose(ratio[k], 1.0) else f"{ratio[k]:.6g} * "
            bounds[k] = f"tied to {times}{model.parameter_names[source[k]]}"
        elif not moves.free[k]:
            bounds[k] = "held"
        elif unknown[k]:
            bounds[k] = UNKNOWN
    return NaturalEstimates(model.parameter_names, values, covariance, tuple(bounds))


def _natural_ties(estimates: Estimates, more: int) -> tuple[np.ndarray, np.ndarray]:
    """What each natural parameter follows, and its ratio to that; ``more`` parameters that follow none at the end."""
    ties, model = estimates.ties, estimates.engine.model
    powers = np.array([power for c in model.components for power in c.structure.powers], dtype=int)
    ratio = np.where(powers == 1, ties.ratio, ties.ratio**2)
    count = len(ratio)
    return np.concatenate([ties.source, np.arange(count, count + more)]), np.concatenate([ratio, np.ones(more)])


def _inverse(information: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AI^-1 over the parameters inside, NaN elsewhere; and which of them the data say nothing about.

    A parameter is unknown where a direction along which the information vanishes has a part of it.
    """
    covariance = np.full(information.shape, np.nan)
    unknown = np.zeros(len(information), dtype=bool)
    diagonal = np.diag(information)
    unknown[inside & ~(diagonal > 0)] = True
    while (kept := np.flatnonzero(inside & ~unknown)).size:
        size = np.sqrt(diagonal[kept])
        values, vectors = np.linalg.eigh(information[np.ix_(kept, kept)] / np.outer(size, size))
        if values[0] > 1e-12:
            covariance[np.ix_(kept, kept)] = (vectors / values) @ vectors.T / np.outer(size, size)
            break
        unknown[kept[np.abs(vectors[:, 0]) > 1e-3]] = True
    return covariance, unknown


def component_table(estimates: Estimates, natural: NaturalEstimates) -> pd.DataFrame:
    """The table of ``fit.variance_components()``: a row per natural parameter, then the correlations of each term."""
    model, at = estimates.engine.model, estimates.at
    sigmas = model.sigmas(at.theta, at.sigma2)
    total = sum(float((c.average * s).sum()) for c, s in zip(model.all_components, sigmas, strict=True))
    rows, position = [], 0
    parts = model.split(at.theta)
    if model.profiled:
        parts = (*parts, torch.ones(1, dtype=at.theta.dtype))
    for component, part in zip(model.all_components, parts, strict=True):
        m = component.structure.n_parameters
        rows += _rows(component, natural, slice(position, position + m), _shares(component, part, at.sigma2))
        position += m
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["percent"] = 100 * table["percent"] / total if total > 0 else np.nan
    return table


def _rows(component: Component, natural: NaturalEstimates, here: slice, share: list[float]) -> list[dict[str, object]]:
    structure, values = component.structure, natural.values[here]
    covariance, bounds = natural.covariance[here, here], natural.bounds[here]
    error = np.sqrt(np.diag(covariance))
    keyword = "id" if isinstance(component, IndependentResidual) else structure.keyword
    rows: list[dict[str, object]] = []
    where = {(q.name1, q.name2): i for i, q in enumerate(structure.natural)}
    correlations = []
    for i, q in enumerate(structure.natural):
        rows.append(
            {
                "group": component.name,
                "structure": keyword,
                "name1": q.name1,
                "name2": q.name2,
                "kind": q.kind,
                "estimate": values[i],
                "std_error": error[i],
                "std_dev": np.sqrt(values[i]) if q.kind in _VARIANCES and values[i] >= 0 else np.nan,
                "percent": share[i],
                "bound": bounds[i],
            }
        )
        if q.kind == "covariance":
            a, b = where[q.name1, ""], where[q.name2, ""]
            correlations.append((q.name1, q.name2, a, b, i))
    for name1, name2, a, b, i in correlations:
        product = values[a] * values[b]
        r = values[i] / np.sqrt(product) if product > 0 else np.nan
        slope = np.zeros(len(values))
        if product > 0:
            slope[[a, b, i]] = -0.5 * r / values[a], -0.5 * r / values[b], 1 / np.sqrt(product)
            part = [a, b, i]
            variance = slope[part] @ covariance[np.ix_(part, part)] @ slope[part]
        else:
            variance = np.nan
        at_bound = bounds[i].startswith("correlation") or (product > 0 and abs(r) > 1 - 1e-8)
        rows.append(
            {
                "group": component.name,
                "structure": keyword,
                "name1": name1,
                "name2": name2,
                "kind": "correlation",
                "estimate": np.clip(r, -1.0, 1.0),
                "std_error": np.nan if at_bound or not variance > 0 else np.sqrt(variance),
                "std_dev": np.nan,
                "percent": np.nan,
                "bound": bounds[i] or (f"correlation at {int(np.sign(r))}" if at_bound else ""),
            }
        )
    return rows


def _shares(component: Component, theta: Tensor, sigma2: float) -> list[float]:
    """What each natural parameter adds to the variance of the average row; NaN for what has no part of its own.

    Sigma is homogeneous in its variances and covariances, of degree 1, and of degree 2 in loadings, so that the parts
    value x dSigma / d value (half of that for loadings) add up to it.
    """
    structure, out = component.structure, []
    values = structure.natural_values(theta).tolist()
    for q, value, slope in zip(structure.natural, values, structure.natural_derivatives(theta), strict=True):
        if q.kind not in _PARTS:
            out.append(np.nan)
        else:
            # The derivative in a variance at zero may be none.
            out.append(sigma2 * _PARTS[q.kind] * value * float((component.average * slope).sum()) if value else 0.0)
    return out
