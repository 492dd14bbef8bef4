"""Residuals of every kind that has one value a row.

    marginal                y - X b^                        = V P y
    conditional             y - X b^ - Z u^                 = R P y
    pearson                 (R P y)_i / sqrt(R_ii)
    studentized             (R P y)_i / sqrt((R P R)_ii)      internally: its own standard deviation; also called standardized
    studentized-external    the same with sigma^2 from the other rows
    standardized-marginal   (V P y)_i / sqrt((V P V)_ii)
    cholesky                F^-1 (y - X b^),  V = F F'        (decorrelate.py)
    least-confounded        (confounding.py; n - p of them, of no single row)

(Nobre and Singer 2007, Biometrical Journal 49, 863-875.)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from openreml_core.diagnostics.confounding import least_confounded
from openreml_core.diagnostics.decorrelate import decorrelated
from openreml_core.diagnostics.view import RowView
from openreml_core.errors import ModelError

KINDS = (
    "conditional",
    "marginal",
    "pearson",
    "standardized",
    "studentized",
    "studentized-external",
    "standardized-marginal",
    "cholesky",
    "least-confounded",
)
#: Other spellings.
_SAME = {
    "standardised": "standardized",
    "studentised": "studentized",
    "internal": "studentized",
    "studentized-internal": "studentized",
    "external": "studentized-external",
    "marginal-standardized": "standardized-marginal",
    "externally-studentized": "studentized-external",
    "internally-studentized": "studentized",
}


def kind_named(kind: object) -> str:
    """A kind of residual by its name, however it is spelt.

    Raises
    ------
    ModelError
        For a kind that there is not.

    Examples
    --------
    >>> kind_named("Least confounded"), kind_named("studentised")
    ('least-confounded', 'studentized')
    """
    name = str(kind).strip().lower().replace(" ", "-").replace("_", "-")
    name = _SAME.get(name, name).replace("standardised", "standardized").replace("studentised", "studentized")
    name = _SAME.get(name, name)
    if not isinstance(kind, str) or name not in KINDS:
        raise ModelError(f"Residuals of kind {kind!r} are not available.", hint=f"Choose one of {', '.join(KINDS)}.")
    return name


def residual_values(view: RowView, kind: str) -> Tensor:
    """Residuals of a kind, (n,); (n - p,) where they are least confounded.

    A row that the fixed effects reproduce whatever its response has no standardised residual: it is NaN.
    """
    if kind == "marginal":
        return view.marginal
    if kind == "conditional":
        return view.conditional
    if kind == "pearson":
        return over(view.conditional, view.residual_variance)
    if kind in ("standardized", "studentized"):
        return over(view.conditional, view.rows.both, view.lost)
    if kind == "studentized-external":
        return residual_values(view, "studentized") / outside_scale(view)
    if kind == "standardized-marginal":
        total = view.random_variance + view.residual_variance
        return over(
            view.marginal, view.marginal_variance_of_residual, view.marginal_variance_of_residual <= 1e-10 * total
        )
    return decorrelated(view) if kind == "cholesky" else least_confounded(view)[0]


def over(values: Tensor, variance: Tensor, lost: Tensor | None = None) -> Tensor:
    """Values over standard deviations, NaN where there is none."""
    gone = variance <= 0 if lost is None else lost | (variance <= 0)
    return torch.where(gone, torch.nan, values * variance.clamp_min(1e-300).rsqrt())


def outside_scale(view: RowView) -> Tensor:
    """s_(i) / s, (n,): what sigma is estimated as without row i, all ratios of variances as they are.

        s_(i)^2 = (y'P y - (P y)_i^2 / P_ii) / (n - p - 1)

    in units in which V itself is estimated: s = 1. Where the ratios are right the studentised residual over it has Student's
    distribution with n - p - 1 degrees of freedom.
    """
    df = view.n - view.p - 1
    if df < 1:
        return torch.full((view.n,), math.nan, dtype=torch.float64)
    total = view.rows.py @ view.model.y
    own = torch.where(view.lost, 0.0, view.rows.py.square() / view.rows.diagonal.clamp_min(1e-300))
    return ((total - own) / df).clamp_min(0).sqrt()
