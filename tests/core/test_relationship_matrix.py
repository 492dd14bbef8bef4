"""K over the levels of a random term: order, levels without a row, matrices that are not positive definite."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openreml_core.errors import DataError
from openreml_core.relationship import LabelledInverse, Markers, Pedigree, Relationship, build, relationship_matrix

ROWS = [("A", None, None), ("B", None, None), ("C", "A", "B"), ("D", "C", "C"), ("E", "D", "A")]


def labelled(matrix: np.ndarray, names: str) -> pd.DataFrame:
    return pd.DataFrame(matrix, index=list(names), columns=list(names))


@pytest.fixture
def pedigree() -> Pedigree:
    return Pedigree(pd.DataFrame(ROWS, columns=["id", "sire", "dam"]))


@pytest.fixture
def given() -> pd.DataFrame:
    x = np.random.default_rng(7).normal(size=(5, 8))
    return labelled(x @ x.T / 8, "ABCDE")


def test_order(given):
    found = relationship_matrix(given, ["D", "B"])
    assert isinstance(found, Relationship)
    assert found.labels == ("D", "B", "A", "C", "E") and found.notices == () and found.inverse is None
    order = list(found.labels)
    np.testing.assert_array_equal(found.matrix, given.loc[order, order])
    assert found.matrix.dtype == np.float64
    again = found.ordered(["E", "A"])
    assert again.labels == ("E", "A", "D", "B", "C")
    np.testing.assert_array_equal(again.matrix, given.loc[list(again.labels), list(again.labels)])


def test_columns_in_another_order(given):
    turned = given[["E", "A", "C", "D", "B"]]
    np.testing.assert_array_equal(relationship_matrix(turned).matrix, given)
    np.testing.assert_array_equal(relationship_matrix(turned.rename_axis("gen").reset_index()).matrix, given)


def test_numbers_as_names(given):
    table = pd.DataFrame(given.to_numpy(), index=[1, 2, 3, 4, 5], columns=[1.0, 2.0, 3.0, 4.0, 5.0])
    assert relationship_matrix(table, ["5"]).labels == ("5", "1", "2", "3", "4")


def test_pedigree_keeps_its_inverse(pedigree):
    found = relationship_matrix(pedigree, ["E", "C"])
    assert found.labels == ("E", "C", "A", "B", "D")
    np.testing.assert_array_equal(found.matrix, pedigree.matrix(found.labels))
    np.testing.assert_allclose(found.inverse.toarray() @ found.matrix, np.eye(5), atol=1e-13)


def test_levels_without_a_row(pedigree, given):
    for value in (pedigree, given):
        with pytest.raises(
            DataError, match=r"2 levels of the data have no row in the relationship matrix: X, Y\."
        ) as caught:
            relationship_matrix(value, ["A", "X", "Y"])
        assert caught.value.hint
        found = relationship_matrix(value, ["X", "A"], absent="unrelated")
        assert found.labels == ("X", "A", "B", "C", "D", "E")
        assert found.matrix[0, 0] == pytest.approx(np.diag(relationship_matrix(value).matrix).mean())
        assert (found.matrix[0, 1:] == 0).all()
        assert (
            found.notices[-1]
            == "1 level of the data has no row in the relationship matrix and is taken as unrelated: X."
        )
        if found.inverse is not None:
            np.testing.assert_allclose(found.inverse.toarray() @ found.matrix, np.eye(6), atol=1e-13)


def test_levels_are_counted_when_many(given):
    with pytest.raises(DataError, match="X0, X1, X2, X3, X4 and 4 more"):
        relationship_matrix(given, [f"X{k}" for k in range(9)])


def test_genetic_groups_are_levels():
    table = pd.DataFrame([("A", "g", "g"), ("B", "h", "g"), ("C", "A", "B")], columns=["id", "sire", "dam"])
    pedigree = Pedigree(table, groups=["g", "h"], group_variance=0.7)
    found = relationship_matrix(pedigree, ["C"])
    assert found.labels == ("C", "A", "B", "g", "h") and "2 genetic groups" in found.notices[0]
    shares = np.array([[0.75, 0.25], [1.0, 0.0], [0.5, 0.5]])
    a = pedigree.matrix(["C", "A", "B"]).to_numpy()
    np.testing.assert_allclose(found.matrix[:3, :3], a + 0.7 * shares @ shares.T, atol=1e-14)
    np.testing.assert_allclose(found.inverse.toarray() @ found.matrix, np.eye(5), atol=1e-13)


def test_a_line_and_its_fully_inbred_offspring():
    rows = [("L0", None, None)] + [(f"L{t}", f"L{t - 1}", f"L{t - 1}") for t in range(1, 60)]
    found = relationship_matrix(Pedigree(pd.DataFrame(rows, columns=["id", "sire", "dam"])))
    assert found.inverse is None and "singular" in found.notices[0]
    np.linalg.cholesky(found.matrix)


def test_large_pedigrees_are_cut_down(monkeypatch):
    monkeypatch.setattr(build, "KEPT", 10_000)
    n = 12_000
    table = pd.DataFrame({"id": [f"i{k}" for k in range(n)], "sire": None, "dam": None}, dtype=object)
    table.loc[[n - 1, n - 2], ["sire", "dam"]] = [["i0", "i1"], ["i0", "i2"]]
    pedigree = Pedigree(table)
    found = relationship_matrix(pedigree, [f"i{n - 1}", f"i{n - 2}"])
    assert set(found.labels[2:]) == {"i0", "i1", "i2"} and found.matrix[0, 1] == 0.25
    assert found.notices == ("Of 12,000 individuals the 5 levels of the data and their ancestors are kept.",)


def test_large_matrices_stay_inverses():
    """12,000 animals: K is never written out; its corner and its diagonal are those of the small pedigree of the same animals."""
    n = 12_000
    table = pd.DataFrame({"id": [f"i{k}" for k in range(n)], "sire": None, "dam": None}, dtype=object)
    table.loc[[n - 1, n - 2], ["sire", "dam"]] = [["i0", "i1"], [f"i{n - 1}", "i0"]]
    pedigree = Pedigree(table)
    first = [f"i{n - 1}", f"i{n - 2}", "i0"]
    for value in (pedigree, pedigree.inverse()):
        found = relationship_matrix(value, first)
        assert found.written is None and found.inverse.shape == (n, n)
        np.testing.assert_allclose(found.corner(3), pedigree.matrix(first), atol=1e-12)
        np.testing.assert_allclose(found.diagonal()[:3], 1 + pedigree.inbreeding()[first], atol=1e-12)
    more = relationship_matrix(pedigree, ["z"], absent="unrelated")
    assert (
        more.written is None
        and more.labels[0] == "z"
        and more.inverse[0, 0] == pytest.approx(1 / found.diagonal().mean())
    )
    inverse = pedigree.inverse().matrix.tolil()
    inverse[0, 1] = inverse[1, 0] = 50.0
    with pytest.raises(DataError, match="not positive definite"):
        relationship_matrix(LabelledInverse(inverse.tocsr(), pedigree.labels))


# --- matrices that are not positive definite -------------------------------------------------------------------------


def test_markers_are_bent():
    """VanRaden's matrix is singular by its construction."""
    scores = np.random.default_rng(2).integers(-1, 2, size=(6, 40))
    markers = Markers(labelled(np.eye(6), "ABCDEF").iloc[:, :0].join(pd.DataFrame(scores, index=list("ABCDEF"))))
    found = relationship_matrix(markers, ["C"])
    raw = markers.matrix().loc[list(found.labels), list(found.labels)]
    assert np.linalg.eigvalsh(found.matrix)[0] == pytest.approx(1e-6 * np.trace(raw) / 6, rel=1e-6)
    np.testing.assert_allclose(found.matrix, raw, atol=2e-6)
    assert "singular: 1 of 6 eigenvalues" in found.notices[0] and "raised" in found.notices[0]
    np.testing.assert_array_equal(relationship_matrix(markers, ["C"], repair="none").matrix, raw)
    blended = relationship_matrix(markers, ["C"], repair="blend", weight=0.1)
    np.testing.assert_allclose(blended.matrix, 0.9 * raw + 0.1 * np.eye(6), atol=1e-15)
    assert "0.9 of it and 0.1 of the identity" in blended.notices[0]


