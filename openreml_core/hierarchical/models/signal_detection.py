"""Signal detection with equal variances.

    P(yes | signal) = Phi(d'/2 - c),     P(yes | noise) = Phi(-d'/2 - c)

(Green and Swets 1966; Macmillan and Creelman 2005, Detection Theory, ch. 2.)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from scipy import special
from torch import Tensor

from openreml_core.covariance.transforms import Identity
from openreml_core.hierarchical.batch import Batch
from openreml_core.hierarchical.models.base import LibraryModel
from openreml_core.hierarchical.parameters import Parameter


class SignalDetection(LibraryModel):
    """Yes or no to a signal in noise.

    Parameters
    ----------
    columns : mapping of str to str, optional
        The user's names for ``response`` (1 is yes) and ``signal`` (1 where there was one).

    Examples
    --------
    >>> [p.name for p in SignalDetection().parameters]
    ['sensitivity', 'criterion']
    """

    roles = ("response", "signal")
    response_role = "response"
    about = "Whether a signal was there: sensitivity d' and criterion c."

    def __init__(self, *, columns: Mapping[str, str] | None = None) -> None:
        super().__init__(columns)
        self.parameters = (
            Parameter("sensitivity", Identity(), 1.5, 0.6),
            Parameter("criterion", Identity(), 0.0, 0.4),
        )
        self.name = "signal detection"

    def check(self, table: pd.DataFrame) -> str | None:
        return self.codes(table, "response", 2) or self.codes(table, "signal", 2)

    def log_likelihood(self, parameters: Tensor, trials: Batch) -> Tensor:
        sensitivity, criterion = parameters[:, :1], parameters[:, 1:2]
        half = trials[self.column("signal")].to(torch.float64) - 0.5
        sign = 2 * trials[self.response].to(torch.float64) - 1
        each = torch.special.log_ndtr(sign * (half * sensitivity - criterion))
        return torch.where(trials.mask, each, 0.0).sum(1)

    def task(self, n_trials: int, rng: np.random.Generator) -> pd.DataFrame:
        return pd.DataFrame({self.column("signal"): rng.permutation(np.arange(n_trials) % 2)})

    def respond(self, parameters: Mapping[str, float], trials: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        signal = trials[self.column("signal")].to_numpy(dtype=float)
        p = special.ndtr((signal - 0.5) * parameters["sensitivity"] - parameters["criterion"])
        return trials.assign(**{self.response: (rng.random(len(trials)) < p).astype(int)})
