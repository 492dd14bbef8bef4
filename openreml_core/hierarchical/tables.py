"""The tables and the text of a fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats

from openreml_core.errors import ModelError
from openreml_core.hierarchical.parameters import Parameter


def quantile(level: float) -> float:
    """The normal quantile of a two-sided interval.

    Raises
    ------
    ModelError
        When ``level`` is no probability.
    """
    if not isinstance(level, int | float) or isinstance(level, bool) or not 0 < level < 1:
        raise ModelError(f"level={level!r} is not a probability.", hint="Give a number between 0 and 1, such as 0.95.")
    return float(stats.norm.ppf((1 + level) / 2))


def native(parameter: Parameter, free: np.ndarray) -> np.ndarray:
    """Native values of free ones."""
    return parameter.to_native(torch.from_numpy(np.array(free, dtype=np.float64))).numpy()


def subjects(fit: Any, level: float) -> pd.DataFrame:
    """A row per subject and parameter; see :meth:`HierarchicalFit.subjects`."""
    z, n, names = quantile(level), len(fit.data.names), fit.names
    d = len(names)
    mode, error = np.full((n, d), np.nan), np.full((n, d), np.nan)
    mode[fit.places] = fit.visit.modes.at.numpy()
    error[fit.places] = fit.posterior_covariances.diagonal(dim1=-2, dim2=-1).sqrt().numpy()
    columns = [native(p, mode[:, j]) for j, p in enumerate(fit.parameters)]
    ends = [
        np.sort([native(p, mode[:, j] + s * z * error[:, j]) for s in (-1, 1)], axis=0)
        for j, p in enumerate(fit.parameters)
    ]
    return pd.DataFrame(
        {
            "subject": np.repeat(np.array(fit.data.names, dtype=object), d),
            "parameter": np.tile(np.array(names, dtype=object), n),
            "map": mode.reshape(-1),
            "native": np.stack(columns, 1).reshape(-1),
            "std_error": error.reshape(-1),
            "status": np.repeat(np.array(fit.status, dtype=object), d),
            "lower": np.stack([e[0] for e in ends], 1).reshape(-1),
            "upper": np.stack([e[1] for e in ends], 1).reshape(-1),
        }
    ).infer_objects()


def trials(fit: Any, subject: str) -> pd.DataFrame:
    """The trials of all subjects in one table, the subject's name first."""
    parts = []
    for name, table in zip(fit.data.names, fit.data.tables, strict=True):
        part = table.drop(columns=subject, errors="ignore").copy()
        part.insert(0, subject, [name] * len(part))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def effects(
    names: Sequence[str], terms: Sequence[str], estimates: np.ndarray, errors: np.ndarray, level: float
) -> pd.DataFrame:
    """Coefficients (d, q) of the group's means as a table."""
    z = quantile(level)
    rows = [(name, term) for name in names for term in terms]
    estimate, error = estimates.reshape(-1), errors.reshape(-1)
    ratio = estimate / error
    return pd.DataFrame(
        {
            "parameter": [r[0] for r in rows],
            "term": [r[1] for r in rows],
            "estimate": estimate,
            "std_error": error,
            "z": ratio,
            "p_value": 2 * stats.norm.sf(np.abs(ratio)),
            "lower": estimate - z * error,
            "upper": estimate + z * error,
        }
    )


def group(fit: Any, level: float) -> pd.DataFrame:
    """A row per parameter; see :meth:`HierarchicalFit.group`."""
    z, mean, error = quantile(level), fit.group_mean, fit.group_se
    variance = np.diag(fit.group_covariance.to_numpy())
    sd = np.sqrt(variance)
    centre, low, high = (
        [float(native(p, np.array([v]))[0]) for p, v in zip(fit.parameters, values, strict=True)]
        for values in (mean, mean - z * error, mean + z * error)
    )
    return pd.DataFrame(
        {
            "mean": mean.to_numpy(),
            "std_error": error.to_numpy(),
            "sd": sd,
            "sd_error": np.diag(fit.group_covariance_se.to_numpy()) / (2 * sd),
            "native": centre,
            "lower": np.minimum(low, high),
            "upper": np.maximum(low, high),
        },
        index=pd.Index(fit.names, name="parameter"),
    )


def summary(fit: Any) -> str:
    """The fit as text."""
    group_ = fit.visit.group
    kind = f"{group_.family.name.replace('_', ' ')}, {'diagonal' if group_.diagonal else 'full'} covariance"
    lines = [
        f"Hierarchical model {fit.model.name}: {fit.n_subjects} subjects, {fit.n_trials} trials ({kind})",
        fit.message,
        f"-2 log evidence {fit.rows[-1].criterion:.4f}, {fit.n_group_parameters} parameters of the group",
        "",
        fit.group().to_string(float_format=lambda v: f"{v:.4f}"),
    ]
    if len(fit.terms) > 1:
        lines += ["", fit.group_effects().to_string(index=False, float_format=lambda v: f"{v:.4f}")]
    if fit.held:
        held = (f"{fit.model.parameters[k].name} = {v:g}" for k, v in fit.held.items())
        lines += ["", f"Held: {', '.join(held)}"]
    return "\n".join(lines)
