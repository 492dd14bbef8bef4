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
from openreml_core.assembly import METHODS, build_model
from openreml_core.engines import ENGINES, NotPositiveDefinite, choose_engine
from openreml_core.errors import DataError, ModelError
from openreml_core.fitted import MixedModelFit, Specification
from openreml_core.notation import Formula
from openreml_core.relationship import Relationship
from openreml_core.reml import Estimates, OnIteration, TraceRow, maximise
from openreml_core.reml.start import free_mask, given_values, start_theta
from openreml_core.reml.ties import tied_parameters
from openreml_core.storage import OWN_OFFSET, OWN_WEIGHTS

#: Algorithms and the iterations each is given by default.
ALGORITHMS = {"ai": 100, "em": 2000, "ai-em": 200}
DEVICES = ("cpu",)
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
    ties: Mapping[str, str] | None = None,
    max_iterations: int | None = None,
    device: str = "cpu",
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
    relationship : mapping of str to DataFrame, Pedigree, Markers, LabelledInverse or Relationship, optional
        Known covariance between the levels of a grouping factor: ``{"gen": A}``. ``relationship_matrix`` gives a Relationship
        with other choices: levels related to none, a matrix that is blended.
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
    engine : {"auto", "marginal", "henderson"}
        How the likelihood is computed: from V, or from the mixed-model equations; the cheaper one by default.
        ``"henderson"`` are the mixed-model equations, with a dense part or with one sparse factor, whichever takes less:
        ``fit.engine`` says which, ``"henderson"`` or ``"henderson (sparse)"``.
    start, fixed : mapping of str to number, optional
        Starting values; values held. ``{"gen": 0.4, "residual": 0.1}`` in units of the response squared; one parameter by
        the name that ``fit.parameters`` gives it, ``{"residual.ar1(row).rho": 0}``.
    ties : mapping of str to str, optional
        Parameters bound to others: ``{"col.variance": "row.variance", "units.variance": "0.5 * residual.variance"}``. Two
        terms of one structure are tied whole, by their names.
    max_iterations : int, optional
        100 for ``"ai"``, 2000 for ``"em"``, 200 for ``"ai-em"``.
    device : {"cpu"}
        Where the matrices are computed.
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
    check_options(
        method=method,
        algorithm=algorithm,
        engine=engine,
        missing=missing,
        device=device,
        residual=residual,
        max_iterations=max_iterations,
        start=start,
        fixed=fixed,
        ties=ties,
        on_iteration=on_iteration,
    )
    given_start, given_fixed, given_ties = _plain(start), _plain(fixed), dict(ties) if ties else None
    design, model = build_model(
        formula,
        data,
        residual=residual,
        relationship=relationship,
        method=method,
        weights=weights,
        offset=offset,
        contrasts=contrasts,
        start=given_start,
        fixed=given_fixed,
        ties=given_ties,
        missing=missing,
    )
    specification = Specification(
        formula=formula.text if isinstance(formula, Formula) else formula,
        residual=residual.strip() or None if residual else None,
        method=method,
        weights=weights if isinstance(weights, str) else None if weights is None else OWN_WEIGHTS,
        offset=offset if isinstance(offset, str) else None if offset is None else OWN_OFFSET,
        contrasts={k: str(v) for k, v in (contrasts or {}).items() if k in design.frame.columns},
        algorithm=algorithm,
        engine=engine,
        max_iterations=None if max_iterations is None else int(max_iterations),
        start=given_start,
        fixed=given_fixed,
        ties=given_ties,
        missing=missing,
    )
    tied = tied_parameters(model, given_ties or {})
    if algorithm != "ai" and tied.tied.any():
        raise ModelError("EM has no step for tied parameters.", hint="Fit them with algorithm='ai'.")
    held = given_values(model, fixed or {}, what="fixed")
    theta = start_theta(model, start, held, tied)
    if algorithm != "ai" and bool((theta == 0).all()) and model.n_theta:
        raise ModelError("EM cannot leave variances of zero.", hint="Start it from positive variances.")
    estimates = maximise(
        choose_engine(engine, model),
        theta,
        algorithm=algorithm,
        max_iterations=ALGORITHMS[algorithm] if max_iterations is None else max_iterations,
        free=free_mask(model, held, tied),
        ties=tied,
        on_iteration=on_iteration,
        start_sentence="Starting values as given." if start else "",
    )
    return MixedModelFit(specification, design, estimates, time.perf_counter() - began)


