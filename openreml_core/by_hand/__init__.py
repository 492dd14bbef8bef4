"""Covariances built by hand, as trees of matrices, fitted by the same search."""

from __future__ import annotations

from openreml_core.by_hand.fit import CovarianceFit
from openreml_core.by_hand.fitting import fit_covariance

__all__ = ["CovarianceFit", "fit_covariance"]
