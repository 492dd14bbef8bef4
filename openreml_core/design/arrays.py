"""What a model is fitted to: y, X, the random terms, weights and offset, and the same for new data."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from openreml_core.design.coding import Coding
from openreml_core.design.evaluate import Variable
from openreml_core.design.random import RandomDesign
from openreml_core.design.table import Table
from openreml_core.errors import ModelError
from openreml_core.notation.formula import Formula


@dataclass(frozen=True)
class FixedTerm:
    """A term of the fixed part.

    Parameters
    ----------
    label : str
        ``"rep"``, ``"nitro:Variety"``, ``"(Intercept)"``.
    factors : tuple of str
        The columns of the table that it uses.
    columns : tuple of int
        Its columns of X; empty where all were aliased.
    """

    label: str
    factors: tuple[str, ...]
    columns: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Design:
    """What a model is fitted to.

    Parameters
    ----------
    formula : Formula
    y : float64 array of shape (n,)
        The response over the complete rows.
    X : float64 array of shape (n, p)
        Of full column rank.
    fixed_names : tuple of p str
    fixed_terms : tuple of FixedTerm
    aliased : tuple of str
        Columns left out of X because they are combinations of columns to their left.
    random : tuple of RandomDesign
    weights : float64 array of shape (n,), or None
    offset : float64 array of shape (n,)
    index : Index
        The labels of the rows kept, in order.
    n_dropped : int
    dropped : DataFrame
        ``row`` and ``reason``.
    warnings : tuple of str
    frame : DataFrame
        The rows kept of the columns used.
    """

    formula: Formula
    y: np.ndarray = field(repr=False)
    X: np.ndarray = field(repr=False)
    fixed_names: tuple[str, ...]
    fixed_terms: tuple[FixedTerm, ...]
    aliased: tuple[str, ...]
    random: tuple[RandomDesign, ...]
    weights: np.ndarray | None = field(repr=False)
    offset: np.ndarray = field(repr=False)
    index: pd.Index = field(repr=False)
    n_dropped: int
    dropped: pd.DataFrame = field(repr=False)
    warnings: tuple[str, ...]
    frame: pd.DataFrame = field(repr=False)
    coding: Coding = field(repr=False, compare=False)
    kept: np.ndarray = field(repr=False, compare=False)
    offsets: tuple[Variable, ...] = field(default=(), repr=False, compare=False)

    def fixed_matrix(self, newdata: pd.DataFrame) -> np.ndarray:
        """Return X over the rows of `newdata`, with the constants that the transforms learned from the fit.

        A row with a value missing is NaN; a level that the fit has not seen is an error.

        Returns
        -------
        float64 array of shape (m, p)
        """
        return self.whole_fixed_matrix(newdata)[:, self.kept]

    def whole_fixed_matrix(self, newdata: pd.DataFrame) -> np.ndarray:
        """Return the same with the aliased columns, float64 (m, p + aliased)."""
        values = self.coding.values(Table.of(newdata))
        return stack_columns(self.coding, self.coding.blocks(values, len(newdata)), len(newdata))

    def random_matrix(self, term_name: str, newdata: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return a random term over the rows of `newdata`.

        Returns
        -------
        codes : int64 array of shape (m,)
            -1 where the level is unknown to the fit.
        basis : float64 array of shape (m, k)
        """
        for design in self.random:
            if design.name == term_name:
                return design.matrix(Table.of(newdata))
        names = ", ".join(design.name for design in self.random)
        raise ModelError(f"There is no random term '{term_name}'.", hint=f"The terms are: {names}.")

    def offset_vector(self, newdata: pd.DataFrame) -> np.ndarray:
        """Return the sum of the formula's ``offset(...)`` over the rows of `newdata`, shape (m,)."""
        table = Table.of(newdata)
        total = np.zeros(len(newdata))
        for variable in self.offsets:
            total = total + np.asarray(variable.values(table))
        return total


def stack_columns(coding: Coding, blocks: list[tuple[np.ndarray, tuple[str, ...]]], n: int) -> np.ndarray:
    """Return the intercept and the blocks of the terms side by side, shape (n, p)."""
    arrays = [np.ones((n, 1))] if coding.intercept else []
    arrays += [block for block, _ in blocks]
    return np.hstack(arrays) if arrays else np.empty((n, 0))
