"""Terms to columns: how each factor of each term is coded beside the others, by R's rule.

A factor in a term is coded by contrasts where the term without it is contained in an earlier term (or is the
intercept), and by an indicator for every level otherwise. Without an intercept the first factor met is coded in full.
In a product the first factor's columns vary fastest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from openreml_core.design.contrasts import Contrast, contrast_matrix
from openreml_core.design.evaluate import Coded, Variable
from openreml_core.design.table import Table
from openreml_core.errors import DataError
from openreml_core.notation.algebra import Terms
from openreml_core.notation.expression import Expression

MAX_CELLS = 100_000_000
Values = Mapping[str, "np.ndarray | Coded"]


@dataclass
class Coding:
    """The columns of a set of terms, learned from one table and repeatable on another.

    Parameters
    ----------
    intercept : bool
    terms : tuple of terms, each a tuple of Expression
    contrasts : dict of column name to Contrast
        For factors whose expression names none.
    levels_only : bool
        Whether numbers count as levels too, every factor with an indicator for every level (serial structures).
    """

    intercept: bool
    terms: Terms
    contrasts: Mapping[str, Contrast] = field(default_factory=dict)
    levels_only: bool = False
    variables: dict[str, Variable] = field(default_factory=dict, init=False)
    in_full: tuple[frozenset[str], ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        for term in self.terms:
            for factor in term:
                contrast = self.contrasts.get(factor.names[0]) if len(factor.names) == 1 else None
                self.variables.setdefault(factor.text, Variable(factor, contrast, self.levels_only))

    def values(self, table: Table) -> dict[str, np.ndarray | Coded]:
        """Compute every factor of the terms over the rows of `table`, keyed by its text."""
        values = {text: variable.values(table) for text, variable in self.variables.items()}
        if not self.in_full:
            self.in_full = self._rule(values)
        return values

    def _rule(self, values: Values) -> tuple[frozenset[str], ...]:
        """Return, term by term, the factors that are coded by an indicator for every level."""
        keys = [frozenset(factor.text for factor in term) for term in self.terms]
        if self.levels_only:
            return tuple(keys)
        found = [
            {
                text
                for text in key
                if isinstance(values[text], Coded)
                and key != {text}
                and not any(key - {text} <= earlier for earlier in keys[:place])
            }
            for place, key in enumerate(keys)
        ]
        if not self.intercept:
            first = next(
                (
                    (place, f.text)
                    for place, term in enumerate(self.terms)
                    for f in term
                    if isinstance(values[f.text], Coded)
                ),
                None,
            )
            if first is not None:
                found[first[0]].add(first[1])
        return tuple(frozenset(texts) for texts in found)

    def blocks(self, values: Values, n: int) -> list[tuple[np.ndarray, tuple[str, ...]]]:
        """Return the columns of each term and their names, without the intercept.

        Returns
        -------
        list of (float64 array of shape (n, k), names)
        """
        self._check_size(values, n)
        cache: dict[tuple[str, bool], tuple[np.ndarray, tuple[str, ...]]] = {}
        out = []
        for term, in_full in zip(self.terms, self.in_full, strict=True):
            block: np.ndarray | None = None
            names: tuple[str, ...] = ()
            for factor in term:
                key = (factor.text, factor.text in in_full)
                if key not in cache:
                    cache[key] = columns_of(factor, values[factor.text], in_full=key[1])
                right, right_names = cache[key]
                if block is None:
                    block, names = right, right_names
                else:
                    block = (right[:, :, None] * block[:, None, :]).reshape(n, -1)
                    names = tuple(f"{first}:{second}" for second in right_names for first in names)
            out.append((np.empty((n, 0)) if block is None else block, names))
        return out

    def _check_size(self, values: Values, n: int) -> None:
        total = 0
        for term, in_full in zip(self.terms, self.in_full, strict=True):
            width = 1
            for factor in term:
                width *= width_of(values[factor.text], in_full=factor.text in in_full)
            total += width
            if n * total > MAX_CELLS:
                label = ":".join(factor.label for factor in term)
                raise DataError(
                    f"The term {label} alone has {width} columns over {n} rows: too large to hold.",
                    hint="A factor with so many levels belongs in a random term, (1 | factor).",
                )


def width_of(value: np.ndarray | Coded, *, in_full: bool) -> int:
    """Return how many columns a factor of a term has."""
    if isinstance(value, Coded):
        return len(value.factor.levels) - (not in_full)
    return 1 if value.ndim == 1 else value.shape[1]


def columns_of(factor: Expression, value: np.ndarray | Coded, *, in_full: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return a factor's columns and their names.

    Returns
    -------
    float64 array of shape (n, k)
    tuple of k str
    """
    if not isinstance(value, Coded):
        if value.ndim == 1:
            return np.array(value)[:, None], (factor.label,)
        return np.array(value), tuple(f"{factor.label}[{column + 1}]" for column in range(value.shape[1]))
    levels, codes = value.factor.levels, value.factor.codes
    if in_full:
        matrix, endings = np.eye(len(levels)), tuple(f"[{level}]" for level in levels)
    else:
        matrix, endings = contrast_matrix(value.contrast or Contrast(), levels, factor.label)
    block = matrix[codes]
    if (codes < 0).any():
        block[codes < 0] = np.nan
    return block, tuple(factor.label + ending for ending in endings)
