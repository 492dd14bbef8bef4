"""Draws from subjects' posteriors, and trials simulated from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from openreml_core.errors import ModelError
from openreml_core.hierarchical.tables import native


def free_draws(fit: Any, n: int, seed: int) -> np.ndarray:
    """Draws (n, subjects, d) of free parameters from N(m_i, V_i)."""
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(fit.posterior_covariances.numpy())
    z = rng.standard_normal((n, fit.n_subjects, len(fit.names)))
    return fit.visit.modes.at.numpy() + np.einsum("ide,sie->sid", root, z)


def parameter_draws(fit: Any, n: int, seed: int) -> pd.DataFrame:
    """See :meth:`HierarchicalFit.draws`."""
    values = free_draws(fit, n, seed)
    names = [fit.data.names[k] for k in fit.places]
    columns = {p.name: native(p, values[:, :, j].reshape(-1)) for j, p in enumerate(fit.parameters)}
    return pd.DataFrame({"subject": names * n, "draw": np.repeat(np.arange(1, n + 1), len(names)), **columns})


def predictive(fit: Any, n: int, seed: int) -> pd.DataFrame:
    """See :meth:`HierarchicalFit.posterior_predictive`."""
    respond = getattr(fit.model, "respond", None)
    if not callable(respond):
        raise ModelError(
            f"The model {fit.model.name} cannot simulate.", hint="Give it a method respond(parameters, trials, rng)."
        )
    table = parameter_draws(fit, n, seed)
    rng = np.random.default_rng(seed + 1)
    held = {fit.model.parameters[k].name: v for k, v in fit.held.items()}
    trials = {fit.data.names[k]: fit.data.tables[k] for k in fit.places}
    parts = []
    for row in table.to_dict("records"):
        values = held | {name: float(row[name]) for name in fit.names}
        part = respond(values, trials[row["subject"]], rng)
        parts.append(part.assign(subject=row["subject"], draw=row["draw"]))
    out = pd.concat(parts, ignore_index=True)
    first = ["subject", "draw"]
    return out[[*first, *(c for c in out.columns if c not in first)]]
