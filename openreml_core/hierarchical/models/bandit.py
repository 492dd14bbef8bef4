"""Bandits: options that pay with probabilities of their own, which wander; what every learner of them reads and meets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.errors import ModelError
from openreml_core.hierarchical.batch import Batch
from openreml_core.hierarchical.models.base import LibraryModel, reward_walk


class Bandit(LibraryModel):
    """A learner of the options of a bandit.

    Parameters
    ----------
    n_options : int
    columns : mapping of str to str, optional
        The user's names for ``choice`` (0 to n_options - 1) and ``reward``.
    """

    roles = ("choice", "reward")
    ordered = True

    def __init__(self, n_options: int = 2, columns: Mapping[str, str] | None = None) -> None:
        super().__init__(columns)
        if not isinstance(n_options, int) or n_options < 2:
            raise ModelError(f"n_options={n_options!r} leaves no choice.", hint="Give 2 or more.")
        self.n_options = n_options

    def settings(self) -> dict[str, Any]:
        return {"n_options": self.n_options, **super().settings()}

    def check(self, table: pd.DataFrame) -> str | None:
        return self.codes(table, "choice", self.n_options)

    def chosen(self, trials: Batch) -> Tensor:
        """1 at the chosen option, (T, K, B); an unused trial chooses none."""

        def make(b: Batch) -> Tensor:
            choice = b[self.column("choice")].to(torch.int64).T
            hot = torch.nn.functional.one_hot(choice.clamp(0, self.n_options - 1), self.n_options)
            return (hot.permute(0, 2, 1) * b.mask.T[:, None, :]).to(torch.float64).contiguous()

        return trials.derived("chosen (T, K, B)", make)

    def task(self, n_trials: int, rng: np.random.Generator) -> pd.DataFrame:
        """The probability with which each option pays in each trial."""
        walk = reward_walk(n_trials, self.n_options, rng)
        return pd.DataFrame({f"reward_probability_{k}": walk[:, k] for k in range(self.n_options)})

    def chances(self, trials: pd.DataFrame) -> np.ndarray:
        """These probabilities, (T, K).

        Raises
        ------
        ModelError
            For trials that do not have them: nobody knows what the options not taken would have paid.
        """
        names = [f"reward_probability_{k}" for k in range(self.n_options)]
        if missing := [name for name in names if name not in trials]:
            raise ModelError(
                f"The trials lack *{missing[0]}*: what the options not taken would have paid is not known.",
                hint="Add the reward probabilities of the options to simulate choices.",
            )
        return trials[names].to_numpy()
