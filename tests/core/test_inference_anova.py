"""Analysis of variance against lmerTest, and by what must hold whatever the data: codings, orders, empty cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from tests.core.test_cases_lme4 import canonical
from tests.reference import ABSENT, Reference

SKIP = {"insteval"}
CASES = [
    (name, ddf)
    for name in Reference().cases("lme4")
    if name not in SKIP
    for ddf in ("satterthwaite", "kenward_roger")
    if Reference().case(name).get(f"anova_III_{ddf}")
]


@pytest.mark.parametrize(("name", "ddf"), CASES or [pytest.param("", "", marks=pytest.mark.skip(ABSENT))])
def test_type_3_is_lmertests(name: str, ddf: str) -> None:
    reference = Reference()
    case = reference.case(name)
    data = reference.table(case["data"], case["factors"])
    if case["weights"]:
        data[case["weights"]] = 1.0 + np.arange(1, len(data) + 1) % 3
    method = "reml" if case["reml"] else "ml"
    fit = reml.fit(case["openreml"] or case["formula"], data, method=method, weights=case["weights"])
    table = fit.anova(ddf=ddf.replace("_", "-"))
    table.index = [canonical(term) for term in table["term"]]
    rows = case[f"anova_III_{ddf}"]
    assert len(rows) == len(table)
    for row in rows:
        own = table.loc[canonical(row[".row"])]
        assert own["num_df"] == row["NumDF"]
        assert own["den_df"] == pytest.approx(row["DenDF"], rel=1e-3)
        assert own["F"] == pytest.approx(row["F value"], rel=1e-4)
        assert own["mean_sq"] == pytest.approx(row["Mean Sq"], rel=1e-4)
        assert own["sum_sq"] == pytest.approx(row["Sum Sq"], rel=1e-4)
        assert own["p_value"] == pytest.approx(row["Pr(>F)"], rel=2e-3, abs=1e-14)


# lmerTest 3.1-3: d <- read.csv("oats_unbalanced.csv"), Block, Variety and nitro factors; d2 <- subset(d, !(nitro == "0.4" &
# Variety == "Victory")); anova(lmer(yield ~ nitro * Variety + (1 | Block/Variety), d or d2), type =, ddf =)
# term, num_df, den_df, F
OATS = {
    ("d", 1, "satterthwaite"): [
        ("nitro", 3, 39.01700202, 39.42303383),
        ("Variety", 2, 9.67954903, 1.67253786),
        ("nitro:Variety", 6, 38.56584331, 0.35661845),
    ],
    ("d", 1, "kenward-roger"): [
        ("nitro", 3, 39.11719626, 39.28553159),
        ("Variety", 2, 9.85853158, 1.66960589),
        ("nitro:Variety", 6, 38.67494147, 0.35319449),
    ],
    ("d", 2, "satterthwaite"): [
        ("nitro", 3, 38.63217485, 40.75475416),
        ("Variety", 2, 9.67954903, 1.67253786),
        ("nitro:Variety", 6, 38.56332242, 0.35661845),
    ],
    ("d", 2, "kenward-roger"): [
        ("nitro", 3, 38.74122473, 40.59124244),
        ("Variety", 2, 9.85853158, 1.66960589),
        ("nitro:Variety", 6, 38.67494147, 0.35319449),
    ],
    ("d2", 1, "satterthwaite"): [
        ("nitro", 3, 36.25583700, 43.56606873),
        ("Variety", 2, 10.00561994, 1.54896252),
        ("nitro:Variety", 5, 33.36356794, 0.50383326),
    ],
    ("d2", 2, "satterthwaite"): [
        ("nitro", 3, 33.51036991, 43.06959626),
        ("Variety", 2, 10.00561994, 1.54896252),
        ("nitro:Variety", 5, 33.36400732, 0.50383326),
    ],
    ("d2", 3, "satterthwaite"): [
        ("nitro", 3, 33.54424901, 42.38803711),
        ("Variety", 2, 10.07165350, 1.54791929),
        ("nitro:Variety", 5, 33.36400732, 0.50383326),
    ],
    ("d2", 3, "kenward-roger"): [
        ("nitro", 3, 33.76492511, 42.20811969),
        ("Variety", 2, 10.12194608, 1.54551911),
        ("nitro:Variety", 5, 33.58622171, 0.49926113),
    ],
}
# d <- read.csv("dietox.csv"), Evit, Cu and Pig factors: anova(lmer(FORMULA, d), type =)
DIETOX = {
    ("Weight ~ Time * Evit * Cu + (1 | Pig)", 1): [
        ("Time", 1, 784.40048581, 43649.07287297),
        ("Evit", 2, 63.00297637, 1.48091873),
        ("Cu", 2, 63.00351553, 0.97021312),
        ("Time:Evit", 2, 782.21934417, 6.64666102),
        ("Time:Cu", 2, 782.24825574, 1.20388413),
        ("Evit:Cu", 4, 63.00331206, 0.12056503),
        ("Time:Evit:Cu", 4, 780.03044693, 0.55044745),
    ],
    ("Weight ~ Time * Evit * Cu + (1 | Pig)", 2): [
        ("Time", 1, 780.02983356, 43785.91510669),
        ("Evit", 2, 73.12263681, 0.28347083),
        ("Cu", 2, 73.12553480, 0.55635712),
        ("Time:Evit", 2, 780.02931409, 6.58616303),
        ("Time:Cu", 2, 780.03101642, 1.20228469),
        ("Evit:Cu", 4, 73.12424546, 0.05805758),
        ("Time:Evit:Cu", 4, 780.03044770, 0.55044745),
    ],
    ("Weight ~ Time * Evit * Cu + (1 | Pig)", 3): [
        ("Time", 1, 780.03070376, 43695.15046161),
        ("Evit", 2, 73.12469734, 0.28124579),
        ("Cu", 2, 73.12369707, 0.55514969),
        ("Time:Evit", 2, 780.03083989, 6.54363940),
        ("Time:Cu", 2, 780.03026076, 1.19715177),
        ("Evit:Cu", 4, 73.12424546, 0.05805758),
        ("Time:Evit:Cu", 4, 780.03044770, 0.55044745),
    ],
    ("Weight ~ poly(Time, 2) * Evit + Cu + (1 | Pig)", 2): [
        ("poly(Time, 2)", 2, 783.03187883, 24778.48094843),
        # lmerTest has 1.54335: it takes the two columns of poly() for a factor that Evit is averaged over, not for a covariate.
        ("Evit", 2, 67.00327066, 1.54713093),
        ("Cu", 2, 67.00392847, 1.03451337),
        ("poly(Time, 2):Evit", 4, 783.03230904, 4.92226346),
    ],
    ("Weight ~ poly(Time, 2) * Evit + Cu + (1 | Pig)", 3): [
        ("poly(Time, 2)", 2, 783.03185952, 24776.25483919),
        ("Evit", 2, 67.00327066, 1.54713093),
        ("Cu", 2, 67.00392847, 1.03451337),
        ("poly(Time, 2):Evit", 4, 783.03230904, 4.92226346),
    ],
}
FACTORS = {"oats_unbalanced.csv": ["Block", "Variety", "nitro"], "dietox.csv": ["Pig", "Evit", "Cu"]}


def agree(table: pd.DataFrame, rows: list[tuple[str, int, float, float]]) -> None:
    assert list(table["term"]) == [row[0] for row in rows]
    assert list(table["num_df"]) == [row[1] for row in rows]
    np.testing.assert_allclose(table["den_df"], [row[2] for row in rows], rtol=1e-3)
    np.testing.assert_allclose(table["F"], [row[3] for row in rows], rtol=1e-4)


@pytest.fixture(scope="module")
def oats(reference: Reference) -> dict[str, reml.MixedModelFit]:
    d = reference.table("oats_unbalanced.csv", FACTORS["oats_unbalanced.csv"])
    d2 = d[~((d["nitro"] == "0.4") & (d["Variety"] == "Victory"))]
    return {name: reml.fit("yield ~ nitro * Variety + (1 | Block/Variety)", t) for name, t in (("d", d), ("d2", d2))}


@pytest.mark.parametrize(("data", "kind", "ddf"), OATS)
def test_types_with_and_without_an_empty_cell(oats, data: str, kind: int, ddf: str) -> None:
    agree(oats[data].anova(type=kind, ddf=ddf), OATS[data, kind, ddf])


@pytest.mark.parametrize(("formula", "kind"), DIETOX)
def test_types_with_a_covariate(reference: Reference, formula: str, kind: int) -> None:
    fit = reml.fit(formula, reference.table("dietox.csv", FACTORS["dietox.csv"]))
    agree(fit.anova(type=kind), DIETOX[formula, kind])


@pytest.mark.parametrize("kind", [1, 2, 3])
@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
def test_no_coding_changes_a_test(oats, kind: int, ddf: str) -> None:
    for fit in oats.values():
        coded = reml.fit(fit.formula, fit.data, contrasts={"nitro": "sum", "Variety": "helmert"})
        assert coded.aliased == () or len(coded.aliased) == 1
        pd.testing.assert_frame_equal(coded.anova(kind, ddf), fit.anova(kind, ddf), rtol=1e-6)


def test_an_intercept_left_out_is_tested_with_the_first_factor(reference: Reference) -> None:
    """lmerTest: anova(lmer(yield ~ 0 + nitro + Variety + (1 | Block/Variety), d), type = 1 or 3)."""
    d = reference.table("oats_unbalanced.csv", FACTORS["oats_unbalanced.csv"])
    fit = reml.fit("yield ~ 0 + nitro + Variety + (1 | Block/Variety)", d)
    agree(fit.anova(1), [("nitro", 4, 11.71889318, 84.25244892), ("Variety", 2, 9.97383047, 1.80879971)])
    agree(fit.anova(3), [("nitro", 4, 19.74969279, 72.41326074), ("Variety", 2, 9.97760837, 1.80879971)])


def test_balanced_split_plot_is_exact(reference: Reference) -> None:
    """The classical analysis of variance of the split plot, where all methods agree."""
    d = reference.table("oats.csv", ["Block", "Variety", "nitro"])
    fit = reml.fit("yield ~ nitro * Variety + (1 | Block/Variety)", d)
    for ddf in ("satterthwaite", "kenward-roger"):
        table = fit.anova(ddf=ddf)
        np.testing.assert_allclose(table["den_df"], [45, 10, 45], rtol=1e-5)
        np.testing.assert_allclose(table["F"], [37.6856, 1.48534, 0.302824], rtol=5e-6)
        for kind in (1, 2):
            np.testing.assert_allclose(fit.anova(kind, ddf)["F"], table["F"], rtol=1e-5)
    # A row a term, and the main effects do not change when their interaction is left out.
    without = reml.fit("yield ~ nitro + Variety + (1 | Block/Variety)", d).anova()
    assert list(without["term"]) == ["nitro", "Variety"]


def test_kenward_rogers_scaling_in_a_small_balanced_design(reference: Reference) -> None:
    d = reference.table("machines.csv", ["Worker", "Machine"])
    fit = reml.fit("score ~ Machine + (0 + Machine | Worker)", d)
    for ddf, den_df, f in (("satterthwaite", 5, 41.0038), ("kenward-roger", 4, 32.8030)):
        row = fit.anova(ddf=ddf).iloc[0]
        assert (row["num_df"], row["den_df"]) == (2, pytest.approx(den_df, rel=1e-4))
        assert row["F"] == pytest.approx(f, rel=1e-5)


def test_john_alpha(reference: Reference) -> None:
    """AGRONOMY.md: both methods, F and df published."""
    fit = reml.fit("yield ~ rep + gen + (1 | rep:block)", reference.table("john_alpha.csv", ["rep", "gen", "block"]))
    kr = fit.anova(ddf="kenward-roger").set_index("term")
    assert kr.loc["gen", ["num_df", "den_df", "F"]].tolist() == pytest.approx([23, 35.498, 5.36278], rel=1e-4)
    assert kr.loc["rep", ["num_df", "den_df", "F"]].tolist() == pytest.approx([2, 11.519, 9.21243], rel=1e-4)
    satterthwaite = fit.anova().set_index("term")
    assert satterthwaite.loc["gen", ["den_df", "F"]].tolist() == pytest.approx([34.736, 5.44779], rel=1e-4)


def test_chi_square_is_f_without_end(oats) -> None:
    chi, f = oats["d"].anova(test="chisq"), oats["d"].anova(ddf="normal")
    assert list(chi.columns) == ["term", "chisq", "df", "p_value"]
    np.testing.assert_allclose(chi["chisq"], f["F"] * f["num_df"], rtol=1e-10)
    np.testing.assert_allclose(chi["p_value"], f["p_value"], rtol=1e-8)
    assert list(oats["d"].anova(ddf="residual")["den_df"]) == [oats["d"].n_obs - oats["d"].rank] * 3


def test_a_term_without_columns_of_its_own_is_not_tested(reference: Reference) -> None:
    d = reference.table("oats.csv", ["Block", "Variety", "nitro"])
    d["again"] = d["Variety"].astype(str).str.upper()
    fit = reml.fit("yield ~ Variety + again + nitro + (1 | Block/Variety)", d)
    assert len(fit.aliased) == 2
    first = fit.anova(type=1).set_index("term")
    assert first.loc["again", "num_df"] == 0 and np.isnan(first.loc["again", "F"])
    alone = reml.fit("yield ~ Variety + nitro + (1 | Block/Variety)", d).anova(type=1).set_index("term")
    np.testing.assert_allclose(first.loc[["Variety", "nitro"], "F"], alone["F"], rtol=1e-6)


def test_what_is_asked_wrongly_is_said(oats) -> None:
    fit = oats["d"]
    for wrong in ({"type": 4}, {"ddf": "kr"}, {"test": "LRT"}):
        with pytest.raises(reml.ModelError, match=next(iter(wrong))):
            fit.anova(**wrong)
    with pytest.raises(reml.ModelError, match="maximum likelihood"):
        reml.fit(fit.formula, fit.data, method="ml").anova(ddf="kenward-roger")
