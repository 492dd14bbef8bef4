"""Caterpillar, forest and variance shares: order, intervals, colours, and what is said when there is nothing to draw."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import openreml_core as reml
from openreml_core.figures import caterpillar, forest, theme, variance_shares


def effects(blup, names=None, effect="(Intercept)", se=0.2) -> pd.DataFrame:
    blup = np.asarray(blup, dtype=float)
    names = names or [f"G{i + 1:02d}" for i in range(blup.size)]
    return pd.DataFrame({"level": names, "effect": effect, "blup": blup, "std_error": se,
                         "lower": blup - 1.96 * se, "upper": blup + 1.96 * se, "reliability": 0.7})  # fmt: skip


def said(fig: go.Figure) -> str:
    """All words written on a figure by annotations, in one line."""
    return " ".join(a.text for a in fig.layout.annotations).replace("<br>", " ")


@pytest.fixture(scope="module")
def alpha() -> reml.MixedModelFit:
    return reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", reml.load_sample("john_alpha"))


def test_caterpillar_is_sorted_with_the_largest_on_top_and_carries_the_intervals() -> None:
    table = effects([0.3, -1.0, 2.0, 0.0], names=["a", "b", "c", "d"]).assign(
        lower=[0.1, -1.5, 1, -1], upper=[0.6, -0.9, 4, 2]
    )
    fig = caterpillar(table, term="gen")
    (trace,) = fig.data
    assert list(trace.y) == ["c", "a", "d", "b"] == list(fig.layout.yaxis.categoryarray)
    assert fig.layout.yaxis.range[0] > fig.layout.yaxis.range[1]  # the first category is at the top
    np.testing.assert_allclose(trace.x, [2.0, 0.3, 0.0, -1.0])
    np.testing.assert_allclose(np.add(trace.x, trace.error_x.array), [4, 0.6, 2, -0.9])
    np.testing.assert_allclose(np.subtract(trace.x, trace.error_x.arrayminus), [1, 0.1, -1, -1.5])
    assert trace.marker.color == theme.RANDOM


def test_caterpillar_hover_names_level_effect_error_rank_count_and_reliability() -> None:
    table = effects([0.51234567, -1.0], names=["a", "b"])
    text = caterpillar(table, term="gen", counts={"a": 3, "b": 1234}).data[0].hovertext
    assert "<b>a</b>" in text[0] and "Effect 0.5123, SE 0.2" in text[0] and "n = 3" in text[0]
    assert (
        "Rank 1 of 2" in text[0]
        and "Rank 2 of 2" in text[1]
        and "n = 1,234" in text[1]
        and "Reliability 0.7" in text[1]
    )


def test_caterpillar_names_every_level_up_to_sixty_and_thins_the_names_of_5000() -> None:
    few = caterpillar(effects(np.arange(24.0)), term="gen").layout.yaxis
    assert few.tickmode == "linear" and few.dtick == 1
    blup = np.random.default_rng(1).normal(size=5000)
    fig = caterpillar(effects(blup, names=[f"L{i}" for i in range(5000)]), term="gen")
    band, points = fig.data
    assert isinstance(points, go.Scattergl) and len(points.x) == 5000 and np.all(np.diff(points.x) <= 0)
    assert fig.layout.yaxis.tickmode is None and 10 <= fig.layout.yaxis.nticks <= 50
    assert fig.layout.height < 1000
    np.testing.assert_allclose(np.array(band.x)[:5000], np.sort(blup)[::-1] - 1.96 * 0.2)
    np.testing.assert_allclose(np.array(band.x)[5000:], np.sort(blup) + 1.96 * 0.2)


def test_caterpillar_top_keeps_both_ends_and_the_highlighted_and_says_what_is_left_out() -> None:
    fig = caterpillar(
        effects(np.arange(100.0, 0, -1), names=[f"L{i}" for i in range(1, 101)]), term="gen", top=3, highlight=["L50"]
    )
    plain, marked = fig.data
    assert list(plain.y) == ["L1", "L2", "L3", "L98", "L99", "L100"]
    assert (
        list(marked.y) == ["<b>L50</b>"] and marked.marker.symbol == "diamond" and marked.marker.color == theme.RANDOM
    )
    axis = [re.sub(r"<.*?>|\u200b", "", k) for k in fig.layout.yaxis.categoryarray]
    assert axis == ["L1", "L2", "L3", "\u22ee 46 more", "L50", "\u22ee 47 more", "L98", "L99", "L100"]
    assert "Rank 98 of 100" in plain.hovertext[3]


def test_caterpillar_gaps_of_equal_size_stay_two_lines() -> None:
    fig = caterpillar(effects(np.arange(7.0, 0, -1)), term="gen", top=1, highlight=["G04"])
    axis = list(fig.layout.yaxis.categoryarray)
    assert len(axis) == len(set(axis)) == 5


def test_caterpillar_search_is_by_part_of_the_name_in_any_case_and_keeps_the_rank() -> None:
    table = effects([3.0, 2.0, 1.0], names=["Alpha", "beta", "alphabet"])
    fig = caterpillar(table, term="gen", search=" ALPHA ")
    assert list(fig.data[0].y) == ["Alpha", "alphabet"]
    assert "Rank 3 of 3" in fig.data[0].hovertext[1]
    assert "2 levels of 3" in said(fig)


def test_caterpillar_search_without_a_match_says_so() -> None:
    fig = caterpillar(effects([1.0, 2.0]), term="gen", search="<b>x")
    assert not fig.data and "No level of gen contains \u201c&lt;b&gt;x\u201d" in said(fig)


def test_caterpillar_names_a_highlight_that_is_no_level() -> None:
    assert "Not among the levels of gen: X9" in said(caterpillar(effects([1.0, 2.0]), term="gen", highlight=["X9"]))


def test_caterpillar_of_two_effects_has_two_panels_in_one_order() -> None:
    both = pd.concat([effects([1.0, 3.0, 2.0]), effects([0.1, 0.2, 0.3], effect="Days")])
    fig = caterpillar(both, term="Subject")
    first, second = fig.data
    assert list(first.y) == list(second.y) == ["G02", "G03", "G01"]
    np.testing.assert_allclose(second.x, [0.2, 0.3, 0.1])
    assert said(fig) == "Intercept Days"
    only = caterpillar(both, term="Subject", effect="Days")
    assert len(only.data) == 1 and list(only.data[0].y) == ["G03", "G02", "G01"]
    with pytest.raises(reml.DataError, match="no effect \\*days\\*"):
        caterpillar(both, term="Subject", effect="days")


def test_caterpillar_of_a_zero_variance_says_so() -> None:
    fig = caterpillar(effects([0.0, 0.0], se=0.0), term="Batch")
    assert not fig.data and "estimated as zero" in said(fig)


@pytest.mark.parametrize("blup", [[], [np.nan], [0.5], [0.5, np.nan]])
def test_caterpillar_takes_no_level_one_level_and_missing_values(blup) -> None:
    fig = caterpillar(effects(blup), term="gen")
    assert sum(len(t.x) for t in fig.data) == np.isfinite(blup).sum()
    assert fig.data or "no predicted effects" in said(fig)


def test_long_and_html_like_level_names_stay_apart() -> None:
    names = ["Experimental line 0001 of the north", "Experimental line 0002 of the north", "a<b>"]
    fig = caterpillar(effects([3.0, 2.0, 1.0], names=names), term="gen")
    assert len(set(fig.data[0].y)) == 3 and fig.data[0].y[2] == "a&lt;b&gt;"


def coefficients() -> pd.DataFrame:
    return pd.DataFrame(
        {"estimate": [4.5, 0.2978, -0.414], "std_error": [0.15, 0.17, 0.17], "df": [21.1, 11.8, 11.8], "t": [31.1, 1.71, -2.38],
         "p_value": [1e-19, 0.1129, 0.035], "lower": [4.2, -0.08, -0.79], "upper": [4.8, 0.68, -0.03]},
        index=["(Intercept)", "rep[T.R2]", "rep[T.R3]"],
    )  # fmt: skip


def test_forest_keeps_the_tables_order_without_the_intercept() -> None:
    fig = forest(coefficients())
    (trace,) = fig.data
    assert list(trace.y) == ["rep[T.R2]", "rep[T.R3]"] and trace.marker.color == theme.FIXED
    np.testing.assert_allclose(np.add(trace.x, trace.error_x.array), [0.68, -0.03])
    np.testing.assert_allclose(np.subtract(trace.x, trace.error_x.arrayminus), [-0.08, -0.79])
    assert "p 0.113" in trace.hovertext[0] and "11.8 df" in trace.hovertext[0] and "SE 0.17" in trace.hovertext[0]
    assert forest(coefficients(), intercept=True).data[0].y[0] == "Intercept"


def test_forest_of_an_intercept_alone_shows_it_and_missing_estimates_are_named() -> None:
    assert list(forest(coefficients().iloc[:1]).data[0].y) == ["Intercept"]
    table = coefficients()
    table.loc["rep[T.R3]", "estimate"] = np.nan
    assert "Without an estimate: rep[T.R3]" in said(forest(table))
    assert "no fixed effects" in said(forest(coefficients().iloc[:0]))


def components() -> pd.DataFrame:
    rows = [
        ("Subject", "us", "(Intercept)", "", "variance", 612.0, 300.0, 24.7, 40.0, ""),
        ("Subject", "us", "(Intercept)", "Days", "covariance", 9.6, 40.0, np.nan, 2.0, ""),
        ("Subject", "us", "Days", "", "variance", 35.0, 12.0, 5.9, 16.0, ""),
        ("rep:block", "us", "(Intercept)", "", "variance", 0.0, np.nan, 0.0, 0.0, "at zero"),
        ("residual", "id", "units", "", "variance", 655.0, 77.0, 25.6, 42.0, ""),
    ]
    names = "group structure name1 name2 kind estimate std_error std_dev percent bound"
    return pd.DataFrame(rows, columns=names.split())


def test_variance_shares_draws_the_variances_and_colours_them_by_meaning() -> None:
    fig = variance_shares(components())
    bars, bounds = fig.data
    assert list(bars.y) == ["Subject: Intercept", "Subject: Days", "rep:block", "Residual"]
    assert list(bars.x) == [40, 16, 0, 42]
    assert list(bars.marker.color) == [theme.RANDOM, theme.RANDOM, theme.BOUND, theme.RESIDUAL]
    assert [t.strip() for t in bars.text] == ["40.0 %", "16.0 %", "at zero", "42.0 %"]
    assert list(bounds.y) == ["rep:block"] and bounds.marker.color == theme.BOUND
    assert "Variance 612.0, SE 300" in bars.hovertext[0] or "Variance 612, SE 300" in bars.hovertext[0]
    assert "Covariances within terms make up 2 %" in said(fig)


def test_variance_shares_come_from_the_estimates_where_none_is_given() -> None:
    table = pd.DataFrame({"group": ["gen", "residual"], "kind": "variance", "estimate": [3.0, 1.0], "std_error": 0.1})
    np.testing.assert_allclose(variance_shares(table).data[0].x, [75, 25])
    assert "no variance components" in said(variance_shares(table.iloc[:0]))


def test_the_fits_own_tables_go_straight_into_the_figures(alpha) -> None:
    fig = alpha.plot.caterpillar("gen", highlight=["G05"])
    assert sum(len(t.x) for t in fig.data) == 24 and "n = 3" in fig.data[0].hovertext[0]
    np.testing.assert_allclose(alpha.plot.components().data[0].x.sum(), 100)
    assert len(alpha.plot.coefficients().data[0].x) == 2
    assert "n = 4" in alpha.plot.caterpillar("rep:block").data[0].hovertext[0]
    with pytest.raises(reml.DataError, match="Did you mean \\*gen\\*"):
        alpha.plot.caterpillar("gene")


def test_variance_shares_of_loadings_are_one_bar_and_sections_are_residuals() -> None:
    rows = [
        ("gen", "C1", "loading", 20.0), ("gen", "C2", "loading", 10.0), ("gen", "C1", "specific variance", 5.0),
        ("residual[C1]", "", "variance", 40.0), ("residual[C2]", "", "variance", 20.0), ("units", "units", "variance", 5.0),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["group", "name1", "kind", "percent"]).assign(
        estimate=1.0, std_error=0.1, bound=""
    )
    bars = variance_shares(table).data[0]
    assert list(bars.y) == ["gen", "Residual in C1", "Residual in C2", "Error of each row"]
    assert list(bars.x) == [35, 40, 20, 5]
    assert list(bars.marker.color) == [theme.RANDOM, *[theme.RESIDUAL] * 3]
    assert "Variance" not in bars.hovertext[0] and "35.0 % of the variance" in bars.hovertext[0]
