"""The file of a fit: JSON, arrays and a table of trials in one zip; nothing in it can be run."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from openreml_core.destination import name_of, put
from openreml_core.errors import DataError
from openreml_core.hierarchical.subjects import Subjects

FORMAT, VERSION = "openreml-hierarchical", 1
ARRAYS = ("at", "value", "gradient", "information")
_AGAIN = "Fit the model again and save it."
_PLACE = "subject_place_"


def described(model: Any) -> dict[str, Any]:
    """A model as a file names it: a library model with its settings, another one by its parameters."""
    if hasattr(model, "settings"):
        return {"library": type(model).__name__, "settings": model.settings()}
    return {"library": None, "name": model.name, "parameters": [p.name for p in model.parameters]}


def fingerprint(subjects: Subjects) -> str:
    """A digest of subjects and the trials that the model reads."""
    digest = hashlib.sha256()
    for name, table in zip(subjects.names, subjects.tables, strict=True):
        digest.update(repr((str(name), len(table))).encode())
        for column in subjects.columns:
            values = table[column].to_numpy()
            try:
                digest.update(np.ascontiguousarray(values, dtype=np.float64).tobytes())
            except (TypeError, ValueError):
                digest.update(repr(values.tolist()).encode())
    return digest.hexdigest()


def write(path: Any, fit: Any) -> None:
    """Write a fit to a path or an open binary file."""
    v = fit.visit
    record = {
        "format": FORMAT,
        "version": VERSION,
        "model": described(fit.model),
        "options": fit.options,
        "names": [_plain(n) for n in fit.data.names],
        "first_status": list(fit.data.status),
        "status": list(fit.status),
        "columns": list(fit.data.columns),
        "places": fit.places,
        "terms": list(fit.terms),
        "converged": fit.converged,
        "message": fit.message,
        "warnings": list(fit.warnings),
        "trace": [asdict(row) for row in fit.rows],
        "data": fingerprint(fit.data),
    }
    arrays = {name: getattr(v.modes, name).numpy() for name in ARRAYS}
    arrays |= {"weights": v.weights.numpy(), "tangent": v.tangent.numpy(), "evidence": v.evidence.numpy()}
    arrays |= {"coefficients": v.group.coefficients.numpy(), "scale": v.group.scale.numpy()}
    arrays["covariates"] = fit.covariates.numpy()
    packed, part, trials = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(part, **arrays)
    _trials(fit.data).to_parquet(trials)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("fit.json", json.dumps(record, ensure_ascii=False, default=_plain))
        archive.writestr("arrays.npz", part.getvalue())
        archive.writestr("trials.parquet", trials.getvalue())
    put(path, packed.getvalue())


def read(path: Any) -> tuple[dict[str, Any], dict[str, np.ndarray], list[pd.DataFrame]]:
    """Record, arrays and the trials of each subject.

    Raises
    ------
    DataError
        When the file is missing, is no saved fit, is damaged, or was written by a later version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            record = json.loads(archive.read("fit.json").decode("utf-8"))
            if record.get("format") != FORMAT:
                raise DataError(f"{name_of(path)} is not a saved hierarchical fit.", hint="Choose a file of fit.save.")
            if not isinstance(record.get("version"), int) or record["version"] > VERSION:
                raise DataError(
                    f"{name_of(path)} was written by a later version.", hint="Update this program to open it."
                )
            with np.load(io.BytesIO(archive.read("arrays.npz")), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            trials = pd.read_parquet(io.BytesIO(archive.read("trials.parquet")))
        tables = [pd.DataFrame(columns=trials.columns.drop(_PLACE))] * len(record["names"])
        for place, part in trials.groupby(_PLACE, sort=False):
            tables[int(place)] = part.drop(columns=_PLACE).reset_index(drop=True)
        _check(record, arrays)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"There is no file {name_of(path)}.", hint="Check the path.") from None
    except Exception as error:  # zip, JSON, NumPy and Parquet fail in many ways; all of them mean the same to the user
        raise DataError(
            f"{name_of(path)} is not a saved hierarchical fit, or is damaged ({type(error).__name__}).", hint=_AGAIN
        ) from None
    return record, arrays, tables


def _check(record: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    n, (q, d) = len(record["places"]), arrays["coefficients"].shape
    shapes = {"at": (n, d), "value": (n,), "gradient": (n, d), "information": (n, d, d), "evidence": (n,)}
    shapes |= {"scale": (d, d), "covariates": (n, q)}
    for name, shape in shapes.items():
        if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} has another shape, or holds what is no number")
    if len(record["status"]) != len(record["names"]) or len(record["terms"]) != q or not record["trace"]:
        raise ValueError("the lists differ in length")


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _trials(subjects: Subjects) -> pd.DataFrame:
    """All trials, a column of the subject's place; what neither the model reads nor is a number stays behind."""
    parts = []
    for place, table in enumerate(subjects.tables):
        keep = [c for c in table if c in subjects.columns or pd.api.types.is_numeric_dtype(table[c])]
        part = table[keep].copy()
        part.columns = part.columns.map(str)
        part[_PLACE] = place
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
