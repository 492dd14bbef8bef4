"""The two-step task: a first choice leads to one of two states, commonly or rarely; a second choice there is rewarded.

    Q2(s, b) <- Q2(s, b) + alpha (r - Q2(s, b))
    Q1(a)    <- Q1(a) + alpha (Q2(s, b) - Q1(a)) + alpha lambda (r - Q2(s, b))           SARSA(lambda)
    QM(a)     = sum_s P(s | a) max_b Q2(s, b)                                            model-based
    P(a) ~ exp(beta1 (w QM(a) + (1 - w) Q1(a)) + kappa [a chosen before]),   P(b | s) ~ exp(beta2 Q2(s, b))

Q2 on the right of Q1 is that before the trial's reward (Daw, Gershman, Seymour, Dayan and Dolan 2011, Neuron 69, 1204-1215).
The maximum in QM has kinks: where a subject's mode lies on one, its posterior covariance is too small in that direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from openreml_core.covariance.transforms import Exp, Identity, Sigmoid
from openreml_core.errors import ModelError
from openreml_core.hierarchical.batch import Batch
from openreml_core.hierarchical.models.base import LibraryModel, reward_walk, softmax_draw
from openreml_core.hierarchical.parameters import Parameter
from openreml_core.hierarchical.recurrence import linear_recurrence

KINDS = ("hybrid", "sarsa", "model_based")


class TwoStep(LibraryModel):
    """Model-free and model-based control in the two-step task.

    Parameters
    ----------
    kind : {"hybrid", "sarsa", "model_based"}
        Both controllers in a weight, or one of them.
    sticky : bool
        Whether the first choice tends to be repeated.
    common : float
        Probability of the common transition: choice 0 to state 0, choice 1 to state 1.
    columns : mapping of str to str, optional
        The user's names for ``choice1``, ``state``, ``choice2`` (each 0 or 1) and ``reward``.

    Examples
    --------
    >>> [p.name for p in TwoStep("sarsa", sticky=False).parameters]
    ['learning_rate', 'inverse_temperature1', 'inverse_temperature2', 'trace']
    """

    roles = ("choice1", "state", "choice2", "reward")
    response_role = "choice1"
    ordered = True
    about = "Choices in two steps, by values learned from experience and from a model of the task."

    def __init__(
        self,
        kind: str = "hybrid",
        *,
        sticky: bool = True,
        common: float = 0.7,
        columns: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(columns)
        if kind not in KINDS:
            raise ModelError(f"kind={kind!r} is not known.", hint=f"Choose one of {', '.join(KINDS)}.")
        if not 0 < common < 1:
            raise ModelError(
                f"common={common!r} is no probability.", hint="Give a number between 0 and 1, such as 0.7."
            )
        self.kind, self.sticky, self.common = kind, sticky, float(common)
        parameters = [
            Parameter("learning_rate", Sigmoid(), 0.5),
            Parameter("inverse_temperature1", Exp(), 4.0, 0.5),
            Parameter("inverse_temperature2", Exp(), 4.0, 0.5),
        ]
        parameters += [Parameter("trace", Sigmoid(), 0.6)] if kind != "model_based" else []
        parameters += [Parameter("model_weight", Sigmoid(), 0.5)] if kind == "hybrid" else []
        parameters += [Parameter("stickiness", Identity(), 0.2, 0.5)] if sticky else []
        self.parameters = tuple(parameters)
        self.name = f"two-step, {kind.replace('_', '-')}" + ("" if sticky else " (no stickiness)")

    def settings(self) -> dict[str, Any]:
        return {"kind": self.kind, "sticky": self.sticky, "common": self.common, **super().settings()}

    def check(self, table: pd.DataFrame) -> str | None:
        return next((why for role in self.roles[:3] if (why := self.codes(table, role, 2))), None)

    # -- likelihood -----------------------------------------------------------------------------------------------

    def log_likelihood(self, parameters: Tensor, trials: Batch) -> Tensor:
        value = dict(zip((p.name for p in self.parameters), parameters.unbind(1), strict=True))
        first, place = trials.derived("first (T, 2, B)", self._first), trials.derived("place (T, 4, B)", self._place)
        reward = self.time_first(trials, "reward").to(torch.float64)[:, None, :]
        mask = trials.derived("mask (T, B)", lambda b: b.mask.T.contiguous())
        alpha = value["learning_rate"]
        q2 = linear_recurrence(1 - alpha * place, alpha * place * reward)  # (T, 4, B), states by choices
        met = (q2 * place).sum(1)  # value of what was chosen, before its reward
        pair = torch.stack([q2[:, 0] - q2[:, 1], q2[:, 2] - q2[:, 3]], 1)
        sign = trials.derived("sign2", lambda b: 1 - 2 * self.time_first(b, "choice2").to(torch.float64))
        state = trials.derived("state", lambda b: self.time_first(b, "state").to(torch.float64))
        difference2 = pair[:, 0] * (1 - state) + pair[:, 1] * state
        second = logsigmoid(value["inverse_temperature2"] * sign * difference2)
        weight: Tensor | float = value.get("model_weight", torch.tensor(float(self.kind == "model_based")))
        difference1: Tensor | float = 0.0
        if self.kind != "sarsa":
            best = torch.stack([torch.maximum(q2[:, 0], q2[:, 1]), torch.maximum(q2[:, 2], q2[:, 3])], 1)
            difference1 = weight * (2 * self.common - 1) * (best[:, 0] - best[:, 1])
        if self.kind != "model_based":
            target = met + value["trace"] * (reward[:, 0] - met)
            q1 = linear_recurrence(1 - alpha * first, alpha * first * target[:, None, :])
            difference1 = difference1 + (1 - weight) * (q1[:, 0] - q1[:, 1])
        utility = value["inverse_temperature1"] * difference1
        sign1 = trials.derived("sign1", lambda b: 1 - 2 * self.time_first(b, "choice1").to(torch.float64))
        if self.sticky:
            before = trials.derived("before", lambda b: torch.cat([0 * sign1[:1], sign1[:-1]]))
            utility = utility + value["stickiness"] * before
        return torch.where(mask, logsigmoid(sign1 * utility) + second, 0.0).sum(0)

    def _first(self, b: Batch) -> Tensor:
        """1 at the first choice, (T, 2, B)."""
        choice, mask = self.time_first(b, "choice1"), b.mask.T
        return torch.stack([((choice == k) & mask).to(torch.float64) for k in range(2)], 1)

    def _place(self, b: Batch) -> Tensor:
        """1 at the state and choice of the second step, (T, 4, B)."""
        place, mask = 2 * self.time_first(b, "state") + self.time_first(b, "choice2"), b.mask.T
        return torch.stack([((place == k) & mask).to(torch.float64) for k in range(4)], 1)

    # -- simulation -----------------------------------------------------------------------------------------------

    def task(self, n_trials: int, rng: np.random.Generator) -> pd.DataFrame:
        walk = reward_walk(n_trials, 4, rng)
        return pd.DataFrame({f"reward_probability_{s}{b}": walk[:, 2 * s + b] for s in range(2) for b in range(2)})

    def respond(self, parameters: Mapping[str, float], trials: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        names = [f"reward_probability_{s}{b}" for s in range(2) for b in range(2)]
        if missing := [name for name in names if name not in trials]:
            raise ModelError(
                f"The trials lack *{missing[0]}*: what choices not made would have paid is not known.",
                hint="Add the four reward probabilities to simulate choices.",
            )
        chances = trials[names].to_numpy()
        alpha, trace = parameters["learning_rate"], parameters.get("trace", 0.0)
        w = parameters.get("model_weight", 1.0 if self.kind == "model_based" else 0.0)
        q1, q2, last = np.zeros(2), np.zeros((2, 2)), np.zeros(2)
        out = {role: np.empty(len(trials), dtype=int) for role in self.roles[:3]} | {"reward": np.empty(len(trials))}
        for t, chance in enumerate(chances):
            best = q2.max(axis=1)
            model = np.array([self.common * best[a] + (1 - self.common) * best[1 - a] for a in range(2)])
            utility = parameters["inverse_temperature1"] * (w * model + (1 - w) * q1)
            a = softmax_draw(utility + parameters.get("stickiness", 0.0) * last, rng)
            s = a if rng.random() < self.common else 1 - a
            b = softmax_draw(parameters["inverse_temperature2"] * q2[s], rng)
            r = float(rng.random() < chance[2 * s + b])
            met = q2[s, b]
            q1[a] += alpha * (met - q1[a]) + alpha * trace * (r - met)
            q2[s, b] += alpha * (r - met)
            last[:] = 0.0
            last[a] = 1.0
            out["choice1"][t], out["state"][t], out["choice2"][t], out["reward"][t] = a, s, b, r
        return trials.assign(**{self.column(role): values for role, values in out.items()})
