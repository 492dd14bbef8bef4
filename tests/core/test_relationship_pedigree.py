"""Relationships by pedigree against the tabular method, published values and the definition of genetic groups."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openreml_core.errors import DataError
from openreml_core.relationship import Pedigree


def pedigree_of(*rows: str, **options) -> Pedigree:
    """A pedigree from rows such as "C A B"; "." is an unknown parent."""
    return Pedigree(pd.DataFrame([row.split() for row in rows], columns=["id", "sire", "dam"]), **options)


def tabular(rows: list[tuple[object, object, object]]) -> pd.DataFrame:
    """A by the tabular method; parents stand before their offspring, None is unknown."""
    names = [row[0] for row in rows]
    a = pd.DataFrame(0.0, index=names, columns=names)
    for k, (name, sire, dam) in enumerate(rows):
        for other in names[:k]:
            a.loc[name, other] = a.loc[other, name] = 0.5 * sum(a.loc[other, p] for p in (sire, dam) if p is not None)
        a.loc[name, name] = 1.0 + (0.5 * a.loc[sire, dam] if sire is not None and dam is not None else 0.0)
    return a


def random_rows(n: int, founders: int, seed: int, selfing: float = 0.1) -> list[tuple[object, object, object]]:
    rng = np.random.default_rng(seed)
    rows: list[tuple[object, object, object]] = [(f"i{k}", None, None) for k in range(founders)]
    for k in range(founders, n):
        sire, dam = (f"i{p}" for p in rng.integers(max(0, k - 12), k, size=2))
        chance = rng.random()
        rows.append((f"i{k}", sire, None if chance > 0.9 else sire if chance < selfing else dam))
    return rows


def test_textbook_example():
    """The six animals of Mrode's book (Linear Models for the Prediction of Animal Breeding Values), chapter 2."""
    pedigree = pedigree_of("3 1 2", "4 1 .", "5 4 3", "6 5 2")
    names = list("123456")
    expected = [
        [1.0, 0.0, 0.5, 0.5, 0.5, 0.25],
        [0.0, 1.0, 0.5, 0.0, 0.25, 0.625],
        [0.5, 0.5, 1.0, 0.25, 0.625, 0.5625],
        [0.5, 0.0, 0.25, 1.0, 0.625, 0.3125],
        [0.5, 0.25, 0.625, 0.625, 1.125, 0.6875],
        [0.25, 0.625, 0.5625, 0.3125, 0.6875, 1.125],
    ]
    assert pedigree.labels == ("3", "4", "5", "6", "1", "2")
    assert pedigree.notices == ("2 parents have no row in the pedigree and count as founders: 1, 2.",)
    np.testing.assert_allclose(pedigree.matrix(names), expected, atol=1e-15)
    assert pedigree.inbreeding()[names].tolist() == [0, 0, 0, 0, 0.125, 0.125]


@pytest.mark.parametrize("seed", range(4))
def test_against_the_tabular_method_in_any_order_of_rows(seed):
    rows = random_rows(90, 6, seed)
    expected = tabular(rows)
    table = pd.DataFrame(rows, columns=["id", "sire", "dam"]).sample(frac=1.0, random_state=seed)
    pedigree = Pedigree(table)
    assert pedigree.labels == tuple(table["id"])
    a = pedigree.matrix()
    np.testing.assert_allclose(a.loc[expected.index, expected.columns], expected, atol=1e-13)
    np.testing.assert_allclose(pedigree.inbreeding() + 1.0, np.diag(a), atol=1e-13)
    inverse = pedigree.inverse()
    assert inverse.labels == pedigree.labels
    np.testing.assert_allclose(a.to_numpy() @ inverse.matrix.toarray(), np.eye(90), atol=1e-9)
    some = ["i80", "i3", "i44"]
    np.testing.assert_allclose(pedigree.matrix(some), expected.loc[some, some], atol=1e-13)
    assert list(pedigree.matrix(some).columns) == some


def test_inverse_by_hand():
    """One offspring of two founders: d = 1/2, so 2 on its diagonal, -1 to the parents, 1/2 among them."""
    inverse, labels = pedigree_of("A . .", "B . .", "C A B").inverse()
    assert labels == ("A", "B", "C")
    np.testing.assert_allclose(inverse.toarray(), [[1.5, 0.5, -1.0], [0.5, 1.5, -1.0], [-1.0, -1.0, 2.0]], atol=1e-15)


def test_full_sib_mating():
    """F_t = (1 + 2 F_(t-1) + F_(t-2)) / 4 (Wright 1921)."""
    rows = ["m0 . .", "f0 . ."] + [f"{sex}{t} m{t - 1} f{t - 1}" for t in range(1, 9) for sex in "mf"]
    f = pedigree_of(*rows).inbreeding()
    assert [f[f"m{t}"] for t in range(6)] == [0.0, 0.0, 0.25, 0.375, 0.5, 0.59375]
    for t in range(2, 9):
        assert f[f"f{t}"] == pytest.approx((1 + 2 * f[f"m{t - 1}"] + f[f"m{t - 2}"]) / 4, abs=1e-14)


