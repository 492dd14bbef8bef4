"""Formula and table to the arrays of a model: y, X, the random terms, weights and offset, over the complete rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from openreml_core.design.arrays import Design, FixedTerm, stack_columns
from openreml_core.design.checks import (
    check_response,
    check_weights,
    column_or_array,
    contrast_warnings,
    fixed_warnings,
)
from openreml_core.design.coding import Coding
from openreml_core.design.columns import is_numeric
from openreml_core.design.contrasts import Contrast, contrast_named
from openreml_core.design.effects import INTERCEPT
from openreml_core.design.evaluate import Coded, Variable
from openreml_core.design.finite import check_finite
from openreml_core.design.linear import with_linear_parts
from openreml_core.design.random import random_designs
from openreml_core.design.rank import independent_columns
from openreml_core.design.rows import complete_rows
from openreml_core.design.table import Table
from openreml_core.errors import DataError, ModelError
from openreml_core.notation.formula import Formula, parse_formula


def build_design(
    formula: str | Formula,
    data: pd.DataFrame,
    *,
    weights: str | np.ndarray | pd.Series | None = None,
    offset: str | np.ndarray | pd.Series | None = None,
    contrasts: Mapping[str, Any] | None = None,
    missing: str = "drop",
    known_groups: Collection[str] = (),
    plain_residual: bool = True,
    extra: Collection[str] = (),
) -> Design:
    """Build the arrays of a model.

    Parameters
    ----------
    formula : str or Formula
    data : DataFrame
    weights : str or array of shape (rows of data,), optional
        Residual variances are sigma^2 / weight.
    offset : str or array of shape (rows of data,), optional
        Added to the formula's own ``offset(...)``.
    contrasts : dict, optional
        Column -> ``"treatment"`` (default), ``"sum"``, ``"helmert"``, ``"poly"`` (default of ordered categories), with a base or
        scores in brackets, or a matrix; see :func:`openreml_core.design.contrasts.contrast_named`.
    missing : {"drop", "error"}
        What happens to rows that lack a value the model uses.
    known_groups : collection of str
        Groupings whose covariance is given; these may have as many levels as there are rows.
    plain_residual : bool
        Whether the residual is independent and of one variance.
    extra : collection of str
        Further columns that the model uses: the residual's positions and sections.

    Returns
    -------
    Design

    Raises
    ------
    FormulaError
        The formula cannot be read, or names a column that is not there.
    DataError
        The table does not carry the model: the message names the column, the term or the rows.
    """
    whole = Table.of(data)
    if len(data) == 0:
        raise DataError("The table has no rows.")
    if missing not in ("drop", "error"):
        raise ModelError(f"missing={missing!r} is not known.", hint="Choose 'drop' or 'error'.")
    read = formula if isinstance(formula, Formula) else parse_formula(formula, tuple(whole.own))
    used = dict.fromkeys([*read.columns, *extra])
    for name in used:
        whole.name(name)
    given: dict[str, np.ndarray] = {}
    for what, source in (("weights", weights), ("offset", offset)):
        array = column_or_array(what, source, whole)
        if array is not None:
            given[source if isinstance(source, str) else what] = array
            used |= {source: None} if isinstance(source, str) else {}
    keep, dropped = complete_rows(whole, used, given)
    if len(dropped) and missing == "error":
        raise DataError(
            f"Values are missing in {whole.rows(np.flatnonzero(~keep))} (in the first of them {dropped['reason'][0]}).",
            hint="missing='drop' leaves such rows out.",
        )
    table = whole.kept(keep, used)
    read = with_linear_parts(read, table)

    asked = {str(name): contrast_named(kind, str(name)) for name, kind in (contrasts or {}).items()}
    asked |= {name: Contrast("poly") for name in _ordered(read, table) if name not in asked}
    y = check_response(read, table)
    weight_values = None
    if weights is not None:
        weight_values = check_weights(
            given[weights if isinstance(weights, str) else "weights"][keep],
            table,
            weights if isinstance(weights, str) else None,
        )
    offsets = tuple(Variable(expression) for expression in read.offset_expressions)
    total_offset = offset_values(offsets, table)
    if offset is not None:
        total_offset = total_offset + given[offset if isinstance(offset, str) else "offset"][keep]

    coding = Coding(read.intercept, read.terms, asked)
    values = coding.values(table)
    warnings = fixed_warnings(read, coding, values, table) + contrast_warnings(asked, coding, values, table)
    X, names, terms, aliased, kept = _fixed(coding, values, len(table))
    if aliased:
        warnings.append(aliased_words(aliased))
    if len(table) <= X.shape[1]:
        raise few_rows(terms, X.shape[1], len(table))
    random, more = random_designs(read.random, table, frozenset(known_groups), plain_residual)
    kinds = tuple((name, "number" if is_numeric(table.column(name)) else "factor") for name in used)
    return Design(
        formula=replace(read, kinds=kinds),
        y=y,
        X=X,
        fixed_names=names,
        fixed_terms=terms,
        aliased=aliased,
        random=random,
        weights=weight_values,
        offset=total_offset,
        index=table.frame.index,
        n_dropped=len(dropped),
        dropped=dropped,
        warnings=tuple(warnings + more),
        frame=table.frame,
        coding=coding,
        kept=kept,
        offsets=offsets,
    )


def _ordered(formula: Formula, table: Table) -> list[str]:
    """Columns of the fixed part that are ordered categories."""
    names = {name for term in formula.terms for factor in term for name in factor.names}
    types = {name: table.column(name).dtype for name in names}
    return sorted(name for name, dtype in types.items() if isinstance(dtype, pd.CategoricalDtype) and dtype.ordered)


def few_rows(terms: Sequence[FixedTerm], p: int, n: int) -> DataError:
    """Return the error of a fixed part with as many coefficients as there are rows."""
    most = max(terms, key=lambda term: len(term.columns))
    return DataError(
        f"The fixed part has {p} coefficients but there are only {n} complete rows; "
        f"*{most.label}* has {len(most.columns)} of them.",
        hint="Leave out fixed terms, make a factor of many levels random, (1 | factor), or bring more rows.",
    )


def offset_values(offsets: Sequence[Variable], table: Table) -> np.ndarray:
    """Return the sum of the formula's offsets, shape (n,)."""
    total = np.zeros(len(table))
    for variable in offsets:
        value = variable.values(table)
        if isinstance(value, Coded) or value.ndim > 1:
            raise DataError(f"offset({variable.expression.label}) is not one column of numbers.")
        check_finite(variable.expression, value, table)
        total = total + value
    return total


