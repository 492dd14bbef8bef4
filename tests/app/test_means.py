"""Means & comparisons: means, letters, differences and LSD against published numbers; models without levels to compare."""

from __future__ import annotations

import numpy as np
import pytest

import openreml_core as reml
from app.session import FittedModel, Specification
from openreml_core.covariance import Dummy, Propagated, Scaled, Sum
from tests.app.driver import answered, charts, fitted, goto, links, opened, sound, start, study, text


def means(sample: str = "oats", formula: str | None = None):
    return answered(sound(goto(fitted(sample, formula), "means")))


def table(at, column: str):
    return next(d.value for d in at.dataframe if column in d.value.columns)


def metric(at, label: str) -> str:
    return next(m.value for m in at.metric if m.label.startswith(label))


def choose(at, key: str, value):
    return answered(sound(at.selectbox(key=key).set_value(value).run()))


def press(at, key: str, value):
    return answered(sound(at.segmented_control(key=key).set_value(value).run()))


def test_without_a_fit_the_page_says_so_and_links_to_the_step_that_opens_it() -> None:
    assert "Go to Data" in links(sound(goto(start(), "means")))
    assert "Go to Model" in links(sound(goto(opened("oats"), "means")))


def test_means_of_oats_varieties() -> None:
    """Balanced, so means are those of the rows, their standard errors 7.7975 on 8.87 df (issue 5; lme4 and lmerTest)."""
    at = choose(means(), "means_spec", "Variety")
    frame = table(at, "Mean").set_index("Variety")
    rows = reml.load_sample("oats").groupby("Variety")["yield"].mean()
    assert frame["Mean"].to_dict() == pytest.approx(rows.to_dict(), abs=1e-8)
    assert frame["Mean"].tolist() == pytest.approx([104.500, 109.792, 97.625], abs=5e-4)
    assert frame["SE"].tolist() == pytest.approx([7.7975] * 3, abs=5e-5)
    assert frame["df"].tolist() == pytest.approx([8.87] * 3, abs=5e-3)
    assert set(frame["Letters"]) == {"a"}  # F is 1.49 on (2, 10)
    assert "Satterthwaite degrees of freedom (8.9)" in text(at)
    assert "Averaged over nitro with equal weights" in text(at)


def test_differences_of_nitrogen_and_the_lsd() -> None:
    """In a balanced split plot SED = sqrt(2 MS / 18) with the residual mean square 177.083 on 45 df (Yates 1935)."""
    at = means()
    frame = table(at, "Comparison")
    sed = np.sqrt(2 * 177.0833 / 18)
    assert frame["Difference"].tolist() == pytest.approx([-19.5, -34.8333, -44, -15.3333, -24.5, -9.1667], abs=1e-3)
    assert frame["SE"].tolist() == pytest.approx([sed] * 6, rel=1e-5)
    assert frame["df"].tolist() == pytest.approx([45] * 6, abs=1e-4)
    assert frame["p"].tolist() == ["< 0.001", "< 0.001", "< 0.001", "0.006", "< 0.001", "0.180"]
    assert float(metric(at, "LSD")) == pytest.approx(2.0141034 * sed, abs=1e-3)  # t of 45 df
    assert float(metric(at, "Average SED")) == pytest.approx(sed, abs=1e-3)
    assert table(at, "Mean").set_index("nitro")["Letters"].to_dict() == {"0": "c", "0.2": "b", "0.4": "a", "0.6": "a"}
    assert "adjusted by Tukey's method for 6 comparisons" in text(at)
    assert charts(at) == 2


def test_every_adjustment_and_a_control_say_what_they_are() -> None:
    at = means()
    for adjust, words in (
        ("holm", "Holm's method for 6 comparisons; 95 % intervals by Bonferroni's"),
        ("fdr", "for the false discovery rate for 6 comparisons; 95 % intervals not adjusted"),
        ("none", "p-values not adjusted for 6 comparisons"),
    ):
        assert words in text(choose(at, "means_adjust", adjust))
    plain = table(at, "Comparison")["p"].iloc[-1]
    assert plain == "0.045"  # t -2.0665 on 45 df
    at = press(at, "means_against", "with a control")
    assert table(at, "Comparison")["Comparison"].tolist() == ["0.2 - 0", "0.4 - 0", "0.6 - 0"]
    assert "Dunnett's method for 3 comparisons" in text(at)
    assert "Letters" not in table(at, "Mean").columns


def test_within_another_factor_and_by_lines() -> None:
    at = choose(means(), "means_by", "Variety")
    assert len(table(at, "Comparison")) == 18
    assert "for 6 comparisons at each level of Variety" in text(at)
    at = press(at, "means_view_nitro_Variety", "lines along nitro")
    assert charts(at) == 2
    at = choose(at, "means_by", "")
    at = choose(at, "means_spec", "nitro:Variety")
    assert len(table(at, "Mean")) == 12
    cells = reml.load_sample("oats").groupby(["nitro", "Variety"])["yield"].mean()
    assert table(at, "Mean")["Mean"].tolist() == pytest.approx(cells.tolist(), abs=1e-8)


