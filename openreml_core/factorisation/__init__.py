"""Sparse symmetric matrices: their Cholesky factors in dense blocks, and their inverses where the factor has entries."""

from __future__ import annotations

from openreml_core.factorisation.cholesky import SparseCholesky
from openreml_core.factorisation.known import SparseMatrix
from openreml_core.factorisation.ordering import cholmod_is_there
from openreml_core.factorisation.selected import selected_inverse
from openreml_core.factorisation.symbolic import Symbolic, TooLarge

__all__ = ["SparseCholesky", "SparseMatrix", "Symbolic", "TooLarge", "cholmod_is_there", "selected_inverse"]
