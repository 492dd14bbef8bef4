"""The straight part of splines, which belongs to the fixed effects: x of ``spl(x)``; row, col, row:col of ``spl2d``."""

from __future__ import annotations

from dataclasses import replace

from openreml_core.design.columns import is_numeric
from openreml_core.design.table import Table
from openreml_core.errors import DataError
from openreml_core.notation.expression import Expression, parse_expression
from openreml_core.notation.formula import Formula
from openreml_core.notation.tokens import quote


def with_linear_parts(formula: Formula, table: Table) -> Formula:
    """Return the formula with the straight parts of its splines among its fixed terms, behind those that are written.

    Raises
    ------
    DataError
        A spline of a column that does not hold numbers.
    """
    terms = list(formula.terms)
    there = {frozenset(factor.key for factor in term) for term in terms}
    for random in formula.random:
        if not random.is_smooth:
            continue
        for name in random.positions:
            if not is_numeric(table.column(name, random.text)):
                raise DataError(
                    f"*{name}* is a factor; {random.text} is a function of numbers.",
                    hint="Give the column as numbers; right of a bar it is a factor all the same.",
                )
        if random.group:
            continue
        columns = [parse_expression(quote(name), random.positions) for name in random.positions]
        wanted: list[tuple[Expression, ...]] = [(column,) for column in columns]
        for term in [*wanted, tuple(columns)] if len(columns) == 2 else wanted:
            key = frozenset(factor.key for factor in term)
            if key not in there:
                terms.append(term)
                there.add(key)
    return replace(formula, terms=tuple(terms))
