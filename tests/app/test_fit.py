"""The Fit page: the verdict, the replay, failures in words, cancelling."""

from __future__ import annotations

import time

from tests.app.driver import (
    JOHN_ALPHA,
    charts,
    fit,
    fitted,
    goto,
    links,
    opened,
    settled,
    sound,
    start,
    study,
    text,
    write,
)


def test_without_a_table_the_page_says_so_and_links_to_data() -> None:
    at = sound(goto(start(), "fit"))
    assert len(at.info) == 1
    assert "Go to Data" in links(at)


def test_before_a_fit_the_page_offers_one() -> None:
    at = sound(goto(opened(), "fit"))
    assert at.button(key="fit_again").label == "Fit"
    sound(settled(at.button(key="fit_again").click().run()))
    assert len(study(at).fits) == 1


def test_john_alpha_ends_with_a_verdict_and_can_be_replayed() -> None:
    at = sound(fitted())
    assert at.success[0].value.startswith("Converged in 6 iterations.")
    assert at.slider(key="replay_1").max == 6
    assert charts(at) == 2
    sound(at.slider(key="replay_1").set_value(0).run())
    assert "**Iteration 0.** Starting values" in text(at)
    sound(at.slider(key="replay_1").set_value(3).run())
    assert "**Iteration 3.** Average-information step" in text(at)
    assert "Next: read the results" in links(at)


def test_the_trace_is_a_table_with_a_row_per_iteration() -> None:
    frame = fitted().dataframe[0].value
    assert list(frame["Iteration"]) == list(range(7))
    assert abs(frame["Criterion"].iloc[-1] - 93.19382) < 1e-4
    assert {"gen.variance", "rep:block.variance", "residual.variance"} <= set(frame.columns)


def test_a_variance_at_zero_is_said_in_words() -> None:
    at = sound(fitted("dyestuff2"))
    assert any("estimated as zero" in w.value for w in at.warning)
    assert "on a bound" in text(at)


def test_too_few_iterations_are_said() -> None:
    at = goto(opened(), "model")
    at.number_input(key="option_limit").set_value(2).run()
    sound(fit(at))
    assert "Not converged: 2 iterations were not enough" in at.warning[0].value
    assert "not converged" in text(at)


def test_a_fit_that_cannot_be_done_says_why_and_keeps_the_study() -> None:
    at = fitted()
    sound(fit(write(at, "yeild ~ rep + (1 | gen)")))
    assert "Did you mean *yield*?" in at.error[0].value
    assert "Traceback" not in text(at)
    assert [f.specification.formula for f in study(at).fits] == [JOHN_ALPHA]
    assert study(at).data.name == "john_alpha"


def test_cancelling_settles_at_once_and_keeps_the_fit_before() -> None:
    at = fitted()
    at = write(at, "yield ~ rep + (row || gen) + (1 | rep:block)")
    at.selectbox(key="option_algorithm").set_value("em").run()
    at.number_input(key="option_limit").set_value(100_000).run()
    at.button(key="fit_now").click().run()
    job = study(at).job
    until = time.monotonic() + 30
    while job.active and len(job.rows) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    assert job.active, "the fit ended before it could be cancelled"
    sound(goto(at, "fit"))
    began = time.monotonic()
    sound(at.button(key="cancel_fit").click().run())
    assert not job.active
    assert time.monotonic() - began < 1
    sound(goto(at, "fit"))
    assert at.info[0].value.startswith("Cancelled after")
    assert [f.specification.formula for f in study(at).fits] == [JOHN_ALPHA]
    reported = len(job.rows)
    time.sleep(0.3)
    assert len(job.rows) == reported  # the worker has stopped


def test_two_fits_are_kept_and_can_be_switched() -> None:
    at = fit(write(fitted(), "yield ~ rep + (1 | gen)"))
    assert len(study(at).fits) == 2
    assert study(at).shown.number == 2
    sound(goto(at, "results"))
    sound(at.selectbox(key="fit_shown").set_value(1).run())
    assert study(at).shown.number == 1
    assert f"{JOHN_ALPHA}" in [c.value for c in at.code]
