"""Driving the studio without a browser: open a study, go to a page, wait for a fit, read what the page says."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "app" / "studio.py"
JOHN_ALPHA = "yield ~ rep + (1 | gen) + (1 | rep:block)"
PAGES = ("data", "model", "fit", "results", "means", "diagnostics", "compare", "predict")


def start() -> AppTest:
    """The studio as a new visitor sees it."""
    return AppTest.from_file(str(SCRIPT), default_timeout=60).run()


def opened(sample: str = "john_alpha") -> AppTest:
    """The studio with a sample study open."""
    return start().button(key=f"open_{sample}").click().run()


def goto(at: AppTest, page: str) -> AppTest:
    """Go to a page."""
    return at.switch_page(f"app_pages/{page}.py").run()


def study(at: AppTest) -> Any:
    """What the session holds."""
    return at.session_state["study"]


def settled(at: AppTest, seconds: float = 60) -> AppTest:
    """Wait until no fit runs, and draw the Fit page again."""
    until = time.monotonic() + seconds
    while study(at).job is not None and study(at).job.active:
        assert time.monotonic() < until, "the fit did not end in time"
        time.sleep(0.02)
    return goto(at, "fit")


def write(at: AppTest, formula: str) -> AppTest:
    """Type a formula on the Model page."""
    return goto(at, "model").text_area(key="model_text").set_value(formula).run()


def fit(at: AppTest) -> AppTest:
    """Press Fit on the Model page and wait."""
    return settled(goto(at, "model").button(key="fit_now").click().run())


def fitted(sample: str = "john_alpha", formula: str | None = None) -> AppTest:
    """The studio with a sample study fitted."""
    at = opened(sample)
    return fit(at if formula is None else write(at, formula))


def answered(at: AppTest, seconds: float = 120) -> AppTest:
    """Wait until nothing is being computed about a fit, and draw the page again, as often as it asks for more."""
    until = time.monotonic() + seconds
    while True:
        found = study(at)
        kept = [found.answers, *(f.answers for f in found.fits)]
        waited = False
        while any(answers.active for answers in kept):
            assert time.monotonic() < until, "the answer did not come in time"
            time.sleep(0.02)
            waited = True
        if not waited:
            return at
        at.run()


def text(at: AppTest) -> str:
    """All the words of the page, as they are read: without the marks that keep Markdown from reading them."""
    parts = [
        *at.title,
        *at.subheader,
        *at.markdown,
        *at.caption,
        *at.info,
        *at.success,
        *at.warning,
        *at.error,
        *at.code,
    ]
    return re.sub(r"\\([^\w\s])", r"\1", "\n".join(str(part.value) for part in parts))


def sound(at: AppTest) -> AppTest:
    """Assert that the page came through without an exception; returns it."""
    assert not at.exception, [f"{e.message}\n{e.stack_trace}" for e in at.exception]
    return at


def charts(at: AppTest) -> int:
    """How many figures the page draws."""
    return len(at.get("plotly_chart"))


def links(at: AppTest) -> list[str]:
    """The labels of the page's links to other pages, the sidebar's included."""
    return [str(link.value) for link in at.get("page_link")]
