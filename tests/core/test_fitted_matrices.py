"""What is read off a fit's matrices and off V before a fit, against dense constructions written here."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.inference import correlation_matrix


@pytest.fixture(scope="module")
def field() -> pd.DataFrame:
    """A field of 6 x 8 plots with gaps, three blocks."""
    rng = np.random.default_rng(5)
    row, col = (v.ravel() for v in np.meshgrid(np.arange(1, 7), np.arange(1, 9), indexing="ij"))
    table = pd.DataFrame({"row": row, "col": col, "gen": [f"G{i % 12:02d}" for i in range(48)]})
    table["block"] = "B" + ((col - 1) // 3 + 1).astype(str)
    c = 0.7 ** np.abs(np.subtract.outer(row, row)) * 0.5 ** np.abs(np.subtract.outer(col, col))
    table["y"] = 10 + np.linalg.cholesky(4 * c) @ rng.standard_normal(48) + rng.standard_normal(12)[np.arange(48) % 12]
    return table.drop(index=[3, 17, 40]).reset_index(drop=True)


def test_correlations_of_a_grid_by_lag_are_powers(field: pd.DataFrame) -> None:
    fit = reml.fit("y ~ 1 + (1 | gen)", field, residual="ar1(row):ar1(col)")
    lags = fit.matrices.by_lag("residual", most=4)
    a, b = fit.parameters["residual.ar1(row).rho"], fit.parameters["residual.ar1(col).rho"]
    np.testing.assert_allclose(lags, np.outer(a ** np.arange(5), b ** np.arange(5)), rtol=1e-12)
    assert (lags.index.name, lags.columns.name) == ("row", "col")
    assert list(lags.index) == [0, 1, 2, 3, 4]
    whole = fit.variance_matrix("residual", correlation=True).to_numpy()
    row, col = field["row"].to_numpy(), field["col"].to_numpy()
    expected = a ** np.abs(np.subtract.outer(row, row)) * b ** np.abs(np.subtract.outer(col, col))
    np.testing.assert_allclose(np.sort(whole, axis=None), np.sort(expected, axis=None), atol=1e-12)
    assert fit.matrices.by_lag("gen") is None and fit.matrices.by_distance("residual") is None


def test_correlations_by_distance(field: pd.DataFrame) -> None:
    fit = reml.fit("y ~ 1 + (1 | gen)", field, residual="exp(row, col) + id(units)")
    curve = fit.matrices.by_distance("residual")
    r = fit.parameters["residual.exp(row, col).range"]
    np.testing.assert_allclose(curve["correlation"], np.exp(-curve["distance"] / r), rtol=1e-10)
    assert curve["distance"].max() == pytest.approx(np.hypot(5, 7))
    assert fit.matrices.residual == ("residual", "units")
    assert fit.variance_matrix("units").iloc[0, 0] == pytest.approx(fit.parameters["units.variance"])


def test_sections_have_matrices_of_their_own(field: pd.DataFrame) -> None:
    fit = reml.fit("y ~ block", field, residual="dsum(id(units) | block)")
    assert fit.matrices.residual == ("residual[B1]", "residual[B2]", "residual[B3]")
    for name in fit.matrices.residual:
        assert fit.variance_matrix(name).to_numpy().item() == pytest.approx(fit.parameters[f"{name}.variance"])


def test_loadings_reproduce_the_matrix_turned_or_not() -> None:
    data = reml.load_sample("orthodont")
    fit = reml.fit("distance ~ age + fa(0 + C(age) | Subject, k=2)", data)
    sigma = fit.variance_matrix("Subject").to_numpy()
    for rotated in (False, True):
        table = fit.matrices.loadings("Subject", rotated=rotated)
        loadings = table[["factor 1", "factor 2"]].to_numpy()
        np.testing.assert_allclose(loadings @ loadings.T + np.diag(table["specific_variance"]), sigma, atol=1e-9)
        np.testing.assert_allclose(table["variance"], np.diag(sigma))
        np.testing.assert_allclose(table["percent"], 100 * np.square(loadings).sum(axis=1) / np.diag(sigma))
        if rotated:
            cross = loadings.T @ loadings
            assert abs(cross[0, 1]) < 1e-9 * cross[0, 0] and cross[0, 0] >= cross[1, 1]
        else:
            assert loadings[0, 1] == 0
    assert reml.fit("distance ~ age + (age | Subject)", data).matrices.loadings("Subject") is None


def test_an_unknown_part_is_named(field: pd.DataFrame) -> None:
    fit = reml.fit("y ~ 1 + (1 | gen)", field)
    with pytest.raises(reml.ModelError, match="neither a random term nor a part of the residual"):
        fit.variance_matrix("block")


def test_correlations_where_a_variance_is_zero() -> None:
    found = correlation_matrix(pd.DataFrame([[4.0, 0.0, 2.0], [0.0, 0.0, 0.0], [2.0, 0.0, 4.0]])).to_numpy()
    assert found[0, 2] == 0.5 and found[0, 0] == 1.0
    assert np.isnan(found[1]).all() and np.isnan(found[:, 1]).all()


MODELS = [
    ("y ~ 1 + (1 | gen) + (1 | block)", None),
    ("y ~ 1 + (row | block)", None),
    ("y ~ 1 + (1 | gen)", "ar1(row):ar1(col) + id(units)"),
    ("y ~ block", "dsum(ar1(row):ar1(col) | block)"),
    ("y ~ 1 + (1 | gen)", "id(block):exp(row, col)"),
    ("y ~ 1", "dsum(id(units) | block)"),
    ("y ~ 1 + spl2d(row, col)", None),
    ("y ~ 1 + spl(row) + (1 | gen)", None),
    ("y ~ 1 + exp(0 + pos(row, col) | block)", None),
    ("y ~ 1 + kron(us(block), ar1(row) | gen)", None),
]


@pytest.mark.parametrize(("formula", "residual"), MODELS)
def test_v_of_a_few_rows_is_the_corner_of_v(field: pd.DataFrame, formula: str, residual: str | None) -> None:
    seen = reml.preview(formula, field, residual=residual)
    whole = seen.covariance(most=len(field)).to_numpy()
    model = seen.model
    v = model.covariance(model.start()).numpy()
    v = v * model.typical_deviation**2 / np.diag(v).mean()
    np.testing.assert_allclose(np.linalg.eigvalsh(whole), np.linalg.eigvalsh(v), rtol=1e-9)  # the same rows, in order
    few = seen.covariance(most=20)
    corner = whole[:20, :20] / np.diag(whole[:20, :20]).mean()
    np.testing.assert_allclose(few.to_numpy() / np.diag(few).mean(), corner, rtol=1e-12)


def test_r_alone_holds_no_genotype(field: pd.DataFrame) -> None:
    seen = reml.preview("y ~ 1 + (1 | gen)", field, residual="ar1(row):ar1(col)")
    r = correlation_matrix(seen.covariance("residual"))
    first = [tuple(int(part.split()[1]) for part in name.split(", ")[:2]) for name in r.index]
    assert first == sorted(first)  # row by row, column by column
    rows, cols = np.array(first).T
    start = 0.3
    expected = start ** np.abs(np.subtract.outer(rows, rows)) * start ** np.abs(np.subtract.outer(cols, cols))
    np.testing.assert_allclose(r, expected, atol=1e-12)
    with pytest.raises(reml.ModelError, match="part='fixed'"):
        seen.covariance("fixed")


def test_related_rows_stand_together() -> None:
    seen = reml.preview("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy"))
    v = seen.covariance(most=30)
    subjects = [name.split(",")[0] for name in v.index]
    assert subjects == sorted(subjects) and len(set(subjects)) == 3
    same = np.equal.outer(subjects, subjects)
    assert (v.to_numpy()[~same] == 0).all() and (v.to_numpy()[same] > 0).all()
