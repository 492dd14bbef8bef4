"""The restricted likelihood from its definition, for models whose V a test writes out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize


def criterion(y: np.ndarray, x: np.ndarray, v: np.ndarray) -> float:
    """-2 l of REML, constants in."""
    inverse = np.linalg.inv(v)
    xvx = x.T @ inverse @ x
    beta = np.linalg.solve(xvx, x.T @ inverse @ y)
    rest = y - x @ beta
    dets = np.linalg.slogdet(v)[1] + np.linalg.slogdet(xvx)[1]
    return float(dets + rest @ inverse @ rest + (len(y) - x.shape[1]) * np.log(2 * np.pi))


def slopes(function: Callable[[np.ndarray], float], at: np.ndarray, h: float = 1e-4) -> np.ndarray:
    """d function / d log(at), by central differences; for a value below zero, in units of its size."""
    steps = np.diag(h * np.abs(at))
    return np.array([(function(at + step) - function(at - step)) / (2 * h) for step in steps])


def lowest(function: Callable[[np.ndarray], float], start: np.ndarray) -> float:
    """The lowest value that scipy's quasi-Newton search on differences finds."""
    return float(minimize(function, start, method="BFGS", options={"gtol": 1e-4}).fun)
