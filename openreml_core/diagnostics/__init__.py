"""Diagnostics of a fit: residuals, leverage, influence, space, and a verdict in plain words."""

from __future__ import annotations

from openreml_core.diagnostics.deletion import without_pairs, without_rows, without_sets
from openreml_core.diagnostics.group_residuals import group_residual_table
from openreml_core.diagnostics.grouping import Grouping, grouping_of
from openreml_core.diagnostics.influence import Cases, deleted_table, dfbetas_table, influence_table
from openreml_core.diagnostics.influential import influential_cases
from openreml_core.diagnostics.leverage import leverage_table
from openreml_core.diagnostics.refitting import refits_without
from openreml_core.diagnostics.residuals import KINDS, kind_named, residual_values
from openreml_core.diagnostics.view import RowView

__all__ = [
    "KINDS",
    "Cases",
    "Grouping",
    "RowView",
    "deleted_table",
    "dfbetas_table",
    "group_residual_table",
    "grouping_of",
    "influence_table",
    "influential_cases",
    "kind_named",
    "leverage_table",
    "refits_without",
    "residual_values",
    "without_pairs",
    "without_rows",
    "without_sets",
]
