"""The tables of ``fit.confint``: an interval for every quantity, and in words how it was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from openreml_core.inference import DDF, NaturalEstimates, Quantity, chosen, quantities, wald_intervals
from openreml_core.profiles import Profiler
from openreml_core.reml import Estimates


def profile_table(
    estimates: Estimates,
    level: float,
    parameters: object,
    likelihood: str,
    on_progress: Callable[[int, int], object] | None = None,
) -> pd.DataFrame:
    """Intervals by profile likelihood, their bounds searched for on the profile itself."""
    profiler = Profiler(estimates, likelihood, on_progress)
    taken, notes = profiler.chosen(parameters)
    bounds, found = np.empty((len(taken), 2)), list[str]()
    for i, q in enumerate(taken):
        bounds[i, 0], bounds[i, 1], _, own = profiler.interval(q, level)
        found += own
        profiler.done += 1
    words = [*profiler.words(taken), *notes, *found, *_ends(taken, bounds)]
    return _table(estimates, taken, bounds, "profile", level, words)


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
