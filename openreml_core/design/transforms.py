"""What the functions of a formula compute.

Functions that work element by element are plain numpy. The learned ones (`poly`, `bs`, `ns`, `center`, `scale`) find
their constants in the data of the fit and keep them, so that new data are put on the same basis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.interpolate import BSpline

from openreml_core.errors import DataError, FormulaError
from openreml_core.notation.tokens import clean

State = dict[str, Any]
Options = Mapping[str, Any]


def _log(x: np.ndarray, base: float | None = None) -> np.ndarray:
    return np.log(x) if base is None else np.log(x) / np.log(base)


def _same(x: np.ndarray) -> np.ndarray:
    return x


ELEMENTWISE: dict[str, Callable[..., np.ndarray]] = {
    **dict.fromkeys(["I", "identity", "as.numeric", "numeric"], _same),
    "log": _log,
    **{
        name: getattr(np, name)
        for name in ["log1p", "log2", "log10", "sqrt", "exp", "expm1", "abs", "sin", "cos", "tan"]
    },
    **{
        name: getattr(np, name)
        for name in ["arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "floor", "round", "sign"]
    },
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "ceiling": np.ceil,
}


def center(x: np.ndarray, state: State, options: Options) -> np.ndarray:
    """Return x - mean(x)."""
    return x - state.setdefault("center", float(np.mean(x)))


def scale(x: np.ndarray, state: State, options: Options) -> np.ndarray:
    """Return (x - mean(x)) / sd(x); without centring, R divides by the root mean square."""
    if not state:
        state["center"] = float(np.mean(x)) if options.get("center", True) else 0.0
        rest = x - state["center"]
        state["scale"] = float(np.sqrt(np.sum(rest**2) / max(len(x) - 1, 1))) if options.get("scale", True) else 1.0
    if state["scale"] == 0.0:
        raise DataError("scale() cannot divide: the column is constant.")
    return (x - state["center"]) / state["scale"]


def poly(x: np.ndarray, state: State, options: Options) -> np.ndarray:
    """Return orthonormal polynomials of degree 1 ... `degree`, by the three-term recurrence, as R's ``poly``.

    Parameters
    ----------
    x : float64 array of shape (n,)
    state : dict
    options : dict
        ``degree`` (1) and ``raw`` (False: plain powers).

    Returns
    -------
    float64 array of shape (n, degree)
    """
    degree = _whole(options.get("degree", 1.0), "degree", "poly", 1, 30)
    if options.get("raw"):
        return np.column_stack([x**power for power in range(1, degree + 1)])
    learning = not state
    if learning:
        if len(np.unique(x)) <= degree:
            raise DataError(
                f"poly() of degree {degree} needs more than {degree} distinct values; there are {len(np.unique(x))}."
            )
        state.update(alpha=[], norm=[float(len(x))], middle=float(np.mean(x)), width=float(np.ptp(x)) or 1.0)
    t = (x - state["middle"]) / state["width"]
    previous, current = np.zeros_like(t), np.ones_like(t)
    columns = []
    for power in range(degree):
        if learning:
            state["alpha"].append(float(np.sum(t * current**2) / state["norm"][power]))
        beta = state["norm"][power] / state["norm"][power - 1] if power else 0.0
        previous, current = current, (t - state["alpha"][power]) * current - beta * previous
        if learning:
            state["norm"].append(float(np.sum(current**2)))
        columns.append(current / np.sqrt(state["norm"][power + 1]))
    return np.column_stack(columns)


def bs(x: np.ndarray, state: State, options: Options) -> np.ndarray:
    """Return the B-spline basis of R's ``bs``: knots at quantiles, the first column left out unless ``intercept``.

    Returns
    -------
    float64 array of shape (n, df)
    """
    degree = _whole(options.get("degree", 3.0), "degree", "bs", 1, 10)
    intercept = bool(options.get("intercept", options.get("include_intercept", False)))
    if not state:
        inner = _inner_knots(x, options, degree + intercept, "bs")
        state.update(inner=inner, **_ends(x, options, "bs"))
    _check_range(x, state, "bs")
    basis = _b_splines(x, state, degree)
    return basis if intercept else basis[:, 1:]


def ns(x: np.ndarray, state: State, options: Options) -> np.ndarray:
    """Return the natural cubic spline basis of R's ``ns``: B-splines whose second derivative is zero at both ends.

    Returns
    -------
    float64 array of shape (n, df)
    """
    intercept = bool(options.get("intercept", options.get("include_intercept", False)))
    if not state:
        inner = _inner_knots(x, options, 1 + intercept, "ns")
        state.update(inner=inner, **_ends(x, options, "ns"))
        ends = np.array([state["low"], state["high"]])
        curvature = _b_splines(ends, state, 3, derivative=2)
        q, _ = np.linalg.qr((curvature if intercept else curvature[:, 1:]).T, mode="complete")
        state["free"] = q[:, 2:]
    clipped = np.clip(x, state["low"], state["high"])
    basis = _b_splines(clipped, state, 3)
    outside = x - clipped
    if np.any(outside):
        basis = basis + outside[:, None] * _b_splines(clipped, state, 3, derivative=1)
    return (basis if intercept else basis[:, 1:]) @ state["free"]


def _cubic(name: str) -> Callable[[np.ndarray, State, Options], np.ndarray]:
    """Return formulaic's natural (``cr``) or cyclic (``cc``) cubic regression spline."""

    def spline(x: np.ndarray, state: State, options: Options) -> np.ndarray:
        from formulaic.transforms import cubic_spline

        function = cubic_spline.natural_cubic_spline if name == "cr" else cubic_spline.cyclic_cubic_spline
        asked = dict(options)
        if "df" in asked:
            asked["df"] = _whole(asked["df"], "df", name, 1, 200)
        try:
            found = function(x, _state=state, **asked)
        except (ValueError, KeyError, TypeError, np.linalg.LinAlgError) as error:
            raise DataError(f"{name}() cannot be built: {clean(str(error))}") from None
        columns = getattr(found, "__wrapped__", found)
        return np.column_stack([np.asarray(columns[key], dtype=np.float64) for key in columns])

    return spline


