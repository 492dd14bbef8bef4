"""A fitted linear mixed model."""

from __future__ import annotations

from openreml_core.fitted.again import Again
from openreml_core.fitted.mixed import MixedModelFit
from openreml_core.fitted.specification import Specification

__all__ = ["Again", "MixedModelFit", "Specification"]
