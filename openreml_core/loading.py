"""``load``: a saved fit, its rows and estimates read, everything else computed from them again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from openreml_core import storage
from openreml_core.assembly import build_model
from openreml_core.destination import name_of
from openreml_core.engines import Engine, NotPositiveDefinite, choose_engine, engine_of_products
from openreml_core.errors import DataError, ModelError
from openreml_core.estimating import check_options
from openreml_core.fitted import Again, FitWithoutRows, MixedModelFit, Specification
from openreml_core.fitting import fit
from openreml_core.relationship import Relationship
from openreml_core.reml import Estimates, TraceRow
from openreml_core.reml.start import free_mask, given_values
from openreml_core.reml.ties import tied_parameters
from openreml_core.streaming import Reading, reading_of


def load(path: str | Path | IO[bytes]) -> MixedModelFit:
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
    gone = tuple((label, reason) for label, reason in specification.excluded)
    specification = replace(specification, excluded=gone)
    theta = torch.tensor(record["theta"], dtype=torch.float64)
    free = np.array(record["free"], dtype=bool)
    trace = tuple(TraceRow(**row) for row in record["trace"])
    spec, stated = specification, float(record["criterion"])
    try:
        check_options(method=spec.method, algorithm=spec.algorithm, engine=spec.engine, missing=spec.missing)
        matrices = {name: Relationship(*parts) for name, parts in saved.relationships.items()}
        options: dict[str, Any] = dict(
            residual=spec.residual,
            relationship=matrices,
            method=spec.method,
            weights=spec.weights,
            offset=spec.offset,
            contrasts=spec.contrasts,
            fixed=spec.fixed,
            ties=spec.ties,
        )
        reading = _read_again(path, saved, spec, matrices) if "portions" in record else None
        design, model = (
            (reading.design, reading.model)
            if reading
            else build_model(spec.formula, saved.rows, **options, start=spec.start, missing="error")
        )  # the rows are complete; those dropped before are only counted
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
    engine: Engine = (
        engine_of_products(spec.engine, model, reading.cross) if reading else choose_engine(spec.engine, model)
    )
    try:
        at = engine.evaluate(theta)
    except (NotPositiveDefinite, torch.linalg.LinAlgError):
        raise _damaged(path, "its estimates are no variances.") from None
    if not math.isclose(at.criterion, stated, rel_tol=1e-7, abs_tol=1e-6):
        raise _damaged(path, f"it states a criterion of {stated:.6f}, its rows give {at.criterion:.6f}.")
    estimates = Estimates(engine, at, free, tied, record["converged"], record["message"], trace)
    design = replace(design, n_dropped=record["n_dropped"], warnings=tuple(record["notes"]))
    if reading:
        return FitWithoutRows(specification, replace(reading, design=design), estimates, float(record["seconds"]))
    again = Again(
        fit,
        saved.rows,
        dict(
            **options,
            algorithm=spec.algorithm,
            engine=spec.engine,
            start=None,
            max_iterations=spec.max_iterations,
            device="cpu",
            missing=spec.missing,
            exclude=None,  # they are not among the rows of the file
        ),
        gone,
    )
    return MixedModelFit(specification, design, estimates, float(record["seconds"]), again)


def _read_again(
    path: Any, saved: storage.SavedFit, specification: Specification, matrices: Mapping[str, Relationship]
) -> Reading:
    """What a file keeps of rows that were read in portions."""
    try:
        return reading_of(saved.record["portions"], saved.rows, saved.tables, matrices, specification)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise _damaged(path, f"what it keeps of the rows is not whole ({type(error).__name__}).") from None


def _damaged(path: Any, why: str) -> DataError:
    return DataError(f"{name_of(path)} is damaged: {why}", hint="Fit the model again and save it.")
