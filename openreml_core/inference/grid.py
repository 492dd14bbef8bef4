"""The reference grid: every combination of the fixed factors' levels, covariates at their means, and means over it.

Each cell is a row x of the design; a mean over cells is l = sum w x, and its estimate l'b. It is estimable when l is a
combination of the rows of the data: with X~ = X A all columns before aliased ones were left out, l~ = A'l.
(Searle, Speed and Milliken 1980, The American Statistician 34, 216-221; Lenth's emmeans on grids.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd

from openreml_core.design import Design
from openreml_core.design.arrays import stack_columns
from openreml_core.design.columns import as_factor, is_numeric, level_text, numbers
from openreml_core.design.evaluate import Coded
from openreml_core.design.table import Table
from openreml_core.errors import ModelError, did_you_mean

WEIGHTS = ("equal", "proportional", "outer", "cells")
#: Elements of the grid's design that find room.
MAX_ELEMENTS = 50_000_000
#: Part of a row that may lie outside the rows of the data.
ESTIMABLE = 1e-7


@dataclass(frozen=True, eq=False)
class Axis:
    """One variable of the grid.

    Attributes
    ----------
    name : str
    values : Series
        A value for each place, of the column's own type.
    labels : tuple of str or float
        The levels, as tables show them.
    is_factor : bool
    """

    name: str
    values: pd.Series
    labels: tuple[Any, ...]
    is_factor: bool


class ReferenceGrid:
    """The grid of a design.

    Parameters
    ----------
    design : Design
    at : mapping of str to values, optional
        Values of covariates, or some of a factor's levels, in place of the mean or of all levels.
    extra : sequence of str
        Factors beyond those of the fixed part.

    Attributes
    ----------
    axes : tuple of Axis
    """

    def __init__(self, design: Design, at: Mapping[str, Any] | None = None, extra: Sequence[str] = ()) -> None:
        self.design = design
        self.axes = tuple(_axes(design, dict(at or {}), extra))
        self.factors = tuple(axis.name for axis in self.axes if axis.is_factor or len(axis.labels) > 1)
        size = int(np.prod([len(axis.labels) for axis in self.axes], dtype=float))
        if size * max(design.X.shape[1], 1) > MAX_ELEMENTS:
            raise ModelError(
                f"The grid over {', '.join(self.factors)} has {size:,} cells: too large to hold.",
                hint="Name fewer levels with at=.",
            )
        self.places = np.indices([len(axis.labels) for axis in self.axes]).reshape(len(self.axes), size)

    @property
    def frame(self) -> pd.DataFrame:
        """The grid as a table, a row for each cell."""
        columns = {
            axis.name: axis.values.iloc[place].reset_index(drop=True)
            for axis, place in zip(self.axes, self.places, strict=True)
        }
        return pd.DataFrame(columns, index=pd.RangeIndex(self.places.shape[1]))

    def rows(self, frame: pd.DataFrame | None = None) -> np.ndarray:
        """All columns of the design, aliased ones too, over the grid's cells (g, columns)."""
        return self.rows_of(self.design, self.frame if frame is None else frame)

    @staticmethod
    def rows_of(design: Design, frame: pd.DataFrame) -> np.ndarray:
        """All columns of a design over the rows of a table."""
        coding = design.coding
        return stack_columns(coding, coding.blocks(coding.values(Table.of(frame)), len(frame)), len(frame))

    def offset(self) -> np.ndarray:
        """The formula's offset over the cells and the average of one that was given beside it, (g,)."""
        design = self.design
        if not design.offset.any():
            return np.zeros(self.places.shape[1])
        own = design.offset_vector(design.frame)
        return design.offset_vector(self.frame) + float((design.offset - own).mean())

    def cells(self, names: Sequence[str]) -> tuple[pd.DataFrame, np.ndarray]:
        """The combinations of some variables, and which of them every cell of the grid belongs to, (g,)."""
        axes = [self._axis(name) for name in names]
        sizes = [len(self.axes[k].labels) for k in axes]
        table = pd.DataFrame(
            {
                name: [self.axes[k].labels[i] for i in where]
                for name, k, where in zip(
                    names, axes, np.indices(sizes).reshape(len(sizes), -1) if sizes else [], strict=True
                )
            },
            index=pd.RangeIndex(int(np.prod(sizes)) if sizes else 1),
        )
        code = reduce(
            lambda left, k: left * len(self.axes[k].labels) + self.places[k], axes, np.zeros(self.places.shape[1], int)
        )
        return table, code

    def weights(self, names: Sequence[str], how: str) -> np.ndarray:
        """Weights of the cells, (g,), that add up to 1 within each combination of ``names``."""
        if how not in WEIGHTS:
            raise ModelError(f"weights={how!r} is not known.", hint=f"Choose one of {', '.join(WEIGHTS)}.")
        _, code = self.cells(names)
        others = [name for name in self.factors if name not in names]
        if how == "equal" or not others:
            weight = np.ones(self.places.shape[1])
        elif how == "outer":
            weight = np.prod([self._counts([name]) for name in others], axis=0)
        else:
            weight = self._counts(others if how == "proportional" else [*names, *others]).astype(float)
        total = np.bincount(code, weights=weight)[code]
        with np.errstate(invalid="ignore"):
            return weight / total

    def _counts(self, names: Sequence[str]) -> np.ndarray:
        """How often the data have the combination of ``names`` that a cell has, (g,)."""
        where = [self._axis(name) for name in names]
        where = [k for k in where if self.axes[k].is_factor]
        if not where:
            return np.ones(self.places.shape[1])
        seen = [as_factor(self.design.frame[self.axes[k].name]) for k in where]
        rows = pd.Series(list(zip(*[np.array(f.levels, dtype=object)[f.codes] for f in seen], strict=True)))
        found = rows.value_counts()
        cells = zip(*[np.array(self.axes[k].labels, dtype=object)[self.places[k]] for k in where], strict=True)
        return np.array([found.get(cell, 0) for cell in cells], dtype=float)

    def _axis(self, name: str) -> int:
        names = [axis.name for axis in self.axes]
        if name not in names:
            known = [axis.name for axis in self.axes if axis.is_factor]
            raise ModelError(
                f"*{name}* is no factor of the fixed part of this model.",
                hint=did_you_mean(name, known).replace("columns", "factors")
                if known
                else 'The fixed part has no factors; ask for means("1").',
            )
        return names.index(name)


