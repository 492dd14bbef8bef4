"""One step of a trust-region method: the subproblem solved exactly, the radius kept.

    minimise  m(s) = g's + s'H s / 2   subject to  |s / d| <= radius,  lower <= theta + s <= upper

H may be indefinite. In z = s / d the matrix is decomposed, D H D = Q diag(lambda) Q'; the solution is
z(mu) = -(D H D + mu I)^-1 D g with the mu >= max(0, -lambda_1) for which it lies in the region (More and Sorensen 1983,
SIAM J. Sci. Stat. Comput. 4, 553-572). There are few parameters, so the decomposition costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

GROW, SHRINK = 2.5, 0.25
ACCEPT, GOOD = 1e-4, 0.75


@dataclass(frozen=True)
class Step:
    """A step and what the model promises of it.

    Attributes
    ----------
    step : array of shape (m,)
    gain : float
        -m(step), the promised rise of the log-likelihood.
    inside : bool
        Whether the region's edge left it alone.
    """

    step: Array
    gain: float
    inside: bool


def solve(gradient: Array, hessian: Array, scale: Array, radius: float) -> Step:
    """Solve the subproblem without bounds.

    Parameters
    ----------
    gradient : array of shape (m,)
    hessian : array of shape (m, m)
        Symmetric, perhaps indefinite.
    scale : array of shape (m,)
        d, the size of each parameter.
    radius : float
    """
    if not gradient.size:
        return Step(gradient, 0.0, True)
    values, vectors = np.linalg.eigh(hessian * np.outer(scale, scale))
    g = vectors.T @ (gradient * scale)
    # An eigenvalue this small is rounding: its direction is flat, the gradient along it noise.
    floor = 1e-13 * max(float(np.abs(values).max()), 1e-300)

    def shifted(mu: float) -> Array:
        return -g / np.maximum(values + mu, floor)

    z = shifted(0.0)
    inside = bool(values[0] > floor and np.linalg.norm(z) <= radius)
    if not inside:
        low = max(0.0, -float(values[0])) + floor
        z = shifted(low)
        if np.linalg.norm(z) < radius:
            # The hard case: the gradient has (almost) nothing along the lowest eigenvector, the model falls along it.
            along = np.zeros_like(z)
            along[0] = 1.0 if g[0] <= 0 else -1.0
            free = radius**2 - float(z @ z - z[0] ** 2)
            z = np.where(along != 0, along * np.sqrt(max(free, 0.0)), z)
        else:
            high = low + float(np.linalg.norm(g)) / radius + floor
            for _ in range(200):
                middle = 0.5 * (low + high)
                low, high = (middle, high) if np.linalg.norm(shifted(middle)) > radius else (low, middle)
                if high - low <= 1e-12 * high:
                    break
            z = shifted(high)
    step = scale * (vectors @ z)
    return Step(step, -float(gradient @ step + 0.5 * step @ hessian @ step), inside)


def solve_bounded(
    gradient: Array, hessian: Array, scale: Array, radius: float, theta: Array, lower: Array, upper: Array
) -> Step:
    """The same with bounds: what would leave them is put on them, one pass after the other, and the rest solved again."""
    step = np.zeros_like(theta)
    pinned = ((theta <= lower) & (gradient > 0)) | ((theta >= upper) & (gradient < 0))
    inside = True
    for _ in range(theta.size + 1):
        free = ~pinned
        if free.all():
            reduced = solve(gradient, hessian, scale, radius)
        else:
            reduced = solve(
                gradient[free] + hessian[np.ix_(free, pinned)] @ step[pinned],
                hessian[np.ix_(free, free)],
                scale[free],
                radius,
            )
        step[free], inside = reduced.step, reduced.inside
        crossing = free & ((theta + step < lower) | (theta + step > upper))
        if not crossing.any():
            break
        step[crossing] = np.clip(theta + step, lower, upper)[crossing] - theta[crossing]
        pinned |= crossing
    return Step(step, -float(gradient @ step + 0.5 * step @ hessian @ step), inside)


def next_radius(radius: float, ratio: float, length: float) -> float:
    """The radius after a step of scaled ``length`` that brought ``ratio`` of what the model promised."""
    if not ratio >= 0.25:
        return SHRINK * min(radius, length)
    if ratio > GOOD:
        return max(radius, GROW * length)
    return radius
