"""A field trial in a real browser: the verdict, points boxed in a figure, excluded with a reason, the fit without them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.reference import Reference

pytestmark = pytest.mark.browser

NIN = Reference().data / "stroup_nin.csv"


def simulated() -> pd.DataFrame:
    """22 x 11 plots whose neighbours are alike, 56 entries in four replicates of whole rows, two plots missing."""
    rng = np.random.default_rng(5)
    row, col = (v.ravel() for v in np.meshgrid(np.arange(1, 12), np.arange(1, 23), indexing="ij"))
    c = 0.5 ** np.abs(np.subtract.outer(row, row)) * 0.7 ** np.abs(np.subtract.outer(col, col))
    gen = np.arange(242) % 56
    y = 25 + np.linalg.cholesky(40 * c) @ rng.standard_normal(242) + rng.standard_normal(56)[gen]
    rep = [f"R{1 + k // 61}" for k in range(242)]
    table = pd.DataFrame({"gen": [f"G{g:02d}" for g in gen], "rep": rep, "yield": y, "col": col, "row": row})
    return table.drop(index=[17, 100])


def trial() -> pd.DataFrame:
    """Stroup's wheat trial without its empty border where it is at hand, else a simulated one."""
    return pd.read_csv(NIN).dropna(subset=["yield"]) if NIN.exists() else simulated()


def test_from_the_verdict_to_a_fit_without_some_rows(visit: Any, tmp_path: Path) -> None:
    path = tmp_path / "trial.csv"
    trial().to_csv(path, index=False)
    n = len(pd.read_csv(path))
    visitor = visit()
    page = visitor.page
    visitor.upload(path)
    visitor.go("Model")
    visitor.type("model_text", "yield ~ gen + (1 | rep)", "Control+Enter")
    visitor.press("fit_now")
    page.get_by_text("Converged in").first.wait_for()

    visitor.go("Diagnostics")
    page.get_by_text("Residuals of neighbours are alike").wait_for()
    finding = visitor.at("diag_finding_0").or_(visitor.at("diag_finding_1")).or_(visitor.at("diag_finding_2"))
    assert "ar1(row):ar1(col)" in " ".join(finding.all_inner_texts())

    # a box around the points at the left of the figure; they are listed with what the table says of them
    visitor.at("diag_drag").get_by_text("drawing a box", exact=True).click()
    visitor.settle()
    boxed(visitor, "diag_residuals_conditional_0", (0.03, 0.05), (0.2, 0.95))
    visitor.at("diag_chosen_csv").wait_for()
    assert "Exclude these rows" in visitor.at("diag_exclude_now").inner_text()
    visitor.at("diag_reason").locator("input").fill("border of the field")
    visitor.press("diag_exclude_now")
    visitor.at("diag_refit").wait_for()
    assert visitor.at("diag_chosen_csv").count() == 0  # nothing stays chosen

    visitor.press("diag_refit")
    page.get_by_text("Converged in").first.wait_for()
    visitor.go("Results")
    page.get_by_text("excluded from this fit").wait_for()
    words = visitor.text()
    excluded = int(re.search(r"(\d+) rows? (?:are|is) excluded from this fit", words).group(1))  # type: ignore[union-attr]
    assert excluded and f"n = {n - excluded}," in words and "(border of the field)" in words
    code = visitor.download("save_python").decode()
    assert code.count("border of the field") == excluded

    # a single point, clicked
    visitor.go("Diagnostics")
    page.get_by_text("Excluded rows", exact=True).wait_for()
    visitor.at("diag_section").get_by_text("Influence", exact=True).click()
    visitor.settle()
    visitor.at("diag_influential_csv").wait_for()
    figure = page.locator("[class*=st-key-diag_influence_cooks_distance]")
    figure.locator(".js-plotly-plot").evaluate("e => e.scrollIntoView({block: 'center'})")
    visitor.settle()
    box = figure.locator(".scatterlayer .trace .points path").last.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2 - 3, box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
    figure.locator(".hoverlayer .hovertext").first.wait_for()
    page.wait_for_timeout(300)
    page.mouse.down()
    page.wait_for_timeout(100)
    page.mouse.up()
    visitor.settle()
    visitor.at("diag_chosen_csv").wait_for()
    assert "Exclude this row" in visitor.at("diag_exclude_now").inner_text()

    # the field
    visitor.at("diag_section").get_by_text("Space", exact=True).click()
    visitor.settle()
    visitor.figures_are(3)
    assert visitor.faults == []
    assert visitor.hosts == {"localhost"}


def boxed(visitor: Any, key: str, low: tuple[float, float], high: tuple[float, float]) -> None:
    """Draw a box over a share of a figure's plane, from one corner to the other."""
    plane = visitor.at(key).locator(".nsewdrag").first
    plane.scroll_into_view_if_needed()
    visitor.still(key)
    box = plane.bounding_box()
    points = [(box["x"] + 2 + x * (box["width"] - 4), box["y"] + 2 + y * (box["height"] - 4)) for x, y in (low, high)]
    mouse = visitor.page.mouse
    mouse.move(*points[0])
    mouse.down()
    mouse.move(*points[1], steps=8)
    mouse.up()
    visitor.settle()
