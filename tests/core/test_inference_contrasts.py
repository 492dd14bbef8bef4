"""The coding of factors: what coefficients mean by each choice, what does not change, files, code, and bad input."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from tests.reference import Reference

FORMULA = "yield ~ nitro + Variety + (1 | Block/Variety)"


@pytest.fixture(scope="module")
def data(reference: Reference) -> pd.DataFrame:
    return reference.table("oats_unbalanced.csv", ["Block", "Variety", "nitro"])


@pytest.fixture(scope="module")
def plain(data: pd.DataFrame) -> reml.MixedModelFit:
    return reml.fit(FORMULA, data)


def coefficients(data: pd.DataFrame, **contrasts: object) -> pd.Series:
    return reml.fit(FORMULA, data, contrasts=contrasts).fixed_effects()["estimate"]


def test_each_choice_says_what_its_coefficients_are(data: pd.DataFrame, plain: reml.MixedModelFit) -> None:
    """By the means of nitro, of the model's definition of each coding."""
    means = plain.means("nitro")["estimate"].to_numpy()
    overall = plain.means("1")["estimate"][0]
    variety = {"Variety": "sum"}  # the intercept is then a mean over varieties
    treatment = coefficients(data, nitro="treatment(0.4)", **variety)
    assert treatment.filter(like="nitro").to_numpy() == pytest.approx(means[[0, 1, 3]] - means[2])
    assert list(treatment.filter(like="nitro").index) == ["nitro[T.0]", "nitro[T.0.2]", "nitro[T.0.6]"]
    pd.testing.assert_series_equal(coefficients(data, nitro=("treatment", 0.4), **variety), treatment)
    total = coefficients(data, nitro="sum", **variety)
    assert total["(Intercept)"] == pytest.approx(overall)
    assert total.filter(like="nitro").to_numpy() == pytest.approx(means[:3] - overall)
    helmert = coefficients(data, nitro="helmert", **variety).filter(like="nitro").to_numpy()
    assert helmert == pytest.approx([(means[k] - means[:k].mean()) / (k + 1) for k in (1, 2, 3)])
    steps = coefficients(data, nitro="diff", **variety).filter(like="nitro").to_numpy()
    assert steps == pytest.approx(np.diff(means))


def test_polynomials_of_equal_and_of_unequal_steps(data: pd.DataFrame, plain: reml.MixedModelFit) -> None:
    """R: contr.poly(4) and contr.poly(4, scores = c(0, 1, 4, 9)), to 7 digits."""
    means = plain.means("nitro")["estimate"].to_numpy()
    equal = [[-0.6708204, -0.2236068, 0.2236068, 0.6708204], [0.5, -0.5, -0.5, 0.5]]
    equal.append([-0.2236068, 0.6708204, -0.6708204, 0.2236068])
    found = coefficients(data, nitro="poly")
    assert list(found.filter(like="nitro").index) == ["nitro[.L]", "nitro[.Q]", "nitro[.C]"]
    assert found.filter(like="nitro").to_numpy() == pytest.approx(np.array(equal) @ means, abs=1e-5)
    unequal = [-0.5, -0.3571429, 0.07142857, 0.7857143]  # (s - 3.5) / sqrt(sum (s - 3.5)^2)
    for choice in ("poly(0, 1, 4, 9)", ("poly", [0, 1, 4, 9])):
        found = coefficients(data, nitro=choice)
        assert found["nitro[.L]"] == pytest.approx(np.array(unequal) @ means, abs=1e-5)
    as_number = data.assign(nitro=data["nitro"].cat.rename_categories(["0", "1", "4", "9"]).astype(float))
    straight = reml.fit("yield ~ poly(nitro, 3) + Variety + (1 | Block/Variety)", as_number)
    np.testing.assert_allclose(straight.fitted(), plain.fitted(), rtol=1e-5)


def test_ordered_categories_are_polynomials(data: pd.DataFrame, plain: reml.MixedModelFit) -> None:
    """As R codes ordered factors; asked for otherwise they are as asked."""
    ordered = data.assign(nitro=data["nitro"].cat.as_ordered())
    pd.testing.assert_series_equal(coefficients(ordered), coefficients(data, nitro="poly"))
    assert list(coefficients(ordered, nitro="treatment").index) == list(plain.fixed_effects().index)
    written = reml.fit("yield ~ C(nitro, contr.sum) + Variety + (1 | Block/Variety)", ordered)
    assert "C(nitro, contr.sum)[S.0]" in written.fixed_effects().index


