"""``spl2d(row, col)`` is SpATS' surface: its published analysis of a trial, and P-splines written out by recursion."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.design import build_design
from openreml_core.errors import DataError, FormulaError
from tests.dense import criterion, slopes

PARTS = ["f(row)", "f(col)", "f(row):col", "row:f(col)", "f(row):f(col)"]


@pytest.fixture(scope="module")
def field() -> pd.DataFrame:
    """A 12 x 9 field with a smooth trend, six plots missing, its rows in no order."""
    rng = np.random.default_rng(8)
    row, col = (axis.reshape(-1) + 1 for axis in np.indices((12, 9)))
    y = 5 + np.sin(row / 3) * col / 4 + 0.1 * (col - 4) ** 2 + rng.normal(scale=0.4, size=108)
    gen = rng.permutation(np.tile(np.arange(36), 3))
    table = pd.DataFrame({"row": row, "col": col, "gen": [f"G{g:02d}" for g in gen], "y": y})
    table.loc[[3, 17, 40, 41, 77, 90], "y"] = np.nan
    return table.sample(frac=1.0, random_state=3)


def b_splines(x: np.ndarray, segments: int, degree: int = 3) -> np.ndarray:
    """By de Boor's recursion, on equal segments of the range of x."""
    low, width = x.min(), np.ptp(x) / segments
    knots = low + width * np.arange(-degree, segments + degree + 1)
    last = knots[segments + degree]
    held = np.minimum(x, last - 1e-12 * width)[:, None]  # the right end belongs to the last segment
    out = ((held >= knots[:-1]) & (held < knots[1:])).astype(float)
    for d in range(1, degree + 1):
        left = (x[:, None] - knots[: -d - 1]) / (knots[d:-1] - knots[: -d - 1])
        right = (knots[d + 1 :] - x[:, None]) / (knots[d + 1 :] - knots[1:-d])
        out = left * out[:, :-1] + right * out[:, 1:]
    return out


def direction(x: np.ndarray, segments: int) -> tuple[np.ndarray, np.ndarray]:
    """B and the pseudo-inverse of D'D."""
    basis = b_splines(x, segments)
    d = np.zeros((basis.shape[1] - 2, basis.shape[1]))
    for j in range(len(d)):
        d[j, j : j + 3] = 1, -2, 1
    return basis, d


