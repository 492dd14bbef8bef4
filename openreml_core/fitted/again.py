"""What a fit was made from, kept so that the model can be fitted again, as it is or changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from openreml_core.design import Design
from openreml_core.errors import DataError, ModelError, did_you_mean
from openreml_core.fitted.specification import Specification
from openreml_core.notation import Formula, parse_expression, quote
from openreml_core.storage.record import stored_rows
from openreml_core.tables import Excluded


@dataclass(frozen=True, eq=False)
class Again:
    """The function that fits, the table and the options that it was given.

    Attributes
    ----------
    fit : callable
        ``openreml_core.fit``.
    data : DataFrame
        The whole table.
    options : mapping
        Every option of ``fit`` but formula, data and ``on_iteration``.
    gone : tuple of (label, reason)
        Rows left out on purpose that the table does not have any more.
    """

    fit: Callable[..., Any]
    data: pd.DataFrame
    options: Mapping[str, Any]
    gone: Excluded = ()

    def __call__(self, formula: str, **changes: Any) -> Any:
        """Fit with some options changed.

        Raises
        ------
        ModelError
            For an option that ``fit`` does not have.
        """
        known = {*self.options, "data", "on_iteration"}
        for name in changes:
            if name not in known:
                hint = did_you_mean(name, sorted(known)).replace("columns", "options")
                raise ModelError(f"*{name}* is no option of a fit.", hint=hint)
        fitted = self.fit(formula, changes.pop("data", self.data), **{**self.options, **changes})
        if self.gone:
            spec = fitted.specification
            fitted.specification = replace(spec, excluded=self.gone + spec.excluded)
            fitted.again = replace(fitted.again, gone=self.gone)
        return fitted

    def on_rows_of(self, fit: Any) -> Again:
        """The same on the rows that a fit used and no others, whatever a changed model would need of them."""
        spec: Specification = fit.specification
        own = {"weights": spec.weights, "offset": spec.offset, "exclude": None}
        return replace(self, data=stored_rows(fit), options={**self.options, **own}, gone=spec.excluded)


def given_response(design: Design, response: Any) -> np.ndarray:
    """Another response for the rows of a design.

    Parameters
    ----------
    design : Design
    response : array-like of n numbers, or Series
        In the order of the rows used; a Series is matched by its labels where they are the table's.

    Raises
    ------
    DataError
        The wrong number of values, labels that are missing, or values that are no finite numbers.
    """
    n = len(design.y)
    if isinstance(response, pd.DataFrame):
        if response.shape[1] != 1:
            raise DataError(
                f"The response is a table of {response.shape[1]} columns.",
                hint="Give one of them, such as ys.iloc[:, 0].",
            )
        response = response.iloc[:, 0]
    if isinstance(response, pd.Series) and not response.index.equals(design.index):
        if not response.index.is_unique or not design.index.is_unique:
            raise DataError(
                "The response's labels are not those of the rows, and are not unique.", hint="Give an array."
            )
        absent = design.index.difference(response.index)
        if len(absent):
            shown = ", ".join(str(v) for v in absent[:5])
            raise DataError(
                f"The response has no value for {len(absent)} of the {n} rows used (rows {shown}).",
                hint="Give a value for every row of fit.data, or an array in the order of its rows.",
            )
        response = response.loc[design.index]
    try:
        values = np.asarray(response, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("The response is not made of numbers.", hint="Give one number per row used.") from None
    if values.shape != (n,):
        raise DataError(
            f"The response is of shape {values.shape}; the fit used {n} rows.",
            hint="Give one number for each row of fit.data.",
        )
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise DataError(
            f"The response is missing or infinite in row {design.index[wrong[0]]}"
            f"{f' and {len(wrong) - 1} more' if len(wrong) > 1 else ''}.",
            hint="A refit keeps the rows; fit the model anew to leave some out.",
        )
    return values


def with_values(design: Design, y: np.ndarray) -> Design:
    """The design with another response: a transformed one, ``log(yield)``, becomes a column of that name."""
    formula: Formula = design.formula
    written = formula.response_expression
    named = written is not None and written.is_column
    name = written.names[0] if written is not None and named else formula.response
    frame = design.frame.copy()
    if named:
        frame[_own(frame, name)] = y
    else:
        frame[name] = y
        rest = formula.text.removeprefix(f"{formula.response} ~ ")
        response = parse_expression(quote(name), (name,))
        kinds = (*formula.kinds, (name, "number"))
        formula = replace(
            formula,
            text=f"{response.text} ~ {rest}",
            response=response.text,
            response_expression=response,
            kinds=kinds,
        )
    return replace(design, y=y, frame=frame, formula=formula)


def _own(frame: pd.DataFrame, name: str) -> Any:
    """The frame's own name of a column."""
    return next(column for column in frame.columns if str(column) == name)


def again_with(again: Again, fit: Any) -> Again:
    """For a fit of another response: what it is made from when it is changed in turn."""
    by_name = all(v is None or isinstance(v, str) for v in (again.options.get("weights"), again.options.get("offset")))
    if not (by_name and again.data.index.is_unique and fit.design.index.isin(again.data.index).all()):
        return again.on_rows_of(fit)
    rows = again.data.loc[fit.design.index].copy()
    for name in fit.design.formula.response_expression.names:
        rows[next((own for own in rows.columns if str(own) == name), name)] = fit.design.y
    options = {**again.options, "exclude": None}
    return replace(again, data=rows, options=options, gone=fit.specification.excluded)
