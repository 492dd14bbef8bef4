"""Fitted structures as tables to be read: covariances, loadings, correlations by lag and by distance.

    loadings   Sigma = L L' + diag(psi);   rotated L* = L Q with L*'L* diagonal, its first column the largest
    lag        C_hl = C_row[h] C_col[l] of a product of two serial structures
    distance   c(d) = C of two rows at distance d

(Smith, Cullis and Thompson 2001, Biometrics 57, 1138-1147, on loadings and their rotation.)
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.covariance import (
    AR1,
    AR2,
    Correlation,
    FactorAnalytic,
    ScaledCorrelation,
    Separable,
    Structure,
    Toeplitz,
)
from openreml_core.covariance.spatial import Spatial
from openreml_core.errors import ModelError, did_you_mean
from openreml_core.inference.few_rows import correlation_matrix, labelled
from openreml_core.reml import Estimates

_POINTS = 80


class FittedMatrices:
    """The matrices of a fit, by the name of a random term or of a part of R.

    Parameters
    ----------
    estimates : Estimates

    Attributes
    ----------
    random, residual : tuple of str
        Names of the random terms; of the parts of R: ``"residual"``, ``"residual[C1]"`` for a section, ``"units"`` for a
        nugget.
    """

    def __init__(self, estimates: Estimates) -> None:
        self._at, self._model = estimates.at, estimates.engine.model
        self.random = tuple(t.name for t in self._model.terms)
        self.residual = tuple(r.name for r in self._model.residuals)

    def size(self, name: str) -> int:
        """Number of effects of a term, or of places of a part of R."""
        return self._structure(name).size

    def covariance(self, name: str, correlation: bool = False) -> pd.DataFrame:
        """Estimated Sigma, (k, k), or its correlations."""
        sigma = self._model.sigmas(self._at.theta, self._at.sigma2)[self._place(name)]
        matrix = labelled(sigma, self._structure(name).names)
        return correlation_matrix(matrix) if correlation else matrix

    def loadings(self, name: str, rotated: bool = False) -> pd.DataFrame | None:
        """Loadings of a factor-analytic term; None for another structure.

        Parameters
        ----------
        name : str
        rotated : bool
            Whether the factors are turned to their principal axes: the first explains most.

        Returns
        -------
        DataFrame
            Indexed by effect: ``factor 1``, ..., specific_variance, variance, percent (of it, by the factors).
        """
        structure, theta = self._structure(name), self._theta(name)
        if not isinstance(structure, FactorAnalytic):
            return None
        loadings = self._at.sigma2**0.5 * structure.loadings(theta).numpy()
        total = self._at.sigma2 * structure.matrix(theta).diagonal().numpy()
        if rotated:
            u, d, _ = np.linalg.svd(loadings, full_matrices=False)
            loadings = u * d
            loadings = loadings * np.where(loadings.sum(axis=0) < 0, -1.0, 1.0)
        common = np.square(loadings).sum(axis=1)
        table = pd.DataFrame(loadings, index=list(structure.names))
        table.columns = pd.Index([f"factor {f + 1}" for f in range(structure.factors)])
        table["specific_variance"] = 0.0 if structure.reduced else np.maximum(total - common, 0.0)
        table["variance"] = total
        table["percent"] = 100 * common / np.where(total > 0, total, np.nan)
        return table

    def by_lag(self, name: str = "residual", most: int = 10) -> pd.DataFrame | None:
        """Correlation by the lags of ``ar1(row):ar1(col)``: lags of the first by lags of the second; None for others."""
        structure = self._structure(name)
        product = structure.correlation if isinstance(structure, ScaledCorrelation) else None
        if not isinstance(product, Separable) or len(product.factors) != 2:
            return None
        rho = self._theta(name)[-product.n_parameters :]
        parts = torch.split(rho, [f.n_parameters for f in product.factors])
        first, second = (_by_lag(f, part, most) for f, part in zip(product.factors, parts, strict=True))
        if first is None or second is None:
            return None
        names = [prefix.partition("(")[2].removesuffix(").") for prefix in product.prefixes]
        return pd.DataFrame(
            np.outer(list(first.values()), list(second.values())),
            index=pd.Index(list(first), name=names[0]),
            columns=pd.Index(list(second), name=names[1]),
        )

    def by_distance(self, name: str = "residual") -> pd.DataFrame | None:
        """Correlation by distance of ``exp(x, y)`` and its kin, from nothing to the largest; None for others.

        Returns
        -------
        DataFrame
            direction (1, 2, ... where each coordinate has its own range, else 0), distance, correlation.
        """
        structure = self._structure(name)
        spatial = structure.correlation if isinstance(structure, ScaledCorrelation) else None
        if not isinstance(spatial, Spatial):
            return None
        ranges = self._model.all_components[self._place(name)].structure.natural_values(self._theta(name))[
            -spatial.n_parameters :
        ]
        curves = []
        for c, r in enumerate(ranges):
            d = torch.linspace(0.0, float(spatial.squared[:, c].max().sqrt()), _POINTS, dtype=torch.float64)
            curve = {"direction": c + 1 if len(ranges) > 1 else 0, "distance": d.numpy()}
            curves.append(pd.DataFrame({**curve, "correlation": spatial.of((d / r).square()).numpy()}))
        return pd.concat(curves, ignore_index=True)

    def _place(self, name: str) -> int:
        names = [*self.random, *self.residual]
        if name not in names:
            raise ModelError(
                f"*{name}* is neither a random term nor a part of the residual of this model.",
                hint=did_you_mean(name, names).replace("columns", "parts"),
            )
        return names.index(name)

    def _structure(self, name: str) -> Structure:
        return self._model.all_components[self._place(name)].structure

    def _theta(self, name: str) -> Tensor:
        """Free parameters of a component; none for a residual variance that is profiled out."""
        parts, place = self._model.split(self._at.theta), self._place(name)
        return parts[place] if place < len(parts) else torch.zeros(0, dtype=torch.float64)


def _by_lag(factor: Correlation, rho: Tensor, most: int) -> dict[int, float] | None:
    """Correlation at each lag that occurs, up to the ``most``-th; None where it is no function of the lag."""
    if not isinstance(factor, AR1 | AR2 | Toeplitz):
        return None
    values = factor.values(rho).tolist()
    lags = factor.lags.long().tolist() if isinstance(factor, AR1) else list(range(len(values)))
    return dict(list(zip(lags, values, strict=True))[: most + 1])
