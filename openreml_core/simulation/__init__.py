"""Responses drawn from a fitted model, and the model fitted to them again: refits, the parametric bootstrap, power."""

from __future__ import annotations

from openreml_core.simulation.draws import checked_count, draw_responses, generator
from openreml_core.simulation.refits import engine_for, lifted, refitted, with_response

__all__ = ["checked_count", "draw_responses", "engine_for", "generator", "lifted", "refitted", "with_response"]
