"""A split plot from fit to conclusions, in a real browser: means, intervals, two fits compared, new rows predicted."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.browser.visitor import CANCEL_SECONDS

pytestmark = pytest.mark.browser

ADDITIVE = "yield ~ nitro + Variety + (1 | Block/Variety)"


def test_a_split_plot_from_fit_to_conclusions(visit: Any, tmp_path: Path) -> None:
    visitor = visit()
    page = visitor.page
    visitor.press("open_oats")
    visitor.go("Fit")
    visitor.press("fit_again")
    page.get_by_text("Converged in").first.wait_for()

    # Means & comparisons: emmeans' numbers, with letters
    visitor.go("Means & comparisons")
    visitor.choose("means_spec", "Variety")
    page.get_by_text("with Satterthwaite degrees of freedom (8.9)").wait_for()
    means = visitor.table("means_csv")
    assert means["Variety"].tolist() == ["Golden Rain", "Marvellous", "Victory"]
    assert means["Mean"].tolist() == pytest.approx([104.5, 109.7917, 97.625], abs=1e-3)
    assert means["SE"].tolist() == pytest.approx([7.7975] * 3, abs=1e-4)
    assert means["df"].tolist() == pytest.approx([8.87] * 3, abs=5e-3)
    assert set(means["Letters"]) == {"a"}  # no two varieties differ
    visitor.at("means_figure").locator(".main-svg").first.wait_for()
    pairs = visitor.table("pairs_csv")
    assert pairs["Difference"].tolist() == pytest.approx([-5.29167, 6.875, 12.16667], abs=1e-4)
    assert pairs["SE"].tolist() == pytest.approx([7.078902] * 3, abs=1e-5)
    assert pairs["p"].tolist() == pytest.approx([0.7419, 0.6104, 0.2458], abs=1e-4)
    page.get_by_text("p-values adjusted by Tukey's method for 3 comparisons").wait_for()
    visitor.choose("means_spec", "nitro")
    page.get_by_text("Means of nitro:").wait_for()
    assert visitor.table("means_csv")["Letters"].tolist() == ["c", "b", "a", "a"]
    drawn = visitor.at("means_figure").locator(".textpoint").all_text_contents()
    assert [letter.strip() for letter in drawn] == ["c", "b", "a", "a"]

    # Intervals: profiles as a job. lme4's numbers, but for the first: it interpolates to 5.5083 where the dense likelihood,
    # minimised by Nelder and Mead, crosses its bound at 5.476571.
    visitor.go("Results")
    visitor.pick("interval_method", "Profile likelihood")
    visitor.press("ask_profile")
    page.get_by_text("where zeta leaves the band").wait_for()
    visitor.at("profile_curves").locator(".main-svg").first.wait_for()
    profiles = visitor.table("interval_profile_csv")
    assert profiles["Of"].tolist() == ["Block", "Block:Variety", "residual"]
    assert profiles["From"].tolist() == pytest.approx([5.476571, 4.699103, 10.172601], rel=1e-3)
    assert profiles["To"].tolist() == pytest.approx([29.072353, 16.691266, 14.855750], rel=1e-3)

    # ... and the bootstrap, watched, cancelled, and run again
    visitor.pick("interval_method", "Bootstrap")
    visitor.type("bootstrap_count", "100000", "Enter")
    visitor.at("ask_bootstrap").get_by_role("button").click()
    cancel = visitor.at("cancel_bootstrap").get_by_role("button")
    cancel.wait_for()
    page.get_by_text(re.compile(r"Bootstrap · [\d,]+ of 100,000")).wait_for()
    began = time.monotonic()
    cancel.click()
    page.get_by_text("Bootstrap: cancelled.").wait_for()
    assert time.monotonic() - began < CANCEL_SECONDS
    visitor.type("bootstrap_count", "200", "Enter")
    visitor.press("ask_bootstrap")
    page.get_by_text("by parametric bootstrap, percentile: 200 data sets").wait_for()
    visitor.at("bootstrap_histograms").locator(".main-svg").first.wait_for()
    assert len(visitor.table("replicates_csv")) == 200
    intervals = visitor.table("interval_bootstrap_csv")
    assert ((intervals["From"] < intervals["Estimate"]) & (intervals["Estimate"] < intervals["To"])).all()

    # Compare fits: a second one, refitted by ML as R's anova does
    visitor.go("Model")
    visitor.type("model_text", ADDITIVE, "Control+Enter")
    visitor.press("fit_now")
    page.get_by_text("Converged in").first.wait_for()
    visitor.go("Compare fits")
    page.get_by_text("Fits by REML were repeated by ML, because the fixed parts differ.").wait_for()
    compared = visitor.table("compared_csv")
    assert compared["Fit"].tolist() == [2, 1]
    assert compared["AIC"].tolist() == pytest.approx([616.0432, 625.9057], abs=1e-3)
    assert compared["LRT"].iloc[1] == pytest.approx(2.13746, abs=1e-4) and compared["p"].iloc[1] == pytest.approx(
        0.90663, abs=1e-5
    )
    visitor.at("criteria").locator(".main-svg").first.wait_for()

    # Predict: rows from a file, and their predictions as a file
    rows = tmp_path / "plots.csv"
    rows.write_text("nitro,Variety,Block\n0.2,Victory,I\n0.6,Marvellous,III\n0.4,Victory,VI\n", encoding="utf-8")
    visitor.go("Predict")
    visitor.upload(rows, "predict_file")
    page.get_by_text("Predictions with all random terms").wait_for()
    assert predictions(visitor) == pytest.approx([132.522617, 133.797287, 100.254252], abs=1e-3)  # lme4's predict
    visitor.choose("predict_random", "none: the population")
    page.get_by_text("Predictions without random terms, for the population").wait_for()
    assert predictions(visitor) == pytest.approx([92.541667, 129.208333, 107.875], abs=1e-4)
    visitor.at("predict_figure").locator(".main-svg").first.wait_for()

    assert visitor.faults == []
    assert visitor.hosts == {"localhost"}


def predictions(visitor: Any) -> list[float]:
    """The downloaded predictions, between whose ends they lie."""
    table: pd.DataFrame = visitor.table("predictions_csv")
    assert list(table.columns[:3]) == ["nitro", "Variety", "Block"]
    assert ((table["From"] < table["Prediction"]) & (table["Prediction"] < table["To"])).all()
    return list(table["Prediction"])
