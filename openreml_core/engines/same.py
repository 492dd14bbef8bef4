"""An engine of the same kind for another model: another response, other fixed effects, parameters arranged otherwise."""

from __future__ import annotations

from openreml_core.engines.engine import Engine
from openreml_core.engines.henderson import SPARSE, HendersonEngine
from openreml_core.engines.marginal import MarginalEngine
from openreml_core.model import MixedModel


def same_engine(engine: Engine, model: MixedModel) -> Engine:
    """The engine that evaluates ``model`` as ``engine`` does its own."""
    return engine_named(engine.name, model)


def engine_named(name: str, model: MixedModel) -> Engine:
    """The same by the engine's name, ``"marginal"``, ``"henderson"`` or ``"henderson (sparse)"``."""
    return MarginalEngine(model) if name == MarginalEngine.name else HendersonEngine(model, sparse=name == SPARSE)
