"""fit.predict: values against lme4's, standard errors against the inverse of the mixed-model equations written out.

The predictions in LME4 are those of lme4 1.1-31 (bobyqa to 1e-10): with the random effects, and without.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import openreml_core as reml
from openreml_core.covariance import Dummy, Propagated, Scaled, Sum

NEW = pd.DataFrame({"Days": [0.5, 4.25, 9, 11], "Subject": ["308", "335", "372", "372"]})
LME4 = {
    "Reaction ~ poly(Days, 2) + (Days | Subject)": (
        [266.0705451, 247.1055417, 373.5223353, 404.4353486],
        [259.2506709, 293.1316999, 349.6549464, 378.0040095],
    ),
    "Reaction ~ ns(Days, df=3) + (1 | Subject)": (
        [300.1520470, 247.7481849, 366.9646142, 391.3925819],
        [259.3855137, 293.0112409, 348.8564971, 373.2844648],
    ),
    "Reaction ~ scale(Days) + (scale(Days) | Subject)": (
        [263.4967997, 249.8606979, 369.4814857, 392.9841172],
        [256.6387478, 295.8910702, 345.6106785, 366.5452504],
    ),
    "log(Reaction) ~ Days + offset(0.01 * Days) + (Days || Subject)": (
        [5.575229669, 5.520923553, 5.918014512, 5.991603246],
        [5.546898824, 5.673153958, 5.833077129, 5.900413200],
    ),
}


def sample(name: str) -> pd.DataFrame:
    """A sample study; the plots of the alpha design in a field of 12 x 6."""
    data = reml.load_sample(name)
    return data.assign(row=np.arange(72) % 12 + 1, col=np.arange(72) // 12 + 1) if name == "john_alpha" else data


@pytest.fixture(scope="module")
def alpha() -> pd.DataFrame:
    return sample("john_alpha")


@pytest.fixture(scope="module", params=["marginal", "henderson"])
def fit(request: pytest.FixtureRequest, alpha: pd.DataFrame) -> reml.MixedModelFit:
    return reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", alpha, engine=request.param)


# -- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("formula", LME4)
def test_new_rows_as_lme4_predicts_them(formula: str) -> None:
    fit = reml.fit(formula, reml.load_sample("sleepstudy"))
    with_random, without = LME4[formula]
    near = 1e-4 * fit.sigma
    np.testing.assert_allclose(fit.predict(NEW), with_random, atol=near)
    np.testing.assert_allclose(fit.predict(NEW, random=False), without, atol=near)


def test_the_published_predictions(reference) -> None:
    case = reference.case("sleepstudy_slopes")
    data = reference.table("sleepstudy.csv", ["Subject"])
    block = case["predict_new"]
    fit, new = reml.fit(case["formula"], data), pd.DataFrame(block["newdata"])
    near = 1e-4 * fit.sigma
    np.testing.assert_allclose(fit.predict(new, new_levels="population"), block["conditional"], atol=near)
    np.testing.assert_allclose(fit.predict(new, random=False), block["marginal"], atol=near)


@pytest.mark.parametrize(
    ("name", "formula", "residual"),
    [
        ("john_alpha", "yield ~ rep + (1 | gen) + (1 | rep:block)", None),
        ("john_alpha", "yield ~ rep + spl2d(row, col) + (1 | gen)", None),
        ("sleepstudy", "Reaction ~ Days + spl(Days) + (Days | Subject)", None),
        ("oats", "yield ~ nitro * Variety + (1 | Block / Variety)", None),
        ("john_alpha", "yield ~ rep + kron(diag(rep), cs(block) | gen)", "dsum(id(units) | rep)"),
        ("john_alpha", "yield ~ rep + exp(0 + pos(row, col) | rep) + (1 | gen)", None),
    ],
)
def test_the_rows_of_the_fit(name: str, formula: str, residual: str | None) -> None:
    """By default they are predicted as they were fitted, in another order too."""
    data = sample(name)
    fit = reml.fit(formula, data, residual=residual, max_iterations=30)
    np.testing.assert_allclose(fit.predict(), fit.fitted(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(fit.predict(random=False), fit.fitted(random=False), rtol=1e-9)
    turned = data.sample(frac=1.0, random_state=3)
    pd.testing.assert_series_equal(
        fit.predict(turned), fit.fitted().loc[turned.index], check_names=False, rtol=1e-9, atol=1e-9
    )


def test_chosen_terms_and_one_part_of_a_surface(alpha: pd.DataFrame, fit: reml.MixedModelFit) -> None:
    gen = fit.random_effects("gen").set_index("level")["blup"]
    difference = fit.predict(alpha, random=["gen"]) - fit.predict(alpha, random=False)
    np.testing.assert_allclose(difference, gen[alpha["gen"]], atol=1e-10)
    np.testing.assert_allclose(fit.predict(alpha, random="gen"), fit.predict(alpha, random=["gen"]))
    np.testing.assert_allclose(fit.predict(alpha, random=[]), fit.predict(alpha, random=False))
    without = alpha.drop(columns=["block", "yield"])
    np.testing.assert_allclose(fit.predict(without, random=["gen"]), fit.predict(alpha, random=["gen"]))
    surface = reml.fit("yield ~ rep + spl2d(row, col) + (1 | gen)", alpha, max_iterations=20)
    parts = [name for name in surface.random_terms if name.startswith("spl2d")]
    assert len(parts) == 5
    np.testing.assert_allclose(surface.predict(random=["spl2d(row, col)"]), surface.predict(random=parts))


def test_the_coding_of_the_fit(alpha: pd.DataFrame) -> None:
    """A single row has the columns that it has among all rows."""
    for contrast in ("treatment", "sum", "helmert"):
        fit = reml.fit("yield ~ rep + (1 | gen)", alpha, contrasts={"rep": contrast})
        whole = fit.predict()
        for row in (0, 30, 71):
            assert fit.predict(alpha.iloc[[row]]).iloc[0] == pytest.approx(whole.iloc[row], abs=1e-9)


def test_a_value_that_is_missing(alpha: pd.DataFrame, fit: reml.MixedModelFit) -> None:
    rows = alpha.head(3).copy().astype({"gen": object, "rep": object})
    rows.loc[rows.index[0], "rep"] = None
    rows.loc[rows.index[1], "gen"] = None
    found = fit.predict(rows, std_error=True)
    assert list(found["fit"].isna()) == [True, True, False]
    assert list(found["std_error"].isna()) == [True, True, False]
    assert found.attrs["notes"] == ("2 of the rows lack a value that the prediction needs.",)
    assert not fit.predict(rows, random=["rep:block"])[1:].isna().any()
    assert len(fit.predict(alpha.head(0))) == 0


def test_offsets_given_beside_the_formula() -> None:
    data = reml.load_sample("sleepstudy").assign(known=lambda d: 2.0 * d["Days"])
    fit = reml.fit("Reaction ~ Days + (1 | Subject)", data, offset="known")
    plain = reml.fit("Reaction ~ Days + (1 | Subject)", data)
    np.testing.assert_allclose(fit.predict(data), plain.predict(data), rtol=1e-6)
    with pytest.raises(reml.DataError, match=r"offsets of \*known\*, a column that the new data lack"):
        fit.predict(data.drop(columns="known"))
    own = reml.fit("Reaction ~ Days + (1 | Subject)", data, offset=list(data["known"]))
    np.testing.assert_allclose(own.predict(), own.fitted())
    with pytest.raises(reml.DataError, match=r"add a column named \*\(offset\)\*"):
        own.predict(data)


# -- standard errors ----------------------------------------------------------------------------------------------


def alpha_equations(fit: reml.MixedModelFit, data: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """C, the inverse of Henderson's equations: Var(b^ - b, u^ - u); and its rows' combinations (n, p + q)."""
    x = np.column_stack([np.ones(len(data)), data["rep"] == "R2", data["rep"] == "R3"]).astype(float)
    blocks = data["rep"].astype(str) + ":" + data["block"].astype(str)
    z = [pd.get_dummies(c).to_numpy(float) for c in (data["gen"].astype(str), blocks)]
    v = fit.variance_components().set_index("group")["estimate"]
    w = np.column_stack([x, *z])
    prior = np.repeat([0.0, 1 / v["gen"], 1 / v["rep:block"]], [3, z[0].shape[1], z[1].shape[1]])
    return np.linalg.inv(w.T @ w / v["residual"] + np.diag(prior)), w


def test_standard_errors_by_the_mixed_model_equations(alpha: pd.DataFrame, fit: reml.MixedModelFit) -> None:
    c, w = alpha_equations(fit, alpha)
    expected = np.sqrt(np.einsum("ij,jk,ik->i", w, c, w))
    found = fit.predict(std_error=True)
    assert list(found) == ["fit", "std_error"]
    np.testing.assert_allclose(found["std_error"], expected, rtol=1e-7)
    some = w.copy()
    some[:, 3 + 24 :] = 0  # the blocks left out
    expected = np.sqrt(np.einsum("ij,jk,ik->i", some, c, some))
    np.testing.assert_allclose(fit.predict(random=["gen"], std_error=True)["std_error"], expected, rtol=1e-7)
    fixed = np.sqrt(np.einsum("ij,jk,ik->i", w[:, :3], fit.fixed_covariance.to_numpy(), w[:, :3]))
    np.testing.assert_allclose(fit.predict(random=False, std_error=True)["std_error"], fixed, rtol=1e-7)


def test_new_levels(alpha: pd.DataFrame, fit: reml.MixedModelFit) -> None:
    """A new genotype in a known block: u = 0, with its prior variance; a known block's effect is there."""
    rows = pd.DataFrame({"rep": ["R1"], "block": [alpha["block"].iloc[0]], "gen": ["G99"]})
    message = r"The new data have the level G99 of \*gen\*, which the fit has not seen\. new_levels=\"population\""
    with pytest.raises(reml.DataError, match=message):
        fit.predict(rows)
    found = fit.predict(rows, new_levels="population", interval="confidence").iloc[0]
    c, w = alpha_equations(fit, alpha)
    like = w[(alpha["rep"] == "R1") & (alpha["block"] == rows["block"][0])][0].copy()
    like[3:27] = 0
    vg = fit.parameters["gen.variance"]
    assert found["std_error"] == pytest.approx(np.sqrt(like @ c @ like + vg), rel=1e-7)
    assert found["fit"] == pytest.approx(fit.predict(rows, random=["rep:block"]).iloc[0])
    assert found["upper"] - found["fit"] == pytest.approx(stats.norm.ppf(0.975) * found["std_error"])
    many = pd.DataFrame({"rep": "R1", "block": "B1", "gen": [f"N{i}" for i in range(7)]})
    with pytest.raises(reml.DataError, match="levels N0, N1, N2, N3, N4 and 2 more"):
        fit.predict(many)


