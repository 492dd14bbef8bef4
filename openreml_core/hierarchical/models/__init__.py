"""The library of models: each with its likelihood, a simulator and the parameters that it registers.

>>> sorted(LIBRARY)  # doctest: +NORMALIZE_WHITESPACE
['AutoRegressive', 'BayesianLearner', 'Discounting', 'DriftDiffusion', 'ProspectTheory', 'Regression', 'RescorlaWagner',
 'SignalDetection', 'TwoStep']
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from openreml_core.errors import ModelError, did_you_mean
from openreml_core.hierarchical.models.alternatives import alternatives
from openreml_core.hierarchical.models.base import LibraryModel, true_parameters
from openreml_core.hierarchical.models.bayesian import BayesianLearner
from openreml_core.hierarchical.models.choices import Discounting, ProspectTheory
from openreml_core.hierarchical.models.drift_diffusion import DriftDiffusion
from openreml_core.hierarchical.models.regression import AutoRegressive, Regression
from openreml_core.hierarchical.models.rescorla_wagner import RescorlaWagner
from openreml_core.hierarchical.models.signal_detection import SignalDetection
from openreml_core.hierarchical.models.two_step import TwoStep
from openreml_core.hierarchical.models.words import column_meaning, describe

LIBRARY: dict[str, type[LibraryModel]] = {
    kind.__name__: kind
    for kind in (
        RescorlaWagner,
        TwoStep,
        Regression,
        AutoRegressive,
        SignalDetection,
        ProspectTheory,
        Discounting,
        BayesianLearner,
        DriftDiffusion,
    )
}


def named(name: str, **settings: Any) -> LibraryModel:
    """A model of the library by its name.

    Raises
    ------
    ModelError
        There is none of that name, or it has no such settings.
    """
    if name not in LIBRARY:
        raise ModelError(f"The library has no model {name!r}.", hint=did_you_mean(str(name), list(LIBRARY)))
    try:
        return LIBRARY[name](**settings)
    except TypeError as error:
        raise ModelError(f"{name} does not take these settings: {error}.", hint="See its documentation.") from None


def registry() -> pd.DataFrame:
    """Every parameter of every model, as made by default: model, about, parameter, transform, start, spread, columns."""
    rows = []
    for kind, made in LIBRARY.items():
        model = made()
        for p in model.parameters:
            start = p.start if p.start is not None else 0.0
            rows.append((kind, model.about, p.name, repr(p.transform), start, p.spread, ", ".join(model.columns)))
    return pd.DataFrame(rows, columns=["model", "about", "parameter", "transform", "start", "spread", "columns"])


__all__ = [
    "LIBRARY",
    "AutoRegressive",
    "BayesianLearner",
    "Discounting",
    "DriftDiffusion",
    "LibraryModel",
    "ProspectTheory",
    "Regression",
    "RescorlaWagner",
    "SignalDetection",
    "TwoStep",
    "alternatives",
    "column_meaning",
    "describe",
    "named",
    "registry",
    "true_parameters",
]
