"""What stands left of a bar, from rows to effects: columns of numbers and indicators, and products of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from openreml_core.design.coding import Coding
from openreml_core.design.evaluate import Coded
from openreml_core.design.finite import check_finite
from openreml_core.design.table import Table

INTERCEPT = "(Intercept)"


class Effects(Protocol):
    """The k effects of a level, learned from the table of the fit and repeatable on another."""

    names: tuple[str, ...]

    def basis(self, table: Table) -> np.ndarray:
        """The effects' values over the rows of a table, float64 (m, k); NaN in a row that has no value."""


class Columns:
    """Effects that are columns: an intercept, covariates, indicators of a factor's levels.

    Parameters
    ----------
    coding : Coding
    table : Table of n complete rows
    """

    def __init__(self, coding: Coding, table: Table) -> None:
        self.coding = coding
        values = coding.values(table)
        for text, value in values.items():
            if not isinstance(value, Coded):
                check_finite(coding.variables[text].expression, value, table)
        blocks = coding.blocks(values, len(table))
        names = tuple(name for _, block_names in blocks for name in block_names)
        self.names = ((INTERCEPT,) if coding.intercept else ()) + names

    def basis(self, table: Table) -> np.ndarray:
        n = len(table)
        blocks = [block for block, _ in self.coding.blocks(self.coding.values(table), n)]
        if self.coding.intercept:
            blocks.insert(0, np.ones((n, 1)))
        return blocks[0] if len(blocks) == 1 else np.hstack(blocks)


class Product:
    """Every effect of the first part times every one of the next, the last part's varying fastest.

    Parameters
    ----------
    parts : sequence of Effects
    """

    def __init__(self, parts: Sequence[Effects]) -> None:
        self.parts = tuple(parts)
        names: list[str] = [""]
        for part in self.parts:
            names = [f"{first}:{second}" if first else second for first in names for second in part.names]
        self.names = tuple(names)

    @property
    def places(self) -> list[np.ndarray]:
        """Which effect of each part an effect of the product holds, int64 arrays of shape (k,)."""
        grid = np.indices([len(part.names) for part in self.parts])
        return [axis.reshape(-1) for axis in grid]

    def basis(self, table: Table) -> np.ndarray:
        out = np.ones((len(table), 1))
        for part in self.parts:
            out = (out[:, :, None] * part.basis(table)[:, None, :]).reshape(len(table), -1)
        return out
