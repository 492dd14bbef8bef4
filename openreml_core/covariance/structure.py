"""The contract of a covariance structure: a k x k matrix Sigma that parameters carry.

Symbols
-------
Sigma : the matrix, (k, k), relative to the residual variance while a model is being fitted
theta : its free parameters, (m,), what the optimiser moves
M     : any symmetric (k, k) matrix that Sigma is paired with, <M, Sigma> = tr(M Sigma)

A structure has two parametrisations. The *free* one (theta) is what the optimiser moves: Cholesky factors, in which a
variance may be zero without a bound. The *natural* one is what people read: variances, covariances, correlations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NaturalParameter:
    """One number that people read off Sigma.

    Attributes
    ----------
    kind : str
        ``"variance"``, ``"covariance"``, ``"correlation"``, ``"range"``, ...
    name1, name2 : str
        The effect it belongs to, or the pair of them (``name2`` is empty for a variance).
    scales : bool
        Whether it is proportional to the residual variance (variances and covariances are, correlations are not).
    label : str
        Its name within its term where that is not ``kind(name1, name2)``: ``"ar1(row).rho"``.
    """

    kind: str
    name1: str
    name2: str = ""
    scales: bool = True
    label: str = ""


class Structure(ABC):
    """A covariance matrix Sigma(theta) of named effects.

    Parameters
    ----------
    names : sequence of str
        The k effects the rows and columns stand for.
    """

    #: Weight of the parameters' curvature in the optimiser's step: 1 where Sigma is quadratic in theta and linear in
    #: its natural parameters (Cholesky), 1/2 otherwise.
    curvature_weight: float = 0.5
    #: How formulas and tables call it.
    keyword: str = ""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    @property
    def size(self) -> int:
        """k, the number of rows."""
        return len(self.names)

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """m, the number of free parameters."""

    @property
    @abstractmethod
    def natural(self) -> tuple[NaturalParameter, ...]:
        """The natural parameters, as many as there are free ones."""

    @abstractmethod
    def start(self, scale: Tensor) -> Tensor:
        """Free parameters at which Sigma = diag(scale^2), or as near as the structure comes.

        Parameters
        ----------
        scale : Tensor of shape (k,)
            Standard deviations.
        """

    @abstractmethod
    def matrix(self, theta: Tensor) -> Tensor:
        """Sigma(theta), (k, k)."""

    @abstractmethod
    def natural_values(self, theta: Tensor) -> Tensor:
        """The natural parameters, (m,), in the units of ``matrix(theta)``."""

    @abstractmethod
    def from_natural(self, values: Tensor) -> Tensor:
        """Free parameters with the given natural ones, the inverse of ``natural_values``."""

    @abstractmethod
    def natural_derivative(self, theta: Tensor) -> Tensor:
        """dSigma / d natural parameter, (m, k, k)."""

    def typical(self, scale: Tensor) -> Tensor:
        """Size (m,) of each free parameter, for the optimiser's region; ``scale`` (k,) as for ``start``."""
        return self.start(scale).abs().clamp_min(1e-300)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds (m,) of the free parameters; none by default."""
        wide = torch.full((self.n_parameters,), torch.inf, dtype=torch.float64)
        return -wide, wide

    @abstractmethod
    def boundary(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> tuple[str, ...]:
        """A mark per natural parameter, empty or in words (``"at zero"``), and by that what cannot carry an SE."""

    @abstractmethod
    def is_singular(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> bool:
        """Whether Sigma has lost rank, in units of ``scale`` (k,)."""

    @abstractmethod
    def settle(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> Tensor:
        """Free parameters in their canonical form, with those within ``tolerance`` of a boundary put on it."""

    def em_update(self, theta: Tensor, sigma: Tensor) -> Tensor | None:
        """Free parameters of the M-step, given the mean (co)variance of the effects in the E-step; None without a formula.

        Parameters
        ----------
        theta : Tensor of shape (m,)
            The current parameters.
        sigma : Tensor of shape (k, k)
            Mean over the levels of E[u u' | y].
        """
        return None

    def derivative(self, theta: Tensor) -> Tensor:
        """dSigma / d theta, (m, k, k); by forward-mode autograd unless a structure knows better."""
        return torch.func.jacfwd(self.matrix)(theta).movedim(-1, 0)

    def curvature(self, theta: Tensor, m: Tensor) -> Tensor:
        """<M, d2Sigma / d theta_k d theta_l>, (m, m); by autograd unless a structure knows better."""
        return torch.func.hessian(lambda t: (m * self.matrix(t)).sum())(theta)
