"""Tests of random terms and comparisons of fits: lmerTest's ranova in every reference case, and what is refused."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import openreml_core as reml
from openreml_core.inference import mixture_p
from tests.reference import ABSENT, Reference

NOT_HERE = {"insteval"}  # 73,421 rows
FOUND = [n for n in Reference().cases("lme4") if n not in NOT_HERE and "ranova" in Reference().case(n)]
CASES = FOUND or [pytest.param("", marks=pytest.mark.skip(ABSENT))]


def sorted_groups(label: str) -> str:
    """``(1 | cask:batch)`` is ``(1 | batch:cask)``."""
    label = label.replace("1 + ", "")
    return re.sub(r"\| ([\w:]+)\)", lambda m: "| " + ":".join(sorted(m[1].split(":"))) + ")", label)


def fitted(name: str, **options: object) -> tuple[dict, reml.MixedModelFit]:
    reference = Reference()
    case = reference.case(name)
    data = reference.table(case["data"], case["factors"])
    if case["weights"]:
        data[case["weights"]] = 1.0 + np.arange(1, len(data) + 1) % 3
    formula = case["openreml"] or case["formula"]
    return case, reml.fit(formula, data, method="reml" if case["reml"] else "ml", weights=case["weights"], **options)


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_lmertest(name: str) -> None:
    case, fit = fitted(name)
    ours = fit.random_anova()
    ours.index = ours["term"].map(sorted_groups)
    theirs = pd.DataFrame(case["ranova"])
    theirs.index = theirs[".row"].map(sorted_groups)
    assert sorted(ours.index) == sorted(theirs.index)
    ours = ours.loc[theirs.index]
    assert ours["n_parameters"].tolist() == theirs["npar"].tolist()
    np.testing.assert_allclose(ours["loglik"], theirs["logLik"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours["AIC"], theirs["AIC"], rtol=0, atol=2e-5)
    tested, known = ours.iloc[1:], theirs.iloc[1:]
    assert tested["df"].tolist() == known["Df"].tolist()
    np.testing.assert_allclose(tested["LRT"], known["LRT"].astype(float), rtol=1e-4, atol=1e-5)
    p, wanted = tested["p_value"].to_numpy(float), known["Pr(>Chisq)"].to_numpy(float)
    np.testing.assert_allclose(p, wanted, rtol=2e-3, atol=1e-12)
    for _, row in tested.iterrows():
        if row["df"] == 1 and row["LRT"] > 0:  # one variance alone: half the plain p-value
            assert row["p_boundary"] == pytest.approx(row["p_value"] / 2)


def test_engines_agree(reference: Reference) -> None:
    tables = [fitted("oats_unbalanced", engine=engine)[1].random_anova() for engine in ("marginal", "henderson")]
    np.testing.assert_allclose(tables[0]["LRT"][1:], tables[1]["LRT"][1:], rtol=1e-6)


def test_the_mixture_is_that_of_stram_and_lee() -> None:
    # The 5 % points of half chi2(0), half chi2(1) and of half chi2(1), half chi2(2) in their tables: 2.71 and 5.14.
    assert mixture_p(2.7055, 1) == pytest.approx(0.05, abs=1e-4)
    assert mixture_p(5.1383, 2) == pytest.approx(0.05, abs=1e-4)
    assert mixture_p(0.0, 1) == 1.0


def test_slopes_take_the_mixture_of_one_and_two() -> None:
    fit = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy"))
    row = fit.random_anova().iloc[1]
    wanted = 0.5 * stats.chi2.sf(row["LRT"], 1) + 0.5 * stats.chi2.sf(row["LRT"], 2)
    assert row["p_boundary"] == pytest.approx(wanted)
    assert row["mixture"] == "half chi2(1), half chi2(2)"


def test_several_variances_at_once_have_no_mixture(reference: Reference) -> None:
    row = fitted("machines_slopes")[1].random_anova().iloc[1]
    assert np.isnan(row["p_boundary"]) and "2 variances" in row["mixture"]


def test_a_spline_goes_without_its_straight_line() -> None:
    data = reml.load_sample("sleepstudy")
    fit = reml.fit("Reaction ~ 1 + spl(Days) + (1 | Subject)", data)
    table = fit.random_anova()
    without = reml.fit("Reaction ~ Days + (1 | Subject)", data)
    assert table["loglik"][1] == pytest.approx(without.loglik, abs=1e-6)
    assert table["df"][1] == 1


def test_rows_stay_where_a_term_with_missing_values_goes() -> None:
    data = reml.load_sample("john_alpha")
    data.loc[3, "block"] = None
    fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", data)
    assert fit.n_obs == len(data) - 1
    without = reml.fit("yield ~ rep + (1 | gen)", data.drop(index=3))
    assert fit.random_anova()["loglik"][2] == pytest.approx(without.loglik, abs=1e-7)


def test_weights_held_parameters_and_relationships_are_kept() -> None:
    data = reml.load_sample("sleepstudy").assign(w=lambda d: 1.0 + np.arange(len(d)) % 3)
    given = np.asarray(data["w"])
    levels = sorted(data["Subject"].astype(str).unique())
    related = pd.DataFrame(0.5 * np.eye(len(levels)) + 0.5, index=levels, columns=levels)
    fit = reml.fit(
        "Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)",
        data,
        weights=given,
        relationship={"Subject": related},
        fixed={"Subject": 600.0},
    )
    table = fit.random_anova()
    without = reml.fit(
        "Reaction ~ Days + (1 | Subject)",
        data,
        weights="w",
        relationship={"Subject": related},
        fixed={"Subject": 600.0},
    )
    assert table["loglik"][2] == pytest.approx(without.loglik, abs=1e-6)


def test_a_loaded_fit_is_tested_too() -> None:
    related = pd.DataFrame(
        0.3 + 0.7 * np.eye(24), index=(g := sorted(reml.load_sample("john_alpha")["gen"].unique())), columns=g
    )
    fit = reml.fit(
        "yield ~ rep + (1 | gen) + (1 | rep:block)", reml.load_sample("john_alpha"), relationship={"gen": related}
    )
    file = io.BytesIO()
    fit.save(file)
    file.seek(0)
    pd.testing.assert_frame_equal(reml.load(file).random_anova(), fit.random_anova(), rtol=1e-6)


def test_no_random_terms_is_said() -> None:
    fit = reml.fit("Reaction ~ Days", reml.load_sample("sleepstudy"))
    with pytest.raises(reml.ModelError, match="no random effects"):
        fit.random_anova()


# -- compare ----------------------------------------------------------------------------------------------------


def test_compare_is_lme4s_anova() -> None:
    # R: anova(lmer(Reaction ~ 1 + (1|Subject)), lmer(Reaction ~ Days + (1|Subject)), lmer(Reaction ~ Days + (Days|Subject)))
    data = reml.load_sample("sleepstudy")
    fits = [
        reml.fit(f"Reaction ~ {rest}", data)
        for rest in ("Days + (Days | Subject)", "1 + (1 | Subject)", "Days + (1 | Subject)")
    ]
    table = fits[0].compare(*fits[1:])
    assert table["n_parameters"].tolist() == [3, 4, 6]
    np.testing.assert_allclose(table["AIC"], [1916.5411, 1802.0786, 1763.9393], atol=6e-5)
    np.testing.assert_allclose(table["BIC"], [1926.1199, 1814.8505, 1783.0971], atol=6e-5)
    np.testing.assert_allclose(table["LRT"][1:], [116.4624, 42.1393], atol=6e-5)
    assert table["df"].tolist()[1:] == [1, 2]
    assert "repeated by ML" in " ".join(table.attrs["notes"])


def test_compare_by_reml_where_the_fixed_parts_are_the_same() -> None:
    data = reml.load_sample("sleepstudy")
    a, b = (reml.fit(f"Reaction ~ Days + ({x} | Subject)", data) for x in ("1", "Days"))
    table = reml.compare(b, a)
    assert table["LRT"][1] == pytest.approx(a.criterion - b.criterion)
    assert "REML" in table.attrs["notes"][0]


def test_compare_refuses() -> None:
    data = reml.load_sample("sleepstudy")
    a = reml.fit("Reaction ~ Days + (1 | Subject)", data)
    b = reml.fit("Reaction ~ 1 + (1 | Subject)", data)
    with pytest.raises(reml.ModelError, match="fixed parts differ"):
        a.compare(b, refit=False)
    with pytest.raises(reml.ModelError, match="different rows"):
        a.compare(reml.fit(b.formula, data.iloc[1:]))
    with pytest.raises(reml.ModelError, match="different responses"):
        a.compare(a.refit(a.response + 1.0))
    with pytest.raises(reml.ModelError, match="nothing to compare"):
        a.compare()
    with pytest.raises(reml.ModelError, match="no fit"):
        a.compare("b")


def test_models_that_are_not_nested_are_not_tested() -> None:
    data = reml.load_sample("sleepstudy").assign(odd=lambda d: (d["Days"] % 2).astype(float))
    a = reml.fit("Reaction ~ odd + (1 | Subject)", data, method="ml")
    b = reml.fit("Reaction ~ Days + (Days | Subject)", data, method="ml")
    table = a.compare(b)
    assert table["p_value"].isna().all()
    assert "does not hold" in " ".join(table.attrs["notes"])


def test_a_fit_whose_rows_are_in_files_says_so(tmp_path: Path) -> None:
    data = reml.load_sample("sleepstudy")
    data.to_csv(tmp_path / "part-1.csv", index=False)
    fit = reml.fit("Reaction ~ Days + (Days | Subject)", str(tmp_path / "part-*.csv"))
    whole = reml.fit("Reaction ~ Days + (Days | Subject)", data)
    np.testing.assert_allclose(
        fit.confint("wald")[["lower", "upper"]], whole.confint("wald")[["lower", "upper"]], rtol=1e-4
    )
    for ask in (
        fit.simulate, fit.random_anova, fit.bootstrap, fit.profile, fit.confint, lambda: fit.compare(whole),
        lambda: whole.compare(fit), lambda: fit.update(method="ml"), lambda: fit.refit([1.0]), lambda: fit.power("Days"),
    ):  # fmt: skip
        with pytest.raises(reml.ModelError, match="needs the rows that the model was fitted to"):
            ask()
