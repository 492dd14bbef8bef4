"""The Diagnostics page: residual plots, and what to know in words."""

from __future__ import annotations

from tests.app.driver import charts, fitted, goto, links, opened, sound, start, study, text


def diagnostics(sample: str = "john_alpha", formula: str | None = None):
    return sound(goto(fitted(sample, formula), "diagnostics"))


def test_without_a_fit_the_page_says_so_and_links_to_the_step_that_opens_it() -> None:
    assert "Go to Data" in links(sound(goto(start(), "diagnostics")))
    assert "Go to Model" in links(sound(goto(opened(), "diagnostics")))


def test_john_alpha_has_every_residual_plot_and_the_field() -> None:
    at = diagnostics()
    assert charts(at) == 7  # fitted, histogram, quantiles, observed, scale, by factor, field
    for words in ("Fitted against residuals", "Histogram", "Normal quantiles", "Observed against fitted", "Field map"):
        assert words in text(at)


def test_residuals_by_each_factor() -> None:
    at = diagnostics()
    for factor in at.selectbox(key="diag_by").options:
        sound(at.selectbox(key="diag_by").set_value(factor).run())
        assert not at.error
        assert charts(at) == 7


def test_a_sound_fit_and_one_on_a_bound_are_told_apart() -> None:
    assert len(diagnostics().success) == 1
    at = diagnostics("dyestuff2")
    assert not at.success
    assert any("estimated as zero" in w.value for w in at.warning)


def test_rows_left_out_do_not_break_the_plots() -> None:
    at = diagnostics("dietox", "Feed ~ Time + Evit + (1 | Pig)")
    assert study(at).shown.fit.n_dropped > 0
    assert charts(at) == 6  # no field in this study
    assert not at.error