CUSTOM = [[-3, 1], [-1, -1], [1, -1], [3, 1]]


def test_a_matrix_of_ones_own(data: pd.DataFrame, plain: reml.MixedModelFit) -> None:
    means = plain.means("nitro")["estimate"].to_numpy()
    frame = pd.DataFrame(CUSTOM, index=["0", "0.2", "0.4", "0.6"], columns=["straight", "bent"])
    found = coefficients(data, nitro=frame)
    names = ["nitro[straight]", "nitro[bent]", "nitro[rest 1]"]
    assert list(found.filter(like="nitro").index) == names
    assert found["nitro[straight]"] == pytest.approx(np.array([-3, -1, 1, 3]) @ means / 20)
    assert found["nitro[bent]"] == pytest.approx(np.array([1, -1, -1, 1]) @ means / 4)
    pd.testing.assert_series_equal(coefficients(data, nitro=frame.iloc[::-1]), found, rtol=1e-6)  # rows by their levels
    unnamed = coefficients(data, nitro=np.array(CUSTOM))
    assert list(unnamed.filter(like="nitro").index) == ["nitro[1]", "nitro[2]", "nitro[rest 1]"]
    assert unnamed.to_numpy() == pytest.approx(found.to_numpy())


CHOICES = ["sum", "treatment(0.4)", "poly(0, 1, 4, 9)", CUSTOM, {"matrix": CUSTOM, "names": ["a", "b"]}]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_nothing_but_the_coefficients_changes(data, plain, tmp_path, choice: object) -> None:
    fit = reml.fit(FORMULA, data, contrasts={"nitro": choice})
    np.testing.assert_allclose(fit.fitted(), plain.fitted(), rtol=1e-5)
    for kind in (1, 2, 3):
        pd.testing.assert_frame_equal(fit.anova(kind), plain.anova(kind), rtol=1e-4)
    pd.testing.assert_frame_equal(fit.means("nitro").frame, plain.means("nitro").frame, rtol=1e-4)
    # It comes back from a file, and from its own code.
    fit.save(tmp_path / "fit.reml")
    again = reml.load(tmp_path / "fit.reml")
    pd.testing.assert_frame_equal(again.fixed_effects(), fit.fixed_effects())
    assert again.specification == fit.specification
    repeated = reml.fit(FORMULA, data, contrasts=fit.specification.contrasts)
    pd.testing.assert_frame_equal(repeated.fixed_effects(), fit.fixed_effects())
    assert f"contrasts={fit.specification.contrasts!r}" in fit.to_code("python")
    assert "contrasts = list(`nitro` =" in fit.to_code("r-lme4")


def test_code_in_r_names_the_contrasts(data: pd.DataFrame) -> None:
    fit = reml.fit(
        "yield ~ C(nitro) + Variety + (1 | Block)",
        data,
        contrasts={"nitro": "helmert", "Variety": "treatment(Victory)"},
    )
    code = fit.to_code("r-lme4")
    assert '`factor(nitro)` = "contr.helmert"' in code
    assert "`Variety` = matrix(c(1, 0, 0, 0, 1, 0), nrow = 3" in code
    assert "contrasts" not in reml.fit("yield ~ Variety + (1 | Block)", data).to_code("r-lme4")


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("sums", "not known"),
        ("treatment(0.5)", "no level '0.5'"),
        ("treatment(0.4", "closing bracket"),
        ("sum(3)", "takes nothing in brackets"),
        ("poly(1, 2)", "4 levels and 2 scores"),
        ("poly(a, b)", "not numbers"),
        ("poly(1, 1, 2, 3)", "not all different"),
        ([[1], [2]], "4 rows and at most 3 columns"),
        ([[1], [1], [1], [1]], "beside the intercept"),
        ([["x"], [1], [1], [2]], "not made of numbers"),
        ({"base": 1}, "without a matrix"),
        (pd.DataFrame([[1], [0], [0], [0]], index=["0", "1", "2", "3"]), "no row for the level '0.2'"),
    ],
)
def test_choices_that_make_no_sense_are_said(data: pd.DataFrame, choice: object, words: str) -> None:
    with pytest.raises(reml.DataError, match=words) as caught:
        reml.fit(FORMULA, data, contrasts={"nitro": choice})
    assert "nitro" in str(caught.value)
