"""Findings about the fixed part: aliased and nearly collinear columns, scales that differ wildly, rows that were dropped.

The condition index of the fixed part is the root of the ratio of the largest to the smallest eigenvalue of X'V^-1X with its
diagonal scaled to 1 (Belsley, Kuh and Welsch 1980, Regression Diagnostics; 30 is their sign of strong collinearity).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from openreml_core.diagnostics.findings import Finding

CONDITION = 30.0
SCALES = 1e4


def fixed_findings(fit: Any) -> Iterator[Finding]:
    """What there is to say about X."""
    if fit.aliased:
        yield Finding(
            "note", "aliased effects", f"Left out, because other columns determine them: {', '.join(fit.aliased)}.",
            "Their effect cannot be told from that of the others; tests and means that need them are not available.",
            "Check whether some combination of levels does not occur, or a factor repeats another.", tuple(fit.aliased),
        )  # fmt: skip
    if fit.n_dropped and fit.n_dropped > 0.2 * (fit.n_obs + fit.n_dropped):
        share = fit.n_dropped / (fit.n_obs + fit.n_dropped)
        yield Finding(
            "note", "missing values", f"{fit.n_dropped:,} rows ({100 * share:.0f} %) lack a value and were left out.",
            "If what is missing has to do with the response, the rest is no fair sample.",
            "See which column is missing, and why.", values={"dropped": fit.n_dropped},
        )  # fmt: skip
    yield from _collinear(fit)
    yield from _scales(fit)


def _collinear(fit: Any) -> Iterator[Finding]:
    covariance = fit.fixed_covariance
    if len(covariance) < 2:
        return
    deviation = np.sqrt(np.diag(covariance))
    if not (deviation > 0).all():
        return
    information = np.linalg.inv(covariance.to_numpy() / np.outer(deviation, deviation))
    size = np.sqrt(np.diag(information))
    values, vectors = np.linalg.eigh(information / np.outer(size, size))
    index = float(np.sqrt(values[-1] / max(values[0], 1e-300)))
    if index <= CONDITION:
        return
    shares = vectors[:, 0] ** 2 / values[0] / (vectors**2 / np.maximum(values, 1e-300)).sum(axis=1)
    names = [str(covariance.index[i]) for i in np.argsort(-shares) if shares[i] > 0.5][:4]
    yield Finding(
        "warning", "collinear effects",
        f"The fixed effects {', '.join(names)} are nearly collinear (condition index {index:.0f}).",
        "Each of their estimates has a large standard error and depends on the others being in the model.",
        "Centre covariates (center(x), poly(x, 2)), or leave one of them out; predictions within the data are not harmed.",
        tuple(names), {"condition": index},
    )  # fmt: skip


def _scales(fit: Any) -> Iterator[Finding]:
    if not fit.has_rows:
        return
    x = fit.estimates.engine.model.X.numpy()
    spread = x.std(axis=0)
    names = np.array(fit.estimates.engine.model.fixed_names)[spread > 0]
    spread = spread[spread > 0]
    if len(spread) < 2 or spread.max() / spread.min() <= SCALES:
        return
    large, small = str(names[np.argmax(spread)]), str(names[np.argmin(spread)])
    yield Finding(
        "note", "scales", f"{large} varies {spread.max() / spread.min():.0e} times as much as {small}.",
        "The fit itself does not mind, but the coefficients come out in units that are hard to read.",
        f"Express {large} in a larger unit, or write scale({large}).", (large, small),
    )  # fmt: skip
