"""``fit``, ``load`` and what they share: from a formula and a table to a fitted model."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from openreml_core import storage
from openreml_core.assembly import assemble
from openreml_core.design import Design, build_design
from openreml_core.engines import NotPositiveDefinite, choose_engine
from openreml_core.errors import DataError, ModelError, did_you_mean
from openreml_core.fit import OWN_OFFSET, OWN_WEIGHTS, MixedModelFit, Specification
from openreml_core.notation import parse_residual
from openreml_core.relationship import relationship_matrix
from openreml_core.reml import Estimates, OnIteration, TraceRow, maximise
from openreml_core.reml.start import free_mask, given_values, start_theta

#: Algorithms and the iterations each is given by default.
ALGORITHMS = {"ai": 100, "em": 2000, "ai-em": 200}
MISSING = ("drop", "error")


def fit(
    formula: str,
    data: pd.DataFrame,
    *,
    residual: str | None = None,
    relationship: Mapping[str, Any] | None = None,
    method: str = "reml",
    weights: str | Sequence[float] | None = None,
    offset: str | Sequence[float] | None = None,
    contrasts: Mapping[str, Any] | None = None,
    algorithm: str = "ai",
    engine: str = "auto",
    start: Mapping[str, Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
    max_iterations: int | None = None,
    on_iteration: OnIteration | None = None,
    missing: str = "drop",
) -> MixedModelFit:
    """Fit a linear mixed model by restricted maximum likelihood.

        y = X b + sum_t Z_t u_t + e,   u_t ~ N(0, Sigma_t (x) I),   e ~ N(0, sigma2 diag(1 / w))

    Parameters
    ----------
    formula : str
        Response, fixed part and bars: ``"yield ~ rep + (1 | gen) + (1 | rep:block)"``.
    data : DataFrame
        Text, categories and truth values are factors; numbers are numbers (and levels right of a bar).
    residual : str, optional
        The residual's structure: ``"ar1(row):ar1(col) + id(units)"``, ``"dsum(id(units) | county)"``; one variance by default.
    relationship : mapping of str to DataFrame, Pedigree or Markers, optional
        Known covariance between the levels of a grouping factor: ``{"gen": A}``.
    method : {"reml", "ml"}
        Restricted or full maximum likelihood.
    weights : str or sequence of float, optional
        Positive weights w, a column's name or n numbers: the residual variance is sigma2 / w.
    offset : str or sequence of float, optional
        Known part of the mean.
    contrasts : mapping of str to str, optional
        Coding of factors, e.g. ``{"rep": "sum"}``; the default is treatment against the first level.
    algorithm : {"ai", "em", "ai-em"}
        Average information in a trust region, EM, or three EM steps first.
    engine : {"auto", "marginal"}
        How the likelihood is computed.
    start, fixed : mapping of str to number, optional
        Starting values; values held. ``{"gen": 0.4, "residual": 0.1}`` in units of the response squared.
    max_iterations : int, optional
        100 for ``"ai"``, 2000 for ``"em"``, 200 for ``"ai-em"``.
    on_iteration : callable, optional
        Called with each TraceRow; returning False cancels.
    missing : {"drop", "error"}
        What to do with rows that lack a value the model needs.

    Returns
    -------
    MixedModelFit

    Raises
    ------
    ModelError
        FormulaError, DataError, ConvergenceError or FitCancelled: in words, with the column, term or row.

    Examples
    --------
    >>> import openreml_core as reml
    >>> fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", reml.load_sample("john_alpha"))
    >>> fit.converged, round(fit.criterion, 4), round(fit.parameters["gen.variance"], 4)
    (True, 93.1938, 0.1429)

    References
    ----------
    Patterson and Thompson (1971), Biometrika 58, 545-554. Gilmour, Thompson and Cullis (1995), Biometrics 51, 1440-1450.
    """
    began = time.perf_counter()
    specification = Specification(
        formula=str(formula),
        residual=residual,
        method=method,
        weights=weights if isinstance(weights, str) else None if weights is None else OWN_WEIGHTS,
        offset=offset if isinstance(offset, str) else None if offset is None else OWN_OFFSET,
        contrasts=dict(contrasts or {}),
        algorithm=algorithm,
        engine=engine,
        max_iterations=max_iterations,
        start=_plain(start),
        fixed=_plain(fixed),
        missing=missing,
    )
    check_options(specification)
    known = parse_residual(residual)
    relations = dict(relationship or {})
    design = build_design(
        formula,
        data,
        weights=weights,
        offset=offset,
        contrasts=contrasts,
        missing=missing,
        known_groups=tuple(relations),
        plain_residual=known.is_plain and weights is None and "residual" not in (fixed or {}),
        extra=known.columns,
    )
    specification = replace(
        specification, contrasts={k: v for k, v in specification.contrasts.items() if k in design.frame.columns}
    )
    matrices = {name: relationship_matrix(value, _levels(design, name)) for name, value in relations.items()}
    # A parameter held, or a residual variance to start from, has its own scale: then nothing is profiled out.
    residual_given = any(str(key).split(".")[0] == "residual" for key in start or {})
    model = assemble(
        design,
        method=method,
        profiled=not fixed and not residual_given,
        residual=known,
        relationships=matrices,
    )
    held = given_values(model, fixed or {}, what="fixed")
    theta = start_theta(model, start, held)
    if algorithm != "ai" and bool((theta == 0).all()) and model.n_theta:
        raise ModelError("EM cannot leave variances of zero.", hint="Start it from positive variances.")
    estimates = maximise(
        choose_engine(engine, model),
        theta,
        algorithm=algorithm,
        max_iterations=ALGORITHMS[algorithm] if max_iterations is None else max_iterations,
        free=free_mask(model, held),
        on_iteration=on_iteration,
        start_sentence="Starting values as given." if start else "",
    )
    return MixedModelFit(specification, design, estimates, time.perf_counter() - began)


def _levels(design: Design, group: str) -> tuple[str, ...]:
    """The levels of a grouping factor that a relationship is given for."""
    for random in design.random:
        if ":".join(random.group) == group:
            return random.levels
    groups = [":".join(r.group) for r in design.random]
    raise ModelError(
        f"A relationship is given for *{group}*, which groups no random term.",
        hint=did_you_mean(group, groups).replace("columns", "grouping factors") or "Add a term such as (1 | gen).",
    )


def check_options(specification: Specification) -> None:
    """Refuse options that are not known, before anything is computed."""
    if specification.algorithm not in ALGORITHMS:
        raise ModelError(
            f"algorithm={specification.algorithm!r} is not known.", hint=f"Choose one of {', '.join(ALGORITHMS)}."
        )
    limit = specification.max_iterations
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | np.integer) or limit < 0):
        raise ModelError(
            f"max_iterations={limit!r} is not a number of iterations.", hint="Give a whole number such as 100."
        )
    if specification.missing not in MISSING:
        raise ModelError(f"missing={specification.missing!r} is not known.", hint="Choose 'drop' or 'error'.")


def load(path: str | Path) -> MixedModelFit:
    """Read a fit that ``fit.save`` wrote.

    The rows and the estimates come from the file; everything else is computed from them again.

    Raises
    ------
    DataError
        When the file is no saved fit, is damaged, or its rows do not give the criterion it states.
    """
    record, rows = storage.read(path)
    try:
        specification = Specification(**record["specification"])
        theta = torch.tensor(record["theta"], dtype=torch.float64)
        trace = tuple(TraceRow(**row) for row in record["trace"])
        free = np.array(record["free"], dtype=bool)
        stated = float(record["criterion"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}.", hint="Fit the model again and save it.") from None
    check_options(specification)
    design = _saved_design(specification, rows, int(record.get("n_dropped", 0)))
    model = assemble(design, method=specification.method, profiled=bool(record.get("profiled", True)))
    if len(theta) != model.n_theta or len(free) != model.n_theta:
        raise DataError(f"{path} is damaged: its estimates do not belong to its formula.", hint="Fit the model again.")
    engine = choose_engine(specification.engine, model)
    try:
        at = engine.evaluate(theta)
    except NotPositiveDefinite:
        raise DataError(f"{path} is damaged: its estimates are no variances.", hint="Fit the model again.") from None
    if not math.isclose(at.criterion, stated, rel_tol=1e-7, abs_tol=1e-6):
        raise DataError(
            f"{path} states a criterion of {stated:.6f}, its rows give {at.criterion:.6f}.", hint="Fit the model again."
        )
    estimates = Estimates(engine, at, free, bool(record["converged"]), str(record["message"]), trace)
    return MixedModelFit(specification, design, estimates, float(record.get("seconds", math.nan)))


def _saved_design(specification: Specification, rows: pd.DataFrame, n_dropped: int) -> Design:
    """The design of a saved fit; its rows are complete, those dropped before are only counted."""
    design = build_design(
        specification.formula,
        rows,
        weights=specification.weights,
        offset=specification.offset,
        contrasts=specification.contrasts,
        missing="error",
    )
    return replace(design, n_dropped=n_dropped)


def _plain(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The user's values as JSON types, for the saved file."""
    if given is None:
        return None
    return {str(k): v.tolist() if hasattr(v, "tolist") else v.to_numpy().tolist() if hasattr(v, "to_numpy") else v
            for k, v in given.items()}  # fmt: skip
