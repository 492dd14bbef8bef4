"""Means & comparisons, Compare fits and Predict: numbers of published analyses, methods in words, what is not there yet."""

from __future__ import annotations

import pytest

from tests.app.driver import charts, fit, fitted, goto, links, opened, sound, start, study, text, write

OATS = "yield ~ C(nitro) * Variety + (1 | Block/Variety)"


def table(at, column: str):
    return next(d.value for d in at.dataframe if column in d.value.columns)


@pytest.mark.parametrize("page", ["means", "compare", "predict"])
def test_without_a_fit_the_page_links_to_the_step_that_opens_it(page) -> None:
    assert "Go to Data" in links(sound(goto(start(), page)))
    assert "Go to Model" in links(sound(goto(opened(), page)))


def test_variety_means_of_the_split_plot() -> None:
    """Yates's oats: 104.500, 109.792, 97.625 with SE 7.7975 on 8.87 df."""
    at = sound(goto(fitted("oats", OATS), "means"))
    sound(at.selectbox(key="means_spec").set_value("Variety").run())
    frame = table(at, "Mean")
    assert frame["Mean"].tolist() == pytest.approx([104.5, 109.7917, 97.625], abs=1e-3)
    assert frame["SE"].tolist() == pytest.approx([7.7975] * 3, abs=1e-3)
    assert frame["df"].iloc[0] == pytest.approx(8.869, abs=1e-2)
    said = text(at)
    assert "Satterthwaite degrees of freedom" in said and "share a letter" in said
    assert charts(at) == 2
    pairs = table(at, "Comparison")
    assert len(pairs) == 3
    assert pairs["Difference"].abs().max() == pytest.approx(109.7917 - 97.625, abs=1e-3)


def test_a_model_without_factors_has_no_means_to_compare() -> None:
    at = sound(goto(fitted("sleepstudy", "Reaction ~ Days + (Days | Subject)"), "means"))
    assert not at.error


def test_two_fits_are_compared_and_named() -> None:
    at = fitted("sleepstudy", "Reaction ~ Days + (1 | Subject)")
    at = sound(goto(fit(write(at, "Reaction ~ Days + (Days | Subject)")), "compare"))
    frame = table(at, "AIC")
    assert list(frame["Fit"]) == [1, 2]
    assert frame["LRT"].iloc[1] == pytest.approx(42.8372, abs=1e-3)  # lme4: 1786.4651 - 1743.6283
    assert frame["p"].iloc[1] == "< 0.001"
    assert "likelihood ratio" in text(at)


def test_one_fit_alone_cannot_be_compared() -> None:
    at = sound(goto(fitted(), "compare"))
    assert len(study(at).fits) == 1
    assert not at.error


def test_the_rows_of_the_fit_are_predicted() -> None:
    at = sound(goto(fitted(), "predict"))
    assert not at.error
    assert "Predict" in text(at)
