"""Factors of terms computed from a table by walking their checked trees. Python's own evaluator is never called."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from openreml_core.design.columns import Factor, as_factor, is_numeric, match_levels, numbers
from openreml_core.design.contrasts import Contrast, contrast_named
from openreml_core.design.table import Table
from openreml_core.design.transforms import ELEMENTWISE, LEARNED, State
from openreml_core.errors import DataError, FormulaError, ModelError, did_you_mean
from openreml_core.notation.allowed import bind_options, function_name
from openreml_core.notation.expression import Expression
from openreml_core.notation.functions import FUNCTIONS

_ARITHMETIC: dict[type[ast.AST], Callable[..., np.ndarray]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


@dataclass(frozen=True)
class Coded:
    """A factor with the contrast that codes it where one is asked for."""

    factor: Factor
    contrast: Contrast | None = None


Value = np.ndarray | float | Coded


@dataclass
class Variable:
    """A factor of a term with what it learned from the data of the fit.

    Parameters
    ----------
    expression : Expression
    contrast : Contrast, optional
        For a column that stands as a factor, unless the expression names one.
    levels_only : bool
        Whether numbers are taken as levels.
    state : dict
        Constants of the transforms and levels of the factors, by place in the expression.
    learned : bool
        Whether the state is complete; new data then use it.
    """

    expression: Expression
    contrast: Contrast | None = None
    levels_only: bool = False
    state: dict[str, State] = field(default_factory=dict)
    learned: bool = False

    def values(self, table: Table) -> np.ndarray | Coded:
        """Return the variable's values over the rows of `table`.

        Returns
        -------
        float64 array of shape (n,) or (n, k), or Coded
        """
        with np.errstate(all="ignore"):
            value = self._value(self.expression.tree, table)
            if self.levels_only and not isinstance(value, Coded):
                value = self._as_factor("factor", value, {}, "whole")
        self.learned = True
        if isinstance(value, Coded):
            return value if value.contrast or not self.contrast else replace(value, contrast=self.contrast)
        return np.broadcast_to(np.asarray(value, dtype=np.float64), (len(table), *np.shape(value)[1:]))

    def _value(self, node: ast.expr, table: Table) -> Value:
        label = self.expression.label
        if isinstance(node, ast.Name):
            return self._column(self.expression.names[int(node.id[1:])], table)
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return float(node.value)
        if isinstance(node, ast.BinOp):
            return self._arithmetic(node.op, [node.left, node.right], table)
        if isinstance(node, ast.UnaryOp):
            return self._arithmetic(node.op, [node.operand], table)
        if isinstance(node, ast.Compare):
            truth = self._arithmetic(node.ops[0], [node.left, node.comparators[0]], table)
            codes = np.broadcast_to(truth, (len(table),)).astype(np.int64)
            return Coded(self._known_levels(ast.unparse(node), Factor(("False", "True"), codes)))
        if isinstance(node, ast.Call):
            return self._call(node, table)
        raise FormulaError(f"'{label}' cannot be computed.")

    def _column(self, name: str, table: Table) -> Value:
        column = table.column(name, self.expression.label)
        state = self.state.setdefault(f"column {name}", {})
        if not self.learned:
            if is_numeric(column):
                return numbers(column)
            factor = as_factor(column)
            state["levels"] = factor.levels
            return Coded(factor)
        if "levels" in state:
            return Coded(_match(column, state["levels"], name))
        if not is_numeric(column) and column.notna().any():
            raise DataError(f"*{name}* held numbers when the model was fitted; the new data hold text.")
        return numbers(column) if is_numeric(column) else np.full(len(column), np.nan)

    def _arithmetic(self, op: ast.AST, operands: list[ast.expr], table: Table) -> np.ndarray:
        values = [self._value(node, table) for node in operands]
        for value in values:
            if isinstance(value, Coded):
                raise self._not_a_number("arithmetic")
        return np.asarray(_ARITHMETIC[type(op)](*[np.asarray(value, dtype=np.float64) for value in values]))

    def _call(self, node: ast.Call, table: Table) -> Value:
        originals = dict(self.expression.originals)
        label = self.expression.label
        name = function_name(node, originals, label)
        signature = FUNCTIONS[name]
        options = bind_options(node, name, signature.options, originals, label, data=1)
        value = self._value(node.args[0], table)
        place = ast.unparse(node)
        if signature.kind == "factor":
            return self._as_factor(name, value, options, place)
        if isinstance(value, Coded):
            if name == "I":
                return value
            raise self._not_a_number(f"{name}()")
        value = np.broadcast_to(np.asarray(value, dtype=np.float64), (len(table), *np.shape(value)[1:]))
        if signature.kind == "number":
            return ELEMENTWISE[name](value, **options)
        if value.ndim > 1:
            raise FormulaError(f"{name}() in '{label}' is given several columns.", hint="Give it one column.")
        try:
            return LEARNED[name](value, self.state.setdefault(place, {}), options)
        except ModelError as error:
            raise type(error)(f"'{label}': {error.message}", hint=error.hint) from None

    def _as_factor(self, name: str, value: Value, options: dict, place: str) -> Coded:
        if isinstance(value, Coded):
            coded = value
        else:
            array = np.asarray(value, dtype=np.float64)
            if array.ndim != 1:
                raise FormulaError(f"{name}() in '{self.expression.label}' is given several columns.")
            state = self.state.setdefault(f"levels {place}", {})
            column = pd.Series(array)
            factor = _match(column, state["levels"], self.expression.label) if "levels" in state else as_factor(column)
            state["levels"] = factor.levels
            coded = Coded(factor)
        if name == "C" and "contrasts" in options:
            kind, base = options["contrasts"]
            named = contrast_named(kind, self.expression.label)
            return replace(coded, contrast=replace(named, base=base))
        if name == "relevel":
            if "ref" not in options:
                raise FormulaError(f"relevel() in '{self.expression.label}' needs its level: relevel(f, ref=\"b\").")
            return replace(coded, factor=self._relevel(coded.factor, options["ref"]))
        return coded

    def _relevel(self, factor: Factor, first: str) -> Factor:
        if first not in factor.levels:
            hint = did_you_mean(first, factor.levels).replace("The columns are", "The levels are")
            raise DataError(f"'{self.expression.label}': there is no level '{first}'.", hint=hint)
        place = factor.levels.index(first)
        order = [place, *(code for code in range(len(factor.levels)) if code != place)]
        new = np.empty(len(order), dtype=np.int64)
        new[order] = np.arange(len(order))
        codes = np.where(factor.codes >= 0, new[factor.codes], -1)
        return Factor(tuple(factor.levels[code] for code in order), codes)

    def _known_levels(self, place: str, factor: Factor) -> Factor:
        """Keep, of a comparison's two levels, those that the data of the fit had."""
        state = self.state.setdefault(f"levels {place}", {})
        if "kept" not in state:
            state["kept"] = sorted(set(factor.codes.tolist()))
        kept = state["kept"]
        new = np.array([kept.index(code) if code in kept else -1 for code in range(2)], dtype=np.int64)
        return Factor(tuple(factor.levels[code] for code in kept), new[factor.codes])

    def _not_a_number(self, doing: str) -> FormulaError:
        names = ", ".join(f"*{name}*" for name in self.expression.names)
        return FormulaError(
            f"'{self.expression.label}' does {doing} on text: {names} holds levels, not numbers.",
            hint="If it should be numeric, correct its role or the values that are not numbers.",
        )


def _match(column: pd.Series, levels: tuple[str, ...], name: str) -> Factor:
    factor = match_levels(column, levels)
    unknown = (factor.codes < 0) & column.notna().to_numpy()
    if unknown.any():
        shown = ", ".join(sorted({str(value) for value in column[unknown].unique()[:3]}))
        raise DataError(
            f"The new data have the level {shown} of *{name}*, which the fit has not seen.",
            hint="A fixed effect is known only for the levels of the fit.",
        )
    return factor
