"""What Henderson's engine keeps of one theta; the symbols are henderson.py's."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from openreml_core.engines import levels
from openreml_core.engines.border import SolvedBorder
from openreml_core.engines.engine import Evaluation
from openreml_core.engines.errors import SolvedErrors


@dataclass(frozen=True, eq=False)
class Equations:
    """The equations at one theta, factorised.

    Attributes
    ----------
    factors : tuple of Tensor
        L_t.
    errors : SolvedErrors
        R, solved.
    n_bb : Tensor of shape (B, B)
    inner : levels.Solved
    border : SolvedBorder
    log_det : float
        log|V~| (+ log|X'V~^-1X| for REML).
    """

    factors: levels.Factors
    errors: SolvedErrors
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
    inner_u, inner_w : Tensor of shape (inner places,)
        u^ and Z'P~y of the inner effects.
    e : Tensor of shape (Q,)
        (-u^, -b^, 1): W e are the residuals.
    """

    equations: Equations
    inner_u: Tensor
    inner_w: Tensor
    e: Tensor

    @property
    def t(self) -> Tensor:
        """T, (B + 1, B + 1); b's covariance over sigma2 in the rows and columns of X."""
        return self.equations.border.t()

    @property
    def border_w(self) -> Tensor:
        """Z'P~y of the border's effects."""
        return self.equations.border.w
