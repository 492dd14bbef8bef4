"""The Results page: tables and figures of the fit, in words, with downloads."""

from __future__ import annotations

import pytest

from tests.app.driver import charts, fitted, goto, links, opened, sound, start, text


def results(sample: str = "john_alpha", formula: str | None = None):
    return sound(goto(fitted(sample, formula), "results"))


def table(at, column: str):
    return next(d.value for d in at.dataframe if column in d.value.columns)


def test_without_a_fit_the_page_says_so_and_links_to_the_step_that_opens_it() -> None:
    assert "Go to Data" in links(sound(goto(start(), "results")))
    assert "Go to Model" in links(sound(goto(opened(), "results")))


def test_john_alpha_variance_components() -> None:
    frame = table(results(), "Share")
    assert list(frame["Term"])[:2] == ["gen", "rep:block"]
    assert frame["Estimate"].tolist() == pytest.approx([0.142902, 0.070218, 0.081616], abs=2e-6)
    assert frame["Share"].sum() == pytest.approx(100)


def test_john_alpha_fixed_effects_name_their_degrees_of_freedom() -> None:
    at = results()
    frame = table(at, "t")
    assert len(frame) == 3
    assert frame["Estimate"].iloc[0] == pytest.approx(4.51825, abs=1e-4)
    assert "Satterthwaite degrees of freedom" in text(at)
    assert frame["p"].iloc[0] == "< 0.001"


def test_blups_are_sorted_ranked_and_searched() -> None:
    at = results()
    frame = table(at, "Rank")
    assert len(frame) == 24
    assert frame["BLUP"].is_monotonic_decreasing
    assert list(frame["Rank"]) == list(range(1, 25))
    sound(at.text_input(key="blup_search").set_value("g0").run())
    found = table(at, "Rank")
    assert found["Level"].str.startswith("G0").all()
    assert len(found) == 9
    sound(at.text_input(key="blup_search").set_value("no such genotype").run())
    assert not at.error
    sound(at.text_input(key="blup_search").set_value("").run())
    sound(at.selectbox(key="blup_term").set_value("rep:block").run())
    assert len(table(at, "Rank")) == 18


def test_every_table_and_figure_is_there() -> None:
    at = results()
    assert charts(at) == 5  # shares, forest, caterpillar, criterion and gradient, parameters
    keys = {b.key for b in at.get("download_button")}
    assert {"components_csv", "coefficients_csv", "blups_csv"} <= keys


def test_sleepstudy_has_a_covariance_and_two_effects_per_subject() -> None:
    at = results("sleepstudy")
    kinds = table(at, "Share")["Kind"].tolist()
    assert "covariance" in kinds and "correlation" in kinds
    assert len(table(at, "Rank")) == 18


def test_a_bound_is_marked_in_words() -> None:
    at = results("dyestuff2")
    frame = table(at, "Share")
    assert frame.loc[frame["Term"] == "Batch", "Bound"].tolist() == ["at zero"]
    assert "estimated as zero" in text(at)


def test_a_model_without_random_terms_or_slopes_still_has_results() -> None:
    at = results("dyestuff", "Yield ~ 1")
    assert len(table(at, "t")) == 1
    assert "no random effects" in text(at)


@pytest.mark.parametrize("name", ["oats", "penicillin", "wheat2", "machines", "ovary"])
def test_sample_studies_have_results(name: str) -> None:
    at = results(name)
    assert not at.error
    assert table(at, "Share")["Estimate"].notna().all()
