"""Findings about the search: whether it ended, by which test, and whether it ended on a hill.

At a maximum the observed information of the parameters that were estimated inside their range is positive definite. It is
taken in units of the parameters' own size, so that its eigenvalues are comparable.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from openreml_core.diagnostics.findings import Finding
from openreml_core.engines import NotPositiveDefinite

#: Parameters beyond which, and rows beyond which, second derivatives are left alone.
MOST_PARAMETERS, MOST_ROWS = 30, 100_000
#: An eigenvalue below this share of the largest is a ridge.
FLAT = 1e-6


def search_findings(fit: Any) -> Iterator[Finding]:
    """Convergence, the last gradient, curvature at the end."""
    rows = fit.estimates.rows
    gradient = float(rows[-1].gradient) if rows else float("nan")
    values = {"gradient": gradient, "iterations": max(len(rows) - 1, 0)}
    eigenvalues, names = curvature(fit)
    if eigenvalues is not None:
        values["eigenvalues"] = eigenvalues.tolist()
    if not fit.converged:
        yield Finding(
            "problem", "convergence", fit.message,
            "The numbers shown are where the search stood, not estimates.",
            "Raise max_iterations, give start= values, or simplify the random part; the trace shows which parameter still moves.",
            values=values,
        )  # fmt: skip
    else:
        yield Finding(
            "ok", "convergence", fit.message,
            "Both a further step's gain and the slope are next to nothing, so that these are the estimates.",
            "Nothing to do.", values=values,
        )  # fmt: skip
    if eigenvalues is None or not len(eigenvalues) or not fit.converged:
        return
    smallest, largest = float(eigenvalues.min()), float(eigenvalues.max())
    if smallest < -1e-6 * max(largest, 1.0):
        yield Finding(
            "problem", "curvature",
            f"The likelihood curves upwards along a direction of {', '.join(names)} (smallest eigenvalue {smallest:.2g}).",
            "The search has ended on a saddle, not on a hill: another set of variances fits better.",
            "Fit again with start= values away from these.", names, values,
        )  # fmt: skip
    elif smallest < FLAT * largest:
        yield Finding(
            "warning", "curvature",
            f"The likelihood is nearly flat along a direction of {', '.join(names)} "
            f"(eigenvalues from {smallest:.2g} to {largest:.2g}).",
            "Along it the parameters could change together with next to no loss of fit: their standard errors are large.",
            "Look at fit.profile(), and leave out one of the terms, or hold a parameter with fixed=.", names, values,
        )  # fmt: skip


def curvature(fit: Any) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Eigenvalues of the scaled observed information, and the parameters that the smallest belongs to; None where too dear."""
    engine, at = fit.estimates.engine, fit.estimates.at
    model = engine.model
    m = model.n_theta
    if not m or m > MOST_PARAMETERS or model.n > MOST_ROWS:
        return None, ()
    lower, upper = model.bounds
    size = torch.maximum(at.theta.abs(), 0.1 * model.scale)
    inside = (at.theta - lower > 1e-6 * size) & (upper - at.theta > 1e-6 * size) & torch.from_numpy(fit.estimates.free)
    # A variance at zero, free as a deviation, is on no bound of theta's, but on one of the model's.
    inside &= at.theta.abs() > 1e-6 * model.scale
    if bool(fit.estimates.ties.tied.any()) or not bool(inside.any()):
        return None, ()
    try:
        whole = engine.observed_information(at)
    except (NotPositiveDefinite, torch.linalg.LinAlgError):
        return None, ()
    chosen = inside.nonzero()[:, 0]
    # sigma^2, profiled out, moves along.
    if model.profiled:
        last = len(whole) - 1
        profile = whole[:last, :last] - torch.outer(whole[:last, last], whole[:last, last]) / whole[last, last]
    else:
        profile = whole
    scaled = (profile * size[:, None] * size)[chosen][:, chosen]
    if not bool(torch.isfinite(scaled).all()):
        return None, ()
    values, vectors = torch.linalg.eigh((scaled + scaled.T) / 2)
    weight = vectors[:, 0].abs()
    names = [model.parameter_names[int(chosen[i])] for i in (weight > 0.3).nonzero()[:, 0].tolist()]
    return values.numpy(), tuple(names)
