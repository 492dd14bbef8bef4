"""The slow way: any Python function of one subject's table, subjects in parallel by joblib.

A mode is found by L-BFGS-B (Byrd, Lu, Nocedal and Zhu 1995, SIAM J. Sci. Comput. 16, 1190-1208) and sharpened by Newton steps
with central differences, which also give the curvature. joblib's backend is the caller's choice:
``with joblib.parallel_config("dask"): fit(...)`` runs on a cluster.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor

from openreml_core.errors import ModelError
from openreml_core.hierarchical.parameters import Parameter
from openreml_core.hierarchical.posterior import Modes, Normals
from openreml_core.hierarchical.torch_likelihood import left_domain

Array = NDArray[np.float64]

#: Steps of first and second differences: the third and the fourth root of the rounding error, about.
FIRST, SECOND = 1e-5, 2e-4
SHARPENED = 12


@dataclass(frozen=True)
class OneSubject:
    """The log-likelihood of one subject as a function of free parameters; it travels to other processes.

    Attributes
    ----------
    function : callable
        Of native parameters (all,) and the table.
    table : DataFrame
    parameters : tuple of Parameter
    free : tuple of int
    held : dict of int to float
    """

    function: Callable[[Array, pd.DataFrame], Any]
    table: pd.DataFrame
    parameters: tuple[Parameter, ...]
    free: tuple[int, ...]
    held: dict[int, float]

    def native(self, h: Array) -> Array:
        """Native values (all,) of a free point (d,)."""
        out = np.empty(len(self.parameters))
        for place, value in self.held.items():
            out[place] = value
        for place, value in zip(self.free, h, strict=True):
            out[place] = float(self.parameters[place].to_native(torch.tensor([value], dtype=torch.float64))[0])
        return out

    def __call__(self, h: Array) -> float:
        """log p(y | h); -inf where it is no number."""
        native = self.native(h)
        if not np.isfinite(native).all():
            return -np.inf
        return self._float(self.function(native, self.table))

    def _float(self, value: Any) -> float:
        array = np.asarray(value.detach() if isinstance(value, Tensor) else value)
        if array.ndim and array.size != 1:
            raise _WrongShape(f"the model returns an array of shape {array.shape}; one number is needed")
        try:
            number = float(array.reshape(()))
        except (TypeError, ValueError):
            raise _WrongShape(f"the model returns {type(value).__name__}; one number is needed") from None
        return number if not np.isnan(number) else -np.inf

    def gradient(self, h: Array) -> Array:
        """By central differences, (d,)."""
        steps = np.eye(len(h)) * FIRST
        return np.array([(self(h + s) - self(h - s)) / (2 * FIRST) for s in steps])

    def information(self, h: Array, value: float) -> Array:
        """Minus the second differences, (d, d)."""
        d = len(h)
        steps = np.eye(d) * SECOND
        out = np.empty((d, d))
        for j in range(d):
            out[j, j] = -(self(h + steps[j]) - 2 * value + self(h - steps[j])) / SECOND**2
            for k in range(j):
                four = [self(h + a * steps[j] + b * steps[k]) * a * b for a in (1, -1) for b in (1, -1)]
                out[j, k] = out[k, j] = -sum(four) / (4 * SECOND**2)
        return out


class _WrongShape(Exception):
    """A function gave something that is no number."""


@dataclass(frozen=True)
class Found:
    """What a worker sends back."""

    at: Array
    value: float
    gradient: Array
    information: Array
    trouble: str


def find(subject: OneSubject, start: Array, mean: Array, precision: Array, warm: bool) -> Found:
    """The mode of one subject's log posterior."""
    d = len(start)
    try:
        return _find(subject, start, mean, precision, warm)
    except _WrongShape as error:
        reason = str(error)
    except Exception as error:  # the user's function may raise anything; the other subjects go on
        text = str(error).strip().splitlines()
        reason = f"the model fails: {type(error).__name__}: {text[0] if text else 'no message'}"
    return Found(start, -np.inf, np.zeros(d), np.zeros((d, d)), reason)


def _find(subject: OneSubject, start: Array, mean: Array, precision: Array, warm: bool) -> Found:
    def posterior(h: Array) -> float:
        return subject(h) - 0.5 * float((h - mean) @ precision @ (h - mean))

    sd = 1 / np.sqrt(np.diag(precision))
    at, value = start, posterior(start)
    if not np.isfinite(value):
        at, value = _elsewhere(posterior, mean, sd)
    if not np.isfinite(value):
        return Found(start, -np.inf, 0 * start, 0 * precision, _reason(subject, start))
    if not warm:
        walled = 1e10 + abs(value)  # L-BFGS-B's line search takes no infinities
        result = optimize.minimize(
            lambda h: -v if np.isfinite(v := posterior(h)) else walled,
            at,
            method="L-BFGS-B",
            bounds=list(zip(mean - 12 * sd, mean + 12 * sd, strict=True)),
        )
        if -result.fun > value:
            at, value = result.x, -float(result.fun)
    damping = 0.0
    for _ in range(SHARPENED):
        own = subject(at)
        gradient, information = subject.gradient(at), subject.information(at, own)
        slope, hessian = gradient - precision @ (at - mean), information + precision
        if not (np.isfinite(slope).all() and np.isfinite(hessian).all()):
            return Found(at, -np.inf, 0 * slope, 0 * hessian, _reason(subject, at))
        values, vectors = np.linalg.eigh(hessian)
        upright = np.maximum(np.abs(values), 1e-6 * np.abs(values).max()) * (1 + damping)
        step = vectors @ ((vectors.T @ slope) / upright)
        gain = 0.5 * float(slope @ step)
        if gain < 1e-11 and values.min() > 0:
            break
        trial = posterior(at + step)
        if trial >= value - 1e-12 * abs(value):
            at, value, damping = at + step, trial, damping / 10
        else:
            damping = max(10 * damping, 1.0)
    trouble = ""
    if values.min() <= 0:
        trouble = "the log posterior has no maximum with curvature"
    elif not gain < 1e-4:
        trouble = "the search for its parameters did not end"
    return Found(at, own, gradient, information, trouble)


