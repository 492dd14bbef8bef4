"""Predictions for new rows, with the standard errors of what is predicted.

    t = x'b + z'u + r,    t^ = x'b^ + z'u^,    Var(t^ - t) = Var(x'(b^ - b) + z'(u^ - u)) + Var(r)

b^ and u^ - u are correlated, and the engine knows how (engine.py); r is what a level or place that the fit has not seen leaves
open (effects.py). A new observation y = t + s + e has the terms s that t leaves out and the residual beside it:
Var(t^ - y) = Var(t^ - t) + Var(s) + Var(e). (Henderson 1975, Biometrics 31, 423-447; Welham, Cullis, Gogel, Gilmour and Thompson
2004, Aust. N. Z. J. Stat. 46, 325-347.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from openreml_core.design import Design
from openreml_core.design.columns import is_numeric, numbers
from openreml_core.design.rank import null_directions
from openreml_core.design.table import Table
from openreml_core.engines import RandomEffects
from openreml_core.errors import DataError, ModelError
from openreml_core.inference.contrasts import contrasts
from openreml_core.notation import Residual
from openreml_core.prediction.residual import residual_kriging, residual_parts, residual_variance
from openreml_core.prediction.rows import TermRows, chosen_terms, term_rows
from openreml_core.reml import Estimates

INTERVALS = (None, "confidence", "prediction")
NEW_LEVELS = ("error", "population")
DDF = ("satterthwaite", "residual", "normal")
#: Rows whose covariances are computed at a time.
AT_ONCE = 256


@dataclass(frozen=True)
class Asked:
    """What is asked of a prediction; the fields are the arguments of ``fit.predict``."""

    random: bool | str | Sequence[str] = True
    new_levels: str = "error"
    interval: str | None = None
    level: float = 0.95
    std_error: bool = False
    ddf: str = "satterthwaite"

    def check(self) -> None:
        """Refuse what is not known.

        Raises
        ------
        ModelError
        """
        choices = (
            ("interval", self.interval, INTERVALS),
            ("new_levels", self.new_levels, NEW_LEVELS),
            ("ddf", self.ddf, DDF),
        )
        for name, value, known in choices:
            if value not in known:
                shown = ", ".join("None" if v is None else f'"{v}"' for v in known)
                raise ModelError(f"{name}={value!r} is not known.", hint=f"Choose one of {shown}.")
        if isinstance(self.level, bool) or not isinstance(self.level, int | float) or not 0 < self.level < 1:
            raise ModelError(f"level={self.level!r} is not a probability.", hint="Give a number such as 0.95.")
        if not isinstance(self.random, bool | np.bool_ | str) and not (
            isinstance(self.random, Sequence) and all(isinstance(name, str) for name in self.random)
        ):
            raise ModelError(
                f"random={self.random!r} says nothing about random terms.",
                hint='Give True, False or names such as ["gen"].',
            )


@dataclass(frozen=True, eq=False)
class Given:
    """What new rows bring, as arrays.

    Attributes
    ----------
    table : Table of m rows
    fixed : array of shape (m, p)
    offset : array of shape (m,)
    terms : dict of int to TermRows
        The random terms that are predicted.
    estimable : bool array of shape (m,)
    """

    table: Table
    fixed: np.ndarray
    offset: np.ndarray
    terms: dict[int, TermRows]
    estimable: np.ndarray

    def placed(self, residual: Residual) -> np.ndarray:
        """Rows whose section and place in the residual are known, (m,) bool."""
        out = np.ones(len(self.table), dtype=bool)
        for name in residual.columns:
            out &= self.table.column(name, residual.text).notna().to_numpy()
        return out


def predict(
    design: Design,
    estimates: Estimates,
    effects: Sequence[RandomEffects],
    residual: Residual,
    newdata: pd.DataFrame | None,
    asked: Asked,
    *,
    weights: str | None = None,
    offset: str | None = None,
) -> pd.Series | pd.DataFrame:
    """Predictions; see :meth:`openreml_core.MixedModelFit.predict`.

    Parameters
    ----------
    design : Design
    estimates : Estimates
    effects : sequence of RandomEffects
        The BLUPs of every random term.
    residual : Residual
        As it was asked for.
    newdata : DataFrame of m rows, optional
        The fit's rows by default.
    asked : Asked
    weights, offset : str, optional
        The columns that the fit took weights and offset from.

    Returns
    -------
    Series or DataFrame of m rows
    """
    asked.check()
    chosen, kriging = chosen_terms(design, asked.random)
    data = design.frame if newdata is None else newdata
    given = _read(design, estimates, data, chosen, asked, offset, own=newdata is None)
    model, at = estimates.engine.model, estimates.at
    x = torch.from_numpy(np.nan_to_num(given.fixed))
    value = (x @ at.beta).numpy() + given.offset
    for place, rows in given.terms.items():
        value = value + rows.times(effects[place].blup)
    parts = residual_parts(model, at, residual, design.frame) if kriging or asked.interval == "prediction" else []
    missing = np.isnan(given.fixed).any(axis=1) | np.isnan(given.offset)
    w, left = None, np.zeros(len(data))
    if parts:
        placed = given.placed(residual)
        missing |= ~placed
    if kriging:
        w = torch.zeros(model.n, len(data), dtype=torch.float64)
        w[:, placed], left[placed] = residual_kriging(
            model, parts, design.frame, given.table.kept(placed, residual.columns)
        )
        rest = model.y - model.X @ at.beta - estimates.engine.random_fit(at)
        value = value + (w.T @ rest).numpy()
    for rows in given.terms.values():
        missing |= rows.missing
    value = np.where(missing | ~given.estimable, np.nan, value)
    notes = _notes(given, missing)
    if not asked.std_error and asked.interval is None:
        series = pd.Series(value, index=data.index, name="fit")
        series.attrs["notes"] = notes
        return series
    variance = left + _variances(estimates, x, given.terms, w)
    table = pd.DataFrame({"fit": value, "std_error": np.sqrt(variance)}, index=data.index)
    table.loc[np.isnan(value), "std_error"] = np.nan
    if asked.interval is not None:
        df = np.full(len(data), np.inf)
        if asked.interval == "prediction":
            own = _weights(design, given.table, weights, own=newdata is None)
            variance[placed] += residual_variance(
                parts, design.frame, given.table.kept(placed, residual.columns), own[placed], nugget_only=kriging
            )
            variance = variance + _left_out(design, estimates, given.table, chosen)
        elif not given.terms and not kriging and len(data):
            means = contrasts(estimates, x.numpy(), asked.ddf)
            df, variance = means.df, means.std_error**2
            table["std_error"] = np.where(np.isnan(value), np.nan, means.std_error)
        half = stats.t.ppf(0.5 + asked.level / 2, df) * np.sqrt(variance)
        table["lower"], table["upper"] = value - half, value + half
        table.attrs["ddf"] = asked.ddf if np.isfinite(df).any() else "normal"
        table.attrs["level"] = asked.level
    table.attrs["notes"] = notes
    return table


def _read(
    design: Design,
    estimates: Estimates,
    data: pd.DataFrame,
    chosen: Sequence[bool],
    asked: Asked,
    offset: str | None,
    *,
    own: bool,
) -> Given:
    table, model = Table.of(data), estimates.engine.model
    fixed = np.asarray(design.fixed_matrix(data), dtype=np.float64)
    terms = {}
    parts = zip(design.random, model.terms, model.split(estimates.at.theta), strict=False)
    for place, (random, term, theta) in enumerate(parts):
        if chosen[place]:
            terms[place] = term_rows(random, term, theta, table, asked.new_levels)
    return Given(table, fixed, _offset(design, data, table, offset, own=own), terms, _estimable(design, data))


def _offset(design: Design, data: pd.DataFrame, table: Table, name: str | None, *, own: bool) -> np.ndarray:
    if own:
        return np.asarray(design.offset, dtype=np.float64)
    return design.offset_vector(data) + (0.0 if name is None else _column(table, name, "offset"))


def _column(table: Table, name: str, what: str) -> np.ndarray:
    """A column of numbers that the fit was given beside its formula."""
    if name not in table.own:
        raise DataError(
            f"The fit has {what}s of *{name}*, a column that the new data lack.",
            hint=f"Add *{name}* to the new data."
            if not name.startswith("(")
            else f"Fit with the name of a column as {what}, or add a column named *{name}* to the new data.",
        )
    column = table.column(name)
    if not is_numeric(column):
        raise DataError(f"The column *{name}*, the {what}, is not numeric.", hint="Give numbers.")
    return numbers(column)


def _weights(design: Design, table: Table, name: str | None, *, own: bool) -> np.ndarray:
    """Weight of each row's residual, (m,)."""
    if name is None:
        return np.ones(len(table))
    values = np.asarray(design.weights, dtype=np.float64) if own else _column(table, name, "weight")
    wrong = np.flatnonzero(~(values > 0) & ~np.isnan(values))
    if len(wrong):
        raise DataError(f"The weight *{name}* is not positive in {table.rows(wrong)}.", hint="Give positive weights.")
    return values


