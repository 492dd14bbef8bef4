"""Formula and table to the arrays of a model: y, X, the random terms, weights and offset, over the complete rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from openreml_core.design.arrays import Design, FixedTerm, stack_columns
from openreml_core.design.checks import check_response, check_weights, column_or_array, fixed_warnings
from openreml_core.design.coding import Coding
from openreml_core.design.columns import is_numeric, named_columns, resolve
from openreml_core.design.contrasts import Contrast, contrast_named
from openreml_core.design.evaluate import Coded, Variable
from openreml_core.design.random import INTERCEPT, check_finite, random_designs
from openreml_core.design.rank import independent_columns
from openreml_core.design.rows import complete_rows, row_names
from openreml_core.errors import DataError, ModelError
from openreml_core.notation.formula import Formula, parse_formula


def build_design(
    formula: str | Formula,
    data: pd.DataFrame,
    *,
    weights: str | np.ndarray | pd.Series | None = None,
    offset: str | np.ndarray | pd.Series | None = None,
    contrasts: Mapping[str, str] | None = None,
    missing: str = "drop",
    known_groups: Collection[str] = (),
    plain_residual: bool = True,
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
        Column -> ``"treatment"`` (default), ``"sum"``, ``"helmert"`` or ``"poly"``.
    missing : {"drop", "error"}
        What happens to rows that lack a value the model uses.
    known_groups : collection of str
        Groupings whose covariance is given; these may have as many levels as there are rows.
    plain_residual : bool
        Whether the residual is independent and of one variance.

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
    columns = named_columns(data)
    if len(data) == 0:
        raise DataError("The table has no rows.")
    if missing not in ("drop", "error"):
        raise ModelError(f"missing={missing!r} is not known.", hint="Choose 'drop' or 'error'.")
    read = parse_formula(formula, tuple(columns)) if isinstance(formula, str) else formula
    used = {name: resolve(name, columns) for name in read.columns}
    given: dict[str, np.ndarray] = {}
    for what, source in (("weights", weights), ("offset", offset)):
        array = column_or_array(what, source, data, columns, used)
        if array is not None:
            given[what] = array
    keep, dropped = complete_rows(data, used, given)
    if len(dropped) and missing == "error":
        raise DataError(
            f"{len(dropped)} rows have values missing, the first: {dropped['reason'][0]} in "
            f"{row_names(data.index, np.flatnonzero(~keep))}.",
            hint="missing='drop' leaves them out.",
        )
    own = list(dict.fromkeys(used.values()))
    frame = data.loc[:, own] if keep.all() else data.loc[keep, own]

    y = check_response(read, frame, columns)
    weight_values = check_weights(given["weights"][keep], frame.index) if "weights" in given else None
    offsets = tuple(Variable(expression) for expression in read.offset_expressions)
    total_offset = np.array(given["offset"][keep]) if "offset" in given else np.zeros(len(frame))
    for variable in offsets:
        value = variable.values(frame, columns)
        if isinstance(value, Coded) or value.ndim > 1:
            raise DataError(f"offset({variable.expression.label}) is not one column of numbers.")
        check_finite(variable.expression.label, variable.expression.names, value, frame, columns)
        total_offset = total_offset + value

    coding = Coding(read.intercept, read.terms, _contrasts(contrasts, columns, frame))
    values = coding.values(frame, columns)
    warnings = fixed_warnings(read, coding, values, frame, columns)
    X, names, terms, aliased, kept = _fixed(coding, values, frame)
    if aliased:
        warnings.append(_aliased_words(aliased))
    if len(frame) <= X.shape[1]:
        raise DataError(
            f"The fixed part has {X.shape[1]} coefficients but there are only {len(frame)} complete rows.",
            hint="Leave out fixed terms, or bring more rows.",
        )
    random, more = random_designs(read.random, frame, columns, frozenset(known_groups), plain_residual)
    kinds = tuple((name, "number" if is_numeric(frame[own]) else "factor") for name, own in used.items())
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
        index=frame.index,
        n_dropped=len(dropped),
        dropped=dropped,
        warnings=tuple(warnings + more),
        frame=frame,
        coding=coding,
        kept=kept,
        offsets=offsets,
    )


def _contrasts(asked: Mapping[str, str] | None, columns: dict[str, object], frame: pd.DataFrame) -> dict[str, Contrast]:
    found: dict[str, Contrast] = {}
    for name, kind in (asked or {}).items():
        own = resolve(str(name), columns, "contrasts")
        if own in frame.columns and is_numeric(frame[own]):
            raise DataError(
                f"Contrasts are asked for *{name}*, which holds numbers.", hint=f"Write factor({name}) in the formula."
            )
        found[str(name)] = contrast_named(kind, str(name))
    return found


def _fixed(
    coding: Coding, values: dict[str, np.ndarray | Coded], frame: pd.DataFrame
) -> tuple[np.ndarray, tuple[str, ...], tuple[FixedTerm, ...], tuple[str, ...], np.ndarray]:
    """Return X of full rank, its names and terms, the names of aliased columns, and which columns were kept."""
    blocks = coding.blocks(values, len(frame))
    X = stack_columns(coding, blocks, len(frame))
    names = [INTERCEPT] if coding.intercept else []
    owner = [-1] if coding.intercept else []
    for place, (_, block_names) in enumerate(blocks):
        names += block_names
        owner += [place] * len(block_names)
    kept = independent_columns(X)
    aliased = (
        tuple(name for place, name in enumerate(names) if place not in set(kept.tolist()))
        if len(kept) < len(names)
        else ()
    )
    kept_owner = [owner[place] for place in kept]
    terms = [FixedTerm(INTERCEPT, (), (0,))] if coding.intercept else []
    for place, term in enumerate(coding.terms):
        factors = tuple(dict.fromkeys(name for factor in term for name in factor.names))
        mine = tuple(column for column, who in enumerate(kept_owner) if who == place)
        terms.append(FixedTerm(":".join(factor.label for factor in term), factors, mine))
    full = X if len(kept) == X.shape[1] else X[:, kept]
    return full, tuple(names[place] for place in kept), tuple(terms), aliased, kept


def _aliased_words(aliased: tuple[str, ...]) -> str:
    shown = ", ".join(aliased[:6]) + (f" and {len(aliased) - 6} more" if len(aliased) > 6 else "")
    one = len(aliased) == 1
    return (
        f"{len(aliased)} coefficient{'' if one else 's'} cannot be estimated beside the others and "
        f"{'was' if one else 'were'} left out: {shown}."
    )
