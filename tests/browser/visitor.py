"""A visitor of the studio: clicks, types and reads as a person does, and waits until the page has settled."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pandas as pd

from tests.browser.conversation import Conversation

#: For whatever a gesture sets off: a machine whose cores are shared takes many times the seconds of one that is not.
PATIENCE_SECONDS = 300.0
#: From a click on Cancel to the words on the page, on a machine whose cores also run the fit and draw the browser without a
#: graphics card. That the job itself is settled within a second is held in tests/app.
CANCEL_SECONDS = 30.0

#: The script has not run, and nothing was still to be drawn, for this many milliseconds.
QUIET = 300
BEGIN = "() => { window.lastBusy = performance.now() }"
SETTLED = """quiet => {
    const now = performance.now();
    const still = document.querySelector('[data-testid=stApp][data-test-script-state=notRunning]')
        && !document.querySelector('[data-testid=stSkeleton]');
    if (!still || window.lastBusy === undefined) window.lastBusy = now;
    return now - window.lastBusy > quiet;
}"""

STILL = """([selector, quiet]) => {
    const place = document.querySelector(selector).getBoundingClientRect().top, now = performance.now();
    if (window.lastPlace === undefined || Math.abs(place - window.lastPlace) > 0.5) {
        window.lastPlace = place;
        window.lastMove = now;
    }
    return now - window.lastMove > quiet;
}"""


class Visitor:
    """One browser window on the studio.

    Parameters
    ----------
    page : playwright Page
    address : str
        Of the studio.
    """

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.hosts: set[str] = set()
        self.faults: list[str] = []
        self._conversation = Conversation(page)
        page.on("request", lambda request: self.hosts.add(urlparse(request.url).hostname or ""))
        page.on("pageerror", lambda fault: self.faults.append(str(fault)))
        page.set_default_timeout(1000 * PATIENCE_SECONDS)
        page.goto(address)
        self.settle()

    def settle(self) -> None:
        """Wait until all that was asked is answered and the page is drawn, and stays so for a moment."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            self.page.evaluate(BEGIN)
            self.page.wait_for_function(SETTLED, arg=QUIET)
            if not self._conversation.open:
                return
            assert time.monotonic() < until, f"The page has not settled in {PATIENCE_SECONDS:g} s."

    def at(self, key: str) -> Any:
        """The element with a key."""
        return self.page.locator(f".st-key-{key}")

    def go(self, title: str) -> None:
        """Go to a page by the navigation."""
        self.page.locator("[data-testid=stSidebarNav]").get_by_role("link", name=title, exact=True).click()
        self.page.get_by_role("heading", name=title, exact=True).wait_for()
        self.settle()

    def press(self, key: str) -> None:
        """Press a button."""
        self.at(key).get_by_role("button").click()
        self.settle()

    def choose(self, key: str, option: str) -> None:
        """Choose an option of a select box, or add one to a list of choices."""
        box = self.at(key).locator("input").first
        box.evaluate("e => e.scrollIntoView({block: 'center'})")
        self.still(key)
        box.click()
        box.fill(option)
        self.page.get_by_role("option", name=option, exact=True).first.click()
        self.page.keyboard.press("Escape")
        self.settle()

    def unfold(self, label: str) -> None:
        """Open a folded part of the page."""
        self.page.get_by_text(label, exact=True).click()
        self.settle()

    def still(self, key: str) -> None:
        """Wait until an element no longer moves, as it does while the page unfolds: a list would close again."""
        self.page.evaluate("() => { window.lastPlace = undefined }")
        self.page.wait_for_function(STILL, arg=[f".st-key-{key}", QUIET])

    def type(self, key: str, text: str, end: str) -> None:
        """Type into a field and end with a key."""
        field = self.at(key).locator("textarea, input").first
        field.fill(text)
        field.press(end)
        self.settle()

    def pick(self, key: str, option: str) -> None:
        """Pick one of a row of buttons, of which one holds."""
        self.at(key).get_by_text(option, exact=True).click()
        self.settle()

    def upload(self, path: Path, key: str = "upload") -> None:
        """Give a file to an upload box."""
        self.at(key).locator("input[type=file]").set_input_files(str(path))
        self.settle()

    def download(self, key: str) -> bytes:
        """What a download button gives."""
        with self.page.expect_download() as waiting:
            self.at(key).get_by_role("button").click()
        return Path(waiting.value.path()).read_bytes()

    def table(self, key: str) -> pd.DataFrame:
        """The table that a download button gives."""
        return pd.read_csv(io.BytesIO(self.download(key)), encoding="utf-8-sig")

    def text(self) -> str:
        """All the words in sight, the sidebar's included."""
        return str(self.page.locator("[data-testid=stApp]").inner_text())

    def formula_is(self, text: str) -> None:
        """Wait until the formula field holds `text`."""
        self.page.wait_for_function(
            "text => document.querySelector('.st-key-model_text textarea')?.value === text", arg=text
        )

    def figures_are(self, count: int) -> None:
        """Wait until the page draws so many figures."""
        self.page.wait_for_function(
            "count => document.querySelectorAll('.js-plotly-plot .main-svg:first-child').length === count", arg=count
        )