def _ends(x: np.ndarray, options: Options, name: str) -> dict[str, float]:
    """Return the boundary knots: the range of the column unless they are given."""
    low, high = float(np.min(x)), float(np.max(x))
    if "Boundary.knots" in options:
        given = sorted(options["Boundary.knots"])
        if len(given) != 2 or given[0] > low or given[1] < high:
            raise DataError(f"Boundary.knots of {name}() are two numbers around the range {low:g} to {high:g}.")
        low, high = given
    return {"low": low, "high": high}


def _inner_knots(x: np.ndarray, options: Options, least: int, name: str) -> list[float]:
    if np.ptp(x) == 0:
        raise DataError(f"{name}() cannot be built: the column is constant.")
    if "knots" in options:
        knots = sorted(options["knots"])
        if knots[0] <= np.min(x) or knots[-1] >= np.max(x):
            raise DataError(
                f"The knots of {name}() lie inside the range of the column, {np.min(x):g} to {np.max(x):g}."
            )
        return knots
    count = _whole(options.get("df", float(least)), "df", name, least, 200) - least
    return [float(np.quantile(x, place)) for place in np.linspace(0.0, 1.0, count + 2)[1:-1]]


def _b_splines(x: np.ndarray, state: State, degree: int, derivative: int = 0) -> np.ndarray:
    knots = np.array([state["low"]] * (degree + 1) + list(state["inner"]) + [state["high"]] * (degree + 1))
    spline = BSpline(knots, np.eye(len(knots) - degree - 1), degree)
    return (spline.derivative(derivative) if derivative else spline)(x)


def _check_range(x: np.ndarray, state: State, name: str) -> None:
    present = x[np.isfinite(x)]
    if len(present) and (present.min() < state["low"] or present.max() > state["high"]):
        raise DataError(
            f"{name}() was built on {state['low']:g} to {state['high']:g}; the new data go beyond.",
            hint="ns() goes on as a straight line beyond its data.",
        )


def _whole(value: float, option: str, name: str, least: int, most: int) -> int:
    if value != int(value) or not least <= value <= most:
        raise FormulaError(f"The {option} of {name}() is a whole number from {least} to {most}, not {value:g}.")
    return int(value)


LEARNED: dict[str, Callable[[np.ndarray, State, Options], np.ndarray]] = {
    "poly": poly,
    "bs": bs,
    "ns": ns,
    "cr": _cubic("cr"),
    "cc": _cubic("cc"),
    "center": center,
    "scale": scale,
    "standardize": scale,
}