def test_new_combinations_of_known_levels(alpha: pd.DataFrame) -> None:
    fit = reml.fit(
        "yield ~ rep + (1 | gen) + (1 | rep:block)", alpha[~((alpha["rep"] == "R1") & (alpha["block"] == "B1"))]
    )
    with pytest.raises(reml.DataError, match=r"the level R1:B1 of \*rep:block\*"):
        fit.predict(alpha)
    assert fit.predict(alpha, new_levels="population").notna().all()


def test_random_slopes_of_a_new_subject() -> None:
    """Var = x'Cx + z'Sigma z."""
    fit = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy"))
    x = np.array([1.0, 7.0])
    expected = x @ (fit.fixed_covariance.to_numpy() + fit.variance_matrix("Subject").to_numpy()) @ x
    rows = pd.DataFrame({"Days": [7.0], "Subject": ["new"]})
    found = fit.predict(rows, new_levels="population", std_error=True)
    assert found["std_error"][0] == pytest.approx(np.sqrt(expected), rel=1e-8)


# -- intervals ----------------------------------------------------------------------------------------------------


def test_confidence_and_prediction_intervals(alpha: pd.DataFrame, fit: reml.MixedModelFit) -> None:
    v = fit.variance_components().set_index("group")["estimate"]
    confidence = fit.predict(interval="confidence", level=0.9)
    prediction = fit.predict(interval="prediction", level=0.9)
    assert list(confidence) == ["fit", "std_error", "lower", "upper"]
    z = stats.norm.ppf(0.95)
    np.testing.assert_allclose(confidence["upper"] - confidence["fit"], z * confidence["std_error"])
    whole = np.sqrt(confidence["std_error"] ** 2 + v["residual"])
    np.testing.assert_allclose(prediction["upper"] - prediction["fit"], z * whole)
    pd.testing.assert_series_equal(prediction["std_error"], confidence["std_error"])
    # A new plot of a genotype anywhere has a block of which nothing is known.
    anywhere = fit.predict(alpha.drop(columns="block"), random=["gen"], interval="prediction", level=0.9)
    whole = np.sqrt(anywhere["std_error"] ** 2 + v["residual"] + v["rep:block"])
    np.testing.assert_allclose(anywhere["fit"] - anywhere["lower"], z * whole)


