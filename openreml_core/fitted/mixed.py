"""A fitted linear mixed model: every question that can be put to it."""

from __future__ import annotations

from openreml_core.fitted.diagnostics import Diagnostics
from openreml_core.fitted.intervals import Intervals
from openreml_core.fitted.predictions import Predictions
from openreml_core.fitted.tests import FixedEffectTests


class MixedModelFit(Diagnostics, FixedEffectTests, Intervals, Predictions):
    """The estimates of a linear mixed model y = X b + Z u + e, u ~ N(0, G), e ~ N(0, R).

    Made by :func:`openreml_core.fit` or :func:`openreml_core.load`, not by hand.
    """
