"""Covariance structures Sigma(theta) and the components Z (Sigma (x) I) Z' and R that they make of V."""

from __future__ import annotations

from openreml_core.covariance.cholesky import CholeskyStructure, Diagonal, Unstructured
from openreml_core.covariance.propagated import IndependentResidual, Propagated
from openreml_core.covariance.structure import NaturalParameter, Structure

#: Structures a random term may name, and what each is for.
STRUCTURES: dict[str, type[CholeskyStructure]] = {"us": Unstructured, "diag": Diagonal}

__all__ = [
    "STRUCTURES",
    "CholeskyStructure",
    "Diagonal",
    "IndependentResidual",
    "NaturalParameter",
    "Propagated",
    "Structure",
    "Unstructured",
]
