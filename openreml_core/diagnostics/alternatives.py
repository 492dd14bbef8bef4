"""Residual structures that would take up what a plain residual leaves: fitted, and compared by their likelihood.

    LRT = criterion(as it is) - criterion(with the structure),    chi2 with the number of added parameters

The plain residual is the structure with correlations of zero, and lies within its range: no boundary is involved. A nugget's
variance may be zero: half of chi2(df - 1) and half of chi2(df) then, of which the larger p-value is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2

from openreml_core.diagnostics.findings import Finding
from openreml_core.diagnostics.places import guessed_positions, sections
from openreml_core.diagnostics.positions import Positions, positions_of
from openreml_core.errors import DataError, FitCancelled, ModelError
from openreml_core.notation import quote

#: Rows up to which a structure over the field is fitted unasked, up to which its neighbours are correlated, and one along time.
FIELD_ROWS, NEIGHBOUR_ROWS, SERIAL_ROWS = 700, 2_500, 3_000
#: p-value from which a structure is worth a finding.
WORTH = 0.01


@dataclass(frozen=True)
class Alternative:
    """A residual structure that might fit better.

    Attributes
    ----------
    residual : str
        In the notation.
    words : str
        What it says.
    where : str
        How its correlations can be seen.
    places : tuple of (str, str, str or None), optional
        The columns of rows, of columns and of trials, of a structure over the field.
    """

    residual: str
    words: str
    where: str
    places: tuple[str, str, str | None] | None = None


def alternatives_for(fit: Any, row: Any, col: Any, by: Any) -> list[Alternative]:
    """Structures for a plain residual: over the field where positions are known, along time within subjects."""
    if fit.specification.residual is not None or not fit.has_rows or fit.specification.weights is not None:
        return []
    if fit.specification.fixed or fit.specification.ties or fit.again is None:
        return []
    table = fit.table
    found = _field(table, row, col, by) if len(table) <= NEIGHBOUR_ROWS else None
    if found is not None:
        return [found]
    return _serial(fit, table) if len(table) <= SERIAL_ROWS else []


def _field(table: pd.DataFrame, row: Any, col: Any, by: Any) -> Alternative | None:
    names = guessed_positions(table, row, col)
    if names is None:
        return None
    for trial in [by] if by is not None else [None, *sections(table, names)]:
        try:
            positions = positions_of(table, *names, by=trial)
        except DataError:
            return None
        if _is_field(positions):
            lines = _directions(positions, names)
            text = ":".join(f"ar1({quote(name)})" for name in lines)
            if isinstance(trial, str):
                text = f"id({quote(trial)}):{text}"
            words = f"correlated along {' and along '.join(lines)}"
            where = f'fit.plot.variogram("{names[0]}", "{names[1]}") and the field map'
            return Alternative(text, words, where, (*names, trial))
    return None


def _directions(positions: Positions, names: tuple[str, str]) -> list[str]:
    """The names of the positions that vary: a field of one row has no correlation from row to row."""
    known = positions.known
    pairs = zip((positions.row, positions.col), names, strict=True)
    return [name for place, name in pairs if np.ptp(place[known]) > 0]


def _is_field(positions: Positions) -> bool:
    """Whether the places are a grid, each held by one plot, dense enough for neighbours to be there."""
    known = positions.known
    if not positions.is_grid or known.sum() < len(known):
        return False
    for rows in positions.groups():
        if not len(rows):
            continue
        places = np.column_stack([positions.row[rows], positions.col[rows]])
        extent = np.ptp(places, axis=0) + 1
        if len(np.unique(places, axis=0)) < len(rows) or not _large(extent):
            return False
        if len(rows) < 0.4 * extent.prod():
            return False
    return True


def _serial(fit: Any, table: pd.DataFrame) -> list[Alternative]:
    """AR(1) along a number that the model uses, where every level of a grouping has a series of it."""
    for design in fit.design.random:
        if len(design.group) != 1 or design.group[0] not in table.columns:
            continue
        subject = design.group[0]
        for name in table.columns:
            column = table[name]
            if (
                name == subject
                or not pd.api.types.is_numeric_dtype(column.dtype)
                or pd.api.types.is_bool_dtype(column.dtype)
            ):
                continue
            if str(name) not in fit.design.formula.columns or str(name) == fit.response_name:
                continue
            values, counts = (
                column.to_numpy(float),
                table.groupby(subject, observed=True)[name].agg(["size", "nunique"]),
            )
            if not np.all(values % 1 == 0) or not 4 <= len(np.unique(values)) <= 60:
                continue
            if (counts["size"] == counts["nunique"]).all() and counts["size"].median() >= 4:
                text = f"id({quote(subject)}):ar1({quote(str(name))})"
                return [
                    Alternative(
                        text, f"correlated along {name} within {subject}", "fit.autocorrelation(order=..., by=...)"
                    )
                ]
    return []


def _large(extent: np.ndarray) -> bool:
    """Whether rows and columns (2,) are enough to tell correlations: three both ways, or a line of eight."""
    return bool(extent.min() >= 3 or (extent.min() == 1 and extent.max() >= 8))


def alternative_findings(
    fit: Any, found: list[Alternative], asked: bool = False, on_iteration: Callable[[Any], object] | None = None
) -> Iterator[Finding]:
    """What each structure would take up: by its likelihood ratio; in large tables, unasked, by neighbours' correlations."""
    for alternative in found:
        if alternative.places is not None and fit.n_obs > FIELD_ROWS and not asked:
            yield from _neighbours(fit, alternative)
            continue
        try:
            other = _fitted(fit, alternative.residual, on_iteration)
        except FitCancelled:
            raise
        except (ModelError, ArithmeticError) as error:
            yield Finding(
                severity="note",
                topic="residual structure",
                what=f"residual='{alternative.residual}' could not be tried: {error}",
                why="The table suggests it.",
                do="Fit it by hand, with start= values.",
            )
            continue
        if not other.converged:
            yield Finding(
                severity="note",
                topic="residual structure",
                what=f"residual='{alternative.residual}' was tried, and its fit did not converge: {other.message}",
                why="What it would take up is not known.",
                do="Fit it by hand, with start= values, or a simpler structure.",
                subject=(alternative.residual,),
            )
            continue
        yield _compared(fit, other, alternative)


