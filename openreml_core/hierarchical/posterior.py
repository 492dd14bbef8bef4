"""Where each subject's parameters are, given the group: the mode, and the curvature of the log-likelihood there.

    log p(h | y_i) ~ log p(y_i | m_i) - (h - m_i)' (A_i + P_i) (h - m_i) / 2,   V_i = (A_i + P_i)^-1

A_i is minus the second derivative of the log-likelihood, P_i the precision that the group gives subject i.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Normals:
    """What the group says of each of n subjects.

    Attributes
    ----------
    mean : Tensor of shape (n, d)
    precision : Tensor of shape (n, d, d)
    """

    mean: Tensor
    precision: Tensor

    def log_kernel(self, at: Tensor) -> Tensor:
        """-(h - mean)' P (h - mean) / 2 of points (n, d): (n,)."""
        deviation = at - self.mean
        return -0.5 * torch.einsum("nd,nde,ne->n", deviation, self.precision, deviation)

    def select(self, rows: Tensor) -> Normals:
        """Those of some subjects."""
        return Normals(self.mean[rows], self.precision[rows])


@dataclass(frozen=True, eq=False)
class Modes:
    """Modes of n subjects.

    Attributes
    ----------
    at : Tensor of shape (n, d)
        m_i.
    value : Tensor of shape (n,)
        log p(y_i | m_i).
    gradient : Tensor of shape (n, d)
        Of the log-likelihood.
    information : Tensor of shape (n, d, d)
        A_i.
    trouble : tuple of str
        Why a subject has no mode; empty where it has.
    """

    at: Tensor
    value: Tensor
    gradient: Tensor
    information: Tensor
    trouble: tuple[str, ...]

    @property
    def found(self) -> Tensor:
        """Which subjects have a mode, (n,) bool."""
        return torch.tensor([not t for t in self.trouble])

    def hessian(self, prior: Normals) -> Tensor:
        """A_i + P_i, (n, d, d)."""
        return self.information + prior.precision

    def put(self, rows: Tensor, other: Modes) -> Modes:
        """With the subjects ``rows`` replaced by ``other``."""
        out = replace(
            self,
            at=self.at.clone(),
            value=self.value.clone(),
            gradient=self.gradient.clone(),
            information=self.information.clone(),
        )
        for name in ("at", "value", "gradient", "information"):
            getattr(out, name)[rows] = getattr(other, name)
        trouble = list(self.trouble)
        for row, why in zip(rows.tolist(), other.trouble, strict=True):
            trouble[row] = why
        return replace(out, trouble=tuple(trouble))


@dataclass(frozen=True, eq=False)
class Posteriors:
    """What the subjects' posteriors tell of the group.

    Attributes
    ----------
    modes : Tensor of shape (n, d)
        m_i.
    covariance : Tensor of shape (n, d, d)
        V_i.
    weights : Tensor of shape (n, 1) or (n, d)
        Of the family; see :mod:`openreml_core.hierarchical.families`.
    covariates : Tensor of shape (n, q)
        x_i.
    """

    modes: Tensor
    covariance: Tensor
    weights: Tensor
    covariates: Tensor


def joined(parts: Sequence[Modes]) -> Modes:
    """Modes of all parts, one after the other."""
    at, value, gradient, information = (
        torch.cat([getattr(p, name) for p in parts]) for name in ("at", "value", "gradient", "information")
    )
    return Modes(at, value, gradient, information, tuple(why for p in parts for why in p.trouble))


class Likelihood(Protocol):
    """The log-likelihood of n subjects, however it is computed; parameters are on the free scale."""

    n: int
    d: int

    def only(self, rows: Sequence[int]) -> Likelihood:
        """The likelihood of some of the subjects."""

    def maximise(self, start: Tensor, prior: Normals, before: Modes | None, tolerance: float) -> Modes:
        """Modes of log p(y_i | h) plus the prior's log density, from ``before`` or, for subjects without, from ``start``."""

    def values(self, points: Tensor, rows: Sequence[int] | None = None) -> Tensor:
        """log p(y_i | h) at points (s, n, d) of the subjects ``rows``: (s, n); -inf where it is no number."""
