"""Other models of the library that the same trials can be fitted with."""

from __future__ import annotations

from typing import Any

from openreml_core.hierarchical.models.base import LibraryModel
from openreml_core.hierarchical.models.bayesian import BayesianLearner
from openreml_core.hierarchical.models.choices import Discounting
from openreml_core.hierarchical.models.drift_diffusion import DriftDiffusion
from openreml_core.hierarchical.models.regression import AutoRegressive, Regression
from openreml_core.hierarchical.models.rescorla_wagner import RescorlaWagner
from openreml_core.hierarchical.models.two_step import KINDS, TwoStep


def alternatives(model: LibraryModel) -> list[LibraryModel]:
    """Models of the library that read the same columns, the simpler ones first; ``model`` is among them.

    Parameters
    ----------
    model : LibraryModel

    Examples
    --------
    >>> [m.name for m in alternatives(Discounting())]
    ['hyperbolic discounting', 'exponential discounting']
    """
    own: dict[str, Any] = {"columns": model.settings().get("columns")}
    found: list[LibraryModel] = []
    if isinstance(model, RescorlaWagner | BayesianLearner):
        own["n_options"] = model.n_options
        found = _learners(own, model.initial_value if isinstance(model, RescorlaWagner) else 0.0)
    elif isinstance(model, TwoStep):
        own["common"] = model.common
        found = [TwoStep(kind, sticky=sticky, **own) for sticky in (True, False) for kind in KINDS]
    elif isinstance(model, Discounting):
        found = [Discounting("hyperbolic", **own), Discounting("exponential", **own)]
    elif isinstance(model, DriftDiffusion):
        found = [DriftDiffusion(bias=False, **own), DriftDiffusion(bias=True, **own)]
    elif isinstance(model, AutoRegressive):
        found = [AutoRegressive(order, **own) for order in range(1, max(model.order, 3) + 1)]
    elif isinstance(model, Regression):
        found = _regressions(model)
    return found if model in found else [model, *found]


def _learners(own: dict[str, Any], initial_value: float) -> list[LibraryModel]:
    values = {**own, "initial_value": initial_value}
    return [
        RescorlaWagner(**values),
        RescorlaWagner(sticky=True, **values),
        RescorlaWagner(2, **values),
        RescorlaWagner(2, sticky=True, **values),
        BayesianLearner(**own),
        BayesianLearner(bonus=True, **own),
        RescorlaWagner(gain_loss=True, **values),
    ]


def _regressions(model: Regression) -> list[LibraryModel]:
    """Without one of the predictors each, and, where there is an intercept, without all of them."""
    names = model.predictors
    subsets = [tuple(n for n in names if n != left) for left in names] if len(names) > 1 else []
    subsets = [names, *subsets, *([()] if names and model.intercept else [])]
    columns = model.settings().get("columns") or {}
    return [
        Regression(
            some, model.family, intercept=model.intercept,
            columns={role: name for role, name in columns.items() if role in ("y", *some)} or None,
        )
        for some in subsets
    ]  # fmt: skip
