"""Responses drawn from a fitted model, and the model fitted to them again: refits, the parametric bootstrap, power."""

from __future__ import annotations

from openreml_core.simulation.draws import checked_count, draw_responses, generator
from openreml_core.simulation.refits import refitted, with_response

__all__ = ["checked_count", "draw_responses", "generator", "refitted", "with_response"]
