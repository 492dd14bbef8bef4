"""Relationships by markers against their definitions; how scores are read and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openreml_core.errors import DataError
from openreml_core.relationship import Markers

SCORES = np.array([[-1, 0, 1, 1], [1, 1, 0, -1], [0, -1, -1, 1], [1, 0, 1, 0]])
NAMES = ["A", "B", "C", "D"]


def frame(scores: np.ndarray = SCORES) -> pd.DataFrame:
    columns = [f"m{j + 1}" for j in range(scores.shape[1])]
    return pd.DataFrame(scores, index=NAMES[: len(scores)], columns=columns)


def vanraden(counts: np.ndarray) -> np.ndarray:
    """Method 1, an element at a time."""
    n, m = counts.shape
    p = [sum(counts[i, j] for i in range(n)) / (2 * n) for j in range(m)]
    scale = 2 * sum(pj * (1 - pj) for pj in p)
    return np.array(
        [
            [sum((counts[i, j] - 2 * p[j]) * (counts[k, j] - 2 * p[j]) for j in range(m)) / scale for k in range(n)]
            for i in range(n)
        ]
    )


def test_by_definition():
    markers = Markers(frame())
    assert markers.coding == "-1/0/1" and markers.notices == () and markers.labels == tuple(NAMES)
    np.testing.assert_allclose(markers.matrix(), vanraden(SCORES + 1), atol=1e-15)
    np.testing.assert_allclose(markers.matrix("mm/m"), SCORES @ SCORES.T / 4, atol=1e-15)
    np.testing.assert_allclose(markers.matrix().sum(axis=0), 0.0, atol=1e-14)
    assert list(markers.matrix().index) == list(markers.matrix().columns) == NAMES
    pd.testing.assert_frame_equal(Markers(frame(), kind="mm/m").matrix(), markers.matrix("mm/m"))


def test_by_hand():
    """Two markers with p = 1/2: scale 2 (1/4 + 1/4) = 1, Z = M."""
    g = Markers(frame(np.array([[-1, 1], [1, -1]]))).matrix()
    np.testing.assert_array_equal(g, [[2.0, -2.0], [-2.0, 2.0]])


def test_codings_agree():
    first, second = Markers(frame()), Markers(frame(SCORES + 1))
    assert second.coding == "0/1/2"
    np.testing.assert_array_equal(first.counts, second.counts)
    np.testing.assert_array_equal(Markers(frame(SCORES + 1), coding="0/1/2").counts, first.counts)
    lines = (SCORES > 0).astype(int)
    np.testing.assert_array_equal(Markers(frame(lines), coding="0/1").counts, 2.0 * lines)
    np.testing.assert_array_equal(Markers(frame((SCORES + 1) / 1.25)).counts, (SCORES + 1) / 1.25)  # dosages


@pytest.mark.parametrize("names", [NAMES, [11, 12, 13, 14], [0, 1, 2, 3]])
def test_names_in_the_first_column(names):
    table = frame().reset_index(drop=True)
    table.insert(0, "gen", names)
    expected = tuple(str(name) for name in names)
    assert Markers(table).labels == expected
    assert Markers(table.set_index("gen")).labels == expected
    assert Markers(table).markers == ("m1", "m2", "m3", "m4")


def test_names_in_the_first_column_of_a_selection_of_rows():
    table = frame().rename_axis("gen").reset_index()
    assert Markers(table[table["gen"] != "B"]).labels == ("A", "C", "D")


def test_missing_scores_take_the_mean_of_the_marker():
    scores = SCORES.astype(float)
    scores[0, 0] = scores[3, 2] = np.nan
    markers = Markers(frame(scores))
    assert markers.counts[0, 0] == pytest.approx((2 + 1 + 2) / 3) and markers.counts[3, 2] == pytest.approx(1.0)
    assert markers.notices == ("2 missing scores (12.50%) replaced by the mean of the marker.",)
    np.testing.assert_allclose(markers.matrix(), vanraden(markers.counts), atol=1e-14)


def test_text_that_reads_as_numbers():
    table = frame().astype(str)
    table.loc["B", "m2"], table.loc["C", "m3"] = "NA", " - "
    table.loc["A", "m1"] = " -1"
    markers = Markers(table)
    assert markers.coding == "-1/0/1" and markers.notices[0].startswith("2 missing scores")
    assert markers.counts[0, 0] == 0.0


def test_markers_left_out():
    scores = np.hstack([SCORES, np.ones((4, 2)), [[1], [1], [1], [0]], np.full((4, 1), np.nan)])
    markers = Markers(frame(scores), maf=0.2)
    assert markers.markers == ("m1", "m2", "m3", "m4")
    assert markers.notices == (
        "1 of 8 markers is not scored in any individual and left out.",
        "2 of 8 markers are the same in all individuals and left out.",
        "1 of 8 markers is left out for an allele rarer than 0.2.",
    )
    np.testing.assert_allclose(markers.matrix("mm/m"), SCORES @ SCORES.T / 4, atol=1e-15)
    assert Markers(frame(scores)).markers == ("m1", "m2", "m3", "m4", "m7")


@pytest.mark.parametrize(
    ("table", "options", "words"),
    [
        (frame(np.array([[0, 1], [1, 0]])), {}, "0/1/2, -1/0/1 or, for inbred lines, 0/1"),
        (frame(np.array([[-1, 2], [1, 0]])), {}, r"\*m2\* is 2 for A: beyond the coding -1/0/1"),
        (frame(np.array([[0, 2], [9, 9]])), {}, r"\*m1\* is 9 for B, one of 2 such scores: beyond the coding 0/1/2"),
        (frame(), {"coding": "0/1/2"}, r"\*m1\* is -1 for A"),
        (frame(), {"coding": "012"}, 'Unknown coding "012"'),
        (frame(), {"kind": "gblup"}, 'Unknown kind of marker matrix "gblup"'),
        (frame(), {"maf": 0.5}, "from 0 to 0.5"),
        (frame().astype(object).replace(0, "A/T"), {}, r'The marker \*m1\* is not a number for C: "A/T"'),
        (frame().assign(m2=["x", "y", "x", "y"]), {}, r"The marker \*m2\* is not a number for A"),
        (frame().rename(index={"B": "A"}), {}, "more than one row for A"),
        (frame().reset_index(drop=True), {}, r"does not name its individuals: its first column, \*m1\*"),
        (frame(np.ones((3, 2)) * 2), {}, "None of the 2 markers differs"),
        (frame(np.full((3, 2), np.nan)), {}, "All marker scores are missing"),
        (frame(np.array([[0, 2], [np.nan, np.nan], [1, 1]])), {}, "All marker scores of B are missing"),
        (frame().iloc[:0], {}, "empty"),
        (pd.DataFrame({"gen": NAMES}), {}, "no column of scores"),
        (pd.DataFrame({"gen": ["A", None, "C"], "m1": [0, 1, 2]}), {}, "no name in row 2"),
        (SCORES, {}, "read from a table, not from a ndarray"),
    ],
)
def test_what_is_refused(table, options, words):
    with pytest.raises(DataError, match=words):
        Markers(table, **options)


def test_unknown_kind_of_matrix():
    with pytest.raises(DataError, match="Kinds are vanraden and mm/m"):
        Markers(frame()).matrix("yang")


def test_lettuce(reference):
    """Two published matrices of 89 lines, each from its definition."""
    table = pd.read_csv(reference.data / "hadasch_lettuce_markers.csv")
    markers = Markers(table)
    m = table.iloc[:, 1:].to_numpy(dtype=float)
    assert markers.coding == "-1/0/1" and markers.notices == () and len(markers.markers) == 300
    np.testing.assert_allclose(markers.matrix("mm/m"), m @ m.T / 300, atol=1e-13)
    z = m - m.mean(axis=0)
    p = (m.mean(axis=0) + 1) / 2
    np.testing.assert_allclose(markers.matrix(), z @ z.T / (2 * np.sum(p * (1 - p))), atol=1e-12)
    assert list(markers.matrix().index) == table["gen"].tolist()
