"""What can be learned from such data, by simulation: recovery of parameters, confusion of models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from openreml_core.errors import FitCancelled, ModelError
from openreml_core.hierarchical.comparison import compare
from openreml_core.hierarchical.fitting import fit
from openreml_core.hierarchical.models.base import LibraryModel, true_parameters

OnProgress = Callable[[int, int], object]


@dataclass(frozen=True, eq=False)
class Recovery:
    """Parameters that were simulated, and what the fit made of them.

    Attributes
    ----------
    table : DataFrame
        A row per set, subject and parameter: ``set, subject, parameter, true, estimate`` (native), ``true_free, map,
        std_error`` (free scale), ``covered`` (whether the 95 % interval holds the truth).
    converged : int
        Sets whose fit converged.
    """

    table: pd.DataFrame
    converged: int

    def summary(self) -> pd.DataFrame:
        """By parameter: ``r`` (free scale), ``r_native``, ``bias`` and ``rmse`` (free scale), ``coverage``, ``n``."""
        rows = {}
        for name, part in self.table.groupby("parameter", sort=False):
            error = part["map"] - part["true_free"]
            rows[name] = {
                "r": part["map"].corr(part["true_free"]),
                "r_native": part["estimate"].corr(part["true"]),
                "bias": error.mean(),
                "rmse": float(np.sqrt((error**2).mean())),
                "coverage": part["covered"].mean(),
                "n": len(part),
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("parameter")


def recover(
    model: LibraryModel,
    n_subjects: int = 50,
    n_trials: int = 200,
    seed: int = 1,
    *,
    n_sets: int = 1,
    mean: Mapping[str, float] | None = None,
    sd: Mapping[str, float] | None = None,
    on_progress: OnProgress | None = None,
    **options: Any,
) -> Recovery:
    """Simulate subjects, fit them, and set the estimates beside the truth.

    Parameters
    ----------
    model : LibraryModel
        Or any model with ``simulate``.
    n_subjects, n_trials, seed : int
    n_sets : int
        How often; set k has the seed ``seed + k``.
    mean, sd : mapping, optional
        The group to simulate; see :meth:`LibraryModel.simulate`.
    on_progress : callable, optional
        Told how many sets are done, and of how many; returning False cancels.
    **options
        Of :func:`fit`.

    Examples
    --------
    >>> import openreml_core as reml
    >>> found = reml.hierarchical.recover(reml.hierarchical.models.SignalDetection(), n_subjects=30, n_trials=100)
    >>> bool(found.summary()["r"].min() > 0.7)
    True
    """
    _can_simulate(model)
    parts, converged = [], 0
    for k in range(_positive("n_sets", n_sets)):
        _tell(on_progress, k, n_sets)
        data = model.simulate(n_subjects, n_trials, seed + k, mean=mean, sd=sd)
        made = fit(model, data, **options)
        converged += made.converged
        truth = true_parameters(data).melt(id_vars="subject", var_name="parameter", value_name="true")
        own = made.subjects()[["subject", "parameter", "native", "map", "std_error", "lower", "upper"]]
        part = (
            truth.merge(own, on=["subject", "parameter"]).dropna(subset=["map"]).rename(columns={"native": "estimate"})
        )
        part.insert(0, "set", k + 1)
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    table["true_free"] = np.nan
    for p in model.parameters:
        own_rows = table["parameter"] == p.name
        free = p.transform.inverse(torch.from_numpy(table.loc[own_rows, "true"].to_numpy(copy=True)))
        table.loc[own_rows, "true_free"] = free.numpy()
    table["covered"] = (table["true"] >= table["lower"]) & (table["true"] <= table["upper"])
    columns = ["set", "subject", "parameter", "true", "estimate", "true_free", "map", "std_error", "covered"]
    return Recovery(table[columns], converged)


def confusion(
    models: Sequence[LibraryModel],
    n_sets: int = 10,
    n_subjects: int = 30,
    n_trials: int = 150,
    seed: int = 1,
    *,
    method: str = "laplace",
    on_progress: OnProgress | None = None,
    **options: Any,
) -> pd.DataFrame:
    """How often each model is the best one for data of each model.

    Parameters
    ----------
    models : sequence of LibraryModel
        Two or more, of the same columns.
    n_sets : int
        Simulated sets of each.
    n_subjects, n_trials, seed : int
    method : str
        Of the evidence; the best model has the smallest integrated BIC.
    on_progress : callable, optional
        Told how many sets are done, and of how many; returning False cancels.
    **options
        Of :func:`fit`.

    Returns
    -------
    DataFrame
        Row: the model simulated; column: share of sets in which a model was the best. Rows sum to 1.

    References
    ----------
    Wilson and Collins (2019), eLife 8, e49547, on confusion matrices.
    """
    names = [m.name for m in models]
    if len(models) < 2 or len(set(names)) < len(names):
        raise ModelError("A confusion matrix needs two or more models of different names.", hint="Give a list.")
    counts = pd.DataFrame(0.0, index=pd.Index(names, name="simulated"), columns=pd.Index(names, name="best"))
    for j, model in enumerate(models):
        _can_simulate(model)
        for k in range(_positive("n_sets", n_sets)):
            _tell(on_progress, j * n_sets + k, len(models) * n_sets)
            data = model.simulate(n_subjects, n_trials, seed + 1000 * j + k)
            table = compare({m.name: fit(m, data, **options) for m in models}, method=method)
            counts.loc[model.name, table.index[0]] += 1
    return counts / n_sets


def _tell(on_progress: OnProgress | None, done: int, total: int) -> None:
    if on_progress is not None and on_progress(done, total) is False:
        raise FitCancelled()


def _can_simulate(model: Any) -> None:
    if not callable(getattr(model, "simulate", None)):
        raise ModelError(
            f"The model {getattr(model, 'name', model)!r} cannot simulate.",
            hint="Use a model of the library, or give yours simulate(n_subjects, n_trials, seed, mean=, sd=).",
        )


def _positive(name: str, value: Any) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise ModelError(f"{name}={value!r} is no count.", hint="Give a whole number from 1 up.")
    return int(value)
