"""Marginal means, their comparisons and slopes against emmeans, published tables, and by what must hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.inference.means import compact_letters
from tests.reference import ABSENT, Reference

SPECS = [
    (name, spec, ddf)
    for name in Reference().cases("lme4")
    for block, ddf in (("emmeans", "satterthwaite"), ("emmeans_kenward_roger", "kenward-roger"))
    for spec in Reference().case(name).get(block) or ()
]
OATS = "yield ~ nitro * Variety + (1 | Block/Variety)"


@pytest.fixture(scope="module")
def fits(reference: Reference) -> dict[str, reml.MixedModelFit]:
    """Fits by reference case, made when they are first asked for."""

    class Fits(dict):
        def __missing__(self, name: str) -> reml.MixedModelFit:
            case = reference.case(name)
            data = reference.table(case["data"], case["factors"])
            self[name] = reml.fit(case["openreml"] or case["formula"], data)
            return self[name]

    return Fits()


@pytest.fixture(scope="module")
def oats(fits) -> reml.MixedModelFit:
    return fits["oats_unbalanced"]


@pytest.fixture(scope="module")
def dietox(reference: Reference) -> pd.DataFrame:
    return reference.table("dietox.csv", ["Pig", "Evit", "Cu"])


@pytest.mark.parametrize(("name", "spec", "ddf"), SPECS or [pytest.param("", "", "", marks=pytest.mark.skip(ABSENT))])
def test_means_and_pairs_are_emmeans(fits, reference: Reference, name: str, spec: str, ddf: str) -> None:
    block = "emmeans" if ddf == "satterthwaite" else "emmeans_kenward_roger"
    expected = reference.case(name)[block][spec]
    found = fits[name].means(spec.removeprefix("~ "), ddf=ddf)
    factors = [column for column in found.columns if column not in ("estimate", "std_error", "df", "lower", "upper")]
    table = found.set_index(factors)
    assert len(table) == len(expected["means"])
    for row in expected["means"]:
        own = table.loc[tuple(row[f] for f in factors) if len(factors) > 1 else row[factors[0]]]
        assert own["estimate"] == pytest.approx(row["emmean"], abs=1e-5 * row["SE"])
        assert own["std_error"] == pytest.approx(row["SE"], rel=1e-5)
        assert own["df"] == pytest.approx(row["df"], rel=1e-3)
        assert own["lower"] == pytest.approx(row["lower.CL"], abs=1e-3 * row["SE"])
        assert own["upper"] == pytest.approx(row["upper.CL"], abs=1e-3 * row["SE"])
    pairs = found.pairs(adjust="tukey")
    assert len(pairs) == len(expected["pairs"])
    for own, row in zip(pairs.to_dict("records"), expected["pairs"], strict=True):
        words = row["contrast"]
        for factor in factors:  # emmeans puts a factor's name before levels that look like numbers
            words = words.replace(factor, "") if own["contrast"] != words else words
        assert own["contrast"] == words
        assert own["estimate"] == pytest.approx(row["estimate"], abs=1e-5 * row["SE"])
        assert own["std_error"] == pytest.approx(row["SE"], rel=1e-5)
        assert own["df"] == pytest.approx(row["df"], rel=1e-3)
        assert own["t"] == pytest.approx(row["t.ratio"], rel=1e-4, abs=1e-5)
        assert own["p_value"] == pytest.approx(row["p.value"], rel=2e-3, abs=1e-9)


# emmeans 1.8.4 for m <- lmer(yield ~ nitro * Variety + (1 | Block/Variety), oats_unbalanced), Satterthwaite
def test_weights_of_what_is_averaged_over(oats) -> None:
    """emmeans(m, ~ Variety, weights =)."""
    expected = {
        "proportional": ([103.58328, 110.86220, 97.08945], [8.258238, 8.330774, 8.238217]),
        "outer": ([103.58328, 110.86220, 97.08945], [8.258238, 8.330774, 8.238217]),
        "cells": ([103.90525, 109.72526, 97.99730], [8.257744, 8.321195, 8.235409]),
    }
    for weights, (estimate, error) in expected.items():
        table = oats.means("Variety", weights=weights)
        np.testing.assert_allclose(table["estimate"], estimate, rtol=1e-7)
        np.testing.assert_allclose(table["std_error"], error, rtol=1e-5)


def test_adjustments(oats) -> None:
    """pairs(emmeans(m, ~ nitro), adjust =); confint(pairs(emmeans(m, ~ nitro)))."""
    means = oats.means("nitro")
    plain = means.pairs("none")["p_value"].to_numpy()
    four = {"holm": [0.0007, 0.0007, 0.2189], "bonferroni": [0.0013, 0.0015, 1.0], "sidak": [0.0013, 0.0015, 0.7729]}
    four |= {"fdr": [0.0003, 0.0003, 0.2189]}
    for adjust, expected in four.items():
        np.testing.assert_allclose(means.pairs(adjust)["p_value"].to_numpy()[[0, 3, 5]], expected, atol=5.1e-5)
        assert (means.pairs(adjust)["p_value"] >= plain - 1e-15).all()
    tukey = means.pairs()
    lower = [-30.61462129, -50.25108519, -55.46101295, -32.51999483, -37.70173389, -18.18907445]
    np.testing.assert_allclose(tukey["lower"], lower, atol=5e-3)
    np.testing.assert_allclose(tukey["upper"] - tukey["estimate"], tukey["estimate"] - tukey["lower"], rtol=1e-9)
    # An interval excludes zero exactly when its p-value is below 5 %.
    assert ((tukey["lower"] * tukey["upper"] > 0) == (tukey["p_value"] < 0.05)).all()


def test_sets_of_contrasts(oats) -> None:
    """contrast(emmeans(m, ~ nitro), "poly" / "eff" / "trt.vs.ctrl" with adjust = "mvt" / list(late = c(-1, -1, 1, 1) / 2))."""
    means = oats.means("nitro")
    poly = means.contrast("poly")
    assert list(poly["contrast"]) == ["linear", "quadratic", "cubic"]
    np.testing.assert_allclose(poly["estimate"], [150.71232, -12.67461, -14.78497], rtol=1e-6)
    np.testing.assert_allclose(poly["std_error"], [14.022179, 6.455193, 15.148440], rtol=1e-5)
    np.testing.assert_allclose(poly["df"], [38.70, 38.34, 39.20], atol=0.006)
    effects = means.contrast("mean")
    np.testing.assert_allclose(effects["estimate"], [-25.036251, -6.584709, 12.922015, 18.698946], rtol=1e-6)
    np.testing.assert_allclose(effects["std_error"], [2.6849518, 2.9054601, 2.9224470, 2.7442405], rtol=1e-5)
    control = means.contrast("control")
    assert list(control["contrast"]) == ["0.2 - 0", "0.4 - 0", "0.6 - 0"]
    assert control["p_value"].iloc[0] == pytest.approx(0.0006, abs=1e-4)
    assert list(means.contrast("control", control="0.6")["contrast"]) == ["0 - 0.6", "0.2 - 0.6", "0.4 - 0.6"]
    for late in ([-0.5, -0.5, 0.5, 0.5], {"0": -0.5, "0.2": -0.5, "0.4": 0.5, "0.6": 0.5}):
        row = means.contrast({"late": late}).iloc[0]
        assert row["estimate"] == pytest.approx(31.620961, rel=1e-7)
        assert (row["std_error"], row["df"]) == (pytest.approx(3.283072, rel=1e-5), pytest.approx(39.41, abs=0.006))
    steps = means.contrast("consecutive")["estimate"].to_numpy()
    assert steps.sum() == pytest.approx(means["estimate"].iloc[-1] - means["estimate"].iloc[0])
    frame = pd.DataFrame(np.eye(4)[:2], index=["first", "second"])
    np.testing.assert_allclose(means.contrast(frame)["estimate"], means["estimate"][:2])
    assert means.contrast("helmert")["estimate"].iloc[1] == pytest.approx(
        means["estimate"][2] - means["estimate"][:2].mean()
    )


def test_dunnett_is_exact_for_a_balanced_trial() -> None:
    """Two-sided 5 % points as Dunnett 1964 (Biometrics 20, 482-491) prints them, and mvtnorm."""
    from openreml_core.inference.multiplicity import critical, max_t

    for df, p, expected in ((20, 4, 2.65), (15, 3, 2.61), (60, 5, 2.58), (10, 2, 2.57)):
        correlation = np.full((p, p), 0.5) + 0.5 * np.eye(p)
        found = critical(0.95, np.array([float(df)]), "dunnett", p, correlation=correlation)
        assert found[0] == pytest.approx(expected, abs=0.0051)
    # mvtnorm 1.1-3: 1 - pmvt(rep(-2.5, 4), rep(2.5, 4), df = 20, corr = R), R with 1/2 off its diagonal
    correlation = np.full((4, 4), 0.5) + 0.5 * np.eye(4)
    assert max_t(np.array([2.5]), correlation, np.array([20.0]))[0] == pytest.approx(0.067987, abs=3e-6)
    # Unequal correlations have no quadrature; the draws must come near it when the inequality is small.
    near = correlation + np.diag([1e-4], 3) + np.diag([1e-4], -3)
    assert max_t(np.array([2.5]), near, np.array([20.0]))[0] == pytest.approx(0.067987, abs=3e-4)


def test_letters() -> None:
    """Pairs that share no letter are exactly those that differ."""
    rng = np.random.default_rng(3)
    for c in (2, 5, 9):
        for _ in range(20):
            half = np.triu(rng.random((c, c)) < 0.4, 1)
            different = half | half.T
            letters = compact_letters(list(rng.permutation(c)), different)
            for i in range(c):
                for j in range(i):
                    assert (not set(letters[i]) & set(letters[j])) == different[i, j]
            assert all(letters)


def test_letters_of_a_trial(oats) -> None:
    table = oats.means("nitro").letters()
    assert list(table["letters"]) == ["c", "b", "a", "a"]
    within = oats.means("nitro | Variety").letters()
    assert set(within.groupby("Variety")["letters"].min()) == {"a"}  # every group starts its own letters


def test_cells_that_do_not_occur_are_said(reference: Reference) -> None:
    """emmeans(m2, ~ Variety / ~ nitro / ~ nitro * Variety), m2 without the cell of nitro 0.4 and Victory: nonEst."""
    d = reference.table("oats_unbalanced.csv", ["Block", "Variety", "nitro"])
    fit = reml.fit(OATS, d[~((d["nitro"] == "0.4") & (d["Variety"] == "Victory"))])
    variety, nitro, cells = (fit.means(spec) for spec in ("Variety", "nitro", "nitro * Variety"))
    np.testing.assert_allclose(variety["estimate"], [104.02260, 111.52278, np.nan], rtol=1e-7)
    np.testing.assert_allclose(variety["std_error"], [8.313110, 8.380763, np.nan], rtol=1e-5)
    np.testing.assert_allclose(nitro["estimate"], [79.38889, 97.71683, np.nan, 123.09513], rtol=1e-6)
    np.testing.assert_allclose(nitro["df"], [6.00, 6.46, np.nan, 6.16], atol=0.006)
    assert cells["estimate"].isna().sum() == 1
    empty = cells[cells["estimate"].isna()].iloc[0]
    assert (empty["nitro"], empty["Variety"]) == ("0.4", "Victory")
    assert cells.loc[(cells["nitro"] == "0.4") & (cells["Variety"] == "Marvellous"), "std_error"].iloc[
        0
    ] == pytest.approx(10.121820, rel=1e-5)
    assert any("1 of 3 means cannot be estimated" in note for note in variety.notes)
    pairs = variety.pairs()
    assert list(pairs["estimate"].isna()) == [False, True, True]
    # Two means are left to compare: Tukey for two is the plain t.
    assert pairs["p_value"].iloc[0] == pytest.approx(variety.pairs("none")["p_value"].iloc[0], rel=1e-6)
    assert list(variety.letters()["letters"]) == ["a", "a", ""]
    seen = fit.means("Variety", weights="cells")
    assert seen["estimate"].notna().all()


def test_covariates_stand_at_their_mean(dietox: pd.DataFrame) -> None:
    """m <- lmer(Weight ~ Time * Evit + Cu + (1 | Pig), dietox): emmeans(m, ~ Evit), with at = list(Time = ), | Time; emtrends."""
    fit = reml.fit("Weight ~ Time * Evit + Cu + (1 | Pig)", dietox)
    table = fit.means("Evit")
    np.testing.assert_allclose(table["estimate"], [60.43208, 62.47697, 59.32218], rtol=1e-6)
    np.testing.assert_allclose(table["std_error"], [1.3299935, 1.3013001, 1.2756466], rtol=1e-5)
    assert any("Time = 6.48" in note for note in table.notes)
    late = fit.means("Evit", at={"Time": 12})
    np.testing.assert_allclose(late["estimate"], [98.87223, 101.56433, 96.79285], rtol=1e-6)
    both = fit.means("Evit | Time", at={"Time": [2, 12]})
    assert list(both["Time"]) == [2.0, 12.0] * 3
    early = both[both["Time"] == 2]
    np.testing.assert_allclose(early["estimate"], [29.22373, 30.74317, 28.90092], rtol=1e-6)
    np.testing.assert_allclose(early["std_error"], [1.3556804, 1.3264793, 1.3002914], rtol=1e-5)
    assert len(both.pairs()) == 6
    slopes = fit.trends("Time", "Evit")
    np.testing.assert_allclose(slopes["estimate"], [6.964851, 7.082115, 6.789193], rtol=1e-6)
    np.testing.assert_allclose(slopes["std_error"], [0.05836792, 0.05769538, 0.05624423], rtol=1e-5)
    np.testing.assert_allclose(slopes.pairs()["p_value"], [0.3265, 0.0776, 0.0009], atol=6e-5)
    np.testing.assert_allclose(slopes.pairs()["estimate"], [-0.11726459, 0.17565811, 0.29292270], rtol=1e-5)
    two = fit.means("Evit", at={"Evit": ["1", "3"]})
    assert list(two["Evit"]) == ["1", "3"]


def test_slopes_of_curves_and_offsets(dietox: pd.DataFrame) -> None:
    """m <- lmer(Weight ~ log(Time) * Evit + offset(2 * Time) + (1 | Pig), dietox): emmeans(m, ~ Evit); slope b / Time + 2."""
    fit = reml.fit("Weight ~ log(Time) * Evit + offset(2 * Time) + (1 | Pig)", dietox)
    table = fit.means("Evit")
    np.testing.assert_allclose(table["estimate"], [65.00925, 67.02319, 63.60085], rtol=1e-6)
    np.testing.assert_allclose(table["std_error"], [1.3404796, 1.3132662, 1.2862155], rtol=1e-5)
    b = fit.fixed_effects()["estimate"]
    slope = fit.trends("Time", "Evit", at={"Time": 3})["estimate"]
    assert slope[0] == pytest.approx(b["log(Time)"] / 3 + 2, rel=1e-7)
    assert slope[1] == pytest.approx((b["log(Time)"] + b["log(Time):Evit[T.2]"]) / 3 + 2, rel=1e-7)
    # The same offset as a column given beside the formula.
    beside = reml.fit("Weight ~ log(Time) * Evit + (1 | Pig)", dietox, offset=2 * dietox["Time"])
    np.testing.assert_allclose(beside.means("Evit")["estimate"], table["estimate"], rtol=1e-6)
    curve = reml.fit("Weight ~ poly(Time, 2) + (1 | Pig)", dietox)
    raw = reml.fit("Weight ~ Time + I(Time^2) + (1 | Pig)", dietox).fixed_effects()["estimate"]
    found = curve.trends("Time", at={"Time": 4.0})["estimate"][0]
    assert found == pytest.approx(raw["Time"] + 8 * raw["I(Time^2)"], rel=1e-6)


def test_no_coding_and_no_engine_changes_a_mean(oats) -> None:
    for kind in ({"nitro": "sum", "Variety": "helmert"}, {"nitro": "poly"}):
        for engine in ("marginal", "henderson"):
            other = reml.fit(OATS, oats.data, contrasts=kind, engine=engine)
            for ddf in ("satterthwaite", "kenward-roger"):
                a, b = (fit.means("nitro * Variety", ddf=ddf).frame for fit in (oats, other))
                pd.testing.assert_frame_equal(a, b, rtol=1e-5, check_dtype=False)


def test_published_split_plot(reference: Reference) -> None:
    """yates_oats of AGRONOMY.md: means, SEs and SEDs of the balanced split plot."""
    fit = reml.fit(OATS, reference.table("oats.csv", ["Block", "Variety", "nitro"]))
    variety, nitro = fit.means("Variety"), fit.means("nitro")
    np.testing.assert_allclose(variety["estimate"], [104.5, 109.7917, 97.625], rtol=1e-6)
    np.testing.assert_allclose(variety["std_error"], 7.797539, rtol=1e-6)
    np.testing.assert_allclose(variety["df"], 8.87, rtol=1e-3)
    np.testing.assert_allclose(nitro["estimate"], [79.3889, 98.8889, 114.2222, 123.3889], rtol=1e-6)
    np.testing.assert_allclose(nitro["std_error"], 7.174710, rtol=1e-6)
    assert variety.average_sed == pytest.approx(7.0789038, rel=1e-6)
    assert nitro.average_sed == pytest.approx(4.4357554, rel=1e-6)
    # t at 97.5 % on 45 df is 2.014103 (tables), on 10 df 2.228139.
    assert nitro.lsd == pytest.approx(2.014103 * 4.4357554, rel=1e-5)
    assert variety.lsd == pytest.approx(2.228139 * 7.0789038, rel=1e-5)
    assert nitro.sed.loc["0", "0.6"] == pytest.approx(4.4357554, rel=1e-6)
    assert np.diag(nitro.sed).max() == 0
    overall = fit.means("1")
    assert overall["estimate"][0] == pytest.approx(103.9722, rel=1e-6)
    assert overall["df"][0] == pytest.approx(5, rel=1e-4)


@pytest.mark.parametrize("engine", ["marginal", "henderson"])
def test_inference_spaces(reference: Reference, engine: str) -> None:
    """stroup_splitplot of AGRONOMY.md: the mean of a1 with random terms averaged over, or left out."""
    data = reference.table("stroup_splitplot.csv", ["rep", "a", "b"])
    fit = reml.fit("y ~ a * b + (1 | rep/a)", data, engine=engine)
    spaces = {(): 4.5403284, ("rep",): 2.2395591, ("rep", "rep:a"): 1.0817296}
    for random, error in spaces.items():
        table = fit.means("a", random=random)
        np.testing.assert_allclose(table["estimate"], [32.875, 34.125, 25.75], rtol=1e-6)
        np.testing.assert_allclose(table["std_error"], error, rtol=1e-6)
        difference = 1.5297967 if "rep:a" in random else 3.1672149
        assert table.sed.loc["a1", "a2"] == pytest.approx(difference, rel=1e-5)
    # Narrow: nothing but the residual varies, which has 9 df; intermediate: the whole plots' error, 6.
    np.testing.assert_allclose(fit.means("a", random=("rep", "rep:a"))["df"], 9, rtol=1e-4)
    np.testing.assert_allclose(fit.means("a", random="rep")["df"], 6, rtol=1e-4)


def test_levels_of_a_random_factor_hold_their_blups(reference: Reference) -> None:
    """A prediction of gen is the mean over reps plus its BLUP; its SED that of two BLUPs, sqrt(.05455038) on average."""
    data = reference.table("john_alpha.csv", ["rep", "gen", "block"])
    fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", data)
    table = fit.means("gen", random="gen").set_index("gen")
    blups = fit.random_effects("gen").set_index("level")["blup"]
    mean = fit.means("1")["estimate"][0]
    np.testing.assert_allclose(table["estimate"], mean + blups[table.index], rtol=1e-8)
    assert fit.means("gen", random="gen").average_sed ** 2 == pytest.approx(0.05455038, rel=1e-5)
    fixed = reml.fit("yield ~ rep + gen + (1 | rep:block)", data).means("gen")
    assert fixed.average_sed**2 == pytest.approx(0.07010875, rel=1e-5)


def test_means_of_random_slopes_hold_the_covariate(reference: Reference) -> None:
    """Subject 308 at day 5, slopes in it: X b + Z u^ as fitted() has it in that row."""
    data = reference.table("sleepstudy.csv", ["Subject"])
    fit = reml.fit("Reaction ~ Days + (Days | Subject)", data)
    table = fit.means("Subject", random="Subject", at={"Days": 5}).set_index("Subject")
    rows = data[data["Days"] == 5]
    np.testing.assert_allclose(table.loc[rows["Subject"], "estimate"], fit.fitted()[rows.index], rtol=1e-9)


def test_a_table_of_means_is_a_table(oats) -> None:
    means = oats.means("nitro")
    assert isinstance(means, pd.DataFrame)
    assert list(means.columns) == ["nitro", "estimate", "std_error", "df", "lower", "upper"]
    for made in (means[means["df"] > 0], means.frame, means.copy(), means.round(2), means[["nitro", "estimate"]]):
        assert type(made) is pd.DataFrame
    assert "Averaged over Variety with equal weights" in repr(means)
    assert "Satterthwaite" in means._repr_html_()
    assert means.attrs["ddf"] == "Satterthwaite"


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda fit: fit.means("Nitro"), "Did you mean \\*nitro\\*"),
        (lambda fit: fit.means("Block"), "is random"),
        (lambda fit: fit.means("nitro", at={"Variety": "Vic"}), "no level 'Vic'"),
        (lambda fit: fit.means("nitro", at={"x": 1}), "at names \\*x\\*"),
        (lambda fit: fit.means("nitro", ddf="kr"), "ddf='kr'"),
        (lambda fit: fit.means("nitro", weights="none"), "weights='none'"),
        (lambda fit: fit.means("nitro", level=95), "level=95"),
        (lambda fit: fit.means("nitro", random="plot"), "random names \\*plot\\*"),
        (lambda fit: fit.means("nitro", random="Block", ddf="kenward-roger"), "for fixed effects"),
        (lambda fit: fit.means("nitro").pairs("tuckey"), "adjust='tuckey'"),
        (lambda fit: fit.means("nitro").contrast("wrong"), "contrast='wrong'"),
        (lambda fit: fit.means("nitro").contrast({"c": [1, -1]}), "has 2 weights; there are 4"),
        (lambda fit: fit.means("nitro").contrast({"c": {"9": 1}}), "names '9'"),
        (lambda fit: fit.means("nitro").contrast("control", control="9"), "control='9'"),
        (lambda fit: fit.means("1").contrast("poly"), "one mean only"),
        (lambda fit: fit.trends("nitro"), "no covariate"),
    ],
)
def test_what_is_asked_wrongly_is_said(oats, ask, words: str) -> None:
    with pytest.raises(reml.ModelError, match=words):
        ask(oats)
