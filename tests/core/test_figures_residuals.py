"""Residual figures: the right points, trend, envelope and counts; quiet words for constant, short and missing residuals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from scipy.stats import norm

import openreml_core as reml
from openreml_core.figures import histogram, observed_fitted, qq, residuals_by, residuals_fitted, scale_location, theme
from openreml_core.figures.quantiles import envelope, normal_quantiles
from openreml_core.figures.smooth import local_line

RNG = np.random.default_rng(11)


def said(fig: go.Figure) -> str:
    return " ".join(a.text for a in fig.layout.annotations).replace("<br>", " ")


def cloud(fig: go.Figure) -> go.Scatter:
    return next(t for t in fig.data if t.mode == "markers")


def test_residuals_against_fitted_carries_points_rows_and_a_trend() -> None:
    fitted = pd.Series(np.linspace(0, 1, 30), index=range(100, 130))
    residuals = fitted * 0.5 - 0.2
    residuals.iloc[3] = np.nan
    fig = residuals_fitted(fitted, residuals, pd.DataFrame({"gen": [f"G{i}" for i in range(30)]}))
    points, trend = fig.data
    assert len(points.x) == 29 and 103 not in points.customdata and points.customdata[0] == 100
    assert "Row 104" in points.hovertext[3] and "gen G4" in points.hovertext[3]
    np.testing.assert_allclose(points.y, residuals.dropna())
    np.testing.assert_allclose(trend.y, 0.5 * np.array(trend.x) - 0.2, atol=1e-9)
    assert points.marker.color == theme.RESIDUAL


def test_the_smoother_is_exact_on_lines_and_follows_a_curve() -> None:
    x = np.sort(RNG.uniform(-2, 2, 400))
    at, line = local_line(x, 3 - 2 * x)
    np.testing.assert_allclose(line, 3 - 2 * at, atol=1e-9)
    at, curve = local_line(x, x**2, span=0.1)
    assert np.abs(curve - at**2).max() < 0.05
    assert local_line(np.array([1.0, 1, 2, 2, 3, 3]), np.arange(6.0))[0].size == 0


def test_the_smoother_bears_tied_values() -> None:
    x = np.repeat([0.0, 1, 2, 3, 4, 5], 50)
    at, line = local_line(x, x * 2)
    assert np.isfinite(line).all()
    np.testing.assert_allclose(line, 2 * at, atol=1e-8)


def test_many_points_go_to_webgl_and_very_many_are_thinned_with_the_extremes_kept() -> None:
    assert isinstance(cloud(residuals_fitted(np.arange(1000.0), np.ones(1000))), go.Scatter)
    assert isinstance(cloud(residuals_fitted(np.arange(1001.0), np.ones(1001))), go.Scattergl)
    y = RNG.normal(size=30_000)
    y[777] = 40
    fig = residuals_fitted(np.arange(30_000.0), y)
    points = cloud(fig)
    assert len(points.x) == 5_000 and 40 in points.y and "5,000 of 30,000 points" in said(fig)
    assert "the 1,000 farthest out among them" in said(fig)
    far = np.sort(np.abs(y - np.median(y)))[-1000:]
    assert np.isin(far, np.abs(np.array(points.y) - np.median(y))).all()


def test_scale_location_is_the_root_of_size_in_standard_deviations() -> None:
    e = np.array([3.0, -4.0, 0.0, 5.0])
    rms = np.sqrt((9 + 16 + 25) / 4)
    np.testing.assert_allclose(scale_location(np.arange(4.0), e).data[0].y, np.sqrt(np.abs(e) / rms))


def test_observed_against_fitted_has_one_range_and_the_line_of_equality() -> None:
    fig = observed_fitted([1.0, 2, 3], [1.5, 2, 2.5], response="yield")
    line, points = fig.data
    assert fig.layout.xaxis.range == fig.layout.yaxis.range and list(line.x) == list(line.y)
    assert list(points.x) == [1.5, 2, 2.5] and list(points.y) == [1, 2, 3]
    assert "yield" in fig.layout.yaxis.title.text


def test_qq_sorts_the_residuals_against_bloms_quantiles() -> None:
    e = pd.Series([0.3, -1.2, np.nan, 2.0, 0.1], index=list("abcde"))
    points = qq(e).data[-1]
    assert list(points.y) == [-1.2, 0.1, 0.3, 2.0] and list(points.customdata) == ["b", "e", "a", "d"]
    np.testing.assert_allclose(points.x, norm.ppf((np.arange(1, 5) - 0.375) / 4.25))


def test_qq_line_goes_through_mean_and_standard_deviation() -> None:
    e = RNG.normal(5, 2, 50)
    line = next(t for t in qq(e).data if t.name == "Normal")
    slope = (line.y[1] - line.y[0]) / (line.x[1] - line.x[0])
    np.testing.assert_allclose(slope, e.std(ddof=1))
    np.testing.assert_allclose(line.y[0] - slope * line.x[0], e.mean())


def test_the_envelope_repeats_with_its_seed_and_holds_95_percent() -> None:
    one, again, other = envelope(40, seed=1), envelope(40, seed=1), envelope(40, seed=2)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    z = np.random.default_rng(99).standard_normal((4000, 40))
    z = np.sort((z - z.mean(1, keepdims=True)) / z.std(1, ddof=1, keepdims=True), axis=1)
    inside = ((z >= one[0]) & (z <= one[1])).mean(axis=0)
    assert inside.min() > 0.92 and inside.max() < 0.98


def test_the_envelope_of_very_many_agrees_with_the_simulated_one() -> None:
    low, high = envelope(20_001, seed=1)
    sim_low, sim_high = envelope(20_000, seed=1)
    q = normal_quantiles(20_001)
    assert np.all(low < q) and np.all(q < high)
    tail = slice(0, 20)
    np.testing.assert_allclose(low[tail], sim_low[tail], atol=0.25)
    np.testing.assert_allclose(high[tail], sim_high[tail], atol=0.15)


def test_a_scaled_residual_gives_the_same_picture_scaled() -> None:
    e = RNG.normal(size=60)
    small = qq(e * 1e-8)
    for a, b in zip(qq(e).data, small.data, strict=True):
        np.testing.assert_allclose(np.array(a.y) * 1e-8, b.y, rtol=1e-9)


def test_qq_of_30000_draws_both_tails_in_full() -> None:
    e = RNG.normal(size=30_000)
    fig = qq(e)
    y = np.array(fig.data[-1].y)
    np.testing.assert_array_equal(y[:1000], np.sort(e)[:1000])
    np.testing.assert_array_equal(y[-1000:], np.sort(e)[-1000:])
    assert len(y) <= 5_000 and "of 30,000 points" in said(fig)


@pytest.mark.parametrize(
    ("values", "words"),
    [([], "none"), ([np.nan], "none"), ([1.0], "there is 1"), ([1.0, 2.0], "there are 2"), ([4.0] * 9, "are equal"),
     ([0.0] * 9, "are equal")],
)  # fmt: skip
def test_qq_without_enough_says_why(values, words) -> None:
    fig = qq(values)
    assert not fig.data and words in said(fig)


def test_histogram_counts_every_residual_and_scales_the_normal_curve() -> None:
    e = np.append(RNG.normal(2, 3, 500), np.nan)
    bars, curve = histogram(e).data
    assert sum(bars.y) == 500
    x, y = np.array(curve.x), np.array(curve.y)
    area = np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)
    np.testing.assert_allclose(area, 500 * bars.width[0], rtol=0.01)
    np.testing.assert_allclose(curve.x[np.argmax(curve.y)], np.nanmean(e), atol=0.2)


@pytest.mark.parametrize("values", [[], [np.nan, np.nan], [2.0], [2.0, 2.0, 2.0], [0.0, 0.0]])
def test_histogram_of_nothing_or_a_constant_says_so(values) -> None:
    fig = histogram(values)
    assert said(fig)
    assert all(t.type == "bar" for t in fig.data) and sum(sum(t.y) for t in fig.data) == np.isfinite(values).sum()


def test_residuals_by_a_factor_keeps_the_categories_order_and_all_points() -> None:
    groups = pd.Series(
        pd.Categorical(["low", "high", "low", "mid", "high"], categories=["low", "mid", "high", "unused"])
    )
    e = pd.Series([1.0, 2.0, 3.0, np.nan, 5.0], index=[10, 11, 12, 13, 14])
    fig = residuals_by(e, groups, "dose")
    assert list(fig.layout.yaxis.categoryarray) == ["low", "high"]
    assert [list(t.x) for t in fig.data] == [[1, 3], [2, 5]]
    assert [list(t.customdata) for t in fig.data] == [[10, 12], [11, 14]]
    assert "n = 2, mean 2" in fig.data[0].hovertext[0]


def test_residuals_by_numbers_is_by_level_when_few_and_along_the_axis_when_many() -> None:
    few = residuals_by(RNG.normal(size=40), pd.Series(np.tile([1, 2, 10, 20], 10)), "block")
    assert list(few.layout.yaxis.categoryarray) == ["1", "2", "10", "20"]
    many = residuals_by(RNG.normal(size=40), pd.Series(np.arange(40)), "plot")
    assert many.layout.xaxis.title.text == "plot" and list(cloud(many).x) == list(range(40))


def test_residuals_by_many_levels_shows_those_with_the_largest_and_says_so() -> None:
    groups = np.repeat([f"L{i:03d}" for i in range(200)], 5)
    e = RNG.normal(size=1000)
    e[groups == "L123"] += 50
    fig = residuals_by(e, groups, "line")
    assert len(fig.data) == 60 and "L123" in [t.name for t in fig.data] and "60 of 200 levels" in said(fig)


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("value", [0.0, 1.0, np.nan])
def test_two_rows_or_fewer_never_fail(n, value) -> None:
    e, x = np.full(n, value), np.arange(n, dtype=float)
    for fig in (residuals_fitted(x, e), scale_location(x, e), observed_fitted(e, x), qq(e), histogram(e),
                residuals_by(e, np.array(["a"] * n), "gen")):  # fmt: skip
        assert fig.data or said(fig)
        fig.to_json()


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length: 3 and 2"):
        residuals_fitted([1, 2, 3], [1, 2])


def test_nullable_numbers_are_taken_as_missing() -> None:
    e = pd.array([1.0, None, 3.0], dtype="Float64")
    assert list(cloud(residuals_fitted(np.arange(3), pd.Series(e))).y) == [1, 3]


def test_every_residual_figure_of_a_fit() -> None:
    data = reml.load_sample("sleepstudy")
    fit = reml.fit("Reaction ~ Days + (Days | Subject)", data)
    np.testing.assert_allclose(cloud(fit.plot.residuals()).y, fit.residuals())
    np.testing.assert_allclose(cloud(fit.plot.residuals("marginal")).x, fit.fitted(random=False))
    np.testing.assert_allclose(fit.plot.observed().data[1].y, data["Reaction"])
    np.testing.assert_allclose(fit.plot.qq().data[-1].y, np.sort(fit.residuals()))
    blups = fit.plot.qq("Subject", effect="Days").data[-1]
    table = fit.random_effects("Subject")
    np.testing.assert_allclose(blups.y, np.sort(table.loc[table["effect"] == "Days", "blup"]))
    assert blups.marker.color == theme.RANDOM and "Subject 3" in blups.hovertext[0]
    assert sum(fit.plot.histogram().data[0].y) == 180
    by_subject = fit.plot.residuals_by("Subject")  # numbers, but the model groups by them
    assert len(by_subject.data) == 18 and by_subject.layout.yaxis.categoryarray[0] == "308"
    assert fit.plot.scale_location().data
    with pytest.raises(reml.DataError, match=r"does not use a column \*Subjct\*.*Did you mean \*Subject\*"):
        fit.plot.residuals_by("Subjct")