def _elsewhere(posterior: Callable[[Array], float], mean: Array, sd: Array) -> tuple[Array, float]:
    """Another place about the prior's mean where the posterior is finite, if there is one."""
    rng = np.random.default_rng(1)
    points = [mean, *(mean + rng.standard_normal((24, len(mean))) * sd)]
    values = [posterior(p) for p in points]
    best = int(np.argmax([v if np.isfinite(v) else -np.inf for v in values]))
    return points[best], values[best]


def _reason(subject: OneSubject, at: Array) -> str:
    native = subject.native(at)
    for place, value in zip(subject.free, at, strict=True):
        if not np.isfinite(native[place]):
            return left_domain(subject.parameters[place], float(value))
    shown = ", ".join(f"{p.name} {v:.4g}" for p, v in zip(subject.parameters, native, strict=True))
    return f"the log-likelihood is not finite at {shown}"


def _value(subject: OneSubject, points: Array) -> Array:
    """Values at points (s, d); -inf where the function fails."""
    out = np.full(len(points), -np.inf)
    for k, point in enumerate(points):
        try:
            out[k] = subject(point)
        except Exception:  # counted as impossible, as in the search for modes
            continue
    return out


class PythonLikelihood:
    """Log-likelihoods of n subjects by a Python function.

    Parameters
    ----------
    function : callable
    tables : sequence of DataFrame
    parameters : tuple of Parameter
    free, held
        As for TorchLikelihood.
    n_jobs : int
        Of joblib; -1 is every core.
    """

    def __init__(
        self,
        function: Callable[[Array, pd.DataFrame], Any],
        tables: Sequence[pd.DataFrame],
        parameters: tuple[Parameter, ...],
        free: Sequence[int],
        held: dict[int, float],
        n_jobs: int = 1,
    ) -> None:
        self.subjects = [OneSubject(function, t, parameters, tuple(free), dict(held)) for t in tables]
        self.n, self.d, self.n_jobs = len(tables), len(free), n_jobs

    def only(self, rows: Sequence[int]) -> PythonLikelihood:
        """The likelihood of some of the subjects."""
        out = copy.copy(self)
        out.subjects = [self.subjects[k] for k in rows]
        out.n = len(out.subjects)
        return out

    def maximise(self, start: Tensor, prior: Normals, before: Modes | None, tolerance: float) -> Modes:
        """Modes of every subject, each by a search of its own."""
        warm = [False] * self.n if before is None else before.found.tolist()
        at = start.numpy() if before is None else torch.where(before.found[:, None], before.at, start).numpy()
        mean, precision = prior.mean.numpy(), prior.precision.numpy()
        found = self._each(find, [(s, at[i], mean[i], precision[i], warm[i]) for i, s in enumerate(self.subjects)])
        return Modes(
            at=torch.from_numpy(np.array([f.at for f in found])),
            value=torch.tensor([f.value for f in found], dtype=torch.float64),
            gradient=torch.from_numpy(np.array([f.gradient for f in found])),
            information=torch.from_numpy(np.array([f.information for f in found])),
            trouble=tuple(f.trouble for f in found),
        )

    def values(self, points: Tensor, rows: Sequence[int] | None = None) -> Tensor:
        """log p(y_i | h) at points (s, n, d): (s, n)."""
        places = range(self.n) if rows is None else rows
        tasks = [(self.subjects[i], points[:, k].numpy()) for k, i in enumerate(places)]
        return torch.from_numpy(np.array(self._each(_value, tasks)).T.copy())

    def _each(self, function: Callable[..., Any], tasks: list[tuple[Any, ...]]) -> list[Any]:
        if self.n_jobs == 1:
            return [function(*task) for task in tasks]
        try:
            from joblib import Parallel, delayed
        except ModuleNotFoundError:
            raise ModelError(
                "joblib, which fits subjects in parallel, is not installed.",
                hint="Install it with pip install joblib, or fit with n_jobs=1.",
            ) from None
        return list(Parallel(n_jobs=self.n_jobs)(delayed(function)(*task) for task in tasks))
