"""Engines: one contract (engine.py), a readable truth (marginal.py), and faster ones that must equal it."""

from __future__ import annotations

from openreml_core.engines.choose import ENGINES, Plan, choose_engine, plan
from openreml_core.engines.engine import Engine, Evaluation, NotPositiveDefinite, RandomEffects
from openreml_core.engines.henderson import HendersonEngine
from openreml_core.engines.marginal import MarginalEngine
from openreml_core.engines.responses import SharedEquations

__all__ = [
    "ENGINES",
    "Engine",
    "Evaluation",
    "HendersonEngine",
    "MarginalEngine",
    "NotPositiveDefinite",
    "Plan",
    "RandomEffects",
    "SharedEquations",
    "choose_engine",
    "plan",
]