def test_positive_definite_markers_stay(reference):
    table = pd.read_csv(reference.data / "hadasch_lettuce_markers.csv")
    m = table.iloc[:, 1:].to_numpy(dtype=float)
    found = relationship_matrix(Markers(table, kind="mm/m"), table["gen"].tolist()[::-1])
    assert found.notices == () and found.labels == tuple(table["gen"][::-1])
    np.testing.assert_allclose(found.matrix, (m @ m.T / 300)[::-1, ::-1], atol=1e-13)


def test_an_indefinite_matrix():
    k = labelled(np.array([[1.0, 0.9, 0.4], [0.9, 1.0, 0.9], [0.4, 0.9, 1.0]]), "ABC")
    values, vectors = np.linalg.eigh(k)
    assert values[0] < 0
    found = relationship_matrix(k)
    np.testing.assert_allclose(found.matrix, vectors @ np.diag([1e-6, *values[1:]]) @ vectors.T, atol=1e-12)
    assert "not positive definite: 1 of 3 eigenvalues" in found.notices[0]
    with pytest.raises(DataError, match="not positive definite"):
        relationship_matrix(k, repair="none")
    with pytest.raises(DataError, match=r"weight of 0\.01 does not mend it"):
        relationship_matrix(k, repair="blend", weight=0.01)
    assert np.linalg.eigvalsh(relationship_matrix(k, repair="blend", weight=0.2).matrix)[0] > 0


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (labelled(np.array([[1.0, 0.5], [0.4, 1.0]]), "AB"), r"not symmetric: [AB] with [AB] is 0\.[45], [AB] with"),
        (labelled(np.array([[1.0, np.nan], [0.4, 1.0]]), "AB"), r"of A and B is missing or infinite \(1 of 4"),
        (labelled(np.array([[np.inf, 0.0], [0.0, 1.0]]), "AB"), "of A and A is missing or infinite"),
        (labelled(np.array([[-1.0, 0.0], [0.0, 1.0]]), "AB"), "diagonal element below zero for A"),
        (
            labelled(np.array([[0.0, 3.0], [3.0, 0.0]]), "AB"),
            "not a covariance matrix: its eigenvalues run from -3 to 3",
        ),
        (labelled(np.zeros((2, 2)), "AB"), "not a covariance matrix"),
        (labelled(np.eye(2), "AA"), "more than one row for A"),
        (labelled(np.eye(3), "ABC").iloc[:2], "not square: 2 rows, 3 columns"),
        (labelled(np.eye(2), "AB").rename(columns={"B": "C"}), "rows without a column of that name: B"),
        (labelled(np.eye(2), "AB").reset_index(drop=True), "Name the rows as the columns"),
        (pd.DataFrame({"A": [1, "x"], "B": [0, 1]}, index=["A", "B"]), r'holds "x" in column \*A\*'),
        (pd.DataFrame(), "not square"),
        (np.eye(2), "not a ndarray"),
    ],
)
def test_what_is_refused(value, words):
    with pytest.raises(DataError, match=words):
        relationship_matrix(value)


@pytest.mark.parametrize("options", [{"absent": "drop"}, {"repair": "ridge"}, {"repair": "blend", "weight": 1.0}])
def test_unknown_options(options, given):
    with pytest.raises(DataError):
        relationship_matrix(given, **options)


def test_rounding_in_a_file_is_no_asymmetry(given):
    noise = 1e-9 * np.triu(np.ones((5, 5)), 1)
    found = relationship_matrix(given + noise)
    np.testing.assert_array_equal(found.matrix, found.matrix.T)
    np.testing.assert_allclose(found.matrix, given, atol=1e-9)
