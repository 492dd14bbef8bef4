"""What is concluded from the estimates: coefficients, variance components, BLUPs, dimensions, fitted matrices."""

from __future__ import annotations

from openreml_core.inference.blups import blup_frame, blup_table
from openreml_core.inference.coefficients import coefficient_table, covariance_table
from openreml_core.inference.components import UNKNOWN, NaturalEstimates, component_table, natural_estimates
from openreml_core.inference.contrasts import DDF, Contrasts, JointTest, contrasts, joint_test
from openreml_core.inference.dimensions import dimension_table
from openreml_core.inference.few_rows import correlation_matrix, labelled, rows_covariance, telling_rows
from openreml_core.inference.matrices import FittedMatrices

__all__ = [
    "DDF",
    "UNKNOWN",
    "Contrasts",
    "FittedMatrices",
    "JointTest",
    "NaturalEstimates",
    "blup_frame",
    "blup_table",
    "coefficient_table",
    "component_table",
    "contrasts",
    "correlation_matrix",
    "covariance_table",
    "dimension_table",
    "joint_test",
    "labelled",
    "natural_estimates",
    "rows_covariance",
    "telling_rows",
]