def test_a_population_mean_has_satterthwaites_interval() -> None:
    """At Days = 0 it is the intercept's."""
    fit = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy"))
    row = fit.fixed_effects().loc["(Intercept)"]
    found = fit.predict(pd.DataFrame({"Days": [0.0]}), random=False, interval="confidence")
    for name in ("lower", "upper"):
        assert found[name][0] == pytest.approx(row[name], rel=1e-9)
    assert found.attrs["ddf"] == "satterthwaite"
    normal = fit.predict(pd.DataFrame({"Days": [0.0]}), random=False, interval="confidence", ddf="normal")
    assert normal["upper"][0] == pytest.approx(row["estimate"] + stats.norm.ppf(0.975) * row["std_error"])


def test_weights_and_sections_in_prediction_intervals(alpha: pd.DataFrame) -> None:
    half = lambda table: ((table["upper"] - table["fit"]) / stats.norm.ppf(0.975)) ** 2 - table["std_error"] ** 2
    data = alpha.assign(w=np.tile([1.0, 2.0, 4.0], 24))
    weighted = reml.fit("yield ~ rep + (1 | gen)", data, weights="w")
    found = half(weighted.predict(data, interval="prediction"))
    np.testing.assert_allclose(found, weighted.parameters["residual.variance"] / data["w"], rtol=1e-9)
    with pytest.raises(reml.DataError, match=r"weights of \*w\*, a column that the new data lack"):
        weighted.predict(alpha, interval="prediction")
    with pytest.raises(reml.DataError, match=r"The weight \*w\* is not positive in rows 2, 4"):
        weighted.predict(data.assign(w=[1.0, 0.0] * 36), interval="prediction")
    sections = reml.fit("yield ~ rep + (1 | gen)", alpha, residual="dsum(id(units) | rep)")
    found = half(sections.predict(alpha.tail(1), interval="prediction"))
    assert found.iloc[0] == pytest.approx(sections.parameters["residual[R3].variance"])
    part = reml.fit("yield ~ 1 + (1 | gen)", alpha[alpha["rep"] != "R3"], residual="dsum(id(units) | rep)")
    assert part.predict(alpha, interval="confidence").notna().all(axis=None)
    with pytest.raises(reml.DataError, match=r"the level R3 of \*rep\*, for which the fit has no residual variance"):
        part.predict(alpha, interval="prediction")


