"""A fitted linear mixed model: every question that can be put to it."""

from __future__ import annotations

from openreml_core.fitted.base import FittedModel
from openreml_core.fitted.intervals import Intervals


class MixedModelFit(Intervals, FittedModel):
    """The estimates of a linear mixed model y = X b + Z u + e, u ~ N(0, G), e ~ N(0, R).

    Made by :func:`openreml_core.fit` or :func:`openreml_core.load`, not by hand.
    """
