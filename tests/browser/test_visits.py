"""Short visits: a sample study to a plot, files that cannot be read, a file too large, narrow and dark screens."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.browser.visitor import CANCEL_SECONDS

pytestmark = pytest.mark.browser

PAGES = ("Data", "Model", "Fit", "Results", "Means & comparisons", "Diagnostics", "Compare fits", "Predict")


def test_from_a_sample_study_to_a_plot(visit: Any) -> None:
    visitor = visit()
    visitor.press("open_sleepstudy")
    visitor.go("Fit")
    visitor.press("fit_again")
    visitor.page.get_by_text("Converged in").first.wait_for()
    visitor.go("Results")
    visitor.at("caterpillar").locator(".main-svg").first.wait_for()
    assert "Reaction ~ Days + (Days | Subject)" in visitor.text()
    assert visitor.faults == []


def test_a_file_that_cannot_be_read_leaves_the_study(visit: Any, tmp_path: Path) -> None:
    visitor = visit()
    visitor.press("open_penicillin")
    empty = tmp_path / "empty.csv"
    empty.write_bytes(b"")
    visitor.upload(empty)
    visitor.page.get_by_text("empty (0 bytes)").wait_for()
    assert "Traceback" not in visitor.text()
    visitor.go("Model")
    visitor.formula_is("diameter ~ 1 + (1 | plate) + (1 | sample)")


def test_a_file_of_two_gigabytes_is_refused_before_it_is_sent(visit: Any, tmp_path: Path) -> None:
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate(2 * 1024**3)  # a file of holes: it takes no room on the disk
    visitor = visit()
    visitor.upload(large)
    visitor.at("upload").get_by_text("File must be").wait_for()
    assert visitor.at("open_john_alpha").count() == 1  # the page is as it was
    visitor.press("open_john_alpha")
    visitor.page.get_by_text("24 genotypes in 3 replicates").wait_for()
    large.unlink()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (800, "light"), (800, "dark")])
def test_no_page_is_cut_off_or_raw(visit: Any, width: int, scheme: str) -> None:
    visitor = visit(width=width, scheme=scheme)
    visitor.press("open_john_alpha")
    go(visitor, "Fit")
    visitor.press("fit_again")
    visitor.page.get_by_text("Converged in").first.wait_for()
    for title in PAGES:
        go(visitor, title)
        visitor.page.wait_for_timeout(300)
        seen = visitor.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert seen[0] <= seen[1], f"{title} is wider than the window"
        wide = visitor.page.evaluate(OVERFLOWING)
        assert not wide, f"{title}: {wide} reach beyond the page"
        words = visitor.text()
        for raw in ("Traceback", "nan", "None", "std_error", "(Intercept)", "e-17"):
            assert raw not in words, f"{title} shows {raw}"
    dark = visitor.page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
    assert (sum(int(c) for c in dark.strip("rgba()").split(",")[:3]) < 200) == (scheme == "dark")
    assert visitor.faults == []


#: Blocks of the page whose right edge lies outside of it.
OVERFLOWING = """() => {
    const main = document.querySelector('[data-testid=stMainBlockContainer]').getBoundingClientRect();
    return [...document.querySelectorAll('[data-testid=stMainBlockContainer] [data-testid=stElementContainer]')]
        .filter(e => e.getBoundingClientRect().width > 0 && e.getBoundingClientRect().right > main.right + 2)
        .map(e => e.className);
}"""


def go(visitor: Any, title: str) -> None:
    """Go to a page; on a narrow screen the navigation may be folded away."""
    link = visitor.page.locator("[data-testid=stSidebarNav]").get_by_role("link", name=title, exact=True)
    if not link.is_visible():
        visitor.page.get_by_test_id("stExpandSidebarButton").click()
        link.wait_for()
    visitor.go(title)


def test_a_fit_that_has_run_for_long_is_still_cancelled_at_once(visit: Any) -> None:
    visitor = visit()
    visitor.press("open_john_alpha")
    visitor.go("Model")
    visitor.type("model_text", "yield ~ rep + (row || gen) + (1 | rep:block)", "Control+Enter")
    visitor.unfold("Options of the fit")
    visitor.choose("option_algorithm", "EM")
    visitor.type("option_limit", "100000", "Enter")
    visitor.at("fit_now").get_by_role("button").click()
    cancel = visitor.at("cancel_fit").get_by_role("button")
    cancel.wait_for()
    visitor.page.wait_for_function(PAST, arg=400)  # hundreds of iterations are drawn by now
    began = time.monotonic()
    cancel.click()
    visitor.page.get_by_text("Cancelled after").wait_for()
    assert time.monotonic() - began < CANCEL_SECONDS
    assert visitor.faults == []


#: The monitor's status line has come to this iteration.
PAST = r"n => Number((document.body.innerText.match(/Iteration (\d+) · criterion/) || [0, 0])[1]) > n"