def _estimable(design: Design, data: pd.DataFrame) -> np.ndarray:
    """Whether the fit's rows determine x'b, whatever columns were left out of X: x is a combination of its rows."""
    if not design.aliased:
        return np.ones(len(data), dtype=bool)
    seen, new = design.whole_fixed_matrix(design.frame), design.whole_fixed_matrix(data)
    size, nothing = null_directions(seen)
    scaled = np.nan_to_num(new / size)
    return np.abs(scaled @ nothing.T).max(axis=1, initial=0.0) <= 1e-7 * np.abs(scaled).max(axis=1, initial=1e-300)


def _notes(given: Given, missing: np.ndarray) -> tuple[str, ...]:
    """What is not predicted, and why."""
    notes = []
    if missing.any():
        notes.append(f"{int(missing.sum())} of the rows lack a value that the prediction needs.")
    unknown = np.flatnonzero(~given.estimable & ~missing)
    if len(unknown):
        notes.append(
            f"{given.table.rows(unknown).capitalize()} cannot be predicted: the data of the fit do not determine "
            f"{'this combination' if len(unknown) == 1 else 'these combinations'} of the fixed effects."
        )
    return tuple(notes)


def _variances(estimates: Estimates, x: Tensor, terms: dict[int, TermRows], w: Tensor | None) -> np.ndarray:
    """Var(t^ - t) of every row, (m,), without what correlated residuals leave open; ``w`` (n, m) as in residual.py.

    w'e = w'(y - X b - Z u): with it, x becomes x - X'w and z of every term z - Z'w.
    """
    model, at = estimates.engine.model, estimates.at
    out = np.zeros(len(x))
    shapes = [(len(t.levels), t.structure.size) for t in model.terms]
    for start in range(0, len(x), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        fixed = x[some]
        random = [
            terms[u].dense(some, shape) if u in terms else torch.zeros(*shape, len(fixed), dtype=torch.float64)
            for u, shape in enumerate(shapes)
        ]
        if w is not None:
            fixed = fixed - w[:, some].T @ model.X
            unrelated = [t if t.kernel is None else replace(t, kernel=None) for t in model.terms]
            random = [z - t.collect(w[:, some]) for z, t in zip(random, unrelated, strict=True)]
        out[some] = estimates.engine.prediction_covariance(at, fixed, random).diagonal().numpy()
    for rows in terms.values():
        out = out + at.sigma2 * rows.rest
    return np.clip(out, 0.0, None)


def _left_out(design: Design, estimates: Estimates, table: Table, chosen: Sequence[bool]) -> np.ndarray:
    """Variance in each row of the random terms that are not predicted, (m,)."""
    model, total = estimates.engine.model, np.zeros(len(table))
    parts = zip(design.random, model.terms, model.split(estimates.at.theta), chosen, strict=False)
    for random, term, theta, predicted in parts:
        if not predicted:
            total += estimates.at.sigma2 * term_rows(random, term, theta, table, "left out").prior
    return total