def test_kenward_roger_is_chosen_for_the_whole_study() -> None:
    at = press(means(), "means_ddf", "kenward-roger")
    assert "Kenward-Roger degrees of freedom" in text(at)
    at = answered(sound(goto(at, "results")))
    assert "t tests with Kenward-Roger degrees of freedom" in text(at)


def test_narrow_inference_holds_the_random_terms_and_refuses_kenward_roger_in_words() -> None:
    at = choose(means(), "means_spec", "Variety")
    broad = table(at, "Mean")["SE"].iloc[0]
    at.multiselect(key="means_random_1").set_value(["Block", "Block:Variety"]).run()
    at = answered(sound(at))
    narrow = table(at, "Mean")["SE"].iloc[0]
    assert narrow == pytest.approx(np.sqrt(177.0833 / 24), rel=1e-4) and narrow < broad  # 24 plots of a variety
    assert "BLUPs of Block, Block:Variety are in the means" in text(at)
    at = press(at, "means_ddf", "kenward-roger")
    assert "adjustment is for fixed effects" in text(at)


def test_a_covariate_stands_at_its_mean_or_where_it_is_put_and_has_slopes() -> None:
    at = means("sleepstudy")
    assert "no factor" in text(at) and "see Results" in text(at)
    rows = reml.load_sample("sleepstudy")
    assert table(at, "Mean")["Mean"].tolist() == pytest.approx([rows["Reaction"].mean()], abs=1e-6)
    at.number_input(key="means_at_1_Days").set_value(0.0).run()
    assert table(answered(sound(at)), "Mean")["Mean"].tolist() == pytest.approx(
        [251.4051], abs=1e-3
    )  # lme4's intercept
    at = choose(at, "means_slope", "Days")
    frame = table(at, "Slope")
    assert frame["Slope"].tolist() == pytest.approx([10.46729], abs=1e-4)
    assert frame["SE"].tolist() == pytest.approx([1.545790], abs=1e-4)
    assert frame["df"].tolist() == pytest.approx([17.0], abs=1e-2)


@pytest.mark.parametrize(("sample", "formula"), [("dyestuff", None), ("oats", "yield ~ nitro * Variety")])
def test_models_without_factors_or_without_random_terms(sample: str, formula: str | None) -> None:
    at = means(sample, formula)
    assert not at.error
    assert len(table(at, "Mean")) == (1 if formula is None else 4)


def test_many_levels_are_compared_as_a_square() -> None:
    at = choose(means("john_alpha", "yield ~ rep + gen + (1 | rep:block)"), "means_spec", "gen")
    assert len(table(at, "Comparison")) == 276
    assert "A dot marks pairs" in text(at)


def injected(fit):
    """The studio showing a fit that it did not make itself."""
    at = opened("oats")
    found = study(at)
    found.fits.append(FittedModel(1, fit, Specification(fit.formula), found.data.digest))
    found.shown = found.fits[-1]
    return at


def without_rows(tmp_path):
    path = tmp_path / "oats.parquet"
    reml.load_sample("oats").astype({"nitro": str}).to_parquet(path)
    return reml.fit("yield ~ nitro * Variety + (1 | Block/Variety)", str(path))


def by_hand():
    d = reml.load_sample("oats")
    v = Sum(block=Propagated(Dummy(d["Block"]), Scaled(6)), residual=Scaled(len(d)))
    return reml.fit_covariance(d["yield"].to_numpy(float), np.ones((len(d), 1)), v)


@pytest.mark.parametrize("page", ["results", "means", "compare", "predict"])
def test_fits_without_rows_are_answered_in_words(page: str, tmp_path) -> None:
    at = answered(sound(goto(injected(without_rows(tmp_path)), page)))
    assert not at.error
    if page == "means":
        assert "stayed in the file" in text(at)
    if page == "results":
        assert table(at, "t")["Estimate"].iloc[0] == pytest.approx(80, abs=1e-6)
        at = press(at, "question", "R² and ICC")
        assert "stayed in the file" in text(at)
        at = press(at, "question", "Intervals")
        at = press(at, "interval_method", "profile")
        at = answered(sound(at.button(key="ask_profile").click().run()))
        assert "stayed in the file" in text(at)


@pytest.mark.parametrize("page", ["results", "means", "compare", "predict"])
def test_trees_built_by_hand_are_answered_in_words(page: str) -> None:
    at = answered(sound(goto(injected(by_hand()), page)))
    assert not at.error
    if page == "means":  # balanced: the mean of all rows
        assert table(at, "Mean")["Mean"].tolist() == pytest.approx([103.97222], abs=1e-4)
    if page == "predict":
        assert "no formula" in text(at)
