"""Covariance: structures Sigma(theta), the components Z (Sigma (x) K) Z' and R that they make of V, and trees of matrices.

Formulas name structures (``us``, ``ar1``, ``fa``, ...). By hand they are leaves of a tree, beside Identity, Scaled, Dummy, ...,
under operators such as Sum, Kronecker and Propagated; ``openreml_core.fit_covariance`` fits such a tree.
"""

from __future__ import annotations

from openreml_core.covariance import transforms
from openreml_core.covariance.adapter import Adapter
from openreml_core.covariance.antedependence import Antedependence
from openreml_core.covariance.cholesky import CholeskyStructure, Diagonal, Unstructured
from openreml_core.covariance.components import BlockResidual, Component, GroupedTerm, IndependentResidual
from openreml_core.covariance.constant import Constant
from openreml_core.covariance.correlation import Correlation
from openreml_core.covariance.factor_analytic import FactorAnalytic, ReducedRank
from openreml_core.covariance.kernel import KnownInverse
from openreml_core.covariance.kronecker_structure import KroneckerStructure
from openreml_core.covariance.leaves import (
    CompoundSymmetric,
    Dummy,
    EqualEntry,
    Function,
    Identity,
    Known,
    LowerTriangular,
    Scaled,
    Unconstrained,
)
from openreml_core.covariance.matrix import Matrix
from openreml_core.covariance.operators import (
    Augment,
    BlockDiagonal,
    Gram,
    Hadamard,
    Inverse,
    Kronecker,
    Product,
    Propagated,
    Stack,
    Sum,
    Transpose,
)
from openreml_core.covariance.parameters import Parameter
from openreml_core.covariance.placed import PlacedTerm
from openreml_core.covariance.scaled import ScaledCorrelation
from openreml_core.covariance.separable import Separable
from openreml_core.covariance.serial import AR1, AR2, Toeplitz
from openreml_core.covariance.smooth import SmoothTerm
from openreml_core.covariance.spatial import Exponential, Gaussian, Matern, Spherical
from openreml_core.covariance.structure import NaturalParameter, Structure
from openreml_core.covariance.structure_leaf import as_matrix
from openreml_core.covariance.symmetric import Equicorrelation, Independent
from openreml_core.covariance.whole import TreeStructure, WholeCovariance

__all__ = [
    "AR1",
    "AR2",
    "Adapter",
    "Antedependence",
    "Augment",
    "BlockDiagonal",
    "BlockResidual",
    "CholeskyStructure",
    "Component",
    "CompoundSymmetric",
    "Constant",
    "Correlation",
    "Diagonal",
    "Dummy",
    "EqualEntry",
    "Equicorrelation",
    "Exponential",
    "FactorAnalytic",
    "Function",
    "Gaussian",
    "Gram",
    "GroupedTerm",
    "Hadamard",
    "Identity",
    "Independent",
    "IndependentResidual",
    "Inverse",
    "Known",
    "KnownInverse",
    "Kronecker",
    "KroneckerStructure",
    "LowerTriangular",
    "Matern",
    "Matrix",
    "NaturalParameter",
    "Parameter",
    "PlacedTerm",
    "Product",
    "Propagated",
    "ReducedRank",
    "Scaled",
    "ScaledCorrelation",
    "Separable",
    "SmoothTerm",
    "Spherical",
    "Stack",
    "Structure",
    "Sum",
    "Toeplitz",
    "Transpose",
    "TreeStructure",
    "Unconstrained",
    "Unstructured",
    "WholeCovariance",
    "as_matrix",
    "transforms",
]
