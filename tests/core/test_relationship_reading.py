"""A file of relationships: which kind it is, how many levels it knows, what is wrong with it."""

from __future__ import annotations

import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.relationship import read_relationship, relationship_kind

LEVELS = pd.Series(["A", "B", "C", "B"], name="gen")
PEDIGREE = pd.DataFrame({"id": list("ABCP"), "sire": ["P", "P", None, None], "dam": [None, None, None, None]})
MATRIX = pd.DataFrame({"gen": list("CAB"), "C": [1, 0, 0], "A": [0, 1, 0.5], "B": [0, 0.5, 1.0]})
MARKERS = pd.DataFrame(
    {"gen": list("ABCD"), "m1": [0, 2, 1, 0], "m2": [2, 2, 0, 1], "m3": [0, 1, 2, 2], "m4": [1, 0, 0, 2]}
)


@pytest.mark.parametrize(("table", "kind"), [(PEDIGREE, "pedigree"), (MATRIX, "matrix"), (MARKERS, "markers")])
def test_the_kind_is_found_out(table: pd.DataFrame, kind: str) -> None:
    assert relationship_kind(table) == kind
    assert read_relationship(table, LEVELS).kind == kind


def test_a_pedigree_counts_levels_and_relatives() -> None:
    found = read_relationship(PEDIGREE, LEVELS)
    assert (found.levels, found.matched) == (3, 3)
    assert found.sentence == "3 of 3 levels are in the pedigree; 1 further relative without data."
    table = found.table()
    assert list(table.index) == ["A", "B", "C"]
    assert table.loc["A", "B"] == 0.25 and table.loc["A", "C"] == 0  # half sibs; unrelated


def test_a_matrix_is_put_into_the_order_of_the_levels() -> None:
    table = read_relationship(MATRIX, LEVELS).table(2)
    assert table.to_numpy().tolist() == [[1, 0.5], [0.5, 1]]


def test_a_level_without_a_row_is_named_or_taken_as_unrelated() -> None:
    levels = pd.Series(["A", "B", "X"])
    with pytest.raises(reml.DataError, match="no row in the relationship matrix: X"):
        read_relationship(MATRIX, levels)
    found = read_relationship(MATRIX, levels, absent="unrelated")
    assert (found.levels, found.matched) == (3, 2)
    assert found.table().loc["X", "A"] == 0
    assert "taken as unrelated" in found.relationship.notices[-1]


def test_a_wrong_kind_is_refused_in_words() -> None:
    with pytest.raises(reml.DataError, match="no column"):
        read_relationship(MARKERS, LEVELS, "pedigree")
    with pytest.raises(reml.DataError, match="not square"):
        read_relationship(PEDIGREE, LEVELS, "matrix")
    with pytest.raises(reml.DataError, match="Unknown kind"):
        read_relationship(PEDIGREE, LEVELS, "tree")
