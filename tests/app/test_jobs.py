"""Jobs and data sets, apart from any page."""

from __future__ import annotations

import threading
import time

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from app.jobs import Answers, FitJob, Job, State
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
    job = FitJob("y ~ 1 + (1 | g) + (1 | h)", {"algorithm": "em", "max_iterations": 100_000}, slow)
    worker = threading.Thread(target=job.run)
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
    job = FitJob("y ~ 1 + (1 | g)", {}, slow)
    job.cancel()
    job.run()
    assert job.state is State.CANCELLED and not job.rows


def test_an_unforeseen_error_is_kept_with_its_details(slow, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("boom")

    monkeypatch.setattr(reml, "fit", broken)
    job = FitJob("y ~ 1 + (1 | g)", {}, slow)
    job.run()
    assert job.state is State.FAILED and "boom" in job.details and "boom" not in job.error


def test_any_computation_is_a_job_that_tells_how_far_it_is_and_stops_when_cancelled():
    begun, go_on = threading.Event(), threading.Event()

    def count(job: Job) -> str:
        for done in range(10):
            if not job.report(done, 10):
                raise reml.FitCancelled()
            begun.set()
            go_on.wait(10)
        return "done"

    job = Job(count)
    worker = threading.Thread(target=job.run)
    worker.start()
    assert begun.wait(10)
    assert (job.done, job.total, job.state) == (0, 10, State.RUNNING)
    job.cancel()
    go_on.set()
    worker.join(10)
    assert job.state is State.CANCELLED and job.result is None and job.done == 0


def test_an_error_of_the_model_is_kept_in_its_own_words():
    def refuse(job: Job) -> None:
        raise reml.ModelError("This model has no random effects.", hint="Add one.")

    job = Job(refuse)
    job.run()
    assert job.state is State.FAILED
    assert job.error == "This model has no random effects. Add one." and not job.details


def test_a_question_is_answered_once_for_each_choice_and_an_older_choice_is_given_up():
    answers, asked, hold = Answers(), [], threading.Event()

    def work(choice: str):
        def run(job: Job) -> str:
            asked.append(choice)
            if choice == "slow":
                hold.wait(10)
            return choice

        return run

    first = answers.ask("means", "a", work=work("a"))
    assert first.state is State.DONE and first.result == "a"
    assert answers.ask("means", "a", work=work("a")) is first and asked == ["a"]
    slow = answers.ask("means", "slow", work=work("slow"), wait=0.05)
    assert slow.active and answers.active
    assert answers.ask("means", "b", work=work("b")).result == "b"
    assert slow.state is State.CANCELLED and not answers.active
    hold.set()
    assert answers.get("means", "a") is first  # what has been found is kept
    answers.forget("means", "slow")
    assert answers.get("means", "slow") is None
