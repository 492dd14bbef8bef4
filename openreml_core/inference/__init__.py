"""What is concluded from the estimates: coefficients, variance components, BLUPs, effective dimensions."""

from __future__ import annotations

from openreml_core.inference.blups import blup_frame, blup_table
from openreml_core.inference.coefficients import DDF, coefficient_table, covariance_table
from openreml_core.inference.components import NaturalEstimates, component_table, natural_estimates
from openreml_core.inference.dimensions import dimension_table

__all__ = [
    "DDF",
    "NaturalEstimates",
    "blup_frame",
    "blup_table",
    "coefficient_table",
    "component_table",
    "covariance_table",
    "dimension_table",
    "natural_estimates",
]