def _axes(design: Design, at: dict[str, Any], extra: Sequence[str]) -> list[Axis]:
    frame = design.frame
    values = design.coding.values(Table.of(frame))
    factors, covariates = dict.fromkeys(extra), dict[str, None]()
    for text, variable in design.coding.variables.items():
        names = variable.expression.names
        one = isinstance(values[text], Coded) and len(names) == 1 and not _compares(variable.expression.source)
        (factors if one else covariates).update(dict.fromkeys(names))
    for variable in design.offsets:
        covariates.update(dict.fromkeys(variable.expression.names))
    for name in list(covariates):
        if not is_numeric(frame[name]):
            factors[name] = None
    unknown = [name for name in at if name not in factors and name not in covariates]
    if unknown:
        raise ModelError(
            f"at names *{unknown[0]}*, which the fixed part does not use.",
            hint=did_you_mean(unknown[0], [*factors, *covariates]),
        )
    out = [_levels(frame[name], at.get(name)) for name in factors]
    return out + [_covariate(frame[name], at.get(name)) for name in covariates if name not in factors]


def _compares(source: str) -> bool:
    return any(mark in source for mark in ("<", ">", "==", "!="))


def _levels(column: pd.Series, asked: Any) -> Axis:
    factor = as_factor(column)
    first = np.array([int(np.flatnonzero(factor.codes == k)[0]) for k in range(len(factor.levels))])
    chosen = list(range(len(factor.levels)))
    if asked is not None:
        chosen = []
        for value in _listed(asked):
            text = level_text(value)
            if text not in factor.levels:
                hint = did_you_mean(text, factor.levels).replace("The columns are", "The levels are")
                raise ModelError(f"at: *{column.name}* has no level '{text}'.", hint=hint)
            chosen.append(factor.levels.index(text))
    labels = tuple(factor.levels[k] for k in chosen)
    return Axis(str(column.name), column.iloc[first[chosen]].reset_index(drop=True), labels, True)


def _covariate(column: pd.Series, asked: Any) -> Axis:
    try:
        values = [float(numbers(column).mean())] if asked is None else [float(v) for v in _listed(asked)]
    except (TypeError, ValueError):
        raise ModelError(
            f"at gives *{column.name}* {asked!r}, which is no number.", hint="Give a number or a list of numbers."
        ) from None
    if not values:
        raise ModelError(f"at gives *{column.name}* no value.", hint="Give a number or a list of numbers.")
    return Axis(str(column.name), pd.Series(values, dtype=float), tuple(values), False)


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return [value]
    return list(value)


class Estimability:
    """Which linear functions of all columns, aliased ones too, the data can estimate.

    Parameters
    ----------
    design : Design
    whole : array of shape (n, columns)
        All columns over the rows of the data.
    """

    def __init__(self, design: Design, whole: np.ndarray) -> None:
        self.kept = design.kept
        self.combination: np.ndarray | None = None
        if whole.shape[1] > len(self.kept):
            size = np.where((norm := np.linalg.norm(whole, axis=0)) > 0, norm, 1.0)
            self.size = size
            self.combination = np.linalg.lstsq(whole[:, self.kept] / size[self.kept], whole / size, rcond=None)[0]

    def split(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows over all columns (c, columns) as L over those kept (c, p), and whether each is estimable."""
        kept = rows[:, self.kept]
        good = np.isfinite(rows).all(axis=1)
        if self.combination is not None:
            scaled = rows / self.size
            with np.errstate(invalid="ignore"):
                rest = np.abs(scaled - (scaled[:, self.kept] @ self.combination)).max(axis=1)
                good &= rest <= ESTIMABLE * np.abs(scaled).max(axis=1)
        return kept, good
