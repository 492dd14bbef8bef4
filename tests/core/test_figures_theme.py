"""The one look: template, transparent ground, readable ink, colours with one meaning, numbers in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.figures import CONFIG, config, theme
from openreml_core.figures.words import number, p_value, shorten


@pytest.fixture(scope="module")
def every_figure():
    data = reml.load_sample("john_alpha")
    fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", data)
    plot = fit.plot
    return [plot.caterpillar(), plot.residuals(), plot.scale_location(), plot.qq(), plot.histogram(), plot.trace(),
            plot.parameters(), plot.components(), plot.coefficients(), plot.observed(), plot.residuals_by("gen"),
            plot.field(data["row"], data["col"]), plot.caterpillar(search="none")]  # fmt: skip


def test_every_figure_wears_the_theme_and_has_no_width_of_its_own(every_figure) -> None:
    for fig in every_figure:
        layout = fig.layout
        assert layout.template.layout.paper_bgcolor == theme.CLEAR == layout.template.layout.plot_bgcolor
        assert layout.template.layout.font.color == theme.INK
        assert layout.width is None and layout.height >= 90
        assert layout.font.color is None  # left to the page's own theme where it has one


def test_axis_titles_are_words(every_figure) -> None:
    for fig in every_figure[:-1]:
        titles = [a.title.text for a in [*fig.select_xaxes(), *fig.select_yaxes()] if a.title.text]
        assert titles and not any("_" in t for t in titles)


def luminance(colour: str) -> float:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(a: str, b: str) -> float:
    high, low = sorted([luminance(a), luminance(b)], reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("ground", ["#ffffff", "#0e1117"])
def test_ink_reads_on_light_and_dark(ground) -> None:
    assert contrast(theme.INK, ground) > 4


def test_each_meaning_has_its_own_colour() -> None:
    meanings = [theme.FIXED, theme.RANDOM, theme.RESIDUAL, theme.CONVERGED, theme.BOUND, theme.FAILED]
    assert len(set(meanings)) == 6 and set(meanings) <= set(theme.QUALITATIVE)


def test_the_chart_downloads_as_svg_or_png_under_a_name() -> None:
    assert CONFIG["toImageButtonOptions"]["format"] == "svg" and CONFIG["displaylogo"] is False
    png = config("caterpillar", image="png")["toImageButtonOptions"]
    assert png["format"] == "png" and png["filename"] == "caterpillar"
    assert CONFIG["toImageButtonOptions"]["format"] == "svg"


def test_no_chart_offers_to_send_its_data_away() -> None:
    assert CONFIG["showSendToCloud"] is False and config("qq")["showSendToCloud"] is False


def test_two_notes_stand_under_each_other_and_make_room() -> None:
    fig = theme.message("nothing")
    before = fig.layout.height
    theme.note(theme.note(fig, "first"), "second")
    notes = [a for a in fig.layout.annotations if a.name == "note"]
    assert len(notes) == 1 and notes[0].text == "first<br>second" and fig.layout.height - before >= 32


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.14290197, "0.1429"), (1234.56, "1235"), (99999.6, "100000"), (9.99996, "10.00"), (-0.5, "\u22120.5000"), (0, "0"),
     (3, "3"), (250.0, "250"), (2.1e-7, "2.1e-07"), (np.nan, "\u2013"), (None, "\u2013"), (pd.NA, "\u2013"), (1e12, "1e+12")],
)  # fmt: skip
def test_numbers_have_four_significant_digits(value, text) -> None:
    assert number(value) == text


def test_rounding_noise_is_zero_beside_its_scale_but_small_units_stay() -> None:
    assert number(1e-17, scale=0.5) == "0"
    assert number(1.5e-13, scale=3e-13) == "1.5e-13"


def test_p_values() -> None:
    assert [p_value(p) for p in (0.0321, 0.0004, 1.0)] == ["0.032", "< 0.001", "1.000"]


def test_shortened_labels_differ() -> None:
    names = ["x" * 40 + "1" + "y" * 40, "x" * 40 + "2" + "y" * 40, "short"]
    assert len(set(shorten(names))) == 3 and shorten(names)[2] == "short"
