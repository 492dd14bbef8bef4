"""What a model takes up of the field: the predicted trend over its plots.

The sum, less its mean, of what the positions make up: X b^ of fixed terms in them alone; Z u^ of random terms that they are
in (``(1 | row)``, ``spl2d(row, col)``, ``exp(0 + pos(x, y) | trial)``); and R_s P y of the correlated residual, its prediction
where a nugget stands beside it, all of the residual where none does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from openreml_core.covariance import BlockResidual
from openreml_core.diagnostics.view import RowView


def trend_values(
    view: RowView, fixed: Sequence[int], terms: Sequence[bool], residual: bool
) -> tuple[Tensor, tuple[str, ...]] | None:
    """The trend (n,) and the names of its parts; None where the model has none.

    Parameters
    ----------
    view : RowView
    fixed : sequence of int
        Columns of X that positions make up.
    terms : sequence of bool
        Which random terms belong to the field.
    residual : bool
        Whether the residual is correlated over the field.
    """
    model, at = view.model, view.estimates.at
    out, names = torch.zeros(view.n, dtype=torch.float64), []
    if len(fixed):
        out += model.X[:, list(fixed)] @ at.beta[list(fixed)]
        names += [model.fixed_names[i] for i in fixed]
    effects = view.estimates.engine.random_effects(at) if any(terms) else ()
    for term, own, chosen in zip(model.terms, effects, terms, strict=False):
        if chosen:
            out += term.spread(own.blup[:, :, None])[:, 0]
            names.append(term.name)
    sigmas = model.sigmas(at.theta, at.sigma2)[len(model.terms) :]
    for part, sigma in zip(model.residuals, sigmas, strict=True):
        if residual and isinstance(part, BlockResidual):
            out += part.apply(sigma, view.rows.py[:, None])[:, 0]
            names.append(part.name)
    return (out - out.mean(), tuple(names)) if names else None
