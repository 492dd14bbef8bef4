"""Regression and autoregression within subjects, their coefficients varying between subjects.

gaussian   y = x'b + e, e ~ N(0, sigma^2)      binomial   logit P(y = 1) = x'b      poisson   log E y = x'b
autoregressive   y_t = c + phi_1 y_(t-1) + ... + phi_p y_(t-p) + e_t, given the first p values
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.covariance.transforms import Exp, Identity
from openreml_core.errors import ModelError
from openreml_core.hierarchical.batch import Batch
from openreml_core.hierarchical.models.base import LibraryModel
from openreml_core.hierarchical.parameters import Parameter

FAMILIES = ("gaussian", "binomial", "poisson")


class Regression(LibraryModel):
    """A generalised linear model of each subject.

    Parameters
    ----------
    predictors : sequence of str
        Columns of the trials.
    family : {"gaussian", "binomial", "poisson"}
    intercept : bool
    columns : mapping of str to str, optional
        The user's name for ``y``.

    Examples
    --------
    >>> [p.name for p in Regression(["x"], "gaussian").parameters]
    ['intercept', 'x', 'sigma']
    """

    response_role = "y"
    about = "Linear, logistic or Poisson regression of each subject."

    def __init__(
        self,
        predictors: Sequence[str] = ("x",),
        family: str = "binomial",
        *,
        intercept: bool = True,
        columns: Mapping[str, str] | None = None,
    ) -> None:
        self.roles = ("y", *predictors)  # type: ignore[misc]
        super().__init__(columns)
        if family not in FAMILIES:
            raise ModelError(f"family={family!r} is not known.", hint=f"Choose one of {', '.join(FAMILIES)}.")
        if isinstance(predictors, str) or not (len(predictors) or intercept):
            raise ModelError("A regression needs predictors or an intercept.", hint="Give a list of columns.")
        self.predictors, self.family, self.intercept = tuple(predictors), family, intercept
        names = (["intercept"] if intercept else []) + list(predictors)
        width = 0.3 if family == "poisson" else 1.0
        parameters = [Parameter(name, Identity(), 0.5 if family == "poisson" else None, width) for name in names]
        parameters += [Parameter("sigma", Exp(), 1.0, 0.3)] if family == "gaussian" else []
        self.parameters = tuple(parameters)
        kind = {"gaussian": "linear", "binomial": "logistic", "poisson": "Poisson"}[family]
        self.name = f"{kind} regression on {' + '.join(predictors) or 'an intercept'}"

    def settings(self) -> dict[str, Any]:
        own = {"predictors": list(self.predictors), "family": self.family, "intercept": self.intercept}
        return {**own, **super().settings()}

    def check(self, table: pd.DataFrame) -> str | None:
        if self.family == "binomial":
            return self.codes(table, "y", 2)
        y = table[self.response].to_numpy(dtype=float)
        if self.family == "poisson" and not ((y >= 0) & (y == np.round(y))).all():
            return f"*{self.response}* holds what is no count"
        return None

    def log_likelihood(self, parameters: Tensor, trials: Batch) -> Tensor:
        y = trials[self.response].to(torch.float64)
        X = trials.derived("X (B, T, k)", self._matrix)
        k = X.shape[2]
        eta = torch.einsum("btk,bk->bt", X, parameters[:, :k])
        if self.family == "gaussian":
            sigma = parameters[:, k : k + 1]
            each = -0.5 * ((y - eta) / sigma).square() - sigma.log() - 0.5 * math.log(2 * math.pi)
        elif self.family == "binomial":
            each = torch.nn.functional.logsigmoid((2 * y - 1) * eta)
        else:
            each = y * eta - eta.exp() - trials.derived("log y!", lambda b: torch.lgamma(y + 1))
        return torch.where(trials.mask, each, 0.0).sum(1)

    def _matrix(self, b: Batch) -> Tensor:
        columns = [b[self.column(name)].to(torch.float64) for name in self.predictors]
        ones = [torch.ones_like(b[self.response], dtype=torch.float64)] if self.intercept else []
        return torch.stack(ones + columns, dim=2)

    def task(self, n_trials: int, rng: np.random.Generator) -> pd.DataFrame:
        return pd.DataFrame({self.column(name): rng.standard_normal(n_trials) for name in self.predictors})

    def respond(self, parameters: Mapping[str, float], trials: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        eta = np.full(len(trials), parameters.get("intercept", 0.0) if self.intercept else 0.0)
        for name in self.predictors:
            eta = eta + parameters[name] * trials[self.column(name)].to_numpy(dtype=float)
        if self.family == "gaussian":
            y: np.ndarray = eta + parameters["sigma"] * rng.standard_normal(len(eta))
        elif self.family == "binomial":
            y = (rng.random(len(eta)) < 1 / (1 + np.exp(-eta))).astype(int)
        else:
            y = rng.poisson(np.exp(eta))
        return trials.assign(**{self.response: y})


class AutoRegressive(LibraryModel):
    """An autoregression of each subject, given its first values.

    Parameters
    ----------
    order : int
        p.
    columns : mapping of str to str, optional
        The user's name for ``y``.

    Examples
    --------
    >>> [p.name for p in AutoRegressive(2).parameters]
    ['constant', 'lag1', 'lag2', 'sigma']
    """

    roles = ("y",)
    response_role = "y"
    ordered = True
    about = "Each value from the ones before it."

    def __init__(self, order: int = 1, *, columns: Mapping[str, str] | None = None) -> None:
        super().__init__(columns)
        if not isinstance(order, int) or isinstance(order, bool) or order < 1:
            raise ModelError(f"order={order!r} is no number of lags.", hint="Give a whole number from 1 up.")
        self.order = order
        self.parameters = (
            Parameter("constant", Identity(), None, 0.5),
            *(Parameter(f"lag{k}", Identity(), 0.4 / k**2 if k == 1 else 0.0, 0.2 / k) for k in range(1, order + 1)),
            Parameter("sigma", Exp(), 1.0, 0.3),
        )
        self.name = f"autoregression of order {order}"

    def settings(self) -> dict[str, Any]:
        return {"order": self.order, **super().settings()}

    def check(self, table: pd.DataFrame) -> str | None:
        if len(table) <= self.order:
            return f"{len(table)} trials are too few for {self.order} lags"
        return None

    def log_likelihood(self, parameters: Tensor, trials: Batch) -> Tensor:
        y, p = trials[self.response].to(torch.float64), self.order
        mean = parameters[:, :1]
        for k in range(1, p + 1):
            mean = mean + parameters[:, k : k + 1] * y[:, p - k : y.shape[1] - k]
        sigma = parameters[:, p + 1 : p + 2]
        each = -0.5 * ((y[:, p:] - mean) / sigma).square() - sigma.log() - 0.5 * math.log(2 * math.pi)
        return torch.where(trials.mask[:, p:], each, 0.0).sum(1)

    def task(self, n_trials: int, rng: np.random.Generator) -> pd.DataFrame:
        return pd.DataFrame(index=range(n_trials))

    def respond(self, parameters: Mapping[str, float], trials: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        n, p = len(trials), self.order
        warm = 100
        y = np.zeros(n + warm + p)
        phi = np.array([parameters[f"lag{k}"] for k in range(1, p + 1)])
        for t in range(p, len(y)):
            y[t] = parameters["constant"] + phi @ y[t - p : t][::-1] + parameters["sigma"] * rng.standard_normal()
        return trials.assign(**{self.response: y[-n:]})
