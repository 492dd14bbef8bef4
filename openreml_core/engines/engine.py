"""What an engine is: theta in, an Evaluation out.

The log-likelihood that every engine evaluates, all constants in, at V = sigma2 V~(theta):

    REML   -2 l = (n - p) log sigma2 + log|V~| + log|X'V~^-1 X| + y'P~y / sigma2 + (n - p) log(2 pi)
    ML     -2 l =  n      log sigma2 + log|V~|                  + y'P~y / sigma2 +  n      log(2 pi)
    P~ = V~^-1 - V~^-1 X (X'V~^-1 X)^-1 X'V~^-1

and its derivatives, with S = (P~y y'P~ / sigma2 - P~) / 2 (ML: V~^-1 for the second P~) and V_k = dV~ / d theta_k:

    score_k   = dl / d theta_k = <S, V_k>
    AI_kl     = f_k' P~ f_l / (2 sigma2),   f_k = V_k P~ y  the working variates
    C_kl      = <S, d2V~ / d theta_k d theta_l>
    observed  = f_k' P~ f_l / sigma2 - tr(P~ V_k P~ V_l) / 2 - C_kl     (ML: V~^-1 in the trace)

(Gilmour, Thompson and Cullis 1995, Biometrics 51, 1440-1450; Johnson and Thompson 1995, J. Dairy Sci. 78, 449-456.)
The profiled sigma2 = y'P~y / (n - p) joins theta as its last coordinate in the information matrices, where V_k = V~ / sigma2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from openreml_core.model import MixedModel


class NotPositiveDefinite(ArithmeticError):
    """V~(theta) has no Cholesky factor: the step that led here is to be rejected."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A model at one theta.

    Attributes
    ----------
    theta : Tensor of shape (m,)
        Where.
    sigma2 : float
        The residual variance: profiled, or 1 when theta carries it.
    criterion : float
        -2 l, constants in.
    beta : Tensor of shape (p,)
        Fixed effects b.
    beta_covariance : Tensor of shape (p, p)
        sigma2 (X'V~^-1 X)^-1.
    score : Tensor of shape (m,)
        dl / d theta.
    information : Tensor of shape (m, m) or (m + 1, m + 1)
        Average information, sigma2's row last when it is profiled.
    curvature : Tensor of shape (m, m)
        C.
    pairings : tuple of Tensor
        <S, component> = <M, Sigma>: M (k, k) of every random term and of the residual.
    condition : float
        About how ill-conditioned V~ is: how far rounding reaches into the criterion.
    """

    theta: Tensor
    sigma2: float
    criterion: float
    beta: Tensor
    beta_covariance: Tensor
    score: Tensor
    information: Tensor
    curvature: Tensor
    pairings: tuple[Tensor, ...]
    condition: float


@dataclass(frozen=True, eq=False)
class RandomEffects:
    """The predictions of one random term.

    Attributes
    ----------
    blup : Tensor of shape (q, k)
        E[u | y].
    conditional : Tensor of shape (q, k, k)
        Var[u | y] at the estimated b, what lme4 calls the conditional variance.
    prediction : Tensor of shape (q, k, k)
        Var[u^ - u], b's uncertainty in it: the prediction error variance.
    """

    blup: Tensor
    conditional: Tensor
    prediction: Tensor


class Engine(Protocol):
    """Evaluates one model. Two engines given the same model and theta agree. ``at`` is an Evaluation that the engine made."""

    name: str
    model: MixedModel
    #: Whether the exact second derivatives cost about as much as the average information.
    exact_is_cheap: bool

    def criterion(self, theta: Tensor) -> float:
        """-2 l at theta, and no more than it takes. Raises NotPositiveDefinite."""

    def evaluate(self, theta: Tensor) -> Evaluation:
        """Everything the optimiser needs at theta. Raises NotPositiveDefinite."""

    def natural_information(self, at: Any) -> Tensor:
        """Average information for all natural parameters on the scale of the data, in the order of the model's names."""

    def observed_information(self, at: Any) -> Tensor:
        """Exact -d2l for theta and the profiled sigma2, shaped as ``at.information``."""

    def beta_covariance_derivatives(self, at: Any) -> Tensor:
        """d Cov(b) / d theta, the profiled sigma2 last: (m or m + 1, p, p)."""

    def natural_beta_slopes(self, at: Any) -> Tensor:
        """d Cov(b) / d nu_k = C X'V^-1 V_k V^-1 X C for all natural parameters nu of V on the scale of the data: (m, p, p).

        Parameters without a derivative there, those at zero, give rows that are no numbers; the same holds below.
        """

    def expected_information(self, at: Any) -> Tensor:
        """E[-d2l] = tr(P V_k P V_l) / 2 of the restricted likelihood, for all natural parameters: (m, m)."""

    def beta_covariance_excess(self, at: Any, weights: Tensor) -> Tensor:
        """What Kenward and Roger add to C, halved, for W (m, m) over all natural parameters: (p, p).

            sum_kl W_kl C (Q_kl - P_k C P_l - R_kl / 4) C
            P_k = X'V^-1 V_k V^-1 X,   Q_kl = X'V^-1 V_k V^-1 V_l V^-1 X,   R_kl = X'V^-1 V_kl V^-1 X

        Q_kl - P_k C P_l = X'V^-1 V_k P V_l V^-1 X is how it is computed. (Kenward and Roger 1997, Biometrics 53, 983-997.)
        Where W is zero, a parameter needs no derivative.
        """

    def random_effects(self, at: Any) -> Sequence[RandomEffects]:
        """BLUPs and their covariances, an entry per random term."""

    def random_fit(self, at: Any) -> Tensor:
        """sum_t Z_t u^_t, (n,)."""

    def effective_dimensions(self, at: Any) -> Sequence[float]:
        """tr(V_t P) of every random term and part of the residual; with p they add up to n."""

    def prediction_covariance(self, at: Any, fixed: Tensor, random: Sequence[Tensor]) -> Tensor:
        """Var(x'(b^ - b) + z'(u^ - u)) of c combinations, (c, c), Cov(b^, u^ - u) in it.

        ``fixed`` (c, p) holds their x, ``random`` their z: a (q, k, c) for each random term.
        """
