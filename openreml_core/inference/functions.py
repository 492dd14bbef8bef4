"""Functions of the variance parameters, with standard errors by the delta method: Var f(phi^) = g' Cov(phi^) g, g = df / dphi.

Cov(phi^) is the inverse of the average information. Parameters that are held, or are estimated on a boundary, count as known.
Derivatives of written expressions are exact: values and gradients are carried through the arithmetic together. Functions of the
fitted equations (heritability.py) are moved parameter by parameter, at the estimates; nothing is fitted again.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from scipy import stats

from openreml_core.engines import Evaluation, NotPositiveDefinite
from openreml_core.errors import FormulaError
from openreml_core.inference.components import UNKNOWN, NaturalEstimates
from openreml_core.notation.arithmetic import Arithmetic, parse_arithmetic
from openreml_core.reml import Estimates

#: Step of the differences of functions of the equations, in units of a parameter.
STEP = 1e-4


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """How the natural parameters vary.

    Attributes
    ----------
    covariance : array of shape (m, m)
        Zero for what counts as known.
    unknown : bool array of shape (m,)
        Parameters about which the data say nothing: what depends on them has no standard error.
    """

    covariance: np.ndarray
    unknown: np.ndarray

    @classmethod
    def of(cls, natural: NaturalEstimates) -> Uncertainty:
        """From the estimates' own covariance, which is NaN for what lies on a boundary, is held or is not identified."""
        nothing = {name: bound == UNKNOWN for name, bound in zip(natural.names, natural.bounds, strict=True)}
        unknown = [
            nothing[name] or (bound.startswith("tied to ") and nothing.get(_leader(bound), False))
            for name, bound in zip(natural.names, natural.bounds, strict=True)
        ]
        return cls(np.nan_to_num(natural.covariance, nan=0.0), np.array(unknown, dtype=bool))

    def errors(self, gradient: np.ndarray) -> np.ndarray:
        """Standard errors (f,) of functions with gradients (f, m); NaN where one depends on what is unknown."""
        out = np.sqrt(np.clip(np.einsum("fk,kl,fl->f", gradient, self.covariance, gradient), 0.0, None))
        return np.where((np.abs(gradient[:, self.unknown]) > 0).any(axis=1), np.nan, out)


def _leader(bound: str) -> str:
    """The parameter that a tied one follows, from its mark."""
    name = bound.removeprefix("tied to ")
    return name.partition(" * ")[2] or name


@dataclass(frozen=True, eq=False)
class Dual:
    """A number and its gradient."""

    value: float
    gradient: np.ndarray


def function_table(
    expressions: Mapping[str, str],
    parameters: Mapping[str, float],
    alias: Mapping[str, str],
    natural: NaturalEstimates,
    level: float,
) -> pd.DataFrame:
    """The table of ``fit.function``: a row per expression.

    Parameters
    ----------
    expressions : mapping of str to str
    parameters : mapping of str to float
        Every name that an expression may hold, and its value.
    alias : mapping of str to str
        Other names for some of them.
    natural : NaturalEstimates
    level : float

    Returns
    -------
    DataFrame
        estimate, std_error, lower, upper; ``attrs["covariance"]`` is that of the estimates.

    Raises
    ------
    FormulaError
        What is no arithmetic, an unknown name, or a value that is no number.
    """
    place = {name: j for j, name in enumerate(natural.names)}
    known = Uncertainty.of(natural)
    duals = []
    for text in expressions.values():
        read = parse_arithmetic(text, (*parameters, *alias))
        read = replace(read, names=tuple(alias.get(name, name) for name in read.names))
        duals.append(_evaluate(read, parameters, place, len(natural.names)))
    estimate = np.array([d.value for d in duals])
    gradient = np.stack([d.gradient for d in duals]) if duals else np.zeros((0, len(place)))
    error = known.errors(gradient)
    half = stats.norm.ppf(0.5 + level / 2) * error
    table = pd.DataFrame(
        {"estimate": estimate, "std_error": error, "lower": estimate - half, "upper": estimate + half},
        index=pd.Index(list(expressions), name="function"),
    )
    names = list(expressions)
    table.attrs["covariance"] = pd.DataFrame(gradient @ known.covariance @ gradient.T, index=names, columns=names)
    table.attrs["level"] = level
    return table


