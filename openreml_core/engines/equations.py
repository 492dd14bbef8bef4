"""What Henderson's engine keeps of one theta; the symbols are henderson.py's."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from openreml_core.engines import levels
from openreml_core.engines.border import SolvedBorder
from openreml_core.engines.engine import Evaluation


@dataclass(frozen=True, eq=False)
class Equations:
    """The equations at one theta, factorised.

    Attributes
    ----------
    factors : tuple of Tensor
        L_t.
    precision : Tensor of shape (S,)
        1 / sigma2_s of every section.
    n_bb : Tensor of shape (B, B)
    inner : levels.Solved
    border : SolvedBorder
    log_det : float
        log|V~| (+ log|X'V~^-1X| for REML).
    """

    factors: levels.Factors
    precision: Tensor
    n_bb: Tensor
    inner: levels.Solved
    border: SolvedBorder
    log_det: float


@dataclass(frozen=True, eq=False)
class HendersonEvaluation(Evaluation):
    """An evaluation and the solved equations it came from.

    Attributes
    ----------
    equations : Equations
    t : Tensor of shape (B + 1, B + 1)
        T; b's covariance over sigma2 in the rows and columns of X.
    inner_u, inner_w : Tensor of shape (inner places,)
        u^ and Z'P~y of the inner effects.
    by_section : tuple of Tensor, (inner places, S), (B, S), (S,)
        N_s e by place, and e'N_s e, with e = (-u^, -b^, 1): W'R0^-1 and R0^-1 times the residuals of each section.
    """

    equations: Equations
    t: Tensor
    inner_u: Tensor
    inner_w: Tensor
    by_section: tuple[Tensor, Tensor, Tensor]

    @property
    def border_w(self) -> Tensor:
        """Z'P~y of the border's effects."""
        return self.equations.border.w