def test_correlated_residuals_have_the_variance_of_their_place() -> None:
    data = reml.load_sample("orthodont")
    fit = reml.fit("distance ~ age", data, residual="id(Subject):us(age)")
    found = fit.predict(data.head(4), interval="prediction")
    own = ((found["upper"] - found["fit"]) / stats.norm.ppf(0.975)) ** 2 - found["std_error"] ** 2
    np.testing.assert_allclose(own, np.diag(fit.variance_matrix("residual")), rtol=1e-8)
    with pytest.raises(reml.DataError, match=r"known at the places of the fit only, and age = 9"):
        fit.predict(data.head(1).assign(age=9), interval="prediction")


# -- fits of every kind -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["marginal", "henderson"])
def test_ml_held_and_zero_variances(alpha: pd.DataFrame, engine: str) -> None:
    options = {"ml": {"method": "ml"}, "held": {"fixed": {"gen": 0.2}}, "tied": {"ties": {"rep:block": "gen"}}}
    for given in options.values():
        fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", alpha, engine=engine, **given)
        c, w = alpha_equations(fit, alpha)
        expected = np.sqrt(np.einsum("ij,jk,ik->i", w, c, w))
        np.testing.assert_allclose(fit.predict(std_error=True)["std_error"], expected, rtol=1e-7)
    zero = reml.fit("Yield ~ 1 + (1 | Batch)", reml.load_sample("dyestuff2"), engine=engine)
    found = zero.predict(std_error=True)
    assert zero.singular
    np.testing.assert_allclose(found["std_error"], zero.fixed_effects()["std_error"].iloc[0], rtol=1e-9)
    new = zero.predict(pd.DataFrame({"Batch": ["Z"]}), new_levels="population", std_error=True)
    assert new["std_error"][0] == pytest.approx(found["std_error"].iloc[0])


def test_combinations_that_the_data_do_not_determine(alpha: pd.DataFrame) -> None:
    """Without any plot of a in R3, the cell a x R3 is not estimable; the cells that occur are."""
    data = alpha.assign(kind=np.where(alpha["gen"] < "G12", "a", "b"))
    data = data[~((data["kind"] == "a") & (data["rep"] == "R3"))]
    fit = reml.fit("yield ~ rep * kind + (1 | gen)", data)
    assert fit.aliased
    new = pd.DataFrame({"rep": ["R1", "R3", "R3"], "kind": ["a", "a", "b"]})
    found = fit.predict(new, random=False, interval="confidence")
    assert list(found["fit"].isna()) == [False, True, False]
    assert found["lower"].isna()[1] and found["std_error"].isna()[1]
    assert "Row 2 cannot be predicted" in found.attrs["notes"][0]
    assert fit.predict().notna().all()


