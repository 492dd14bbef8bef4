"""Predictions for new rows: levels, places and residuals that the fit has seen, and those it has not."""

from __future__ import annotations

from openreml_core.prediction.table import Asked, predict

__all__ = ["Asked", "predict"]
