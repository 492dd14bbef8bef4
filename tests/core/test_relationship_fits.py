"""Fits with related levels against the mixed-model equations, written out: related levels without data, levels without relatives.

[X'X  X'Z; Z'X  Z'Z + K^-1 s2e / s2u] [b; u] = [X'y; Z'y]     (Henderson 1984)
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import openreml_core as reml

FORMULA = "y ~ farm + (1 | animal)"


def tabular(rows: list[tuple[str, str | None, str | None]]) -> pd.DataFrame:
    """A by its definition, parents before offspring: a row is the mean of the parents' rows."""
    names = [row[0] for row in rows]
    a = pd.DataFrame(0.0, index=names, columns=names)
    for k, (name, sire, dam) in enumerate(rows):
        for other in names[:k]:
            a.loc[name, other] = a.loc[other, name] = sum(0.5 * a.loc[p, other] for p in (sire, dam) if p is not None)
        a.loc[name, name] = 1.0 + (0.5 * a.loc[sire, dam] if sire is not None and dam is not None else 0.0)
    return a


@pytest.fixture(scope="module")
def rows() -> list[tuple[str, str | None, str | None]]:
    """Four founders, and offspring of any two animals before them, selfed ones among them."""
    rng = np.random.default_rng(11)
    out: list[tuple[str, str | None, str | None]] = [(f"a{k}", None, None) for k in range(4)]
    for k in range(4, 60):
        sire, dam = (f"a{p}" for p in rng.integers(max(0, k - 15), k, size=2))
        out.append((f"a{k}", sire, dam))
    return out


@pytest.fixture(scope="module")
def data(rows) -> pd.DataFrame:
    """Records of the later animals only, two each; their values follow the pedigree."""
    rng = np.random.default_rng(12)
    a = tabular(rows)
    u = pd.Series(np.linalg.cholesky(a.to_numpy() + 1e-9 * np.eye(60)) @ rng.normal(size=60) * 2, index=a.index)
    animals = np.repeat([f"a{k}" for k in range(20, 60)], 2)
    farm = np.array(["north", "south"])[rng.integers(0, 2, size=80)]
    return pd.DataFrame(
        {"animal": animals, "farm": farm, "y": u[animals].to_numpy() + (farm == "south") + rng.normal(size=80)}
    )


@pytest.fixture(scope="module")
def pedigree(rows) -> reml.Pedigree:
    return reml.Pedigree(pd.DataFrame(rows, columns=["id", "sire", "dam"]).sample(frac=1, random_state=1))


def equations(fit: reml.MixedModelFit, data: pd.DataFrame, k: pd.DataFrame) -> pd.DataFrame:
    """BLUPs and their standard errors of prediction for every level of k, at the fit's variances."""
    x = np.column_stack([np.ones(len(data)), data["farm"] == "south"]).astype(float)
    z = (data["animal"].to_numpy()[:, None] == k.index.to_numpy()[None, :]).astype(float)
    residual, additive = fit.parameters["residual.variance"], fit.parameters["animal.variance"]
    w = np.hstack([x, z])
    left = w.T @ w
    left[2:, 2:] += np.linalg.inv(k.to_numpy()) * residual / additive
    inverse = np.linalg.inv(left)
    solution = inverse @ w.T @ data["y"].to_numpy()
    return pd.DataFrame({"blup": solution[2:], "std_error": np.sqrt(residual * np.diag(inverse)[2:])}, index=k.index)


def test_relatives_without_data_get_blups(rows, data, pedigree):
    fit = reml.fit(FORMULA, data, relationship={"animal": pedigree})
    assert fit.converged and fit.parameters["animal.variance"] > 0.5
    expected = equations(fit, data, tabular(rows))
    found = fit.random_effects("animal").set_index("level")
    assert set(found.index) == set(expected.index) and len(found) == 60
    np.testing.assert_allclose(found["blup"], expected.loc[found.index, "blup"], atol=1e-7)
    v = tabular(rows)
    assert found.loc["a0", "blup"] != 0 and found.loc["a0", "reliability"] < found.loc["a59", "reliability"] < 1
    # Reliability is 1 - PEV / (s2u K_ii), PEV from the same equations.
    share = expected["std_error"] ** 2 / (fit.parameters["animal.variance"] * np.diag(v))
    np.testing.assert_allclose(found["reliability"], (1 - share)[found.index], atol=1e-6)


def test_the_variances_are_where_the_likelihood_is_flat(rows, data, pedigree):
    """REML's criterion of V = s2u Z A Z' + s2e I, A by the tabular method, rises on every side of the fit's variances."""
    fit = reml.fit(FORMULA, data, relationship={"animal": pedigree})
    a = tabular(rows).loc[data["animal"], data["animal"]].to_numpy()
    x = np.column_stack([np.ones(80), data["farm"] == "south"]).astype(float)
    y = data["y"].to_numpy()

    def criterion(additive: float, residual: float) -> float:
        v = additive * a + residual * np.eye(80)
        inverse = np.linalg.inv(v)
        information = x.T @ inverse @ x
        rest = y - x @ np.linalg.solve(information, x.T @ inverse @ y)
        logs = np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1]
        return logs + rest @ inverse @ rest + 78 * np.log(2 * np.pi)

    additive, residual = fit.parameters["animal.variance"], fit.parameters["residual.variance"]
    assert fit.criterion == pytest.approx(criterion(additive, residual), abs=1e-8)
    for one, other in ((1.01, 1.0), (0.99, 1.0), (1.0, 1.01), (1.0, 0.99)):
        assert criterion(one * additive, other * residual) > fit.criterion