def test_half_sib_and_backcross():
    f = pedigree_of("a s x", "b s y", "halfsibs a b", "backcross s a").inbreeding()
    assert (f["halfsibs"], f["backcross"]) == (0.125, 0.25)


def test_selfing():
    pedigree = pedigree_of("L0 . .", *(f"L{t} L{t - 1} L{t - 1}" for t in range(1, 11)))
    np.testing.assert_allclose(pedigree.inbreeding(), 1 - 0.5 ** np.arange(11), atol=1e-15)
    np.testing.assert_allclose(pedigree.mendelian()[1:], 0.5 ** np.arange(1, 11), atol=1e-15)
    a = pedigree.matrix().to_numpy()
    np.testing.assert_allclose(a @ pedigree.inverse().matrix.toarray(), np.eye(11), atol=1e-10)


def test_selfed_until_nothing_segregates():
    pedigree = pedigree_of("L0 . .", *(f"L{t} L{t - 1} L{t - 1}" for t in range(1, 60)))
    assert pedigree.inbreeding()["L59"] == 1.0
    with pytest.raises(DataError, match="A is singular and has no inverse"):
        pedigree.inverse()


def test_a_parent_of_both_sexes():
    pedigree = pedigree_of("D A B", "E C A", "F D E")
    assert pedigree.inbreeding()["F"] == 0.125


def test_large_pedigree_in_little_memory():
    rng = np.random.default_rng(1)
    n, size = 10_000, 1_000
    born = np.arange(size, n)
    first = (born // size - 1) * size
    sire, dam = first + rng.integers(0, 40, len(born)), first + rng.integers(40, size, len(born))
    table = pd.DataFrame({"id": np.arange(n), "sire": -1.0, "dam": -1.0}).replace(-1.0, np.nan)
    table.loc[born, "sire"], table.loc[born, "dam"] = sire, dam
    pedigree = Pedigree(table.assign(id=table["id"] + 1, sire=table["sire"] + 1, dam=table["dam"] + 1))
    few = [str(k) for k in rng.integers(n - size, n, 8)]
    assert "1" in pedigree.labels and not pedigree.notices
    np.testing.assert_allclose(np.diag(pedigree.matrix(few)), 1 + pedigree.inbreeding()[few])
    alone = pedigree.ancestors_of(few)
    assert len(alone) < n
    np.testing.assert_allclose(alone.matrix(few), pedigree.matrix(few), atol=1e-13)
    assert pedigree.inverse().matrix.nnz <= 9 * n


# --- how tables are read ---------------------------------------------------------------------------------------------


def test_usual_names_and_numbers():
    table = pd.DataFrame({"Animal": [1, 2, 3], "Father": [np.nan, np.nan, 1], "Mother": [np.nan, 0, 2]})
    pedigree = Pedigree(table)
    assert pedigree.labels == ("1", "2", "3") and pedigree.notices == ()
    assert pedigree.matrix().loc["3", "1"] == 0.5
    other = Pedigree(pd.DataFrame({"line": ["x"], "p": ["y"], "q": ["z"]}), sire="p", dam="q")
    assert other.labels == ("x", "y", "z")


def test_an_individual_may_be_called_zero():
    assert pedigree_of("0 . .", "1 0 .").matrix().loc["1", "0"] == 0.5


def test_repeated_rows_that_agree():
    pedigree = pedigree_of("C A B", "C B A", "C A B")
    assert pedigree.labels == ("C", "A", "B")
    assert pedigree.notices[0] == "2 repeated rows of the pedigree left out."


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["A B .", "B C .", "C A ."], r"runs in a circle: .*(A -> C -> B -> A|B -> A -> C -> B|C -> B -> A -> C)"),
        (["X A .", "A B .", "B A ."], r"circle: (A -> B -> A|B -> A -> B)"),
        (["A B A"], r"\*A\* is given as its own parent"),
        (["C A B", "C A D"], r"\*C\* stands twice .* different parents: A x B; A x D"),
        (["C A B", "C A ."], r"A x B; A x unknown"),
    ],
)
def test_impossible_pedigrees(rows, words):
    with pytest.raises(DataError, match=words) as caught:
        pedigree_of(*rows)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("table", "options", "words"),
    [
        (pd.DataFrame({"id": ["A"], "dam": ["B"]}), {}, r"no column \*sire\*"),
        (pd.DataFrame({"id": ["A"], "sire": ["B"], "dam": ["C"]}), {"dam": "damm"}, r"\*damm\*. Did you mean \*dam\*"),
        (pd.DataFrame({"id": ["A"], "sire": ["B"], "dam": ["C"]}), {"dam": "sire"}, "must differ"),
        (pd.DataFrame({"id": ["A", None], "sire": ["B", "B"], "dam": ["C", "C"]}), {}, r"\*id\* is empty in row 2"),
        (pd.DataFrame({"id": [], "sire": [], "dam": []}), {}, "no rows"),
        (
            pd.DataFrame([["A", "B", "C", "D"]], columns=["id", "sire", "sire", "dam"]),
            {},
            r"several columns named \*sire\*",
        ),
        ([("A", "B", "C")], {}, "read from a table"),
    ],
)
def test_tables_that_cannot_be_read(table, options, words):
    with pytest.raises(DataError, match=words):
        Pedigree(table, **options)


