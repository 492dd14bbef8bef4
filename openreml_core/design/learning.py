"""What a factor of a term must know of all rows before it is computed in some: learned from one portion of rows after another.

    levels     factor(x), C(x), the numbers that are levels: which occur
    truth      x > 3: whether it is true, false or both
    moments    center(x), scale(x): n, the mean m and the sum of squares M about it; of two portions together
               n = n1 + n2,   m = m1 + d n2 / n,   M = M1 + M2 + d^2 n1 n2 / n,   d = m2 - m1

(Chan, Golub and LeVeque 1983, Am. Stat. 37, 242-247, on the last.) The levels of a factor that is a column are known from the
column. ``poly``, ``bs``, ``ns`` and their kin need all rows at once, and are refused.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from openreml_core.design.columns import as_factor
from openreml_core.design.evaluate import Coded, Variable
from openreml_core.design.table import Table
from openreml_core.errors import DataError, FormulaError
from openreml_core.notation.allowed import bind_options, function_name
from openreml_core.notation.expression import Expression
from openreml_core.notation.functions import FUNCTIONS

#: So many numbers that are levels find room.
MOST_LEVELS = 100_000

_MOMENTS = frozenset({"center", "scale", "standardize"})


@dataclass(frozen=True)
class Question:
    """Something that must be known of all rows.

    Attributes
    ----------
    kind : {"levels", "truth", "moments"}
    place : str
        Where in the variable's state the answer goes.
    of : Expression
        What is asked about.
    options : tuple of (name, value)
        Of the function whose place it is.
    """

    kind: str
    place: str
    of: Expression
    options: tuple[tuple[str, object], ...] = ()


def questions(variable: Variable) -> tuple[Question, ...]:
    """Return what must be known of all rows before a variable can be computed in some.

    Raises
    ------
    FormulaError
        A function that needs all rows at once.
    """
    expression, out = variable.expression, []
    for node in ast.walk(expression.tree):
        if isinstance(node, ast.Compare):
            out.append(Question("truth", f"levels {ast.unparse(node)}", _part(expression, node)))
        elif isinstance(node, ast.Call):
            originals = dict(expression.originals)
            name = function_name(node, originals, expression.label)
            options = bind_options(node, name, FUNCTIONS[name].options, originals, expression.label, data=1)
            argument = _part(expression, node.args[0])
            if FUNCTIONS[name].kind == "factor":
                out.append(Question("levels", f"levels {ast.unparse(node)}", argument))
            elif name in _MOMENTS:
                out.append(Question("moments", ast.unparse(node), argument, tuple(options.items())))
            elif FUNCTIONS[name].kind == "learned" and not options.get("raw"):
                raise _needs_all(expression, name)
    if variable.levels_only:
        out.append(Question("levels", "levels whole", expression))
    for question in out:
        if any(_learns(node, expression) for node in ast.walk(question.of.tree)):
            raise _needs_all(expression, "center")
    return tuple(out)


def _part(expression: Expression, tree: ast.expr) -> Expression:
    return replace(expression, tree=tree)


def _learns(node: ast.AST, expression: Expression) -> bool:
    return isinstance(node, ast.Call) and (
        function_name(node, dict(expression.originals), expression.label) in _MOMENTS
    )


def _needs_all(expression: Expression, name: str) -> FormulaError:
    return FormulaError(
        f"'{expression.label}' needs all rows at once: {name}() there cannot be learned from one portion after another.",
        hint="Compute it as a column of the files, write powers as I(x^2), or fit the table: reml.read_table(...).",
    )


def answer(question: Question, table: Table) -> np.ndarray:
    """Return what the rows of a table say, float64; nothing for levels of a factor that is a column."""
    value = Variable(question.of).values(table)
    if question.kind == "truth":
        assert isinstance(value, Coded)
        return np.unique([value.factor.levels[code] == "True" for code in np.unique(value.factor.codes)]).astype(float)
    if isinstance(value, Coded):
        return np.empty(0)
    if value.ndim > 1:
        raise FormulaError(f"'{question.of.label}' gives several columns where one is needed.")
    if question.kind == "levels":
        return _limited(np.unique(value), question)
    mean = float(value.mean())
    return np.array([len(value), mean, float(np.square(value - mean).sum())])


def merged(question: Question, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return what two portions say together."""
    if question.kind != "moments":
        return _limited(np.union1d(first, second), question)
    (n1, m1, s1), (n2, m2, s2) = first, second
    n, d = n1 + n2, m2 - m1
    return np.array([n, m1 + d * n2 / n, s1 + s2 + d**2 * n1 * n2 / n])


def _limited(values: np.ndarray, question: Question) -> np.ndarray:
    if len(values) > MOST_LEVELS:
        raise DataError(
            f"'{question.of.label}' has more than {MOST_LEVELS:,} different values, too many for levels.",
            hint="Use it as a number, or as the grouping factor of a random term, (1 | factor).",
        )
    return values


def teach(variable: Variable, answers: Mapping[str, np.ndarray], levels: Mapping[str, tuple[str, ...]]) -> None:
    """Give a variable what it must know; it is then computed as on all rows together.

    Parameters
    ----------
    variable : Variable
    answers : mapping
        Place -> answer, over all rows.
    levels : mapping
        Levels of the columns that are factors.
    """
    for name in variable.expression.names:
        if name in levels:
            variable.state[f"column {name}"] = {"levels": levels[name]}
    for question in questions(variable):
        found = answers[question.place]
        if question.kind == "truth":
            variable.state[question.place] = {"kept": [int(code) for code in found]}
        elif question.kind == "moments":
            variable.state[question.place] = _moments(question, found)
        elif len(found):
            variable.state[question.place] = {"levels": as_factor(pd.Series(found)).levels}
    variable.learned = True


def _moments(question: Question, found: np.ndarray) -> dict[str, float]:
    n, mean, squares = found.tolist()
    options = dict(question.options)
    function = question.place.partition("(")[0]
    if dict(question.of.originals)[function] == "center":
        return {"center": mean}
    if not options.get("center", True):
        mean, squares = 0.0, squares + n * mean**2
    spread = float(np.sqrt(squares / max(n - 1, 1))) if options.get("scale", True) else 1.0
    return {"center": mean, "scale": spread}