def _fixed(
    coding: Coding, values: dict[str, np.ndarray | Coded], n: int
) -> tuple[np.ndarray, tuple[str, ...], tuple[FixedTerm, ...], tuple[str, ...], np.ndarray]:
    """Return X of full rank, its names and terms, the names of aliased columns, and which columns were kept."""
    blocks = coding.blocks(values, n)
    X = stack_columns(coding, blocks, n)
    names, owner = column_names(coding, blocks)
    kept = independent_columns(X)
    full = X if len(kept) == X.shape[1] else X[:, kept]
    return full, *fixed_terms(coding, names, owner, kept), kept


def column_names(coding: Coding, blocks: Sequence[tuple[np.ndarray, tuple[str, ...]]]) -> tuple[list[str], list[int]]:
    """Return the names of all columns of X, and which term each is of (-1 for the intercept)."""
    names = [INTERCEPT] if coding.intercept else []
    owner = [-1] if coding.intercept else []
    for place, (_, block_names) in enumerate(blocks):
        names += block_names
        owner += [place] * len(block_names)
    return names, owner


def fixed_terms(
    coding: Coding, names: Sequence[str], owner: Sequence[int], kept: np.ndarray
) -> tuple[tuple[str, ...], tuple[FixedTerm, ...], tuple[str, ...]]:
    """Return the names of the columns kept, the terms over them, and the names of the columns left out."""
    left = set(kept.tolist())
    aliased = tuple(name for place, name in enumerate(names) if place not in left)
    kept_owner = [owner[place] for place in kept]
    terms = [FixedTerm(INTERCEPT, (), (0,))] if coding.intercept else []
    for place, term in enumerate(coding.terms):
        factors = tuple(dict.fromkeys(name for factor in term for name in factor.names))
        mine = tuple(column for column, who in enumerate(kept_owner) if who == place)
        terms.append(FixedTerm(":".join(factor.label for factor in term), factors, mine))
    return tuple(names[place] for place in kept), tuple(terms), aliased


def aliased_words(aliased: tuple[str, ...]) -> str:
    """Return the sentence that names the columns left out of X."""
    shown = ", ".join(aliased[:6]) + (f" and {len(aliased) - 6} more" if len(aliased) > 6 else "")
    one = len(aliased) == 1
    return (
        f"{len(aliased)} coefficient{'' if one else 's'} cannot be estimated beside the others and "
        f"{'was' if one else 'were'} left out: {shown}."
    )
