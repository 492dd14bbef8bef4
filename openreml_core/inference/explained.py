"""How much of the variance the parts of a model explain: R2 and intraclass correlations.

    s2_f = Var(X b) over the rows,   s2_r = sum_t tr(Z_t G_t Z_t') / n,   s2_e = tr(R) / n

    R2 marginal = s2_f / (s2_f + s2_r + s2_e)             R2 conditional = (s2_f + s2_r) / (s2_f + s2_r + s2_e)
    ICC adjusted = s2_r / (s2_r + s2_e)                   ICC unadjusted = s2_r / (s2_f + s2_r + s2_e)

(Nakagawa and Schielzeth 2013, Methods Ecol. Evol. 4, 133-142; with the mean over the rows of what random slopes add, Johnson
2014, Methods Ecol. Evol. 5, 944-946; Nakagawa, Johnson and Schielzeth 2017, J. R. Soc. Interface 14, 20170213.) An offset is
part of none of them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from openreml_core.inference.components import NaturalEstimates
from openreml_core.inference.functions import Uncertainty
from openreml_core.reml import Estimates

FIXED, RESIDUAL, ALL = "(fixed)", "(residual)", "(all random)"


def shares(estimates: Estimates) -> pd.Series:
    """Variance of the average row by part: the fixed effects, every random term, the residual."""
    model, at = estimates.engine.model, estimates.at
    sigmas = model.sigmas(at.theta, at.sigma2)
    own = [float((c.average * s).sum()) for c, s in zip(model.all_components, sigmas, strict=True)]
    count = len(model.terms)
    fixed = (model.X @ at.beta).numpy()
    out = {FIXED: float(np.var(fixed, ddof=1))}
    out |= {t.name: value for t, value in zip(model.terms, own[:count], strict=True)}
    return pd.Series({**out, RESIDUAL: sum(own[count:])}, name="variance")


def r2_series(estimates: Estimates) -> pd.Series:
    """The answer of ``fit.r2()``: marginal and conditional; ``attrs["variances"]`` are the shares that they are made of."""
    parts = shares(estimates)
    total, fixed = parts.sum(), parts[FIXED]
    out = pd.Series(
        {"marginal": fixed / total, "conditional": (total - parts[RESIDUAL]) / total},
        name="R2",
    )
    out.attrs["variances"] = parts.to_dict()
    return out


def icc_table(estimates: Estimates, natural: NaturalEstimates) -> pd.DataFrame:
    """The table of ``fit.icc()``: a row per random term and one of all; adjusted with its standard error, unadjusted."""
    model, parts = estimates.engine.model, shares(estimates)
    names = [t.name for t in model.terms]
    values = parts[names].to_numpy(dtype=np.float64)
    whole = values.sum() + parts[RESIDUAL]
    slopes = _slopes(estimates)  # of every component's share, (components, m)
    count, total = len(names), slopes.sum(axis=0)
    own = np.vstack([slopes[:count], slopes[:count].sum(axis=0)])
    adjusted = np.append(values, values.sum()) / whole
    gradient = (own - adjusted[:, None] * total) / whole
    table = pd.DataFrame(
        {
            "adjusted": adjusted,
            "std_error": Uncertainty.of(natural).errors(gradient),
            "unadjusted": np.append(values, values.sum()) / parts.sum(),
        },
        index=pd.Index([*names, ALL], name="term"),
    )
    table.loc[table["adjusted"] <= 0, "std_error"] = np.nan
    return table


def _slopes(estimates: Estimates) -> np.ndarray:
    """d share / d natural parameter, a row for every component."""
    model, at = estimates.engine.model, estimates.at
    rows = np.zeros((len(model.all_components), len(model.parameter_names)))
    start = 0
    for place, (component, part) in enumerate(zip(model.components, model.split(at.theta), strict=True)):
        structure = component.structure
        for q, slope in zip(structure.natural, structure.natural_derivatives(part), strict=True):
            value = at.sigma2 ** (1 - q.degree) * float((component.average * slope).sum())
            rows[place, start] = value if np.isfinite(value) else 0.0
            start += 1
    if model.profiled:
        rows[-1, -1] = float(model.residuals[0].average.sum())
    return rows
