"""The contract of a covariance structure: a k x k matrix Sigma that parameters carry.

Symbols
-------
Sigma : the matrix, (k, k), relative to the residual variance while a model is being fitted
theta : its free parameters, (m,), what the optimiser moves
M     : any symmetric (k, k) matrix that Sigma is paired with, <M, Sigma> = tr(M Sigma)

Derivatives are never held as k x k x m arrays: they come one matrix at a time, or paired with M.

A structure has two parametrisations. The *free* one (theta) is what the optimiser moves: Cholesky factors, in which a
variance may be zero without a bound. The *natural* one is what people read: variances, covariances, correlations.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.autograd import forward_ad

from openreml_core.covariance.treelike import Treelike
from openreml_core.design.columns import as_factor, level_text
from openreml_core.errors import ModelError


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
        Whether it grows with the residual variance (variances and covariances do, correlations do not).
    label : str
        Its name within its term where that is not ``kind(name1, name2)``: ``"ar1(row).rho"``.
    """

    kind: str
    name1: str
    name2: str = ""
    scales: bool = True
    label: str = ""

    @property
    def degree(self) -> float:
        """The power of the residual variance that it is proportional to: a loading is on the scale of the response itself."""
        return (0.5 if self.kind == "loading" else 1.0) if self.scales else 0.0


