"""Hierarchical models in a real browser: simulate, fit, look at the subjects, compare models, recover, on every screen."""

from __future__ import annotations

import io
import re
from typing import Any

import pandas as pd
import pytest

import openreml_core as reml
from tests.browser.test_visits import OVERFLOWING, go

pytestmark = pytest.mark.browser

RAW = re.compile(r"Traceback|\bnan\b|\bNone\b|std_error|e-17|\\_")


@pytest.mark.parametrize(("width", "scheme"), [(800, "dark")])
def test_from_simulated_trials_to_a_comparison(visit: Any, width: int, scheme: str) -> None:
    visitor = visit(width=width, scheme=scheme)
    page = visitor.page

    # Trials: an example from the chosen model
    go(visitor, "Trials")
    sound(visitor, "Trials")
    visitor.type("group_sim_subjects", "20", "Enter")
    visitor.type("group_sim_trials", "100", "Enter")
    visitor.press("group_simulate")
    page.get_by_text("20 subjects with 100 trials each").wait_for()
    sound(visitor, "Trials")

    # Fit: the verdict, and the iterations one by one
    go(visitor, "Group fit")
    visitor.press("group_fit")
    page.get_by_text("Converged after").first.wait_for()
    visitor.at("group_replay_1").get_by_role("slider").press("Home")
    page.get_by_text("Starting values of the group").first.wait_for()
    visitor.figures_are(2)
    sound(visitor, "Group fit")

    # Results: distributions, a search, the file that opens again
    go(visitor, "Group results")
    for key in ("group_boxes", "group_density_figure"):
        visitor.at(key).locator(".main-svg").first.wait_for()
    table = pd.read_csv(io.BytesIO(visitor.download("group_subjects_csv")), encoding="utf-8-sig")
    assert len(table) == 40 and table["Status"].eq("ok").all()
    saved = reml.hierarchical.load(io.BytesIO(visitor.download("group_save")))
    native = saved.subjects()["native"].to_list()
    assert table["Estimate"].to_list() == pytest.approx(native, rel=1e-9)
    visitor.type("group_search", "13", "Enter")
    page.get_by_text("1 of 20 subjects match").wait_for()
    sound(visitor, "Group results")

    # Evidence: three models of the same trials
    go(visitor, "Model evidence")
    visitor.press("ask_group_models")
    visitor.at("group_evidence").locator(".main-svg").first.wait_for()
    page.get_by_text("integrated BIC").first.wait_for()
    sound(visitor, "Model evidence")

    # Recovery: the truth beside the estimates, and models confused with each other
    go(visitor, "Recovery")
    visitor.type("group_recover_subjects", "15", "Enter")
    visitor.type("group_recover_trials", "60", "Enter")
    visitor.press("ask_group_recover")
    visitor.at("group_recovered").locator(".main-svg").first.wait_for()
    for name, value in (("subjects", "12"), ("trials", "60"), ("sets", "1")):
        visitor.type(f"group_confusion_{name}", value, "Enter")
    visitor.press("ask_group_confusion")
    visitor.at("group_confused").locator(".main-svg").first.wait_for()
    sound(visitor, "Recovery")

    # nothing is lost on the way back
    go(visitor, "Group results")
    assert visitor.at("group_search").locator("input").input_value() == "13"
    go(visitor, "Recovery")
    visitor.at("group_confused").locator(".main-svg").first.wait_for()
    assert visitor.faults == [] and visitor.hosts == {"localhost"}


def sound(visitor: Any, title: str) -> None:
    """Assert that nothing is cut off or raw."""
    visitor.settle()
    visitor.page.wait_for_timeout(300)
    seen = visitor.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert seen[0] <= seen[1], f"{title} is wider than the window"
    wide = visitor.page.evaluate(OVERFLOWING)
    assert not wide, f"{title}: {wide} reach beyond the page"
    words = visitor.text()
    raw = RAW.search(words)
    assert raw is None, f"{title} shows {words[raw.start() - 30 : raw.end() + 30]}"