def test_levels_of_a_relationship_that_have_no_rows() -> None:
    """Their BLUPs, with the prediction error variance that the equations give."""
    rng = np.random.default_rng(4)
    names = [f"a{i}" for i in range(30)]
    half = rng.normal(size=(30, 60))
    k = pd.DataFrame(half @ half.T / 60 + 0.2 * np.eye(30), names, names)
    data = pd.DataFrame({"gen": np.repeat(names[:25], 3)})
    u = np.linalg.cholesky(k.to_numpy()) @ rng.normal(size=30)
    data["y"] = 5 + u[:25].repeat(3) + 0.7 * rng.normal(size=75)
    for engine in ("marginal", "henderson"):
        fit = reml.fit("y ~ 1 + (1 | gen)", data, relationship={"gen": k}, engine=engine)
        table = fit.random_effects("gen").set_index("level")
        found = fit.predict(pd.DataFrame({"gen": names}), std_error=True)
        np.testing.assert_allclose(found["fit"] - fit.fixed_effects()["estimate"].iloc[0], table.loc[names, "blup"])
        z = np.eye(30)[np.repeat(np.arange(25), 3)]
        w = np.column_stack([np.ones(75), z])
        vg, ve = fit.parameters["gen.variance"], fit.parameters["residual.variance"]
        equations = w.T @ w / ve
        equations[1:, 1:] += np.linalg.inv(vg * k.to_numpy())
        c = np.linalg.inv(equations)
        rows = np.column_stack([np.ones(30), np.eye(30)])
        np.testing.assert_allclose(found["std_error"] ** 2, np.einsum("ij,jk,ik->i", rows, c, rows), rtol=1e-7)
        with pytest.raises(reml.DataError, match="the level stranger"):
            fit.predict(pd.DataFrame({"gen": ["stranger"]}))


def test_a_saved_fit_predicts_the_same(tmp_path, alpha: pd.DataFrame, fit: reml.MixedModelFit) -> None:
    fit.save(tmp_path / "fit.reml")
    again = reml.load(tmp_path / "fit.reml")
    pd.testing.assert_frame_equal(
        again.predict(alpha, interval="prediction"), fit.predict(alpha, interval="prediction")
    )


# -- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"random": ["gin"]}, r"random names \*gin\*, which is no random term of this model\. Did you mean \*gen\*"),
        ({"random": 3}, "random=3 says nothing about random terms"),
        ({"interval": "credible"}, "interval='credible' is not known"),
        ({"new_levels": "zero"}, "new_levels='zero' is not known"),
        ({"interval": "confidence", "level": 95}, "level=95 is not a probability"),
        ({"interval": "confidence", "ddf": "exact"}, "ddf='exact' is not known"),
        ({"random": ["residual"]}, "The residuals of this model are independent"),
    ],
)
def test_options_that_are_not_known(fit: reml.MixedModelFit, options: dict, message: str) -> None:
    with pytest.raises(reml.ModelError, match=message):
        fit.predict(**options)


def test_new_data_that_do_not_fit(alpha: pd.DataFrame, fit: reml.MixedModelFit) -> None:
    with pytest.raises(reml.DataError, match=r"have the level R9 of \*rep\*, which the fit has not seen"):
        fit.predict(alpha.assign(rep="R9"), random=False)
    with pytest.raises(reml.FormulaError, match=r"Column \*gen\* is not in this table"):
        fit.predict(alpha.drop(columns="gen"))
    with pytest.raises(reml.DataError, match="not a table"):
        fit.predict([1, 2])  # type: ignore[arg-type]
    sleep = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy"))
    with pytest.raises(reml.DataError, match=r"\*Days\* held numbers"):
        sleep.predict(pd.DataFrame({"Days": ["one"], "Subject": ["308"]}))


def test_a_tree_by_hand_has_no_formula_to_predict_from(alpha: pd.DataFrame) -> None:
    tree = Sum(gen=Propagated(Dummy(alpha["gen"]), Scaled(24)), residual=Scaled(72))
    fit = reml.fit_covariance(alpha["yield"], Dummy(alpha["rep"]), tree)
    with pytest.raises(reml.ModelError, match="no formula to predict new rows from"):
        fit.predict(alpha)
