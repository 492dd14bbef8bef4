"""A Bayesian learner of reward probabilities, whose memory may fade.

    a_(t+1)(k) = gamma a_t(k) + [k chosen] r_t,    b_(t+1)(k) = gamma b_t(k) + [k chosen] (1 - r_t)
    theta(k) ~ Beta(1 + a(k), 1 + b(k)),           P(k) ~ exp(beta (E theta(k) + phi SD theta(k)))

gamma = 1 is exact inference for probabilities that do not change; phi rewards what is uncertain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.covariance.transforms import Exp, Identity, Sigmoid
from openreml_core.hierarchical.batch import Batch
from openreml_core.hierarchical.models.bandit import Bandit
from openreml_core.hierarchical.models.base import log_choice, softmax_draw
from openreml_core.hierarchical.parameters import Parameter
from openreml_core.hierarchical.recurrence import linear_recurrence


class BayesianLearner(Bandit):
    """Learning reward probabilities by Bayes' rule.

    Parameters
    ----------
    bonus : bool
        Whether uncertainty counts, for or against an option.
    n_options : int
    columns : mapping of str to str, optional
        The user's names for ``choice`` (0 to n_options - 1) and ``reward`` (0 or 1).

    Examples
    --------
    >>> [p.name for p in BayesianLearner(bonus=True).parameters]
    ['memory', 'inverse_temperature', 'uncertainty_bonus']
    """

    about = "Learning reward probabilities by Bayes' rule, with a memory that fades."

    def __init__(self, *, bonus: bool = False, n_options: int = 2, columns: Mapping[str, str] | None = None) -> None:
        super().__init__(n_options, columns)
        self.bonus = bonus
        parameters = [Parameter("memory", Sigmoid(), 0.85, 0.8), Parameter("inverse_temperature", Exp(), 5.0, 0.5)]
        parameters += [Parameter("uncertainty_bonus", Identity(), 0.0, 0.8)] if bonus else []
        self.parameters = tuple(parameters)
        self.name = "Bayesian learner" + (" (bonus)" if bonus else "")

    def settings(self) -> dict[str, Any]:
        return {"bonus": self.bonus, **super().settings()}

    def check(self, table: pd.DataFrame) -> str | None:
        return super().check(table) or self.codes(table, "reward", 2)

    def log_likelihood(self, parameters: Tensor, trials: Batch) -> Tensor:
        memory, temperature = parameters[:, 0], parameters[:, 1]
        chosen = self.chosen(trials)
        won = chosen * self.time_first(trials, "reward").to(torch.float64)[:, None, :]
        a = 1 + linear_recurrence(memory, won)
        b = 1 + linear_recurrence(memory, chosen - won)
        total = a + b
        utility = a / total
        if self.bonus:
            utility = utility + parameters[:, 2] * (a * b / (total.square() * (total + 1))).sqrt()
        mask = trials.derived("mask (T, B)", lambda x: x.mask.T.contiguous())
        return torch.where(mask, log_choice(temperature * utility, chosen), 0.0).sum(0)

    def respond(self, parameters: Mapping[str, float], trials: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        a, b = np.ones(self.n_options), np.ones(self.n_options)
        choice, reward = np.empty(len(trials), dtype=int), np.empty(len(trials), dtype=int)
        for t, chance in enumerate(self.chances(trials)):
            sd = np.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))
            utility = a / (a + b) + parameters.get("uncertainty_bonus", 0.0) * sd
            c = softmax_draw(parameters["inverse_temperature"] * utility, rng)
            r = int(rng.random() < chance[c])
            a, b = 1 + parameters["memory"] * (a - 1), 1 + parameters["memory"] * (b - 1)
            a[c] += r
            b[c] += 1 - r
            choice[t], reward[t] = c, r
        return trials.assign(**{self.column("choice"): choice, self.column("reward"): reward})
