"""Jobs and data sets, apart from any page."""

from __future__ import annotations

import threading
import time

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from app.jobs import Job, State
from app.session import dataset


def test_the_digest_sees_every_cell() -> None:
    table = pd.DataFrame({"y": range(60_000), "g": ["a", "b"] * 30_000})
    other = table.copy()
    other.loc[31_234, "y"] = -1
    assert dataset("a", table).digest != dataset("a", other).digest
    assert dataset("a", table).digest == dataset("b", table.copy()).digest


@pytest.fixture
def slow() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    n = 700
    groups = {"g": rng.integers(0, 60, n).astype(str), "h": rng.integers(0, 50, n).astype(str)}
    return pd.DataFrame({"y": rng.normal(size=n), **groups})


def test_cancelling_settles_at_once_and_stops_the_worker(slow):
    job = Job("y ~ 1 + (1 | g) + (1 | h)", {"algorithm": "em", "max_iterations": 100_000})
    worker = threading.Thread(target=job.run, args=(slow,))
    worker.start()
    deadline = time.monotonic() + 60
    while len(job.rows) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    job.cancel()
    assert job.state is State.CANCELLED and not job.active
    count = len(job.rows)
    worker.join(timeout=30)
    assert not worker.is_alive() and len(job.rows) == count and job.result is None


def test_a_job_cancelled_before_it_starts_does_nothing(slow):
    job = Job("y ~ 1 + (1 | g)", {})
    job.cancel()
    job.run(slow)
    assert job.state is State.CANCELLED and not job.rows


def test_an_unforeseen_error_is_kept_with_its_details(slow, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("boom")

    monkeypatch.setattr(reml, "fit", broken)
    job = Job("y ~ 1 + (1 | g)", {})
    job.run(slow)
    assert job.state is State.FAILED and "boom" in job.details and "boom" not in job.error
