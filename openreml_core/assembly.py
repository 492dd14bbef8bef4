"""From a design to a model: structures looked up, sizes checked, arrays handed to torch."""

from __future__ import annotations

import numpy as np
import torch

from openreml_core.covariance import STRUCTURES, IndependentResidual, Propagated
from openreml_core.design import Design, RandomDesign
from openreml_core.errors import DataError, FormulaError, ModelError
from openreml_core.model import MixedModel

METHODS = {"reml": "REML", "ml": "ML"}


def assemble(design: Design, *, method: str = "reml", profiled: bool = True) -> MixedModel:
    """The model that a design describes.

    Parameters
    ----------
    design : Design
    method : {"reml", "ml"}
    profiled : bool
        Whether the residual variance is profiled out.

    Raises
    ------
    ModelError
        An unknown method or structure; fewer rows than parameters; a response that the fixed effects reproduce.
    """
    if method not in METHODS:
        raise ModelError(f"method={method!r} is not known.", hint="Choose 'reml' or 'ml'.")
    y = np.asarray(design.y, dtype=np.float64) - np.asarray(design.offset, dtype=np.float64)
    n = len(y)
    weights = np.ones(n) if design.weights is None else np.asarray(design.weights, dtype=np.float64)
    model = MixedModel(
        y=torch.from_numpy(y),
        X=torch.from_numpy(np.array(design.X, dtype=np.float64)),
        fixed_names=tuple(design.fixed_names),
        terms=tuple(_term(r) for r in design.random),
        residual=IndependentResidual(torch.from_numpy(1.0 / weights)),
        method=method,
        profiled=profiled,
    )
    _check_size(model, design)
    return model


def _term(random: RandomDesign) -> Propagated:
    if random.structure not in STRUCTURES:
        known = ", ".join(STRUCTURES)
        raise FormulaError(
            f"The structure *{random.structure}* of the term {random.term.text} is not available.",
            hint=f"Random terms can be: {known}, written (x | g), (x || g), us(x | g) or diag(x | g).",
        )
    return Propagated(
        name=random.name,
        structure=STRUCTURES[random.structure](random.effects),
        levels=tuple(random.levels),
        codes=torch.from_numpy(np.array(random.codes, dtype=np.int64)),
        basis=torch.from_numpy(np.array(random.basis, dtype=np.float64)),
    )


def _check_size(model: MixedModel, design: Design) -> None:
    parameters = model.p + len(model.parameter_names)
    if model.n <= parameters:
        raise DataError(
            f"The model has {parameters} parameters ({model.p} fixed effects and {len(model.parameter_names)} variance "
            f"parameters) but only {model.n} complete rows.",
            hint="Leave out terms, or bring more rows.",
        )
    total = float((model.y - model.y.mean()).square().sum())
    rest = float(model.centred.square().sum())
    if rest <= 1e-22 * total or total == 0:
        raise DataError(
            f"The fixed effects reproduce the response *{design.formula.response}* exactly: nothing is left for variances.",
            hint="Leave out a fixed term, or check that the response is not computed from the others.",
        )
