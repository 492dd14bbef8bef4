"""From a design to a model: structures looked up, sizes checked, arrays handed to torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from openreml_core.covariance import GroupedTerm
from openreml_core.design import Design, RandomDesign
from openreml_core.errors import DataError, ModelError
from openreml_core.model import MixedModel
from openreml_core.notation import Residual, parse_residual
from openreml_core.relationship import Relationship
from openreml_core.structures import random_structure, residual_parts

METHODS = {"reml": "REML", "ml": "ML"}


def assemble(
    design: Design,
    *,
    method: str = "reml",
    profiled: bool = True,
    residual: Residual | None = None,
    relationships: Mapping[str, Relationship] | None = None,
) -> MixedModel:
    """The model that a design describes.

    Parameters
    ----------
    design : Design
    method : {"reml", "ml"}
    profiled : bool
        Whether the residual variance may be profiled out; with a structured residual it is not.
    residual : Residual, optional
        What R is; one variance by default.
    relationships : mapping of str to Relationship, optional
        Known covariance of the levels of a grouping factor.

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
    residual = residual or parse_residual(None)
    model = MixedModel(
        y=torch.from_numpy(y),
        X=torch.from_numpy(np.array(design.X, dtype=np.float64)),
        fixed_names=tuple(design.fixed_names),
        terms=tuple(_term(r, (relationships or {}).get(":".join(r.group))) for r in design.random),
        residuals=residual_parts(residual, design.frame, weights),
        method=method,
        profiled=profiled and residual.is_plain,
    )
    _check_size(model, design)
    return model


def _term(random: RandomDesign, relationship: Relationship | None) -> GroupedTerm:
    levels, kernel = tuple(random.levels), None
    if relationship is not None:
        relationship = relationship.ordered(levels)
        levels, kernel = relationship.labels, torch.from_numpy(np.array(relationship.matrix, dtype=np.float64))
    return GroupedTerm(
        name=random.name,
        structure=random_structure(random),
        levels=levels,
        codes=torch.from_numpy(np.array(random.codes, dtype=np.int64)),
        basis=torch.from_numpy(np.array(random.basis, dtype=np.float64)),
        kernel=kernel,
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
