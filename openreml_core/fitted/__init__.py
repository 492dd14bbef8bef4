"""A fitted linear mixed model."""

from __future__ import annotations

from openreml_core.fitted.again import Again
from openreml_core.fitted.mixed import MixedModelFit
from openreml_core.fitted.specification import Specification
from openreml_core.fitted.without_rows import FitWithoutRows

__all__ = ["Again", "FitWithoutRows", "MixedModelFit", "Specification"]