def test_unknown_individuals_are_named():
    with pytest.raises(DataError, match=r"no individual Bravo. Did you mean \*Brava\*"):
        pedigree_of("Brava . .", "Celta Brava .").matrix(["Bravo"])


# --- genetic groups --------------------------------------------------------------------------------------------------


def with_phantoms(rows: list[tuple[str, str, str]], groups: set[str]) -> tuple[np.ndarray, list[str]]:
    """A*^-1 by its definition: phantom parents with rows of their own, A* = [A + Q Q'/e, Q/e; Q'/e, I/e] inverted.

    With group variance 1/e -> infinity the inverse tends to A*^-1; exactly, [A^-1, -A^-1 Q; -Q' A^-1, Q' A^-1 Q].
    """
    names = [row[0] for row in rows]
    order = sorted(groups)
    q = pd.DataFrame(0.0, index=names, columns=order)
    for name, *parents in rows:
        for parent in parents:
            q.loc[name] += 0.5 * (
                q.loc[parent] if parent in names else pd.Series({g: float(g == parent) for g in order})
            )
    known = [tuple(p if p in names else None for p in row) for row in rows]
    inverse = np.linalg.inv(tabular([(row[0], a[1], a[2]) for row, a in zip(rows, known, strict=True)]).to_numpy())
    x = q.to_numpy()
    return np.block([[inverse, -inverse @ x], [-x.T @ inverse, x.T @ inverse @ x]]), [*names, *order]


GROUPED = [("A", "g1", "g2"), ("B", "g1", "g1"), ("C", "A", "B"), ("D", "A", "g3"), ("E", "C", "D"), ("F", "E", "C")]


def test_genetic_groups():
    expected, names = with_phantoms(GROUPED, {"g1", "g2", "g3"})
    pedigree = Pedigree(pd.DataFrame(GROUPED, columns=["id", "sire", "dam"]), groups=["g1", "g2", "g3"])
    inverse, labels = pedigree.inverse()
    assert list(labels) == names and pedigree.groups == ("g1", "g2", "g3") and pedigree.notices == ()
    np.testing.assert_allclose(inverse.toarray(), expected, atol=1e-12)
    np.testing.assert_allclose(pedigree.group_shares().sum(axis=1), 1.0, atol=1e-15)
    assert np.linalg.matrix_rank(inverse.toarray()) == len(GROUPED)
    assert pedigree.inbreeding()["F"] > 0


def test_groups_in_a_column():
    table = pd.DataFrame(
        {"id": ["A", "B", "C"], "sire": [None, None, "A"], "dam": [None, None, "B"], "origin": ["north", "south", None]}
    )
    pedigree = Pedigree(table, groups="origin")
    named = Pedigree(table.assign(sire=["north", "south", "A"], dam=["north", "south", "B"]), groups=["south", "north"])
    assert pedigree.groups == named.groups == ("north", "south")
    np.testing.assert_array_equal(pedigree.inverse().matrix.toarray(), named.inverse().matrix.toarray())
    assert pedigree.group_shares().loc["C"].tolist() == [0.5, 0.5]
    part = pedigree.ancestors_of(["A"])
    assert part.labels == ("A",) and part.groups == ("north",)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (["g1", "g2"], "Unknown parents of g3 have no genetic group"),
        (["g1", "g2", "g3", "A"], "Genetic groups and individuals share names: A"),
        (["g1", "g2", "g3", "g9"], "No parent belongs to the genetic groups g9"),
        ("origin", r"no column \*origin\*"),
    ],
)
def test_groups_that_cannot_be(groups, words):
    with pytest.raises(DataError, match=words):
        Pedigree(pd.DataFrame(GROUPED, columns=["id", "sire", "dam"]), groups=groups)


def test_variance_of_groups_must_be_positive():
    with pytest.raises(DataError, match="above zero"):
        pedigree_of("A . .", group_variance=0.0)


# --- a published pedigree --------------------------------------------------------------------------------------------


def test_maize_diallel(reference):
    """Inbred lines given as selfed heterotic pools, and their crosses."""
    table = pd.read_csv(reference.data / "butron_pedigree.csv")
    pedigree = Pedigree(table.sample(frac=1.0, random_state=3))
    rows = [
        tuple(None if value != value else value for value in row) for row in table.itertuples(index=False, name=None)
    ]
    expected = tabular(rows)
    a = pedigree.matrix(list(table["id"]))
    np.testing.assert_allclose(a, expected, atol=1e-14)
    assert pedigree.notices == ()
    assert a.loc["A509", "A509"] == 1.5 and a.loc["A509", "A637"] == 1.0
    assert a.loc["A509xA637", "A509xA637"] == 1.5 and a.loc["A509xEP31", "A509xEP31"] == 1.0
    inverse, labels = pedigree.inverse()
    np.testing.assert_allclose(inverse.toarray() @ pedigree.matrix(labels).to_numpy(), np.eye(len(table)), atol=1e-11)
