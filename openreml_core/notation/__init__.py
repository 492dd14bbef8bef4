"""The notation: formulas with bars for random effects, structure functions for the residual; read, never run."""

from openreml_core.notation.bars import RandomTerm
from openreml_core.notation.choice import (
    DISTANCE,
    GRID,
    WITHIN,
    ResidualChoice,
    compose_random,
    is_choice,
    read_random,
    read_residual,
)
from openreml_core.notation.equation import latex
from openreml_core.notation.expression import Expression, parse_expression
from openreml_core.notation.formula import Formula, compose_formula, parse_formula
from openreml_core.notation.reductions import Reduction, reductions
from openreml_core.notation.residual import Residual, ResidualFactor, ResidualTerm, parse_residual
from openreml_core.notation.structures import STRUCTURES
from openreml_core.notation.symbols import escape
from openreml_core.notation.ties import parse_tie
from openreml_core.notation.tokens import quote
from openreml_core.notation.updating import updated_formula

__all__ = [
    "DISTANCE",
    "GRID",
    "STRUCTURES",
    "WITHIN",
    "Expression",
    "Formula",
    "RandomTerm",
    "Reduction",
    "Residual",
    "ResidualChoice",
    "ResidualFactor",
    "ResidualTerm",
    "compose_formula",
    "compose_random",
    "escape",
    "is_choice",
    "latex",
    "parse_expression",
    "parse_formula",
    "parse_residual",
    "parse_tie",
    "quote",
    "read_random",
    "read_residual",
    "reductions",
    "updated_formula",
]
