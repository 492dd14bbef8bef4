"""The record of a fit: what goes into its JSON, and whether what comes out of it is whole."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from openreml_core.covariance import KnownInverse

#: Columns of a saved fit that hold weights and offset given as numbers.
OWN_WEIGHTS, OWN_OFFSET = "(weights)", "(offset)"

#: Labels, and K (q, q) or K^-1, the other None.
Relation = tuple[tuple[str, ...], np.ndarray | None, sparse.csr_array | None]

_TEXTS = ("formula", "method", "algorithm", "engine", "missing")
_OPTIONAL_TEXTS = ("residual", "weights", "offset")
_TRACE_NUMBERS = ("criterion", "change", "gradient", "radius", "ratio", "seconds")


class Damaged(Exception):
    """Why a record cannot be what was saved: the end of a sentence "... is damaged: ..."."""


def record_of(fit: Any) -> dict[str, Any]:
    """The record of a fit, in JSON's types."""
    at = fit.estimates.at
    return {
        "specification": asdict(fit.specification),
        "theta": at.theta.tolist(),
        "free": fit.estimates.free.tolist(),
        "criterion": at.criterion,
        "converged": bool(fit.converged),
        "message": fit.message,
        "seconds": fit.seconds,
        "n_dropped": fit.n_dropped,
        "notes": list(fit.design.warnings),
        "trace": [asdict(row) for row in fit.estimates.rows],
    }


def stored_rows(fit: Any) -> pd.DataFrame:
    """The rows that a fit used, weights and offset given as numbers beside them."""
    design, rows = fit.design, fit.design.frame.copy()
    if fit.specification.weights == OWN_WEIGHTS:
        rows[OWN_WEIGHTS] = design.weights
    if fit.specification.offset == OWN_OFFSET:
        rows[OWN_OFFSET] = design.offset - design.offset_vector(design.frame)
    return rows


def relationships_of(fit: Any) -> dict[str, Relation]:
    """Labels of every relationship of a fit, by grouping factor, and its matrix, or its inverse where that alone is known."""
    out: dict[str, Relation] = {}
    for design, term in zip(fit.design.random, fit.estimates.engine.model.terms, strict=True):
        if isinstance(term.kernel, KnownInverse):
            given = term.kernel.given
            known = (None, term.kernel.inverse) if given is None else (given.numpy(), None)
            out[":".join(design.group)] = (term.levels, *known)
        elif term.kernel is not None:
            out[":".join(design.group)] = (term.levels, term.kernel.numpy(), None)
    return out


def check_record(record: dict[str, Any]) -> None:
    """Refuse a record that lacks an entry, or holds one of another type than was saved.

    Raises
    ------
    Damaged
        Names the entry.
    """
    _require(_all(record.get("theta"), _is_number), "its theta is no list of numbers")
    _require(
        _all(record.get("free"), lambda v: type(v) is bool), "its list of free parameters is no list of yes and no"
    )
    _require(_is_number(record.get("criterion")), "its criterion is no number")
    _require(type(record.get("converged")) is bool, "it does not say whether the fit converged")
    _require(type(record.get("message")) is str, "its message is no text")
    seconds = record.get("seconds")
    _require(_is_float(seconds) and not float(seconds) < 0, "its time in seconds is no positive number")  # type: ignore[arg-type]
    _require(_is_count(record.get("n_dropped")), "its number of dropped rows is no count")
    record.setdefault("notes", [])
    _require(_all(record["notes"], lambda v: type(v) is str), "its notes are no texts")
    record.setdefault("relationships", [])
    _require(_all(record["relationships"], lambda v: type(v) is str), "its list of relationships is no list of names")
    record.setdefault("factors", {})
    _require(
        type(record["factors"]) is dict
        and all(_all(v, lambda level: type(level) in (int, float, bool)) for v in record["factors"].values()),
        "its factors are no lists of levels",
    )
    _check_specification(record.get("specification"))
    trace = record.get("trace")
    _require(type(trace) is list and bool(trace), "its trace is empty")
    for place, row in enumerate(trace):  # type: ignore[arg-type]
        _check_trace_row(row, place)


def _check_specification(found: Any) -> None:
    _require(type(found) is dict and "formula" in found, "it has no specification")
    known = {*_TEXTS, *_OPTIONAL_TEXTS, "contrasts", "max_iterations", "start", "fixed", "ties", "excluded"}
    for name, value in found.items():
        what = f"*{name}* of its specification is {str(value)[:40]!r}"
        if name in _TEXTS:
            _require(type(value) is str, what)
        elif name in _OPTIONAL_TEXTS:
            _require(value is None or type(value) is str, what)
        elif name == "contrasts":
            _require(type(value) is dict and all(map(_is_contrast, value.values())), what)
        elif name == "ties":
            _require(value is None or (type(value) is dict and all(type(text) is str for text in value.values())), what)
        elif name == "excluded":
            _require(_all(value, _is_exclusion), what)
        elif name == "max_iterations":
            _require(value is None or _is_count(value), what)
        else:
            _require(name in known, f"its specification has an option *{name[:40]}*, which does not exist")
            _require(value is None or (type(value) is dict and all(map(_is_value, value.values()))), what)


def _check_trace_row(row: Any, place: int) -> None:
    what = f"row {place} of its trace is not what a fit writes"
    names = {"iteration", "step", "sentence", "parameters", *_TRACE_NUMBERS}
    _require(type(row) is dict and set(row) == names, what)
    _require(_is_count(row["iteration"]) and all(_is_float(row[name]) for name in _TRACE_NUMBERS), what)
    _require(type(row["step"]) is str and type(row["sentence"]) is str and type(row["parameters"]) is dict, what)
    _require(all(map(_is_float, row["parameters"].values())), what)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Damaged(otherwise)


def _is_float(value: Any) -> bool:
    """Whether a value is a number that fits a float; infinite and undefined ones are."""
    return type(value) is float or (type(value) is int and abs(value) < 10**300)


def _is_number(value: Any) -> bool:
    return _is_float(value) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_contrast(value: Any) -> bool:
    """Whether a value is a contrast's name, or a matrix with names of its columns and levels."""
    if type(value) is str:
        return True
    if type(value) is not dict or not {"matrix"} <= set(value) <= {"matrix", "names", "levels"}:
        return False
    texts = (value.get(name, []) for name in ("names", "levels"))
    return _is_value(value["matrix"]) and all(_all(text, lambda t: type(t) is str) for text in texts)


def _is_exclusion(value: Any) -> bool:
    """Whether a value is the label of a row and the reason why it was left out."""
    return type(value) is list and [type(v) in (int, str) for v in value] == [True, True] and type(value[1]) is str


def _is_value(value: Any, depth: int = 2) -> bool:
    """Whether a value is a number, or a list or matrix of them; numbers may stand in text."""
    if type(value) is list:
        return depth > 0 and all(_is_value(v, depth - 1) for v in value)
    return _is_number(value) or (type(value) is str and len(value) < 100)


def _all(values: Any, holds: Any) -> bool:
    return type(values) is list and all(map(holds, values))