def _fitted(fit: Any, residual: str, on_iteration: Callable[[Any], object] | None = None) -> Any:
    """The same model on the same rows with another residual."""
    if fit.again is None:
        raise ModelError("the fit cannot be repeated.")
    again = fit.again.on_rows_of(fit)
    data = again.data.copy()
    for name in fit.table.columns:
        if name not in data.columns:
            data[name] = fit.table[name].to_numpy()
    changes = dict(residual=residual, fixed=None, ties=None, engine="auto", on_iteration=on_iteration)
    return again(fit.formula, data=data, **changes)


def _compared(fit: Any, other: Any, alternative: Alternative) -> Finding:
    df, lrt = other.n_parameters - fit.n_parameters, fit.criterion - other.criterion
    p = float(chi2.sf(max(lrt, 0.0), df)) if df > 0 else float("nan")
    values = {"LRT": lrt, "df": df, "p_value": p, "residual": alternative.residual, "aic_change": other.aic - fit.aic}
    values |= {"parameters": dict(other.parameters)}
    count = f"{df} parameter{'s' if df != 1 else ''}"
    if not p < WORTH:
        return Finding(
            severity="ok",
            topic="residual structure",
            what=f"Residuals of neighbours are no more alike than chance allows: residual='{alternative.residual}' has a "
            f"likelihood ratio of {max(lrt, 0):.1f} on {count}, p = {p:.2f}.",
            why="A plain residual is enough.",
            do="Nothing to do.",
            subject=(alternative.residual,),
            values=values,
        )
    rhos = {k.removeprefix("residual."): v for k, v in other.parameters.items() if k.endswith("rho")}
    shown = "".join(f"; {k} = {v:.2f}" for k, v in list(rhos.items())[:4])
    return Finding(
        severity="warning",
        topic="residual structure",
        what=f"Residuals of neighbours are alike: residual='{alternative.residual}' ({alternative.words}{shown}) fits better, "
        f"likelihood ratio {lrt:.1f} on {count}, p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}.",
        why="A trend is left in the residuals: standard errors are wrong, and differences of treatments hold part of the trend.",
        do=f"Fit it, and with a nugget ('{alternative.residual} + id(units)'), and compare; see {alternative.where}.",
        subject=(alternative.residual,),
        values=values,
    )


def _neighbours(fit: Any, alternative: Alternative) -> Iterator[Finding]:
    """What the correlations of direct neighbours say, without a fit."""
    assert alternative.places is not None
    row, col, by = alternative.places
    table = fit.autocorrelation(row, col, by=by, max_lag=1).set_index("direction")
    if not len(table):
        return
    values = {f"{name}_correlation": float(table.loc[name, "correlation"]) for name in table.index}
    above = table[table["correlation"] > table["upper"] + (table["upper"] - table["lower"]) / 2]
    said = ", ".join(
        f"{own.correlation:.2f} from {name} to {name} where the model expects {own.expected:.2f}"
        for name, own in table.iterrows()
    )
    if len(above):
        yield Finding(
            severity="warning",
            topic="residual structure",
            what=f"Residuals of neighbours are alike: they correlate {said}.",
            why="A trend is left in the residuals: standard errors are wrong, and differences of treatments hold part of it.",
            do=f"Fit residual='{alternative.residual} + id(units)' and compare; see {alternative.where}. "
            f"check(alternatives=[...]) gives its likelihood ratio.",
            subject=(alternative.residual,),
            values=values,
        )
    else:
        yield Finding(
            severity="ok",
            topic="residual structure",
            what=f"Residuals of neighbours are about as alike as the model lets one expect: they correlate {said}.",
            why="No trend over the field stands out.",
            do="Nothing to do.",
            subject=(alternative.residual,),
            values=values,
        )