@pytest.mark.parametrize("engine", ["marginal", "henderson"])
def test_every_way_to_give_it_is_the_same(rows, data, pedigree, engine):
    a = tabular(rows)
    inverse = reml.LabelledInverse(sparse.csr_array(np.linalg.inv(a.to_numpy())), tuple(a.index))
    fits = [
        reml.fit(FORMULA, data, engine=engine, relationship={"animal": value})
        for value in (a, pedigree, pedigree.inverse(), inverse, reml.relationship_matrix(a))
    ]
    for fit in fits[1:]:
        assert fit.criterion == pytest.approx(fits[0].criterion, abs=1e-7)
        blups = [f.random_effects("animal").set_index("level")["blup"] for f in (fits[0], fit)]
        np.testing.assert_allclose(blups[1][blups[0].index], blups[0], atol=1e-5)


def test_levels_without_relatives(rows, data):
    """Without a word they are refused by name; asked for, they are related to none and have BLUPs of their own."""
    known = tabular(rows).drop(index=["a58", "a59"], columns=["a58", "a59"])
    with pytest.raises(reml.DataError, match=r"a58, a59") as caught:
        reml.fit(FORMULA, data, relationship={"animal": known})
    assert "unrelated" in caught.value.hint
    related = reml.relationship_matrix(known, data["animal"].unique(), absent="unrelated")
    fit = reml.fit(FORMULA, data, relationship={"animal": related})
    assert fit.converged and any("a58, a59" in warning for warning in fit.warnings)
    whole = known.reindex(index=tabular(rows).index, columns=tabular(rows).index, fill_value=0.0)
    for label in ("a58", "a59"):
        whole.loc[label, label] = np.diag(known).mean()
    expected = equations(fit, data, whole)
    found = fit.random_effects("animal").set_index("level")
    assert {"a58", "a59", "a0"} <= set(found.index)
    np.testing.assert_allclose(found["blup"], expected.loc[found.index, "blup"], atol=1e-7)


def test_what_is_done_to_markers_is_said_by_the_fit():
    """Left-out markers, missing scores and bending: a fit's warnings name them, with the term."""
    rng = np.random.default_rng(3)
    scores = rng.integers(-1, 2, size=(20, 50)).astype(float)
    scores[:, 0], scores[2, 5] = 1.0, np.nan
    lines = [f"l{k}" for k in range(20)]
    table = pd.DataFrame(scores, index=lines, columns=[f"m{k}" for k in range(50)])
    data = pd.DataFrame({"line": lines[:15] * 3, "y": rng.normal(size=45)})
    fit = reml.fit("y ~ 1 + (1 | line)", data, relationship={"line": reml.Markers(table)})
    said = " ".join(fit.warnings)
    assert "line: 1 of 50 markers is the same" in said and "line: 1 missing score" in said and "raised to" in said
    assert len(fit.random_effects("line")) == 20
    blended = reml.relationship_matrix(reml.Markers(table), data["line"].unique(), repair="blend", weight=0.1)
    other = reml.fit("y ~ 1 + (1 | line)", data, relationship={"line": blended})
    assert "0.9 of it and 0.1 of the identity" in " ".join(other.warnings)


def test_genetic_groups_are_predicted(rows, data):
    table = pd.DataFrame([(n, s or "old", d or "new") for n, s, d in rows], columns=["id", "sire", "dam"])
    pedigree = reml.Pedigree(table, groups=["old", "new"])
    fit = reml.fit(FORMULA, data, relationship={"animal": pedigree})
    assert {"old", "new"} <= set(fit.random_effects("animal")["level"])
    with pytest.raises(reml.DataError, match="no relationship matrix") as caught:
        reml.fit(FORMULA, data, relationship={"animal": pedigree.inverse()})
    assert "pedigree" in caught.value.hint


@pytest.mark.parametrize(
    ("matrix", "labels", "words"),
    [
        (np.eye(2), ("A",), "2 x 2, with 1 name"),
        (np.eye(2)[:1], ("A", "B"), "1 x 2, with 2 names"),
        (np.eye(2), ("A", "A"), "more than one row for A"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), ("A", "B"), "missing or infinite"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), ("A", "B"), "not symmetric: [AB] and [AB] differ by 0.5"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), ("A", "B"), "not positive definite"),
        (np.array([[1.0, -1.0], [-1.0, 1.0]]), ("A", "B"), "not positive definite"),
        (np.zeros((2, 2)), ("A", "B"), "not positive definite"),
        (np.array([["x", "y"], ["y", "x"]]), ("A", "B"), "holds no numbers"),
    ],
)
def test_inverses_that_are_none(matrix, labels, words):
    with pytest.raises(reml.DataError, match=words):
        reml.relationship_matrix(reml.LabelledInverse(matrix, labels))
