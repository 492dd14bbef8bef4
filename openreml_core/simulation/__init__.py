"""Responses drawn from a fitted model, and the model fitted to them again: refits, the parametric bootstrap, power."""

from __future__ import annotations

from openreml_core.simulation.bootstrap import Bootstrap
from openreml_core.simulation.draws import checked_count, draw_responses, generator
from openreml_core.simulation.refits import Recipe, refitted, with_response
from openreml_core.simulation.replicates import OnProgress, refit_all
from openreml_core.simulation.roots import roots_of_ratio

__all__ = [
    "Bootstrap",
    "OnProgress",
    "Recipe",
    "checked_count",
    "draw_responses",
    "generator",
    "refit_all",
    "refitted",
    "roots_of_ratio",
    "with_response",
]