def parts(row: np.ndarray, col: np.ndarray, segments: tuple[int, int], nest: int) -> list[np.ndarray]:
    """Z G Z' of the five parts at variance 1, by penalties: B (D'D)^- B', and for the last the inverse of a sum of two."""
    (br, dr), (bc, dc) = direction(row, segments[0]), direction(col, segments[1])
    f, g = (b @ np.linalg.pinv(d.T @ d) @ b.T for b, d in ((br, dr), (bc, dc)))
    r, c = ((x - x.mean()) / x.std() for x in (row, col))
    (br, dr), (bc, dc) = direction(row, segments[0] // nest), direction(col, segments[1] // nest)
    # Only what neither penalty is blind to: both projected on the range of D'.
    pr, pc = (np.linalg.pinv(d) @ d for d in (dr, dc))
    whole = np.kron(dr.T @ dr, pc) + np.kron(pr, dc.T @ dc)
    z = (br[:, :, None] * bc[:, None, :]).reshape(len(row), -1)
    both = z @ np.linalg.pinv(np.kron(pr, pc) @ whole @ np.kron(pr, pc)) @ z.T
    return [f, g, f * np.outer(c, c), np.outer(r, r) * g, both]


@pytest.mark.parametrize(
    ("options", "segments", "nest"),
    [("", (12, 9), 2), (", knots=10, knots2=6", (10, 6), 2), (", knots=7, knots2=5, nest=1", (7, 5), 1)],
)
def test_the_criterion_is_that_of_the_penalties(options, segments, nest, field):
    fit = reml.fit(f"y ~ spl2d(row, col{options}) + (1 | gen)", field)
    kept = field.dropna()
    row, col, y = (kept[name].to_numpy(dtype=float) for name in ("row", "col", "y"))
    gen = kept["gen"].to_numpy()
    pieces = [*parts(row, col, segments, nest), (gen[:, None] == gen[None, :]).astype(float), np.eye(len(y))]
    x = np.column_stack([np.ones(len(y)), row, col, row * col])

    def dense(theta: np.ndarray) -> float:
        return criterion(y, x, sum(t * p for t, p in zip(theta, pieces, strict=True)))

    at = np.array(list(fit.parameters.values()))
    assert list(fit.parameters)[:5] == [f"spl2d(row, col): {part}.variance" for part in PARTS]
    assert fit.criterion == pytest.approx(dense(at), abs=1e-6)
    free = at > 0
    at[~free] = 1e-9
    found = slopes(dense, at)
    assert np.abs(found[free]).max() < 1e-3
    assert fit.fixed_effects().index.tolist() == ["(Intercept)", "row", "col", "row:col"]


def test_published_analysis_with_spats(reference):
    """durban_rowcol, 34 beds and 16 rows nested, random rows and beds. SpATS prints four digits, and stops at 1e-3."""
    data = reference.table("durban_rowcol.csv")
    formula = "yield ~ spl2d(row, bed, knots=16, knots2=34, nest=2) + (1 | gen) + (1 | row) + (1 | bed)"
    fit = reml.fit(formula, data)
    assert fit.converged
    assert fit.parameters["gen.variance"] == pytest.approx(0.0710320, rel=1e-4)
    assert fit.parameters["residual.variance"] == pytest.approx(0.0576728, rel=1e-4)
    dimension = fit.effective_dimensions().set_index("term")["dimension"]
    assert dimension["gen"] == pytest.approx(186.02, abs=0.01)
    assert dimension["gen"] / (data["gen"].nunique() - 1) == pytest.approx(0.6864, abs=1e-4)
    generalized = fit.heritability("gen", "generalized", std_error=False)["estimate"].iloc[0]
    assert generalized == pytest.approx(0.6864, abs=1e-4)
    assert dimension.sum() == pytest.approx(len(data))
    # One level's reliability is its share in the effective dimension.
    assert fit.random_effects("gen")["reliability"].sum() == pytest.approx(dimension["gen"])
    default = reml.fit(formula.replace(", knots=16, knots2=34, nest=2", ""), data)
    assert default.criterion == pytest.approx(fit.criterion, abs=1e-6)


def test_the_surface_can_be_asked_for_anywhere_in_the_field(field):
    design = build_design("y ~ spl2d(row, col)", field)
    new = pd.DataFrame({"row": [1, 12, 6.5, np.nan], "col": [9, 1, 4.25, 2]})
    for term in design.random:
        codes, basis = design.random_matrix(term.name, new)
        assert codes.tolist() == [0, 0, 0, 0] and basis.shape == (4, len(term.effects))
        assert np.isnan(basis).any(axis=1).tolist()[:3] == [False] * 3
        same = design.random_matrix(term.name, field.loc[design.index])[1]
        np.testing.assert_array_equal(same, term.basis)
    with pytest.raises(DataError, match="fitted over row from 1 to 12; 13 in row 1 lies beyond"):
        design.random_matrix("spl2d(row, col): f(row)", pd.DataFrame({"row": [13], "col": [1]}))


def test_fixed_terms_that_are_there_are_not_repeated(field):
    names = build_design("y ~ col + row + spl2d(row, col)", field).fixed_names
    assert names == ("(Intercept)", "col", "row", "row:col")
    assert build_design("y ~ col * row + spl2d(row, col)", field).fixed_names == (
        "(Intercept)",
        "col",
        "row",
        "col:row",
    )
    narrow = field.assign(row=1 + field["row"] % 4)
    assert build_design("y ~ spl2d(row, col)", narrow).warnings == ()  # no advice to make a factor of row


def test_preview_and_file(tmp_path, field):
    seen = reml.preview("y ~ spl2d(row, col)", field)
    assert seen.n_parameters == 6 and seen.rank == 4
    assert seen.parameters[2] == "variance of spl2d(row, col): f(row):col, 13 effects"
    assert r"s(\text{row}_{i},\,\text{col}_{i})" in seen.latex
    fit = reml.fit("y ~ spl2d(row, col)", field)
    fit.save(tmp_path / "fit")
    assert reml.load(tmp_path / "fit").parameters == pytest.approx(fit.parameters)


@pytest.mark.parametrize(
    ("formula", "kind", "says"),
    [
        ("y ~ spl2d(row, two)", DataError, "*two* has 2 distinct values"),
        ("y ~ spl2d(one, col)", DataError, "*one* has 1 distinct value:"),
        ("y ~ spl2d(row, gen)", DataError, "*gen* is a factor"),
        ("y ~ spl2d(row)", FormulaError, "two different columns"),
        ("y ~ spl2d(row, row)", FormulaError, "two different columns"),
        ("y ~ spl2d(row, col | gen)", FormulaError, "a surface has no grouping"),
        ("y ~ spl2d(row, cols)", FormulaError, "Did you mean *col*?"),
        ("y ~ spl2d(row, col, knots=2)", FormulaError, "whole number from 3"),
        ("y ~ spl2d(row, col, nest=0)", FormulaError, "whole number from 1"),
        ("y ~ spl2d(row, col) + spl2d(row, col)", FormulaError, "stands twice"),
        ("y ~ spl2d(row, hole)", DataError, "infinite"),
    ],
)
def test_what_has_no_surface_is_named(formula, kind, says, field):
    hole = np.where(field["col"] == 3, -np.inf, field["col"])
    with pytest.raises(kind) as error:
        reml.fit(formula, field.assign(two=field["col"] % 2, one=1.0, hole=hole))
    assert says in str(error.value)
