"""Engines: one contract (engine.py), a readable truth (marginal.py), and faster ones that must equal it."""

from __future__ import annotations

from openreml_core.engines.choose import ENGINES, Plan, choose_engine, engine_of_products, plan
from openreml_core.engines.crossproducts import CrossProducts, from_matrices
from openreml_core.engines.engine import Engine, Evaluation, NotPositiveDefinite, RandomEffects
from openreml_core.engines.henderson import HendersonEngine
from openreml_core.engines.marginal import MarginalEngine
from openreml_core.engines.responses import SharedEquations
from openreml_core.engines.rows import Rows, random_variances, rows_of
from openreml_core.engines.same import engine_named, same_engine

__all__ = [
    "ENGINES",
    "CrossProducts",
    "Engine",
    "Evaluation",
    "HendersonEngine",
    "MarginalEngine",
    "NotPositiveDefinite",
    "Plan",
    "RandomEffects",
    "Rows",
    "SharedEquations",
    "choose_engine",
    "engine_named",
    "engine_of_products",
    "from_matrices",
    "plan",
    "random_variances",
    "rows_of",
    "same_engine",
]
