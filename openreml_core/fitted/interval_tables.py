"""The tables of ``fit.confint``: an interval for every quantity, and in words how it was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from openreml_core.errors import ModelError
from openreml_core.inference import DDF, NaturalEstimates, Quantity, chosen, quantities, wald_intervals
from openreml_core.profiles import Profiler, bound_of
from openreml_core.reml import Estimates
from openreml_core.simulation import OnProgress, roots_of_ratio


def profile_table(
    estimates: Estimates,
    level: float,
    parameters: object,
    likelihood: str,
    on_progress: OnProgress | None = None,
    drawn: Tensor | None = None,
    executor: Any = None,
) -> pd.DataFrame:
    """Intervals by profile likelihood, their bounds searched for on the profile itself.

    With responses (n, B) drawn from the fit, the bounds of fixed effects' zeta are what it reaches in them.
    """
    profiler = Profiler(estimates, likelihood, on_progress)
    taken, notes = profiler.chosen(parameters)
    zetas = dict[str, float]()
    fixed = [q for q in taken if q.is_fixed]
    if drawn is not None:
        if not fixed:
            raise ModelError(
                "Only profiles of fixed effects can be calibrated.",
                hint="For variances of few levels choose likelihood='reml'.",
            )
        roots = roots_of_ratio(
            profiler.estimates("ml"), drawn, estimates.at.beta, [q.place for q in fixed], executor, on_progress
        )
        for q in fixed:
            zetas[q.name] = float(np.quantile(roots[q.place], level))
        notes.append(f"Fixed effects: zeta held against its size in {drawn.shape[1]} responses drawn from the model.")
        lost = drawn.shape[1] - min(len(r) for r in roots.values())
        if lost:
            notes.append(f"{lost} of these could not be fitted and are left out.")
    bounds, found = np.empty((len(taken), 2)), list[str]()
    for i, q in enumerate(taken):
        bounds[i, 0], bounds[i, 1], _, own = profiler.interval(q, level, zetas.get(q.name))
        found += own
        profiler.done += 1
    words = [*profiler.words(taken), *notes, *found, *_ends(taken, bounds)]
    table = _table(estimates, taken, bounds, "profile", level, words)
    table.attrs["zeta"] = {q.name: zetas.get(q.name, bound_of(level)) for q in taken}
    return table


def wald_table(
    estimates: Estimates, natural: NaturalEstimates, level: float, parameters: object, ddf: str
) -> pd.DataFrame:
    """Wald intervals."""
    taken = chosen(quantities(estimates.engine.model), parameters)
    bounds = wald_intervals(estimates, natural, taken, level, ddf)
    notes = [f"Estimates and standard errors; fixed effects with {DDF[ddf]} degrees of freedom."]
    if not all(q.is_fixed for q in taken):
        notes.append(
            "Standard deviations on the log scale, correlations by Fisher's z: rough for variances of few levels, where "
            "profile or bootstrap is to be preferred."
        )
    none = [q.name for q, (low, _) in zip(taken, bounds, strict=True) if np.isnan(low)]
    if none:
        notes.append(f"No standard error, hence no interval: {', '.join(none)}.")
    return _table(estimates, taken, bounds, "wald", level, notes)


def _table(
    estimates: Estimates, taken: Sequence[Quantity], bounds: np.ndarray, method: str, level: float, notes: Sequence[str]
) -> pd.DataFrame:
    at = estimates.at
    values = estimates.engine.model.natural_values(at.theta, at.sigma2).numpy()
    table = pd.DataFrame(
        {
            "group": [q.group for q in taken],
            "kind": [q.kind for q in taken],
            "estimate": [float(q.of(values, at.beta.numpy())) for q in taken],
            "lower": bounds[:, 0],
            "upper": bounds[:, 1],
        },
        index=pd.Index([q.name for q in taken], name="parameter"),
    )
    table.attrs.update(method=method, level=level, notes=tuple(notes))
    return table


def _ends(taken: Sequence[Quantity], bounds: np.ndarray) -> list[str]:
    """Which bounds are the ends of their parameters' spaces."""
    out = []
    for q, (low, high) in zip(taken, bounds, strict=True):
        if q.kind == "standard deviation" and low == 0:
            out.append(f"{q.name}: the interval reaches zero, where the parameter ends.")
        if q.kind == "correlation" and (low <= -1 or high >= 1):
            which = "-1 and 1" if low <= -1 and high >= 1 else "-1" if low <= -1 else "1"
            out.append(f"{q.name}: the interval reaches {which}, where the parameter ends.")
    return out