class Structure(Treelike, ABC):
    """A covariance matrix Sigma(theta) of named effects.

    Parameters
    ----------
    names : sequence of str, int or factor
        The k effects the rows and columns stand for: their names, their number, or a column whose levels they are.
    """

    #: Weight of the parameters' curvature in the optimiser's step: 1 where Sigma is quadratic in theta and linear in
    #: its natural parameters (Cholesky), 1/2 otherwise.
    curvature_weight: float = 0.5
    #: How formulas and tables call it.
    keyword: str = ""

    @property
    def is_linear(self) -> bool:
        """Whether Sigma ranges over a linear space of matrices: then it is linear in its own elements."""
        return False

    def __init__(self, names: Sequence[str] | int) -> None:
        self.names = labels_of(names)

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

    @property
    def powers(self) -> tuple[int, ...]:
        """For each natural parameter the power of the free one in its place that it is: 2 for a variance s^2, 1 for a
        correlation, -1 for a range by its inverse, 0 where it is made of several."""
        return (0,) * self.n_parameters

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
    def natural_derivatives(self, theta: Tensor) -> Iterator[Tensor]:
        """dSigma / d natural parameter, a (k, k) matrix for each."""

    def natural_derivative(self, theta: Tensor) -> Tensor:
        """The same as one array (m, k, k), for small structures."""
        return stacked(self.natural_derivatives(theta), self.size)

    def typical(self, scale: Tensor) -> Tensor:
        """Size (m,) of each free parameter, for the optimiser's region; ``scale`` (k,) as for ``start``."""
        return self.start(scale).abs().clamp_min(1e-300)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds (m,) of the free parameters; none by default."""
        wide = torch.full((self.n_parameters,), torch.inf, dtype=torch.float64)
        return -wide, wide

    @property
    def careful(self) -> tuple[bool, ...]:
        """For each free parameter whether a step may not go all the way to its bound, from where no way leads back."""
        return (False,) * self.n_parameters

    def moved(self, theta: Tensor, step: Tensor) -> Tensor:
        """theta (m,) after a step (m,): theta + step to first order, along a valley that a structure knows to be bent."""
        return theta + step

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

    def derivatives(self, theta: Tensor) -> Iterator[Tensor]:
        """dSigma / d theta, a (k, k) matrix for each parameter; by forward-mode autograd unless a structure knows better."""
        return forward_derivatives(self.matrix, theta)

    def derivative(self, theta: Tensor) -> Tensor:
        """The same as one array (m, k, k), for small structures."""
        return stacked(self.derivatives(theta), self.size)

    def gradient(self, theta: Tensor, m: Tensor) -> Tensor:
        """<M, dSigma / d theta_k>, (m,); by one reverse sweep unless a structure knows better."""
        return reverse_gradient(self.matrix, theta, m)

    def curvature(self, theta: Tensor, m: Tensor) -> Tensor:
        """<M, d2Sigma / d theta_k d theta_l>, (m, m); by autograd unless a structure knows better."""
        return reverse_curvature(self.matrix, theta, m)

    def natural_bend(self, theta: Tensor, weights: Tensor) -> Tensor:
        """sum_ab W_ab d2Sigma / d nu_a d nu_b, (k, k), nu the natural parameters and W (m, m) symmetric.

        By the chain rule from the free parameters: with J = d nu / d theta and A = J^-1 W J^-T,

            sum_kl A_kl d2Sigma / d theta_k d theta_l - sum_a (sum_kl A_kl d2nu_a / d theta_k d theta_l) dSigma / d nu_a
        """
        back = torch.linalg.pinv(jacobian(self.natural_values, theta))
        inner = back @ weights @ back.T
        out = bend(self.matrix, theta, inner)
        for own, slope in zip(
            bend(self.natural_values, theta, inner).tolist(), self.natural_derivatives(theta), strict=True
        ):
            if own:  # what has no part in W may have no derivative
                out = out - own * slope
        return out


def labels_of(size: Any) -> tuple[str, ...]:
    """Names of rows: those given, 1 to k for a number k, the levels of a factor (a table's column or an array)."""
    if isinstance(size, int | np.integer) and not isinstance(size, bool):
        if size < 1:
            raise ModelError(f"A size of {size} makes no matrix.", hint="Give a whole number from 1 on.")
        return tuple(str(i + 1) for i in range(size))
    if isinstance(size, pd.Series | pd.Categorical | np.ndarray):
        return as_factor(pd.Series(size)).levels
    if isinstance(size, Sequence) and not isinstance(size, str):
        names = tuple(level_text(v) for v in size)
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ModelError(
                f"The name {twice!r} stands twice.",
                hint="A factor is given as a table's column, whose levels are counted.",
            )
        return names
    raise ModelError(f"{size!r} is no size.", hint="Give a number, the names of the rows, or a factor.")


def stacked(matrices: Iterator[Tensor], size: int) -> Tensor:
    """Matrices (size, size) as one array, (0, size, size) where there are none."""
    held = list(matrices)
    return torch.stack(held) if held else torch.zeros(0, size, size, dtype=torch.float64)


#: torch keeps forward mode's levels for the whole process: two threads that differentiate at once end each other's.
_one_at_a_time = threading.RLock()


def _renew_lock() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.RLock()


if hasattr(os, "register_at_fork"):  # a thread that held it does not live on in a forked process
    os.register_at_fork(after_in_child=_renew_lock)


def forward_derivatives(function: Callable[[Tensor], Tensor], theta: Tensor) -> Iterator[Tensor]:
    """d function / d theta_k for one k after the other: as much memory as one value and one tangent."""
    for direction in torch.eye(len(theta), dtype=theta.dtype):
        yield along(function, theta, direction)


def along(function: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor) -> Tensor:
    """The derivative of a function at x along a direction, by forward-mode autograd."""
    with _one_at_a_time, forward_ad.dual_level():
        value, tangent = forward_ad.unpack_dual(function(forward_ad.make_dual(x, direction)))
        return torch.zeros_like(value) if tangent is None else tangent


def reverse_gradient(function: Callable[[Tensor], Tensor], theta: Tensor, m: Tensor) -> Tensor:
    """<M, d function / d theta>, (m,)."""
    leaf = theta.detach().requires_grad_()
    value = function(leaf)
    if not value.requires_grad:
        return torch.zeros_like(theta)
    return torch.autograd.grad(value, leaf, m, allow_unused=True, materialize_grads=True)[0]


def reverse_curvature(function: Callable[[Tensor], Tensor], theta: Tensor, m: Tensor) -> Tensor:
    """<M, d2 function / d theta2>, (m, m): a reverse sweep over the gradient for each parameter."""
    leaf = theta.detach().requires_grad_()
    value = (m * function(leaf)).sum()
    if not value.requires_grad:
        return theta.new_zeros(len(theta), len(theta))
    (slope,) = torch.autograd.grad(value, leaf, create_graph=True)
    if not slope.requires_grad:
        return theta.new_zeros(len(theta), len(theta))
    rows = [
        torch.autograd.grad(s, leaf, retain_graph=True, allow_unused=True, materialize_grads=True)[0] for s in slope
    ]
    return torch.stack(rows)


def bend(function: Callable[[Tensor], Tensor], x: Tensor, weights: Tensor) -> Tensor:
    """sum_kl W_kl d2 function / dx_k dx_l, shaped as the function's value.

    The sum over k and l of W and the second derivatives of <M, function> is linear in M: what stands before M is the answer.
    """
    leaf = x.detach().requires_grad_()
    value = function(leaf)
    if not value.requires_grad:
        return torch.zeros_like(value)
    m = torch.zeros_like(value).requires_grad_()
    (slope,) = torch.autograd.grad(value, leaf, m, create_graph=True)
    total = torch.zeros((), dtype=x.dtype)
    for k, w in enumerate(weights):
        turned = torch.autograd.grad(
            slope, leaf, w, create_graph=True, retain_graph=True, allow_unused=True, materialize_grads=True
        )[0]
        total = total + turned[k]
    if not total.requires_grad:
        return torch.zeros_like(value).detach()
    return torch.autograd.grad(total, m, allow_unused=True, materialize_grads=True)[0].detach()


def jacobian(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """d function / dx of a short vector, (outputs, len(x)); a reverse sweep for each output."""
    leaf = x.detach().requires_grad_()
    value = function(leaf)
    if not value.requires_grad:
        return x.new_zeros(len(value), len(x))
    rows = [torch.autograd.grad(v, leaf, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
            if v.requires_grad else torch.zeros_like(x) for v in value]  # fmt: skip
    return torch.stack(rows)
