"""What is concluded from the estimates: coefficients, variance components, BLUPs, dimensions, fitted matrices."""

from __future__ import annotations

from openreml_core.inference.blups import blup_frame, blup_table
from openreml_core.inference.coefficients import coefficient_table, covariance_table
from openreml_core.inference.comparison import BoundaryTest, boundary_test, mixture_p, nested_words, plain_p, spans
from openreml_core.inference.components import UNKNOWN, NaturalEstimates, component_table, natural_estimates
from openreml_core.inference.contrasts import DDF, Contrasts, JointTest, contrasts, joint_test
from openreml_core.inference.dimensions import dimension_table
from openreml_core.inference.few_rows import correlation_matrix, labelled, rows_covariance, telling_rows
from openreml_core.inference.matrices import FittedMatrices
from openreml_core.inference.quantities import Quantity, chosen, quantities
from openreml_core.inference.wald import wald_intervals

__all__ = [
    "DDF",
    "UNKNOWN",
    "BoundaryTest",
    "Contrasts",
    "FittedMatrices",
    "JointTest",
    "NaturalEstimates",
    "Quantity",
    "blup_frame",
    "blup_table",
    "boundary_test",
    "chosen",
    "coefficient_table",
    "component_table",
    "contrasts",
    "correlation_matrix",
    "covariance_table",
    "dimension_table",
    "joint_test",
    "labelled",
    "mixture_p",
    "natural_estimates",
    "nested_words",
    "plain_p",
    "quantities",
    "rows_covariance",
    "spans",
    "telling_rows",
    "wald_intervals",
]
