"""Rescorla-Wagner learning of the values of options, and softmax choice.

    Q_(t+1)(c) = Q_t(c) + alpha (r_t - Q_t(c)) for the chosen c,    P(c) ~ exp(beta Q_t(c) + kappa [c chosen before])

Two learning rates: alpha differs where r - Q is positive or not. Gain and loss: the reward that is learned is rho_gain r for
r > 0 and rho_loss r for r < 0, and takes the place of beta, which could not be told from it. (Rescorla and Wagner 1972; Sutton
and Barto 1998, Reinforcement Learning; Huys et al. 2011 for the sensitivities.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.covariance.transforms import Exp, Identity, Sigmoid
from openreml_core.errors import ModelError
from openreml_core.hierarchical.batch import Batch
from openreml_core.hierarchical.models.bandit import Bandit
from openreml_core.hierarchical.models.base import log_choice, softmax_draw
from openreml_core.hierarchical.parameters import Parameter
from openreml_core.hierarchical.recurrence import delta_signs, linear_recurrence


class RescorlaWagner(Bandit):
    """Learning values of options from rewards.

    Parameters
    ----------
    learning_rates : {1, 2}
        One, or one for positive and one for negative prediction errors.
    sticky : bool
        Whether the option chosen last is favoured (or shunned).
    gain_loss : bool
        Separate sensitivities to gains and losses in the place of the inverse temperature.
    n_options : int
    initial_value : float
        Q before the first trial.
    columns : mapping of str to str, optional
        The user's names for ``choice`` (0 to n_options - 1) and ``reward``.

    Examples
    --------
    >>> [p.name for p in RescorlaWagner(learning_rates=2, sticky=True).parameters]
    ['learning_rate_positive', 'learning_rate_negative', 'inverse_temperature', 'stickiness']
    """

    about = "Learning the values of options from rewards, trial by trial (Q-learning of a bandit)."

    def __init__(
        self,
        learning_rates: int = 1,
        *,
        sticky: bool = False,
        gain_loss: bool = False,
        n_options: int = 2,
        initial_value: float = 0.0,
        columns: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(n_options, columns)
        if learning_rates not in (1, 2):
            raise ModelError(f"learning_rates={learning_rates!r} is not possible.", hint="Choose 1 or 2.")
        self.learning_rates, self.sticky, self.gain_loss = learning_rates, sticky, gain_loss
        self.initial_value = float(initial_value)
        rates = ["learning_rate"] if learning_rates == 1 else ["learning_rate_positive", "learning_rate_negative"]
        parameters = [Parameter(name, Sigmoid(), 0.3) for name in rates]
        scales = ["gain_sensitivity", "loss_sensitivity"] if gain_loss else ["inverse_temperature"]
        parameters += [Parameter(name, Exp(), 3.0, 0.6) for name in scales]
        parameters += [Parameter("stickiness", Identity(), 0.0, 0.7)] if sticky else []
        self.parameters = tuple(parameters)
        features = [f"{learning_rates} learning rates"] if learning_rates == 2 else []
        features += ["stickiness"] if sticky else []
        features += ["gain and loss"] if gain_loss else []
        self.name = "Rescorla-Wagner" + (f" ({', '.join(features)})" if features else "")

    def settings(self) -> dict[str, Any]:
        return {
            "learning_rates": self.learning_rates,
            "sticky": self.sticky,
            "gain_loss": self.gain_loss,
            "initial_value": self.initial_value,
            **super().settings(),
        }

    # -- likelihood -----------------------------------------------------------------------------------------------

    def log_likelihood(self, parameters: Tensor, trials: Batch) -> Tensor:
        chosen, reward = self.chosen(trials), self.time_first(trials, "reward").to(torch.float64)
        columns = list(parameters.unbind(1))
        up = columns.pop(0)
        down = columns.pop(0) if self.learning_rates == 2 else up
        if self.gain_loss:
            gain, loss = columns.pop(0), columns.pop(0)
            reward = reward * torch.where(reward > 0, gain, loss)
            temperature: Tensor | float = 1.0
        else:
            temperature = columns.pop(0)
        target = reward[:, None, :]
        if self.learning_rates == 1:
            value = linear_recurrence(1 - up * chosen, up * self._paid(chosen, target, trials), self.initial_value)
        else:
            positive = delta_signs(up, down, chosen, target.expand_as(chosen), self.initial_value)
            rate = torch.where(positive, up, down) * chosen
            value = linear_recurrence(1 - rate, rate * target, self.initial_value)
        utility = temperature * value
        if self.sticky:
            utility = utility + columns.pop(0) * self._before(trials)
        mask = trials.derived("mask (T, B)", lambda b: b.mask.T.contiguous())
        return torch.where(mask, log_choice(utility, chosen), 0.0).sum(0)

    def _paid(self, chosen: Tensor, target: Tensor, trials: Batch) -> Tensor:
        """What the chosen option paid, (T, K, B); the same in every evaluation unless sensitivities enter it."""
        if self.gain_loss:
            return chosen * target
        return trials.derived("paid (T, K, B)", lambda _: chosen * target)

    def _before(self, trials: Batch) -> Tensor:
        """The choice before, (T, K, B); none before the first."""
        return trials.derived(
            "before (T, K, B)",
            lambda b: torch.cat([torch.zeros_like(self.chosen(b)[:1]), self.chosen(b)[:-1]]),
        )

    # -- simulation -----------------------------------------------------------------------------------------------

    def respond(self, parameters: Mapping[str, float], trials: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        chances = self.chances(trials)
        up = parameters["learning_rate" if self.learning_rates == 1 else "learning_rate_positive"]
        down = up if self.learning_rates == 1 else parameters["learning_rate_negative"]
        temperature = 1.0 if self.gain_loss else parameters["inverse_temperature"]
        q, last = np.full(self.n_options, self.initial_value), np.zeros(self.n_options)
        choice, reward = np.empty(len(trials), dtype=int), np.empty(len(trials))
        for t, chance in enumerate(chances):
            c = softmax_draw(temperature * q + parameters.get("stickiness", 0.0) * last, rng)
            won = rng.random() < chance[c]
            r = 1.0 if won else (-1.0 if self.gain_loss else 0.0)
            felt = r * (parameters["gain_sensitivity" if won else "loss_sensitivity"] if self.gain_loss else 1.0)
            error = felt - q[c]
            q[c] += (up if error > 0 else down) * error
            last[:] = 0.0
            last[c] = 1.0
            choice[t], reward[t] = c, r
        return trials.assign(**{self.column("choice"): choice, self.column("reward"): reward})
