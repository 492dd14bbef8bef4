"""Figures of a fit and of its data: pure functions from tables to plotly figures, in one theme.

Each function takes a DataFrame or Series and returns a ``plotly.graph_objects.Figure`` on a transparent ground, as wide as
the page, legible on light and dark. Nothing to draw is said in the figure, not raised.
"""

from openreml_core.figures.accessor import PlotAccessor
from openreml_core.figures.coefficients import forest
from openreml_core.figures.columns import column_bars, column_histogram
from openreml_core.figures.comparison import criteria
from openreml_core.figures.components import variance_shares
from openreml_core.figures.correlogram import correlogram
from openreml_core.figures.distance import distance_curve
from openreml_core.figures.distribution import histogram
from openreml_core.figures.effects import caterpillar
from openreml_core.figures.field import field_map
from openreml_core.figures.groups import residuals_by
from openreml_core.figures.hierarchical import (
    confusion_matrix,
    evidence_comparison,
    evidence_trace,
    group_density,
    parameter_distributions,
    recovery_scatter,
)
from openreml_core.figures.influence import influence
from openreml_core.figures.iterations import convergence, parameter_groups, parameter_traces
from openreml_core.figures.matrices import effect_labels, matrix_heatmap, matrix_thumbnail
from openreml_core.figures.means import interaction_plot, means_factors, means_plot
from openreml_core.figures.pairs import pairs_plot, pairs_square
from openreml_core.figures.plan import design_map
from openreml_core.figures.quantiles import qq, qq_simulated
from openreml_core.figures.scatter import observed_fitted, residuals_fitted, scale_location
from openreml_core.figures.theme import CONFIG, config
from openreml_core.figures.uncertainty import bootstrap_histograms, profile_curves, quantity_words
from openreml_core.figures.variogram import variogram, variogram_surface

__all__ = [
    "CONFIG",
    "PlotAccessor",
    "bootstrap_histograms",
    "caterpillar",
    "column_bars",
    "column_histogram",
    "config",
    "confusion_matrix",
    "convergence",
    "correlogram",
    "criteria",
    "design_map",
    "distance_curve",
    "effect_labels",
    "evidence_comparison",
    "evidence_trace",
    "field_map",
    "forest",
    "group_density",
    "histogram",
    "influence",
    "interaction_plot",
    "matrix_heatmap",
    "matrix_thumbnail",
    "means_factors",
    "means_plot",
    "observed_fitted",
    "pairs_plot",
    "pairs_square",
    "parameter_distributions",
    "parameter_groups",
    "parameter_traces",
    "profile_curves",
    "qq",
    "qq_simulated",
    "quantity_words",
    "recovery_scatter",
    "residuals_by",
    "residuals_fitted",
    "scale_location",
    "variance_shares",
    "variogram",
    "variogram_surface",
]
