"""Hierarchical computational models: parameters of every subject, and the group that they come from.

    log p(y_i | h_i),   h_i ~ family(B' x_i, S)

    >>> import openreml_core as reml
    >>> model = reml.hierarchical.models.SignalDetection()
    >>> fit = reml.hierarchical.fit(model, model.simulate(n_subjects=30, n_trials=80, seed=1))
    >>> fit.converged
    True

``fit`` estimates the group by expectation-maximisation with a Laplace approximation (Huys et al. 2011); ``compare`` weighs
models by their evidence; ``recover`` and ``confusion`` tell by simulation what can be learned from such data.
"""

from __future__ import annotations

from openreml_core.hierarchical import models
from openreml_core.hierarchical.batch import Batch
from openreml_core.hierarchical.comparison import compare, verdict
from openreml_core.hierarchical.describing import Trials, describe_trials
from openreml_core.hierarchical.families import Family
from openreml_core.hierarchical.fitting import fit
from openreml_core.hierarchical.guessing import guess_columns
from openreml_core.hierarchical.loading import fit_or_load, load
from openreml_core.hierarchical.m_step import GroupPrior
from openreml_core.hierarchical.model import Model, PythonModel, TorchModel
from openreml_core.hierarchical.models import true_parameters
from openreml_core.hierarchical.parameters import OwnTransform, Parameter
from openreml_core.hierarchical.recovery import Recovery, confusion, recover
from openreml_core.hierarchical.recurrence import linear_recurrence
from openreml_core.hierarchical.result import HierarchicalFit
from openreml_core.hierarchical.selection import exceedance_probabilities, random_effects_selection
from openreml_core.hierarchical.wording import print_progress

__all__ = [
    "Batch",
    "Family",
    "GroupPrior",
    "HierarchicalFit",
    "Model",
    "OwnTransform",
    "Parameter",
    "PythonModel",
    "Recovery",
    "TorchModel",
    "Trials",
    "compare",
    "confusion",
    "describe_trials",
    "exceedance_probabilities",
    "fit",
    "fit_or_load",
    "guess_columns",
    "linear_recurrence",
    "load",
    "models",
    "print_progress",
    "random_effects_selection",
    "recover",
    "true_parameters",
    "verdict",
]
