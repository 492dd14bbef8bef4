"""What every model of the library has: parameters, likelihood of a batch, a simulator, and checks of the trials."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from openreml_core.errors import ModelError, did_you_mean
from openreml_core.hierarchical.batch import Batch
from openreml_core.hierarchical.parameters import Parameter

#: Of the table that ``simulate`` makes: native parameters of each subject, a plain dict of lists.
TRUE = "true_parameters"


class LibraryModel(ABC):
    """A model of the library.

    Parameters
    ----------
    columns : mapping of str to str, optional
        Names of the user's columns for those of the model: ``{"choice": "response"}``.

    Attributes
    ----------
    name : str
    parameters : tuple of Parameter
    columns : tuple of str
        What the likelihood reads.
    response : str
        The modelled column.
    """

    batched = True
    #: The model's own names of its columns, and the modelled one.
    roles: ClassVar[tuple[str, ...]] = ()
    response_role: ClassVar[str] = "choice"
    #: Whether a trial depends on those before it, so that their order counts.
    ordered: ClassVar[bool] = False
    #: One sentence: what it is a model of.
    about: ClassVar[str] = ""

    name: str
    parameters: tuple[Parameter, ...]

    def __init__(self, columns: Mapping[str, str] | None = None) -> None:
        self._own = dict(columns or {})
        for role in self._own:
            if role not in self.roles:
                raise ModelError(
                    f"The model {type(self).__name__} has no column *{role}*.", hint=did_you_mean(role, self.roles)
                )

    def column(self, role: str) -> str:
        """The user's name of a column of the model."""
        return self._own.get(role, role)

    @property
    def columns(self) -> tuple[str, ...]:
        """The user's names of all of them."""
        return tuple(self.column(role) for role in self.roles)

    @property
    def response(self) -> str:
        """The user's name of the modelled column."""
        return self.column(self.response_role)

    def settings(self) -> dict[str, Any]:
        """What was chosen when the model was made: ``type(model)(**model.settings())`` is the same model."""
        return {"columns": dict(self._own)} if self._own else {}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.settings() == other.settings()

    def __hash__(self) -> int:
        return hash((type(self), self.name))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.settings().items())})"

    # -- likelihood -----------------------------------------------------------------------------------------------

    @abstractmethod
    def log_likelihood(self, parameters: Tensor, trials: Batch) -> Tensor:
        """Log-likelihoods (B,) at native parameters (B, d)."""

    def time_first(self, trials: Batch, role: str) -> Tensor:
        """A column as (T, B), padded with zeros."""
        return trials.derived(f"{role} (T, B)", lambda b: b[self.column(role)].T.contiguous())

    def check(self, table: pd.DataFrame) -> str | None:
        """Why a subject's trials cannot be of this model; None where they can."""
        return None

    def codes(self, table: pd.DataFrame, role: str, n: int) -> str | None:
        """Why a column holds others than the whole numbers 0 to n - 1."""
        values = table[self.column(role)].to_numpy()
        wrong = ~np.isin(values, np.arange(n))
        if not wrong.any():
            return None
        words = "0 or 1" if n == 2 else f"a whole number from 0 to {n - 1}"
        row = table.index[wrong][0]
        return f"*{self.column(role)}* is {values[wrong][0]} in row {row}; it has to be {words}"

    # -- simulation -----------------------------------------------------------------------------------------------

    @abstractmethod
    def task(self, n_trials: int, rng: np.random.Generator) -> pd.DataFrame:
        """What a subject meets: a row per trial, without its responses."""

    @abstractmethod
    def respond(self, parameters: Mapping[str, float], trials: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        """The trials with responses of a subject of these native parameters."""

    def draw_parameters(
        self,
        n_subjects: int,
        rng: np.random.Generator,
        mean: Mapping[str, float] | None = None,
        sd: Mapping[str, float] | None = None,
    ) -> dict[str, np.ndarray]:
        """Native parameters of subjects from a normal group; mean native, sd on the free scale."""
        out = {}
        for p in self.parameters:
            centre = p.free_start if mean is None or p.name not in mean else p.to_free(mean[p.name])
            width = p.spread if sd is None or p.name not in sd else float(sd[p.name])
            free = centre + width * rng.standard_normal(n_subjects)
            out[p.name] = p.to_native(torch.from_numpy(free)).numpy()
        return out

    def simulate(
        self,
        n_subjects: int = 50,
        n_trials: int = 200,
        seed: int = 1,
        *,
        mean: Mapping[str, float] | None = None,
        sd: Mapping[str, float] | None = None,
        parameters: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Trials of subjects drawn from a group.

        Parameters
        ----------
        n_subjects, n_trials, seed : int
        mean, sd : mapping of str to float, optional
            The group's native means and standard deviations on the free scale; the parameters' own start and spread by
            default.
        parameters : DataFrame, optional
            Native parameters, a row per subject, instead of draws.

        Returns
        -------
        DataFrame
            Columns ``subject`` (from 1), ``trial`` (from 1) and the model's; ``true_parameters(table)`` tells the truth.
        """
        for name, value in (("n_subjects", n_subjects), ("n_trials", n_trials)):
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
                raise ModelError(f"{name}={value!r} is no count.", hint="Give a whole number from 1 up.")
        rng = np.random.default_rng(seed)
        for given, what in ((mean, "mean"), (sd, "sd")):
            self._known(given, what)
        if parameters is None:
            truth = self.draw_parameters(n_subjects, rng, mean, sd)
        else:
            self._known({p.name: 0.0 for p in self.parameters if p.name not in parameters}, "parameters", lacking=True)
            truth = {p.name: parameters[p.name].to_numpy(dtype=float) for p in self.parameters}
            n_subjects = len(parameters)
        parts = []
        for i in range(n_subjects):
            values = {name: float(column[i]) for name, column in truth.items()}
            part = self.respond(values, self.task(n_trials, rng), rng)
            part.insert(0, "subject", i + 1)
            part.insert(1, "trial", np.arange(1, len(part) + 1))
            parts.append(part)
        table = pd.concat(parts, ignore_index=True)
        table.attrs[TRUE] = {
            "subject": list(range(1, n_subjects + 1)),
            **{name: column.tolist() for name, column in truth.items()},
        }
        return table

    def _known(self, given: Mapping[str, float] | None, what: str, *, lacking: bool = False) -> None:
        names = [p.name for p in self.parameters]
        for name in given or {}:
            if lacking:
                raise ModelError(f"{what} lacks a column *{name}*.", hint=f"Give {', '.join(names)}.")
            if name not in names:
                raise ModelError(f"{what} names *{name}*, which is no parameter.", hint=f"They are {', '.join(names)}.")


def true_parameters(table: pd.DataFrame) -> pd.DataFrame:
    """The native parameters that a simulated table was made with: subject, and a column per parameter.

    Raises
    ------
    ModelError
        For a table that was not simulated here, or that lost its attributes.
    """
    if TRUE not in table.attrs:
        raise ModelError("The table does not say how it was simulated.", hint="Give what model.simulate returned.")
    return pd.DataFrame(table.attrs[TRUE])


def log_choice(utility: Tensor, chosen: Tensor) -> Tensor:
    """log softmax of the chosen option.

    Parameters
    ----------
    utility, chosen : Tensor of shape (T, K, B)
        ``chosen`` is 1 at the option taken.

    Returns
    -------
    Tensor of shape (T, B)
    """
    if utility.shape[1] == 2:
        return logsigmoid((utility[:, 0] - utility[:, 1]) * (chosen[:, 0] - chosen[:, 1]))
    return (utility * chosen).sum(1) - utility.logsumexp(1)


def softmax_draw(utility: Sequence[float] | np.ndarray, rng: np.random.Generator) -> int:
    """An option drawn with probabilities softmax(utility)."""
    u = np.asarray(utility, dtype=float)
    p = np.exp(u - u.max())
    return int(np.searchsorted(np.cumsum(p) / p.sum(), rng.random()))


def reward_walk(n_trials: int, n_options: int, rng: np.random.Generator, step: float = 0.06) -> np.ndarray:
    """Reward probabilities (T, K) that wander between 0.1 and 0.9, reflected at the ends."""
    p = np.empty((n_trials, n_options))
    p[0] = rng.uniform(0.1, 0.9, n_options)
    for t in range(1, n_trials):
        q = p[t - 1] + step * rng.standard_normal(n_options)
        q = np.where(q > 0.9, 1.8 - q, q)
        p[t] = np.clip(np.where(q < 0.1, 0.2 - q, q), 0.1, 0.9)
    return p
