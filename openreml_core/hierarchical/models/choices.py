"""Choices between two offers: prospect theory, and discounting of what comes later.

P(choice = 1) = 1 / (1 + exp(-beta (U_1 - U_0)))
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.covariance.transforms import Exp, Sigmoid
from openreml_core.errors import ModelError
from openreml_core.hierarchical.batch import Batch
from openreml_core.hierarchical.models.base import LibraryModel
from openreml_core.hierarchical.parameters import Parameter


class TwoOffers(LibraryModel):
    """A choice between two offers whose utilities differ by ``difference``."""

    @abstractmethod
    def difference(self, parameters: Mapping[str, Tensor], offers: Mapping[str, Tensor]) -> Tensor:
        """U_1 - U_0 of parameters (B, 1) and offers (B, T): (B, T)."""

    def log_likelihood(self, parameters: Tensor, trials: Batch) -> Tensor:
        values = {p.name: parameters[:, k : k + 1] for k, p in enumerate(self.parameters)}
        offers = {role: trials[self.column(role)].to(torch.float64) for role in self.roles[1:]}
        utility = values["inverse_temperature"] * self.difference(values, offers)
        sign = 2 * trials[self.response].to(torch.float64) - 1
        return torch.where(trials.mask, torch.nn.functional.logsigmoid(sign * utility), 0.0).sum(1)

    def check(self, table: pd.DataFrame) -> str | None:
        if why := self.codes(table, "choice", 2):
            return why
        for role in self.roles[1:]:
            values = table[self.column(role)].to_numpy(dtype=float)
            if (values < 0).any():
                return f"*{self.column(role)}* is negative in row {table.index[values < 0][0]}"
        return None

    def respond(self, parameters: Mapping[str, float], trials: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        values = {k: torch.full((1, 1), float(v), dtype=torch.float64) for k, v in parameters.items()}
        columns = {role: trials[self.column(role)].to_numpy(dtype=np.float64, copy=True) for role in self.roles[1:]}
        offers = {role: torch.from_numpy(column)[None] for role, column in columns.items()}
        p = torch.sigmoid(values["inverse_temperature"] * self.difference(values, offers))[0].numpy()
        return trials.assign(**{self.response: (rng.random(len(trials)) < p).astype(int)})


def power(x: Tensor, exponent: Tensor) -> Tensor:
    """x^exponent for x >= 0, with a gradient at zero."""
    safe = torch.where(x > 0, x, 1.0)
    return torch.where(x > 0, (exponent * safe.log()).exp(), 0.0)


class ProspectTheory(TwoOffers):
    """A gamble, half gain and half loss, or a certain amount.

        U_1 = gain^rho / 2 - lambda loss^rho / 2,     U_0 = certain^rho

    (Kahneman and Tversky 1979, Econometrica 47, 263-291; Sokol-Hessner et al. 2009, PNAS 106, 5035-5040.)

    Parameters
    ----------
    columns : mapping of str to str, optional
        The user's names for ``choice`` (1 the gamble), ``gain``, ``loss`` (its size), ``certain``.

    Examples
    --------
    >>> [p.name for p in ProspectTheory().parameters]
    ['risk_curvature', 'loss_aversion', 'inverse_temperature']
    """

    roles = ("choice", "gain", "loss", "certain")
    about = "Gambles with gains and losses against a certain amount."

    def __init__(self, *, columns: Mapping[str, str] | None = None) -> None:
        super().__init__(columns)
        self.parameters = (
            Parameter("risk_curvature", Sigmoid(0.0, 2.0), 0.9, 0.5),
            Parameter("loss_aversion", Exp(), 1.6, 0.4),
            Parameter("inverse_temperature", Exp(), 1.5, 0.4),
        )
        self.name = "prospect theory"

    def difference(self, parameters: Mapping[str, Tensor], offers: Mapping[str, Tensor]) -> Tensor:
        rho = parameters["risk_curvature"]
        gamble = power(offers["gain"], rho) - parameters["loss_aversion"] * power(offers["loss"], rho)
        return 0.5 * gamble - power(offers["certain"], rho)

    def task(self, n_trials: int, rng: np.random.Generator) -> pd.DataFrame:
        """Two of three trials are mixed gambles against nothing, a third is a gain against a certain amount."""
        mixed = rng.random(n_trials) < 2 / 3
        gain = rng.uniform(2, 12, n_trials)
        loss = np.where(mixed, gain * rng.uniform(0.25, 1.5, n_trials), 0.0)
        certain = np.where(mixed, 0.0, gain * rng.uniform(0.2, 0.8, n_trials))
        values = {"gain": gain, "loss": loss, "certain": certain}
        return pd.DataFrame({self.column(k): v for k, v in values.items()})


class Discounting(TwoOffers):
    """A smaller amount sooner or a larger one later.

        hyperbolic   U = amount / (1 + k delay)       exponential   U = amount exp(-k delay)

    (Mazur 1987; Samuelson 1937.)

    Parameters
    ----------
    curve : {"hyperbolic", "exponential"}
    columns : mapping of str to str, optional
        The user's names for ``choice`` (1 the later), ``amount_sooner``, ``amount_later``, ``delay_sooner``, ``delay_later``.

    Examples
    --------
    >>> Discounting("exponential").name
    'exponential discounting'
    """

    roles = ("choice", "amount_sooner", "amount_later", "delay_sooner", "delay_later")
    about = "Smaller sooner against larger later rewards."

    def __init__(self, curve: str = "hyperbolic", *, columns: Mapping[str, str] | None = None) -> None:
        super().__init__(columns)
        if curve not in ("hyperbolic", "exponential"):
            raise ModelError(f"curve={curve!r} is not known.", hint="Choose hyperbolic or exponential.")
        self.curve = curve
        self.parameters = (
            Parameter("discount_rate", Exp(), 0.03, 1.0),
            Parameter("inverse_temperature", Exp(), 0.4, 0.5),
        )
        self.name = f"{curve} discounting"

    def settings(self) -> dict[str, Any]:
        return {"curve": self.curve, **super().settings()}

    def difference(self, parameters: Mapping[str, Tensor], offers: Mapping[str, Tensor]) -> Tensor:
        k = parameters["discount_rate"]

        def present(amount: Tensor, delay: Tensor) -> Tensor:
            return amount / (1 + k * delay) if self.curve == "hyperbolic" else amount * torch.exp(-k * delay)

        later = present(offers["amount_later"], offers["delay_later"])
        return later - present(offers["amount_sooner"], offers["delay_sooner"])

    def task(self, n_trials: int, rng: np.random.Generator) -> pd.DataFrame:
        later = rng.uniform(15, 40, n_trials)
        values = {
            "amount_sooner": later * rng.uniform(0.1, 0.95, n_trials),
            "amount_later": later,
            "delay_sooner": np.zeros(n_trials),
            "delay_later": rng.choice([1.0, 3.0, 7.0, 14.0, 30.0, 60.0, 120.0, 180.0], n_trials),
        }
        return pd.DataFrame({self.column(k): v for k, v in values.items()})
