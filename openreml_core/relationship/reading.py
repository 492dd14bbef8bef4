"""A table that says how the levels of a factor are related: which of the three kinds it is, and K from it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd
from pandas.api import types

from openreml_core.design.columns import as_factor
from openreml_core.errors import DataError
from openreml_core.relationship.build import relationship_matrix
from openreml_core.relationship.labels import as_label, counted
from openreml_core.relationship.markers import Markers
from openreml_core.relationship.matrix import Relationship
from openreml_core.relationship.pedigree import Pedigree
from openreml_core.relationship.pedigree_columns import find_columns

#: kind -> how a menu calls it
KINDS = {"pedigree": "pedigree", "markers": "markers", "matrix": "relationship matrix"}


@dataclass(frozen=True, eq=False)
class RelationshipReading:
    """What a table of relationships came to for the levels of a factor.

    Attributes
    ----------
    kind : str
        ``"pedigree"``, ``"markers"`` or ``"matrix"``.
    relationship : Relationship
        K, the levels of the data first.
    levels : int
        Levels of the factor.
    matched : int
        Those that have a row in the table.
    """

    kind: str
    relationship: Relationship = field(repr=False)
    levels: int
    matched: int

    @property
    def sentence(self) -> str:
        """How many levels and relatives there are, in words."""
        more = len(self.relationship.labels) - self.levels
        related = f"; {counted(more, 'further relative')} without data" if more else ""
        return f"{self.matched:,} of {self.levels:,} levels are in the {KINDS[self.kind]}{related}."

    def table(self, most: int = 60) -> pd.DataFrame:
        """The corner of K that belongs to the first levels, labelled."""
        count = min(most, self.levels)
        names = list(self.relationship.labels[:count])
        return pd.DataFrame(self.relationship.corner(count), index=names, columns=names)


def relationship_kind(table: pd.DataFrame) -> str:
    """Tell a pedigree, markers and a labelled matrix apart.

    Examples
    --------
    >>> relationship_kind(pd.DataFrame({"id": ["a"], "sire": [None], "dam": [None]}))
    'pedigree'
    >>> relationship_kind(pd.DataFrame({"gen": ["a", "b"], "a": [1.0, 0.5], "b": [0.5, 1.0]}))
    'matrix'
    >>> relationship_kind(pd.DataFrame({"gen": ["a", "b"], "m1": [0, 2], "m2": [1, 1]}))
    'markers'
    """
    if len(table.columns) == len(table) + 1:
        rows = {as_label(value) for value in table.iloc[:, 0]}
        if rows == {as_label(name) for name in table.columns[1:]}:
            return "matrix"
    if len(table.columns) <= 6:
        try:
            find_columns(table, "id", "sire", "dam", None)
        except DataError:
            pass
        else:
            return "pedigree"
    scores = table.iloc[:, 1:]
    numeric = len(scores.columns) > 0 and all(types.is_numeric_dtype(t) for t in scores.dtypes)
    return "markers" if numeric or len(table.columns) > 4 else "pedigree"


def read_relationship(
    table: pd.DataFrame, column: pd.Series, kind: str = "auto", *, absent: str = "error"
) -> RelationshipReading:
    """Return K of a factor's levels from a table.

    Parameters
    ----------
    table : DataFrame
        A pedigree, markers, or a square matrix whose first column names its rows.
    column : Series
        The factor.
    kind : {"auto", "pedigree", "markers", "matrix"}
    absent : {"error", "unrelated"}
        What becomes of levels without a row.

    Raises
    ------
    DataError
        Whatever the table lacks, by name.
    """
    if kind not in ("auto", *KINDS):
        raise DataError(f'Unknown kind of relationships "{kind}".', hint=f"Kinds are auto, {', '.join(KINDS)}.")
    kind = relationship_kind(table) if kind == "auto" else kind
    levels = as_factor(column.dropna()).levels
    value: pd.DataFrame | Pedigree | Markers = table
    if kind == "pedigree":
        value = Pedigree(table)
    elif kind == "markers":
        value = Markers(table)
    found = relationship_matrix(value, levels, absent=absent)
    known = set(_labels(value))
    return RelationshipReading(kind, found, len(levels), sum(level in known for level in levels))


def _labels(value: pd.DataFrame | Pedigree | Markers) -> list[str | None]:
    if isinstance(value, pd.DataFrame):
        return [as_label(cell) for cell in value.iloc[:, 0]]
    return list(value.labels)
