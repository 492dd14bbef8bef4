"""Marginal means, their differences, and what is read off them: the combinations, not yet as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from openreml_core.inference.contrasts import DDF, Contrasts
from openreml_core.inference.multiplicity import adjusted, check_adjustment, critical
from openreml_core.inference.predicted import Combinations
from openreml_core.reml import Estimates

#: How the label of a mean, or of a level, is made of several.
JOIN = ", "


@dataclass(frozen=True, eq=False)
class MarginalMeans:
    """Means or slopes, a row for each combination of some factors.

    Attributes
    ----------
    estimates : Estimates
    cells : DataFrame of c rows
        The levels.
    combinations : Combinations
    by : tuple of str
        The columns of ``cells`` within whose levels rows are compared.
    ddf : str
    level : float
        Coverage of the intervals.
    notes : tuple of str
        What the reader should know.
    """

    estimates: Estimates
    cells: pd.DataFrame
    combinations: Combinations
    by: tuple[str, ...]
    ddf: str
    level: float
    notes: tuple[str, ...] = ()

    @cached_property
    def found(self) -> Contrasts:
        """Estimates, standard errors and df of the rows."""
        return self.combinations.estimates(self.estimates, self.ddf)

    @property
    def labels(self) -> list[str]:
        """The names of the rows within their group."""
        own = [name for name in self.cells.columns if name not in self.by]
        return [JOIN.join(str(v) for v in row) for row in self.cells[own].itertuples(index=False, name=None)]

    @property
    def groups(self) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        """The levels of ``by`` and the rows that have them."""
        if not self.by:
            yield {}, np.arange(len(self.cells))
            return
        keys = list(self.cells[list(self.by)].itertuples(index=False, name=None))
        for key in dict.fromkeys(keys):
            yield dict(zip(self.by, key, strict=True)), np.array([i for i, k in enumerate(keys) if k == key])

    def table(self) -> pd.DataFrame:
        """A row per mean: its levels, estimate, std_error, df, lower, upper."""
        lower, upper = self.found.interval(self.level)
        numbers = {"estimate": self.found.estimate, "std_error": self.found.std_error, "df": self.found.df}
        return self.cells.assign(**numbers, lower=lower, upper=upper)

    @cached_property
    def difference_variance(self) -> np.ndarray:
        """Variance of the difference between any two rows, (c, c)."""
        v = self.found.covariance
        return np.clip(np.diag(v)[:, None] + np.diag(v)[None, :] - 2 * v, 0.0, None)

    def contrasts(self, rows: Mapping[str, np.ndarray], group: np.ndarray) -> tuple[list[str], Combinations]:
        """Named weights over the rows of a group as combinations of all."""
        weights = np.zeros((len(rows), len(self.cells)))
        weights[:, group] = np.array(list(rows.values())).reshape(len(rows), len(group))
        return list(rows), self.combinations.turned(weights)

    def compared(self, by_group: Sequence[Mapping[str, np.ndarray]], adjust: str) -> pd.DataFrame:
        """The table of contrasts, adjusted within each group.

        Parameters
        ----------
        by_group : sequence of mapping of str to array
            For every group the contrasts by name: weights of its rows. Offsets drop out where they add up to zero.
        adjust : str
        """
        check_adjustment(adjust)
        parts = []
        for (levels, group), rows in zip(self.groups, by_group, strict=True):
            names, combinations = self.contrasts(rows, group)
            family = int(self.combinations.estimable[group].sum())
            part = contrast_frame(combinations.estimates(self.estimates, self.ddf), names, adjust, self.level, family)
            for place, (name, value) in enumerate(levels.items()):
                part.insert(place, name, value)
            parts.append(part)
        out = pd.concat(parts, ignore_index=True)
        out.attrs = {"ddf": DDF[self.ddf], "adjust": adjust, "level": self.level}
        return out

    def pairs(self) -> list[dict[str, np.ndarray]]:
        """All differences, first less second, for every group."""
        return [pair_weights([self.labels[i] for i in group]) for _, group in self.groups]

    def with_notes(self, notes: Sequence[str]) -> MarginalMeans:
        """The same with more notes."""
        return replace(self, notes=(*self.notes, *notes))


def pair_weights(labels: Sequence[str]) -> dict[str, np.ndarray]:
    """``"a - b"`` for every two labels."""
    out = {}
    for i, first in enumerate(labels):
        for j in range(i + 1, len(labels)):
            row = np.zeros(len(labels))
            row[i], row[j] = 1.0, -1.0
            out[f"{first} - {labels[j]}"] = row
    return out


def contrast_frame(found: Contrasts, names: Sequence[str], adjust: str, level: float, family: int) -> pd.DataFrame:
    """A row per contrast: estimate, std_error, df, t, p_value, lower, upper; those not estimable do not count as tests."""
    good = np.isfinite(found.estimate) & (found.std_error > 0)
    own = found.covariance[np.ix_(good, good)]
    error = np.sqrt(np.diag(own))
    correlation = own / np.outer(error, error)
    p, factor = np.full(len(names), np.nan), np.full(len(names), np.nan)
    if good.any():
        p[good] = adjusted(found.t[good], found.df[good], adjust, family=family, correlation=correlation)
        factor[good] = critical(level, found.df[good], adjust, int(good.sum()), family=family, correlation=correlation)
    half = factor * found.std_error
    return pd.DataFrame(
        {
            "contrast": list(names),
            "estimate": found.estimate,
            "std_error": found.std_error,
            "df": found.df,
            "t": np.where(good, found.t, np.nan),
            "p_value": p,
            "lower": found.estimate - half,
            "upper": found.estimate + half,
        }
    )


def compact_letters(order: Sequence[int], different: np.ndarray) -> list[str]:
    """Letters for rows: two share one where they are not significantly different.

    Insert and absorb (Piepho 2004, J. Comput. Graph. Stat. 13, 456-466): for every significant pair, each set that holds both
    is split into one without the first and one without the second; sets within others are dropped.

    Parameters
    ----------
    order : sequence of int
        The rows, in the order in which letters are given out.
    different : array of shape (c, c), bool

    Examples
    --------
    >>> compact_letters([0, 1, 2], np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], dtype=bool))
    ['a', 'ab', 'b']
    """
    sets = [frozenset(order)]
    for place, i in enumerate(order):
        for j in order[place + 1 :]:
            if not different[i, j]:
                continue
            split = {s - {x} for s in sets if i in s and j in s for x in (i, j)}
            every = {s for s in sets if not (i in s and j in s)} | split
            sets = [s for s in every if s and not any(s < other for other in every)]
    rank = {row: place for place, row in enumerate(order)}
    sets.sort(key=lambda s: sorted(rank[row] for row in s))
    out = [""] * len(different)
    for number, s in enumerate(sets):
        for row in s:
            out[row] += _letter(number)
    return out


def _letter(number: int) -> str:
    """a, ..., z, A, ..., Z, and then numbers in brackets."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return letters[number] if number < len(letters) else f"({number + 1})"
