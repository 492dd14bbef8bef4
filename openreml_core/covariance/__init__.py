"""Covariance structures Sigma(theta) and the components Z (Sigma (x) K) Z' and R that they make of V."""

from __future__ import annotations

from openreml_core.covariance.antedependence import Antedependence
from openreml_core.covariance.cholesky import CholeskyStructure, Diagonal, Unstructured
from openreml_core.covariance.components import BlockResidual, GroupedTerm, IndependentResidual
from openreml_core.covariance.correlation import Correlation
from openreml_core.covariance.factor_analytic import FactorAnalytic
from openreml_core.covariance.kronecker_structure import KroneckerStructure
from openreml_core.covariance.placed import PlacedTerm
from openreml_core.covariance.scaled import ScaledCorrelation
from openreml_core.covariance.separable import Separable
from openreml_core.covariance.serial import AR1, AR2, Toeplitz
from openreml_core.covariance.smooth import SmoothTerm
from openreml_core.covariance.spatial import Exponential, Gaussian, Matern, Spherical
from openreml_core.covariance.structure import NaturalParameter, Structure
from openreml_core.covariance.symmetric import Equicorrelation, Independent

__all__ = [
    "AR1",
    "AR2",
    "Antedependence",
    "BlockResidual",
    "CholeskyStructure",
    "Correlation",
    "Diagonal",
    "Equicorrelation",
    "Exponential",
    "FactorAnalytic",
    "Gaussian",
    "GroupedTerm",
    "Independent",
    "IndependentResidual",
    "KroneckerStructure",
    "Matern",
    "NaturalParameter",
    "PlacedTerm",
    "ScaledCorrelation",
    "Separable",
    "SmoothTerm",
    "Spherical",
    "Structure",
    "Toeplitz",
    "Unstructured",
]