def check_options(
    *,
    method: Any,
    algorithm: Any,
    engine: Any,
    missing: Any,
    device: Any = "cpu",
    residual: Any = None,
    max_iterations: Any = None,
    start: Any = None,
    fixed: Any = None,
    ties: Any = None,
    on_iteration: Any = None,
) -> None:
    """Refuse options that are not known or of the wrong type, before anything is computed."""
    for name, value, known in (
        ("method", method, tuple(METHODS)),
        ("algorithm", algorithm, tuple(ALGORITHMS)),
        ("engine", engine, ENGINES),
        ("missing", missing, MISSING),
        ("device", device, DEVICES),
    ):
        if not isinstance(value, str) or value not in known:
            raise ModelError(f"{name}={value!r} is not known.", hint=f"Choose one of {', '.join(known)}.")
    if residual is not None and not isinstance(residual, str):
        raise ModelError(f"residual={residual!r} is not a text.", hint='Write such as "ar1(row):ar1(col) + id(units)".')
    if max_iterations is not None and (
        isinstance(max_iterations, bool) or not isinstance(max_iterations, int | np.integer) or max_iterations < 0
    ):
        raise ModelError(
            f"max_iterations={max_iterations!r} is not a number of iterations.", hint="Give a whole number such as 100."
        )
    for name, given in {"start": start, "fixed": fixed}.items():
        if given is not None and not (isinstance(given, Mapping) and all(isinstance(key, str) for key in given)):
            raise ModelError(
                f"{name}={given!r} does not name its parameters.", hint='Give a dictionary such as {"gen": 0.4}.'
            )
    if ties is not None and not (isinstance(ties, Mapping) and all(isinstance(key, str) for key in ties)):
        raise ModelError(
            f"ties={ties!r} does not say which parameter follows which.",
            hint='Give a dictionary such as {"b.variance": "2 * a.variance"}.',
        )
    if on_iteration is not None and not callable(on_iteration):
        raise ModelError(f"on_iteration={on_iteration!r} cannot be called.", hint="Give a function of one TraceRow.")


def load(path: str | Path) -> MixedModelFit:
    """Read a fit that ``fit.save`` wrote.

    The rows and the estimates come from the file; everything else is computed from them again.

    Parameters
    ----------
    path : str, Path or open binary file

    Raises
    ------
    DataError
        When the file is no saved fit, is damaged, or its rows do not give the criterion it states.
    """
    saved = storage.read(path)
    record = saved.record
    specification = Specification(**record["specification"])
    theta = torch.tensor(record["theta"], dtype=torch.float64)
    free = np.array(record["free"], dtype=bool)
    trace = tuple(TraceRow(**row) for row in record["trace"])
    spec, stated = specification, float(record["criterion"])
    try:
        check_options(method=spec.method, algorithm=spec.algorithm, engine=spec.engine, missing=spec.missing)
        design, model = build_model(
            spec.formula,
            saved.rows,
            residual=spec.residual,
            relationship={name: Relationship(*parts) for name, parts in saved.relationships.items()},
            method=spec.method,
            weights=spec.weights,
            offset=spec.offset,
            contrasts=spec.contrasts,
            start=spec.start,
            fixed=spec.fixed,
            ties=spec.ties,
            missing="error",  # the rows are complete; those dropped before are only counted
        )
        tied = tied_parameters(model, spec.ties or {})
        moved = free_mask(model, given_values(model, spec.fixed or {}, what="fixed"), tied)
    except ModelError as error:
        raise _damaged(path, error.message) from None
    if len(theta) != model.n_theta or len(free) != model.n_theta:
        raise _damaged(path, "its estimates do not belong to its formula.")
    if bool((free != moved).any()) or not torch.allclose(tied.follow(theta), theta):
        raise _damaged(path, "its estimates do not keep what was held and tied.")
    if any(len(row.parameters) != len(model.parameter_names) for row in trace):
        raise _damaged(path, "its trace does not belong to its formula.")
    engine = choose_engine(spec.engine, model)
    try:
        at = engine.evaluate(theta)
    except (NotPositiveDefinite, torch.linalg.LinAlgError):
        raise _damaged(path, "its estimates are no variances.") from None
    if not math.isclose(at.criterion, stated, rel_tol=1e-7, abs_tol=1e-6):
        raise _damaged(path, f"it states a criterion of {stated:.6f}, its rows give {at.criterion:.6f}.")
    estimates = Estimates(engine, at, free, tied, record["converged"], record["message"], trace)
    design = replace(design, n_dropped=record["n_dropped"], warnings=tuple(record["notes"]))
    return MixedModelFit(specification, design, estimates, float(record["seconds"]))


def _damaged(path: Any, why: str) -> DataError:
    return DataError(f"{storage.name_of(path)} is damaged: {why}", hint="Fit the model again and save it.")


def _plain(given: Any) -> Any:
    """The user's values as JSON types, for the saved file."""
    if isinstance(given, Mapping):
        return {key: _plain(value) for key, value in given.items()}
    if hasattr(given, "to_numpy"):
        given = given.to_numpy()
    if hasattr(given, "tolist"):
        return given.tolist()
    return [_plain(value) for value in given] if isinstance(given, list | tuple) else given
