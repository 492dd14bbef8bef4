"""The same model on some of its rows: nothing is coded anew, so that effects mean what they meant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance import BlockResidual, IndependentResidual, PlacedTerm, SmoothTerm
from openreml_core.errors import ModelError
from openreml_core.model import MixedModel, RandomPart, Residual


def model_of_rows(model: MixedModel, rows: Tensor) -> MixedModel:
    """The model on some rows.

    Levels without rows go, unless they are related to others; so do parts of the residual without rows, and their parameters.
    X keeps all its columns and may lose rank.

    Parameters
    ----------
    model : MixedModel
    rows : Tensor of shape (m,), int64
        Numbers of the rows, in the order in which they are to stand.

    Raises
    ------
    ModelError
        Where V is one tree: its parts are not known by rows.
    """
    residuals = [(part, _residual(part, rows)) for part in model.residuals]
    return replace(
        model,
        y=model.y[rows],
        X=model.X[rows],
        terms=tuple(_term(t, rows) for t in model.terms),
        residuals=tuple(own for _, own in residuals if own is not None),
    )


def kept_parameters(model: MixedModel, rows: Tensor) -> np.ndarray:
    """Which parameters (m,), bool, the model on some rows still has."""
    out = np.ones(model.n_theta, dtype=bool)
    for component, where in zip(model.components, model.slices, strict=True):
        if isinstance(component, BlockResidual | IndependentResidual) and _residual(component, rows) is None:
            out[where] = False
    return out


def _term(term: RandomPart, rows: Tensor) -> RandomPart:
    if isinstance(term, SmoothTerm):
        return replace(term, z=term.z[rows])
    codes, levels = term.codes[rows], term.levels
    if term.kernel is None:
        found, codes = torch.unique(codes, return_inverse=True)
        levels = tuple(levels[i] for i in found.tolist())
    if isinstance(term, PlacedTerm):
        return replace(term, codes=codes, levels=levels, index=term.index[rows])
    return replace(term, codes=codes, levels=levels, basis=term.basis[rows])


def _residual(part: Residual, rows: Tensor) -> Residual | None:
    if isinstance(part, IndependentResidual):
        own = part.variance[rows]
        return replace(part, variance=own) if bool((own != 0).any()) else None
    if not isinstance(part, BlockResidual):
        raise ModelError(
            "A V built by hand as one tree cannot be taken apart by rows.", hint="Fit the model by a formula."
        )
    place = torch.full((part.n,), -1, dtype=torch.int64)
    place[part.rows] = torch.arange(len(part.rows))
    held = place[rows]
    where = (held >= 0).nonzero()[:, 0]
    if not len(where):
        return None
    _, codes = torch.unique(part.codes[held[where]], return_inverse=True)
    return replace(part, rows=where, index=part.index[held[where]], codes=codes, n=len(rows))
