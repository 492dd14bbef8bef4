"""How the mixed-model equations take a model's residual: sections of independent residuals, or blocks of correlated ones."""

from __future__ import annotations

import torch

from openreml_core.covariance import IndependentResidual
from openreml_core.engines.block_errors import BlockErrors
from openreml_core.engines.crossproducts import cross_products
from openreml_core.engines.errors import Errors
from openreml_core.engines.independent_errors import IndependentErrors
from openreml_core.model import MixedModel


def errors_of(model: MixedModel) -> Errors:
    """R's layout: sections whose rows are summed once, or blocks."""
    return IndependentErrors(cross_products(model)) if independent(model) else BlockErrors(model)


def independent(model: MixedModel) -> bool:
    """Whether every row's residual is independent of the others', with one variance."""
    if not all(isinstance(part, IndependentResidual) for part in model.residuals):
        return False
    parts = torch.stack([part.variance != 0 for part in model.residuals if isinstance(part, IndependentResidual)])
    return bool((parts.sum(dim=0) == 1).all())
