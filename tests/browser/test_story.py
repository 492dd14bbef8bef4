"""The whole way through on john_alpha, in a real browser: from a file to plots, and a long fit cancelled on the way."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.browser.visitor import CANCEL_SECONDS

pytestmark = pytest.mark.browser

FORMULA = "yield ~ rep + (1 | gen) + (1 | rep:block)"
LONG = "yield ~ rep + (row || gen) + (1 | rep:block)"


def test_from_a_file_to_plots(visit: Any, sample_dir: Path) -> None:
    visitor = visit()
    page = visitor.page

    # Data: a file, and what it holds
    visitor.upload(sample_dir / "john_alpha.csv")
    page.get_by_text("24 genotypes in 3 replicates of 6 incomplete blocks of 4 plots").wait_for()
    assert visitor.at("role_4").locator("input").first.input_value() == "response"
    page.locator("[data-testid=stDataFrame] canvas").first.wait_for()

    # Model: by clicks, the formula in step
    visitor.go("Model")
    visitor.formula_is(FORMULA)
    visitor.press("remove_random_1")
    visitor.formula_is("yield ~ rep + (1 | gen)")
    visitor.press("remove_random_0")
    visitor.formula_is("yield ~ rep")
    visitor.press("add_random")
    visitor.choose("model_random_0_group", "gen")
    visitor.formula_is("yield ~ rep + (1 | gen)")
    visitor.press("add_random")
    visitor.choose("model_random_1_group", "rep")
    visitor.choose("model_random_1_group", "block")
    visitor.formula_is(FORMULA)
    page.get_by_text("variance between the 18 levels of rep:block").wait_for()
    assert page.locator(".katex").count() > 0

    # ... and by typing, the builder in step
    visitor.type("model_text", "yield ~ rep + (1 | gen)", "Control+Enter")
    page.get_by_text("variance between the 18 levels of rep:block").wait_for(state="detached")
    visitor.at("remove_random_1").wait_for(state="detached")
    visitor.type("model_text", FORMULA, "Control+Enter")
    visitor.at("remove_random_1").wait_for()

    # Fit: the verdict, and the iterations one by one
    visitor.press("fit_now")
    page.get_by_role("heading", name="Fit", exact=True).wait_for()
    page.get_by_text("Converged in 6 iterations.").first.wait_for()
    slider = visitor.at("replay_1").get_by_role("slider")
    slider.press("Home")
    page.get_by_text("Iteration 0.", exact=True).wait_for()
    page.get_by_text("Starting values").first.wait_for()
    slider.press("ArrowRight")
    page.get_by_text("Iteration 1.", exact=True).wait_for()
    visitor.figures_are(2)

    # Results: tables, the caterpillar and its search, downloads
    visitor.go("Results")
    visitor.at("caterpillar").locator(".main-svg").first.wait_for()
    components = pd.read_csv(io.BytesIO(visitor.download("components_csv")), encoding="utf-8-sig")
    assert components["Estimate"].tolist() == pytest.approx([0.142902, 0.070218, 0.081616], abs=2e-6)
    coefficients = pd.read_csv(io.BytesIO(visitor.download("coefficients_csv")), encoding="utf-8-sig")
    assert len(coefficients) == 3
    assert len(pd.read_csv(io.BytesIO(visitor.download("blups_csv")), encoding="utf-8-sig")) == 24
    axis_has(visitor, 24)
    visitor.type("blup_search", "G0", "Enter")
    axis_has(visitor, 9)
    assert all(level.startswith("G0") for level in levels(visitor))
    picture = saved_figure(visitor, "caterpillar")
    assert picture.startswith(b"<svg") and b"G01" in picture

    # Diagnostics: the residual plots
    visitor.go("Diagnostics")
    for key in (
        "diag_residuals_conditional_0",
        "diag_quantiles_conditional_0",
        "diag_histogram",
        "diag_scale_conditional_0",
    ):
        visitor.at(key).locator(".main-svg").first.wait_for()

    # A second, long fit: watched, cancelled, the study kept
    visitor.go("Model")
    visitor.type("model_text", LONG, "Control+Enter")
    visitor.unfold("Options of the fit")
    visitor.choose("option_algorithm", "EM")
    visitor.type("option_limit", "100000", "Enter")
    visitor.at("fit_now").get_by_role("button").click()
    cancel = visitor.at("cancel_fit").get_by_role("button")
    cancel.wait_for()
    status = page.get_by_text(re.compile(r"Iteration \d+ · criterion"))
    status.wait_for()
    before = status.inner_text()
    page.wait_for_function("old => !document.body.innerText.includes(old)", arg=before)  # it moves by itself
    visitor.at("live_convergence").locator(".main-svg").first.wait_for()
    visitor.at("live_parameters").locator(".main-svg").first.wait_for()
    began = time.monotonic()
    cancel.click()
    page.get_by_text("Cancelled after").wait_for()
    assert time.monotonic() - began < CANCEL_SECONDS
    cancel.wait_for(state="detached")

    visitor.go("Results")
    assert visitor.at("model_card").inner_text().startswith("Fit 1")
    assert page.get_by_text("converged").count() > 0
    visitor.at("caterpillar").locator(".main-svg").first.wait_for()
    visitor.go("Data")
    page.get_by_text("24 genotypes in 3 replicates").wait_for()

    assert visitor.faults == []
    assert visitor.hosts == {"localhost"}  # nothing is fetched from elsewhere


def levels(visitor: Any) -> list[str]:
    """The levels on the axis of the caterpillar."""
    return list(visitor.at("caterpillar").locator(".yaxislayer-above .ytick").all_text_contents())


def axis_has(visitor: Any, count: int) -> None:
    """Wait until the caterpillar shows so many levels."""
    visitor.page.wait_for_function(
        "n => document.querySelectorAll('.st-key-caterpillar .yaxislayer-above .ytick').length === n", arg=count
    )


def saved_figure(visitor: Any, key: str) -> bytes:
    """What the camera button of a figure saves."""
    visitor.at(key).locator(".js-plotly-plot").hover()
    with visitor.page.expect_download() as waiting:
        visitor.at(key).locator(".modebar-btn[data-title^=Download]").click()
    assert waiting.value.suggested_filename.endswith(".svg")
    return Path(waiting.value.path()).read_bytes()
