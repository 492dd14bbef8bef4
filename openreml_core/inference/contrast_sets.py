"""Sets of contrasts between means, by name or as a user writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from openreml_core.design.contrasts import polynomial_scores
from openreml_core.errors import ModelError, did_you_mean
from openreml_core.inference.means import pair_weights

METHODS = ("pairwise", "control", "poly", "mean", "consecutive", "helmert")
#: Other names that people know.
_ALIASES = {
    "trt.vs.ctrl": "control",
    "dunnett": "control",
    "polynomial": "poly",
    "tukey": "pairwise",
    "pairs": "pairwise",
    "eff": "mean",
    "consec": "consecutive",
}
_DEGREES = ("linear", "quadratic", "cubic", "quartic")


def contrast_set(
    method: Any, labels: Sequence[str], *, control: Any = None, scores: Sequence[float] | None = None
) -> dict[str, np.ndarray]:
    """Contrasts of the means called ``labels``: name -> weights (c,).

    Parameters
    ----------
    method : str, mapping, DataFrame or array
        ``"pairwise"``, ``"control"`` (differences from one level), ``"poly"`` (orthogonal polynomials of degree up to 4),
        ``"mean"`` (differences from the mean of all), ``"consecutive"`` (each from the one before), ``"helmert"`` (each from the
        mean of those before); weights by name; a row of weights per contrast.
    labels : sequence of c str
    control : label or place counted from 0, optional
        The first by default.
    scores : sequence of c float, optional
        What polynomials are of; 1 to c by default.

    Raises
    ------
    ModelError
    """
    c = len(labels)
    if not isinstance(method, str):
        return _custom(method, labels)
    name = _ALIASES.get(method.lower(), method.lower())
    if name not in METHODS:
        raise ModelError(
            f"contrast={method!r} is not known.", hint=f"Choose one of {', '.join(METHODS)}, or give weights."
        )
    if c < 2:
        raise ModelError("There is one mean only: nothing to compare.", hint="Name a factor with several levels.")
    eye = np.eye(c)
    if name == "pairwise":
        return pair_weights(labels)
    if name == "control":
        base = _place(control, labels)
        return {f"{labels[i]} - {labels[base]}": eye[i] - eye[base] for i in range(c) if i != base}
    if name == "poly":
        weights = polynomial_scores(np.arange(1.0, c + 1) if scores is None else np.asarray(scores, dtype=float))
        return {name: _whole(row) for name, row in zip(_DEGREES, weights.T, strict=False)}
    if name == "mean":
        return {f"{label} effect": eye[i] - 1 / c for i, label in enumerate(labels)}
    if name == "consecutive":
        return {f"{labels[i]} - {labels[i - 1]}": eye[i] - eye[i - 1] for i in range(1, c)}
    before = [np.where(np.arange(c) < i, 1 / i, 0.0) for i in range(1, c)]
    return {f"{labels[i + 1]} - mean before": eye[i + 1] - row for i, row in enumerate(before)}


def _whole(weights: np.ndarray) -> np.ndarray:
    """The weights as the smallest whole numbers in their proportion, as tables print them, where there are such."""
    least = np.abs(weights)[np.abs(weights) > 1e-9].min()
    for times in range(1, 61):
        tried = weights / least * times
        if np.abs(tried - np.round(tried)).max() < 1e-6:
            return np.round(tried)
    return weights


def _place(control: Any, labels: Sequence[str]) -> int:
    if control is None:
        return 0
    if str(control) in labels:
        return list(labels).index(str(control))
    if (
        isinstance(control, int | np.integer)
        and not isinstance(control, bool)
        and -len(labels) <= control < len(labels)
    ):
        return int(control) % len(labels)
    hint = did_you_mean(str(control), labels).replace("The columns are", "The levels are")
    raise ModelError(f"control={control!r} is none of the means.", hint=hint)


def _custom(given: Any, labels: Sequence[str]) -> dict[str, np.ndarray]:
    if isinstance(given, Mapping):
        return {str(name): _weights(name, row, labels) for name, row in given.items()}
    names = None
    if isinstance(given, pd.DataFrame):
        names, given = [str(name) for name in given.index], given.to_numpy()
    rows = np.atleast_2d(np.asarray(given, dtype=object))
    return {
        (names[i] if names else f"contrast {i + 1}"): _weights(names[i] if names else i + 1, row, labels)
        for i, row in enumerate(rows)
    }


def _weights(name: Any, row: Any, labels: Sequence[str]) -> np.ndarray:
    """Weights as given in a row, or by label with zero for the rest."""
    if isinstance(row, Mapping):
        out = dict.fromkeys(labels, 0.0)
        for label, weight in row.items():
            if str(label) not in out:
                hint = did_you_mean(str(label), labels).replace("The columns are", "The means are")
                raise ModelError(f"Contrast *{name}* names '{label}', which is none of the means.", hint=hint)
            out[str(label)] = weight
        row = list(out.values())
    try:
        weights = np.asarray(row, dtype=np.float64)
    except (TypeError, ValueError):
        raise ModelError(f"Contrast *{name}* is not made of numbers.", hint="Give a weight per mean.") from None
    if weights.shape != (len(labels),) or not np.isfinite(weights).all():
        raise ModelError(
            f"Contrast *{name}* has {weights.size} weights; there are {len(labels)} means: {', '.join(labels[:8])}"
            f"{', ...' if len(labels) > 8 else ''}.",
            hint="Give a number for each, or a dictionary of those that count.",
        )
    return weights
