"""One model for many trials or many responses."""

from __future__ import annotations

from openreml_core.many.fits import ManyFits
from openreml_core.many.fitting import fit_many
from openreml_core.many.tasks import FitDone

__all__ = ["FitDone", "ManyFits", "fit_many"]
