"""Compare fits: the table against lme4's anova, and what is said when there is nothing to compare."""

from __future__ import annotations

import pytest

from tests.app.driver import answered, charts, fit, fitted, goto, links, opened, sound, start, text, write


def table(at, column: str):
    return next(d.value for d in at.dataframe if column in d.value.columns)


def two(first: str, second: str):
    at = fitted("sleepstudy", first)
    return answered(sound(goto(fit(write(at, second)), "compare")))


def test_without_fits_the_page_says_what_it_needs() -> None:
    assert "Go to Data" in links(sound(goto(start(), "compare")))
    assert "Go to Model" in links(sound(goto(opened("sleepstudy"), "compare")))
    at = sound(goto(fitted("sleepstudy"), "compare"))
    assert "one fit so far" in text(at) and "Go to Model" in links(at)


def test_fits_with_the_same_fixed_part_are_compared_by_reml() -> None:
    at = two("Reaction ~ Days + (Days | Subject)", "Reaction ~ Days + (1 | Subject)")
    frame = table(at, "LRT")
    assert frame["Fit"].tolist() == [2, 1]  # the smaller first
    assert frame["LRT"].iloc[1] == pytest.approx(42.8368, abs=1e-3)
    assert frame["df"].iloc[1] == 2 and frame["p"].iloc[1] == "< 0.001"
    assert "Likelihoods are by REML." in text(at) and "variances may be zero" in text(at)
    assert charts(at) == 1


def test_other_fixed_effects_are_compared_by_ml_and_that_is_said() -> None:
    """lme4: anova(lmer(Reaction ~ 1 + (Days | Subject)), lmer(Reaction ~ Days + (Days | Subject))), refitted by ML."""
    at = two("Reaction ~ 1 + (Days | Subject)", "Reaction ~ Days + (Days | Subject)")
    frame = table(at, "LRT")
    assert "repeated by ML, because the fixed parts differ" in text(at)
    assert frame["LRT"].iloc[1] == pytest.approx(23.5365, abs=1e-3)
    assert frame["AIC"].tolist() == pytest.approx([1785.476, 1763.939], abs=2e-3)


def test_other_responses_are_refused_in_words_and_a_choice_of_one_asks_for_two() -> None:
    at = two("Reaction ~ Days + (1 | Subject)", "log(Reaction) ~ Days + (1 | Subject)")
    assert not at.error and "different responses" in text(at)
    at = sound(at.multiselect(key="compare_fits_2_2").set_value([1]).run())
    assert "two fits or more" in text(at)
