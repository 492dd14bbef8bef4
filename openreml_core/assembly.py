"""From a formula and a table to a model: structures looked up, sizes checked, arrays handed to torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from openreml_core.design import Design, RandomDesign, build_design
from openreml_core.errors import DataError, ModelError, did_you_mean
from openreml_core.model import MixedModel
from openreml_core.notation import Residual, parse_residual, parse_tie
from openreml_core.relationship import Relationship, relationship_matrix
from openreml_core.structures import random_term, residual_parts

METHODS = {"reml": "REML", "ml": "ML"}


def build_model(
    formula: str,
    data: pd.DataFrame,
    *,
    residual: str | None = None,
    relationship: Mapping[str, Any] | None = None,
    method: str = "reml",
    weights: str | Sequence[float] | None = None,
    offset: str | Sequence[float] | None = None,
    contrasts: Mapping[str, Any] | None = None,
    start: Mapping[str, Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
    ties: Mapping[str, str] | None = None,
    missing: str = "drop",
) -> tuple[Design, MixedModel]:
    """The design and the model that a formula, a table and their options describe.

    Fitting, loading and previewing all come through here. The options are those of :func:`openreml_core.fit`; a
    relationship may also be a Relationship that is ready.
    """
    known = parse_residual(residual)
    relations = mapping_of("relationship", relationship)
    design = build_design(
        formula,
        data,
        weights=weights,
        offset=offset,
        contrasts=mapping_of("contrasts", contrasts),
        missing=missing,
        known_groups=tuple(relations),
        plain_residual=known.is_plain and weights is None and not residual_is_bound(fixed, ties),
        extra=known.columns,
    )
    matrices = relationship_matrices(relations, design.random)
    model = assemble(
        design,
        method=method,
        profiled=can_profile(fixed, ties, start),
        residual=known,
        relationships=matrices,
    )
    notices = tuple(f"{name}: {notice}" for name, matrix in matrices.items() for notice in matrix.notices)
    return replace(design, warnings=(*design.warnings, *notices)), model


def can_profile(
    fixed: Mapping[str, Any] | None, ties: Mapping[str, str] | None, start: Mapping[str, Any] | None
) -> bool:
    """Whether the residual variance can be profiled out.

    A parameter held, or a residual variance that is bound or started from, has its own scale.
    """
    return not (fixed or residual_is_bound(fixed, ties) or any(map(_of_residual, start or {})))


def residual_is_bound(fixed: Mapping[str, Any] | None, ties: Mapping[str, str] | None) -> bool:
    """Whether the one residual variance is held, or tied to something."""
    return any(map(_of_residual, (*(fixed or {}), *_tied_names(ties or {}))))


def relationship_matrices(relations: Mapping[str, Any], random: Sequence[RandomDesign]) -> dict[str, Relationship]:
    """The known relationships by grouping factor, over the levels of the data."""
    return {
        name: value if isinstance(value, Relationship) else relationship_matrix(value, _levels(random, name))
        for name, value in relations.items()
    }


def _of_residual(name: str) -> bool:
    """Whether a parameter's name is of the one residual variance."""
    return name.partition(".")[0] == "residual"


def _tied_names(ties: Mapping[str, str]) -> list[str]:
    """The parameters named in ties, on either side."""
    return [name for key, text in ties.items() for name in (key, parse_tie(text)[1])]


def mapping_of(what: str, given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """An option that says something of columns, empty where it is not given."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        example = {"contrasts": '{"rep": "sum"}', "relationship": '{"gen": A}'}[what]
        raise ModelError(
            f"{what}={_shown(given)} does not say which column it is for.", hint=f"Give a dictionary such as {example}."
        )
    return given


def _shown(value: Any) -> str:
    """A value in a message: itself where it is short, else its type."""
    text = repr(value)
    return text if len(text) <= 60 and "\n" not in text else f"a {type(value).__name__}"


def _levels(random: Sequence[RandomDesign], group: str) -> tuple[str, ...]:
    """The levels of a grouping factor that a relationship is given for."""
    for term in random:
        if ":".join(term.group) == group:
            return term.levels
    groups = [":".join(r.group) for r in random]
    raise ModelError(
        f"A relationship is given for *{group}*, which groups no random term.",
        hint=did_you_mean(group, groups).replace("columns", "grouping factors") or "Add a term such as (1 | gen).",
    )


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
    known_method(method)
    y = np.asarray(design.y, dtype=np.float64) - np.asarray(design.offset, dtype=np.float64)
    n = len(y)
    weights = np.ones(n) if design.weights is None else np.asarray(design.weights, dtype=np.float64)
    residual = residual or parse_residual(None)
    model = MixedModel(
        y=torch.from_numpy(y),
        X=torch.from_numpy(np.array(design.X, dtype=np.float64)),
        fixed_names=tuple(design.fixed_names),
        terms=tuple(random_term(r, (relationships or {}).get(":".join(r.group))) for r in design.random),
        residuals=residual_parts(residual, design.frame, weights),
        method=method,
        profiled=profiled and residual.is_plain,
    )
    total = float((model.y - model.y.mean()).square().sum())
    check_size(model, design.formula.response, total, float(model.centred.square().sum()))
    return model


def known_method(method: object) -> None:
    """Refuse what is neither REML nor ML."""
    if not isinstance(method, str) or method not in METHODS:
        raise ModelError(f"method={method!r} is not known.", hint="Choose 'reml' or 'ml'.")


def check_size(model: MixedModel, response: str, total: float, rest: float, rounding: float = 1e-22) -> None:
    """Refuse a model of more parameters than rows, and a response that the fixed effects reproduce.

    Parameters
    ----------
    model : MixedModel
    response : str
        As it was written.
    total, rest : float
        Its sum of squares about the mean, and about the least-squares fit.
    rounding : float
        Share of `total` at which the rest counts as nothing.
    """
    parameters = model.p + len(model.parameter_names)
    if model.n <= parameters:
        raise DataError(
            f"The model has {parameters} parameters ({model.p} fixed effects and {len(model.parameter_names)} variance "
            f"parameters) but only {model.n} complete rows.",
            hint="Leave out terms, or bring more rows.",
        )
    if rest <= rounding * total or total == 0:
        raise DataError(
            f"The fixed effects reproduce the response *{response}* exactly: nothing is left for variances.",
            hint="Leave out a fixed term, or check that the response is not computed from the others.",
        )
