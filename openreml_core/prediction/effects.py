"""A random term's effect in new rows: which of the fit's effects it is made of, and what these leave open.

A row shows t = w'u_j + r of level j: w is the row's basis and r zero, but where the effects are places and the row is at one
that the fit has not seen. There, C the correlations of the seen places and c those of the new place with them,

    t | u_j  ~  N(w'u_j,  K_jj s^2 (1 - w'c)),   w = C^-1 c

which is kriging (Cressie 1993, Statistics for Spatial Data, 3.2); of a product of structures every factor has its own w, and
r is left with what the product of the prior variances exceeds w'Sigma w. Related levels add nothing to it: given u_j, the
effects of other levels say nothing about t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance import KroneckerStructure, ScaledCorrelation, Structure
from openreml_core.covariance.spatial import Spatial
from openreml_core.design.effects import Effects, Product
from openreml_core.design.positions import Positions
from openreml_core.design.table import Table
from openreml_core.errors import DataError


@dataclass(frozen=True, eq=False)
class EffectRows:
    """The effects of a term's own level in m rows.

    Attributes
    ----------
    weights : array of shape (m, k)
        w; NaN in rows with a value missing.
    prior : array of shape (m,)
        Var(t) of a level with K_jj = 1, in the units of ``structure.matrix``.
    rest : array of shape (m,)
        Var(r), likewise; zero where the effects determine t.
    """

    weights: np.ndarray
    prior: np.ndarray
    rest: np.ndarray


def effect_rows(left: Effects, structure: Structure, theta: Tensor, table: Table) -> EffectRows:
    """What stands left of the bar over the rows of a table.

    Parameters
    ----------
    left : Effects
        As learned from the fit's rows.
    structure : Structure
        Sigma of the effects.
    theta : Tensor
        Its free parameters.
    table : Table of m rows

    Raises
    ------
    DataError
        A level that the fit has not seen, or a new place for a structure with a variance for every place.
    """
    weights, prior, unseen = _rows(left, structure, theta, table)
    rest = np.zeros(len(weights))
    if unseen.any():
        sigma = structure.matrix(theta).numpy()
        rest[unseen] = np.clip(prior[unseen] - _quadratic(weights[unseen], sigma), 0.0, None)
    return EffectRows(weights, prior, rest)


def _rows(
    left: Effects, structure: Structure, theta: Tensor, table: Table
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """w (m, k), Var(t) (m,), and which rows are at a place that the fit has not seen."""
    if isinstance(left, Positions):
        assert isinstance(structure, ScaledCorrelation)
        return _at_positions(left, structure, theta, table)
    if isinstance(left, Product):
        assert isinstance(structure, KroneckerStructure)
        weights, prior = np.ones((len(table), 1)), np.ones(len(table))
        unseen = np.zeros(len(table), dtype=bool)
        for part, (factor, own) in zip(left.parts, structure.parts(theta), strict=True):
            w, variance, new = _rows(part, factor, own, table)
            weights = (weights[:, :, None] * w[:, None, :]).reshape(len(table), -1)
            prior, unseen = prior * variance, unseen | new
        return weights, prior, unseen
    weights = left.basis(table)
    if weights.shape[1] != structure.size:  # a spline without a grouping: independent effects of one variance
        prior = float(structure.matrix(theta)[0, 0]) * np.square(weights).sum(axis=1)
    else:
        prior = _quadratic(weights, structure.matrix(theta).numpy())
    return weights, prior, np.zeros(len(table), dtype=bool)


def _at_positions(
    left: Positions, structure: ScaledCorrelation, theta: Tensor, table: Table
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    places, given = left.places(table), left.given(table)
    missing = np.isnan(given).any(axis=1)
    unseen = (places < 0) & ~missing
    weights = (places[:, None] == np.arange(len(left.names))).astype(np.float64)
    variances = structure.matrix(theta).diagonal().numpy()
    if unseen.any():
        if structure.heterogeneous:
            place = ", ".join(f"{value:g}" for value in given[np.flatnonzero(unseen)[0]])
            raise DataError(
                f"The new data have the position ({place}) of {left.shown}, which the fit has not seen: "
                f"{structure.keyword} has a variance for every position, and none is known there.",
                hint=f"Fit {structure.keyword.removesuffix('h')}, which has one variance, to predict at new positions.",
            )
        assert isinstance(structure.correlation, Spatial)
        ranges = structure.natural_values(theta)[-structure.correlation.n_parameters :]
        weights[unseen] = kriging_weights(structure.correlation, ranges, left.coordinates, given[unseen])
    prior = np.where(unseen, variances[0], variances[np.clip(places, 0, None)])
    weights[missing], prior[missing] = np.nan, np.nan
    return weights, prior, unseen


def kriging_weights(correlation: Spatial, ranges: Tensor, seen: np.ndarray, new: np.ndarray) -> np.ndarray:
    """w = C^-1 c for every new position, (m, k); C may be singular to rounding, as where ranges are long."""
    across = correlation_across(correlation, ranges, new, seen)
    values, vectors = torch.linalg.eigh(correlation.matrix(ranges))
    kept = values > 1e-13 * values[-1]
    half = vectors[:, kept]
    return ((across @ half) / values[kept] @ half.T).numpy()


def correlation_across(correlation: Spatial, ranges: Tensor, first: np.ndarray, second: np.ndarray) -> Tensor:
    """Correlations between two sets of positions, (m, k)."""
    apart = torch.from_numpy(first[:, None, :] - second[None, :, :]).square()
    return correlation.of((apart / ranges.square()).sum(dim=2))


def _quadratic(weights: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """w'Sigma w of every row."""
    return np.einsum("ma,ab,mb->m", weights, sigma, weights, optimize=True)
