"""Diagnostics of a fit: residuals, leverage, influence, space, and a verdict in plain words."""

from __future__ import annotations

from openreml_core.diagnostics.autocorrelation import grid_autocorrelation, serial_autocorrelation
from openreml_core.diagnostics.check import verdict
from openreml_core.diagnostics.deletion import without_pairs, without_rows, without_sets
from openreml_core.diagnostics.findings import Finding, Verdict
from openreml_core.diagnostics.group_residuals import group_residual_table
from openreml_core.diagnostics.grouping import Grouping, grouping_of
from openreml_core.diagnostics.influence import Cases, deleted_table, dfbetas_table, influence_table
from openreml_core.diagnostics.influential import influential_cases
from openreml_core.diagnostics.leverage import leverage_table
from openreml_core.diagnostics.places import places_of
from openreml_core.diagnostics.positions import Positions, place_numbers, positions_of, serpentine_order
from openreml_core.diagnostics.refitting import refits_without
from openreml_core.diagnostics.residual_tests import residual_test_table
from openreml_core.diagnostics.residuals import KINDS, kind_named, residual_values
from openreml_core.diagnostics.simulated import draws, envelope
from openreml_core.diagnostics.trend import trend_values
from openreml_core.diagnostics.variogram import variogram_table
from openreml_core.diagnostics.view import RowView

__all__ = [
    "KINDS",
    "Cases",
    "Finding",
    "Grouping",
    "Positions",
    "RowView",
    "Verdict",
    "deleted_table",
    "dfbetas_table",
    "draws",
    "envelope",
    "grid_autocorrelation",
    "group_residual_table",
    "grouping_of",
    "influence_table",
    "influential_cases",
    "kind_named",
    "leverage_table",
    "place_numbers",
    "places_of",
    "positions_of",
    "refits_without",
    "residual_test_table",
    "residual_values",
    "serial_autocorrelation",
    "serpentine_order",
    "trend_values",
    "variogram_table",
    "verdict",
    "without_pairs",
    "without_rows",
    "without_sets",
]