def _evaluate(read: Arithmetic, parameters: Mapping[str, float], place: Mapping[str, int], size: int) -> Dual:
    leaves = {}
    for j, name in enumerate(read.names):
        gradient = np.zeros(size)
        if name in place:
            gradient[place[name]] = 1.0
        leaves[f"v{j}"] = Dual(float(parameters[name]), gradient)
    try:
        with np.errstate(all="ignore"):
            out = _dual(read.tree, leaves, size)
    except RecursionError:
        raise FormulaError("The expression is nested too deeply.", hint="Compute it in steps.") from None
    if not np.isfinite(out.value) or not np.isfinite(out.gradient).all():
        raise FormulaError(
            f"'{read.text}' has no value or no derivative at the estimates.",
            hint="It divides by zero, or takes a root or a logarithm of what is not positive.",
        )
    return out


def _dual(node: ast.expr, leaves: Mapping[str, Dual], size: int) -> Dual:
    if isinstance(node, ast.Constant):
        return Dual(float(str(node.value)), np.zeros(size))
    if isinstance(node, ast.Name):
        if node.id not in leaves:
            raise FormulaError(f"'{node.id}' is a function.", hint=f"Write such as {node.id}(gen.variance).")
        return leaves[node.id]
    if isinstance(node, ast.UnaryOp):
        a = _dual(node.operand, leaves, size)
        return a if isinstance(node.op, ast.UAdd) else Dual(-a.value, -a.gradient)
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        a = _dual(node.args[0], leaves, size)
        value, slope = {
            "sqrt": lambda v: (np.sqrt(v), 0.5 / np.sqrt(v)),
            "exp": lambda v: (np.exp(v), np.exp(v)),
            "log": lambda v: (np.log(v), 1 / v),
        }[node.func.id](np.float64(a.value))
        return Dual(value, _times(slope, a.gradient))
    assert isinstance(node, ast.BinOp)
    a, b = _dual(node.left, leaves, size), _dual(node.right, leaves, size)
    x, y = np.float64(a.value), np.float64(b.value)
    if isinstance(node.op, ast.Add):
        return Dual(x + y, a.gradient + b.gradient)
    if isinstance(node.op, ast.Sub):
        return Dual(x - y, a.gradient - b.gradient)
    if isinstance(node.op, ast.Mult):
        return Dual(x * y, _times(y, a.gradient) + _times(x, b.gradient))
    if isinstance(node.op, ast.Div):
        return Dual(x / y, _times(1 / y, a.gradient) - _times(x / y**2, b.gradient))
    return Dual(x**y, _times(y * x ** (y - 1), a.gradient) + _times(x**y * np.log(x), b.gradient))


def _times(slope: float, gradient: np.ndarray) -> np.ndarray:
    """A slope times a gradient, nothing where the gradient is zero whatever the slope."""
    return np.where(gradient == 0, 0.0, slope * gradient)


# -- functions of the equations -----------------------------------------------------------------------------------


def evaluate_at(estimates: Estimates, values: np.ndarray) -> Evaluation:
    """The model at given natural parameters.

    Where the residual variance is profiled out an engine takes the one that is best for theta, not the one in ``values``: what
    is proportional to it has to be taken relative to ``sigma2`` of the evaluation.

    Raises
    ------
    ValueError
        Values that are no covariance.
    """
    model = estimates.engine.model
    sigma2 = float(values[-1]) if model.profiled else 1.0
    parts, start = [], 0
    for component in model.components:
        natural = component.structure.natural
        scales = np.array([sigma2**-q.degree for q in natural])
        own = values[start : start + len(natural)] * scales
        parts.append(component.structure.from_natural(torch.from_numpy(own)))
        start += len(natural)
    try:
        return estimates.engine.evaluate(model.join(parts))
    except (NotPositiveDefinite, torch.linalg.LinAlgError):
        raise ValueError("V is not positive definite") from None


def moved(
    estimates: Estimates, natural: NaturalEstimates, function: Callable[[Evaluation], np.ndarray], count: int
) -> np.ndarray:
    """d function / d natural parameters, (f, m), by central differences; NaN where a step leads out of their domain.

    Parameters
    ----------
    estimates : Estimates
    natural : NaturalEstimates
    function : callable
        Of an evaluation, in numbers that do not depend on its ``sigma2``; gives (f,) of them.
    count : int
        f.
    """
    gradient = np.zeros((count, len(natural.values)))
    for j, value in enumerate(natural.values):
        if not np.isfinite(natural.covariance[j, j]):
            continue
        step = STEP * abs(value) if value else STEP
        try:
            ends = []
            for sign in (1, -1):
                values = natural.values.copy()
                values[j] += sign * step
                ends.append(function(evaluate_at(estimates, values)))
            gradient[:, j] = (ends[0] - ends[1]) / (2 * step)
        except ValueError:
            gradient[:, j] = np.nan
    return gradient
