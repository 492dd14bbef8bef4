"""The drift diffusion model: evidence drifts at rate v, with unit noise, from w a to 0 or a; a response follows after t0.

With u = t / a^2, the density of reaching the lower boundary at t is

    f(t) = exp(-v a w - v^2 t / 2) / a^2  g(u, w)
    g(u, w) = sum_k (w + 2k) exp(-(w + 2k)^2 / (2u)) / sqrt(2 pi u^3)  =  pi sum_k k exp(-k^2 pi^2 u / 2) sin(k pi w)

(Navarro and Fuss 2009, J. Math. Psychol. 53, 222-230). The first series is used for u < 0.4 with k = -3..3, the second above
with k = 1..5: either is exact to double precision there. The upper boundary is the lower one of (-v, 1 - w).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.covariance.transforms import Exp, Identity, Sigmoid
from openreml_core.hierarchical.batch import Batch
from openreml_core.hierarchical.models.base import LibraryModel
from openreml_core.hierarchical.parameters import Parameter

#: Times in units of a^2 where the series change, and their numbers of terms.
SWITCH, SMALL_TERMS, LARGE_TERMS = 0.4, 3, 5


def log_first_passage(t: Tensor, v: Tensor, a: Tensor, w: Tensor) -> Tensor:
    """Log density of reaching the lower boundary at decision times t > 0; -inf at t <= 0.

    Parameters
    ----------
    t, v, a, w : Tensor
        Time, drift, boundary separation and relative starting point (0 to 1), of shapes that broadcast.
    """
    t, v, a, w = torch.broadcast_tensors(t, v, a, w)
    late = t > 0
    u = torch.where(late, t, a.detach().square()) / a.square()
    short = u < SWITCH
    return torch.where(
        late,
        -v * a * w - 0.5 * v.square() * t - 2 * a.log() + torch.where(short, _small(u, w, short), _large(u, w, short)),
        -torch.inf,
    )


def _small(u: Tensor, w: Tensor, use: Tensor) -> Tensor:
    """log g by the series for small times; the leading term is taken out, so that tiny times do not underflow."""
    u = torch.where(use, u, SWITCH)
    total = torch.zeros_like(u)
    for k in range(-SMALL_TERMS, SMALL_TERMS + 1):
        total = total + (w + 2 * k) * torch.exp(-(4 * k * w + 4 * k * k) / (2 * u))
    return total.clamp_min(1e-300).log() - w.square() / (2 * u) - 0.5 * math.log(2 * math.pi) - 1.5 * u.log()


def _large(u: Tensor, w: Tensor, use: Tensor) -> Tensor:
    """log g by the series for large times."""
    u = torch.where(use, SWITCH, u)
    total = torch.zeros_like(u)
    for k in range(1, LARGE_TERMS + 1):
        total = total + k * torch.exp(-(k * k - 1) * math.pi**2 * u / 2) * torch.sin(k * math.pi * w)
    return total.clamp_min(1e-300).log() + math.log(math.pi) - math.pi**2 * u / 2


class DriftDiffusion(LibraryModel):
    """Choices between two responses and their times.

    Parameters
    ----------
    bias : bool
        Whether the starting point is estimated; halfway otherwise.
    columns : mapping of str to str, optional
        The user's names for ``response`` (1 the upper boundary, 0 the lower) and ``time`` (seconds).

    Examples
    --------
    >>> [p.name for p in DriftDiffusion().parameters]
    ['drift', 'boundary', 'nondecision_time']
    """

    roles = ("response", "time")
    response_role = "response"
    about = "Two responses and their times: drift, boundary separation, non-decision time."

    def __init__(self, *, bias: bool = False, columns: Mapping[str, str] | None = None) -> None:
        super().__init__(columns)
        self.bias = bias
        parameters = [
            Parameter("drift", Identity(), 1.0, 0.7),
            Parameter("boundary", Exp(), 1.5, 0.25),
            Parameter("nondecision_time", Exp(), 0.25, 0.2),
        ]
        parameters += [Parameter("starting_point", Sigmoid(), 0.5, 0.3)] if bias else []
        self.parameters = tuple(parameters)
        self.name = "drift diffusion" + (" (bias)" if bias else "")

    def settings(self) -> dict[str, Any]:
        return {"bias": self.bias, **super().settings()}

    def check(self, table: pd.DataFrame) -> str | None:
        time = table[self.column("time")].to_numpy(dtype=float)
        if (time <= 0).any():
            return f"*{self.column('time')}* is not positive in row {table.index[time <= 0][0]}"
        return self.codes(table, "response", 2)

    def log_likelihood(self, parameters: Tensor, trials: Batch) -> Tensor:
        v, a, t0 = (parameters[:, k : k + 1] for k in range(3))
        w = parameters[:, 3:4] if self.bias else torch.full_like(v, 0.5)
        upper = trials[self.response] == 1
        drift, start = torch.where(upper, -v, v), torch.where(upper, 1 - w, w)
        time = torch.where(
            trials.mask, trials[self.column("time")].to(torch.float64), t0.detach() + a.detach().square()
        )
        return torch.where(trials.mask, log_first_passage(time - t0, drift, a, start), 0.0).sum(1)

    def task(self, n_trials: int, rng: np.random.Generator) -> pd.DataFrame:
        return pd.DataFrame(index=range(n_trials))

    def respond(self, parameters: Mapping[str, float], trials: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        """Responses by walks in steps of a fine grid that never leaves the boundaries between its points unseen."""
        v, a = parameters["drift"], parameters["boundary"]
        w, n = parameters.get("starting_point", 0.5), len(trials)
        upper, time = walk(v, a, w, n, rng)
        return trials.assign(
            **{self.response: upper.astype(int), self.column("time"): time + parameters["nondecision_time"]}
        )


def walk(
    v: float, a: float, w: float, n: int, rng: np.random.Generator, step: float = 2e-3
) -> tuple[np.ndarray, np.ndarray]:
    """First passages of n diffusions by small steps, the passages between steps drawn from the Brownian bridge.

    Given both ends x and y of a step of length s, both inside, a boundary at distance p and q from them is crossed in between
    with probability exp(-2 p q / s); without this, walks of finite steps come late. (Asmussen and Glynn 2007, Stochastic
    Simulation, ch. VI.4.)

    Returns
    -------
    array of shape (n,), bool
        Whether the upper boundary was reached.
    array of shape (n,)
        When.
    """
    x, time, upper = np.full(n, w * a), np.zeros(n), np.zeros(n, dtype=bool)
    going = np.arange(n)
    while len(going):
        before = x[going]
        after = before + v * step + math.sqrt(step) * rng.standard_normal(len(going))
        with np.errstate(over="ignore"):
            over = (after >= a) | (rng.random(len(going)) < np.exp(-2 * (a - before) * (a - after) / step))
            under = (after <= 0) | (rng.random(len(going)) < np.exp(-2 * before * after / step))
        ended = over | under
        x[going] = after
        time[going] += np.where(ended, step / 2, step)
        upper[going[over]] = True
        going = going[~ended]
    return upper, time
