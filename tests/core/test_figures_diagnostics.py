"""Variogram, correlogram, influence, envelope, outlined blocks, thinning: the numbers that are drawn, and what notes say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import openreml_core as reml
from openreml_core import figures
from openreml_core.figures import smooth, theme


def said(fig: go.Figure) -> str:
    return " ".join(a.text for a in fig.layout.annotations).replace("<br>", " ")


def markers(fig: go.Figure) -> list[go.Scatter]:
    return [t for t in fig.data if t.type in ("scatter", "scattergl") and t.mode == "markers"]


def field() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    row, col = (v.ravel() for v in np.meshgrid(np.arange(1, 9), np.arange(1, 7), indexing="ij"))
    data = pd.DataFrame(
        {"row": row, "col": col, "gen": [f"G{k % 12}" for k in range(48)], "half": np.where(row <= 4, "A", "B")}
    )
    data["yield"] = rng.normal(10, 1, 48) + 0.3 * row
    return data.drop(index=[10, 29])


@pytest.fixture(scope="module")
def fit() -> reml.MixedModelFit:
    return reml.fit("yield ~ 1 + (1 | gen)", field())


def test_the_variogram_along_rows_is_the_mean_of_half_squared_differences(fit: reml.MixedModelFit) -> None:
    fig = fit.plot.variogram(direction="row")
    points = markers(fig)[0]
    data, e = field(), fit.residuals()
    place = {(r, c): v for r, c, v in zip(data["row"], data["col"], e, strict=True)}
    for lag in (1, 3):
        halves = [(v - place[r + lag, c]) ** 2 / 2 for (r, c), v in place.items() if (r + lag, c) in place]
        at = list(points.x).index(lag)
        assert points.y[at] == pytest.approx(np.mean(halves)) and f"{len(halves)} pairs" in points.hovertext[at]
    line = next(t for t in fig.data if t.mode == "lines")
    expected = fit.variogram(direction="row").set_index("distance")["expected"]
    np.testing.assert_allclose(line.y, expected.loc[list(line.x)])
    assert line.name == "Expected" and fig.layout.yaxis.range[0] == 0


def test_several_directions_have_a_colour_each(fit: reml.MixedModelFit) -> None:
    fig = fit.plot.variogram(direction=["row", "column"])
    assert [t.name for t in markers(fig)] == ["Row", "Column"]
    assert len({t.marker.color for t in markers(fig)}) == 2 and fig.layout.showlegend


def test_the_surface_has_a_cell_a_lag_and_leaves_lags_of_few_pairs_blank(fit: reml.MixedModelFit) -> None:
    table = fit.variogram()
    heat = fit.plot.variogram().data[0]
    z = np.array(heat.z, dtype=float)
    for own in table.itertuples():
        drawn = z[own.row_lag, own.col_lag]
        assert np.isnan(drawn) if own.pairs < 10 else drawn == pytest.approx(own.semivariance)
    few = int((table["pairs"] < 10).sum())
    assert few and f"{few} lags of under 10 pairs left blank" in said(fit.plot.variogram())
    ratio = np.array(fit.plot.variogram(what="ratio").data[0].z, dtype=float)
    one = table[(table["row_lag"] == 1) & (table["col_lag"] == 0)].iloc[0]
    assert ratio[1, 0] == pytest.approx(one["semivariance"] / one["expected"])
    middle = fit.plot.variogram(what="ratio").data[0]
    assert middle.zmax - 1 == pytest.approx(1 - middle.zmin)  # 1, where the model holds, is the middle of the colours


def test_the_correlogram_draws_correlations_and_the_band_of_the_model(fit: reml.MixedModelFit) -> None:
    table = fit.autocorrelation(directions=("row", "column"))
    fig = fit.plot.autocorrelation(directions=("row", "column"))
    for points, (_, own) in zip(markers(fig), table.groupby("direction", sort=False), strict=True):
        np.testing.assert_allclose(points.y, own["correlation"])
        np.testing.assert_allclose(np.round(np.array(points.x, dtype=float)), own["lag"])
    bands = [t for t in fig.data if t.fill == "tonexty"]
    np.testing.assert_allclose(bands[0].y, table[table["direction"] == "row"]["upper"])
    assert "95 %" in said(fig)
    assert figures.correlogram(table.iloc[:0]).layout.annotations[0].name == "message"


def test_influence_marks_the_cases_beyond_the_limit_and_names_the_largest(fit: reml.MixedModelFit) -> None:
    table, found = fit.influence(), fit.influential()
    fig = fit.plot.influence()
    below, beyond = markers(fig)
    assert beyond.marker.color == theme.FAILED and below.marker.color == theme.RESIDUAL
    assert sorted(beyond.customdata) == sorted(found.index) and len(below.x) + len(beyond.x) == len(table)
    drawn = dict(zip([*below.customdata, *beyond.customdata], [*below.y, *beyond.y], strict=True))
    np.testing.assert_allclose([drawn[i] for i in table.index], table["cooks_distance"])
    assert fig.layout.shapes[0].y0 == pytest.approx(4 / len(table))
    named = [a.text for a in fig.layout.annotations if a.name != "note"]
    assert named == [str(i) for i in found.index[:5]] and "4 / 46" in said(fig)


def test_influence_of_levels_and_of_a_measure_about_one(fit: reml.MixedModelFit) -> None:
    fig = fit.plot.influence("gen", measure="covratio")
    points = markers(fig)[0]
    assert set(points.customdata) == set(fit.table["gen"]) and "Levels of gen" in fig.layout.xaxis.title.text
    stems = np.array(fig.data[0].y, dtype=float)[::3]
    np.testing.assert_array_equal(stems, 1.0)


def test_very_many_cases_are_thinned_and_the_largest_are_always_kept() -> None:
    rng = np.random.default_rng(1)
    values = rng.exponential(size=30_000)
    table = pd.DataFrame({"cooks_distance": values})
    fig = figures.influence(table, limit=3.0)
    drawn = [v for t in markers(fig) for v in t.y]
    assert len(drawn) == 5_000 and "5,000 of 30,000 points are drawn, the 1,000 farthest out among them" in said(fig)
    largest = np.sort(values)[-500:]
    assert np.isin(largest, drawn).all()
    assert all(isinstance(t, go.Scattergl) for t in markers(fig) if len(t.x) > 1_000)


def test_the_envelope_is_that_of_draws_from_the_model(fit: reml.MixedModelFit) -> None:
    table = fit.residual_envelope(simulations=99, level=0.9)
    fig = fit.plot.envelope(simulations=99, level=0.9)
    low, high, _, points = fig.data
    np.testing.assert_allclose(low.y, table["lower"])
    np.testing.assert_allclose(high.y, table["upper"])
    np.testing.assert_allclose(points.y, np.sort(fit.residuals("studentized")), rtol=1e-8)
    assert list(points.customdata) == list(table.index)
    outside = int(((table["residual"] < table["lower"]) | (table["residual"] > table["upper"])).sum())
    assert f"90 % of 99 draws from the model; {outside} of 46 points lie outside" in said(fig)


def test_blocks_are_outlined_between_plots_of_different_blocks_and_around_all() -> None:
    row, col = (v.ravel() for v in np.meshgrid([1, 2], [1, 2, 3, 4], indexing="ij"))
    fig = figures.field_map(row, col, np.arange(8.0), blocks=np.where(col <= 2, "a", "b"))
    line = fig.data[1]
    x, y = (np.array(v, dtype=float).reshape(-1, 3)[:, :2] for v in (line.x, line.y))
    sides = {(x0, y0, x1, y1) for (x0, x1), (y0, y1) in zip(x, y, strict=True)}
    inner = {s for s in sides if s[0] == s[2] == 1.5}
    assert len(inner) == 2  # the border between columns 2 and 3, in either row, once
    assert len(sides) == len(x) == 2 + 12  # and the outside of eight plots
    assert not any(s[0] == s[2] == 0.5 for s in sides)


def test_one_trial_of_a_field_is_drawn_alone() -> None:
    data = pd.concat([field().assign(site="S1"), field().assign(site="S2")], ignore_index=True)
    data["yield"] += np.random.default_rng(8).normal(size=len(data))
    fit = reml.fit("yield ~ site + (1 | gen)", data)
    heat = fit.plot.field(trial=("site", "S2"), blocks="half").data[0]
    own = data[data["site"] == "S2"]
    z = np.full((8, 6), np.nan)
    z[own["row"] - 1, own["col"] - 1] = fit.residuals().loc[own.index]
    np.testing.assert_allclose(np.array(heat.z, dtype=float), z)
    with pytest.raises(reml.DataError, match="No plot lies in"):
        fit.plot.field(trial=("site", "S9"))


def test_boxes_of_many_rows_are_drawn_from_their_quartiles_with_the_farthest_points() -> None:
    rng = np.random.default_rng(2)
    e = pd.Series(rng.normal(size=6_000), index=np.arange(6_000) + 7)
    groups = np.repeat(["a", "b"], 3_000)
    fig = figures.residuals_by(e, groups, "group")
    boxes = [t for t in fig.data if t.type == "box"]
    first = e.to_numpy()[:3_000]
    np.testing.assert_allclose(
        [boxes[0].q1[0], boxes[0].median[0], boxes[0].q3[0]], np.quantile(first, [0.25, 0.5, 0.75])
    )
    points = markers(fig)[0]
    fence = boxes[0].q3[0] + 1.5 * (boxes[0].q3[0] - boxes[0].q1[0])
    assert len(points.x) <= 50 and max(first) in points.x and max(first) > fence
    assert points.customdata[list(points.x).index(max(first))] == int(e.index[np.argmax(first)])
    assert "50 points farthest beyond its whiskers" in said(fig)


def test_the_smoother_of_very_many_points_is_that_of_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=8_000)
    y = np.sin(x) + rng.normal(size=8_000)
    at, gathered = smooth.local_line(x, y)
    monkeypatch.setattr(smooth, "GATHER_ABOVE", 10**9)
    same, whole = smooth.local_line(x, y)
    np.testing.assert_array_equal(at, same)
    assert np.abs(gathered - whole).max() < 0.01


def test_residuals_of_every_kind_are_named_and_drawn_against_what_they_are_left_by(fit: reml.MixedModelFit) -> None:
    for kind, words in (
        ("studentized-external", "Externally studentised residual"),
        ("cholesky", "Decorrelated residual"),
    ):
        fig = fit.plot.residuals(kind)
        assert fig.layout.yaxis.title.text == words
        np.testing.assert_allclose(markers(fig)[0].x, fit.fitted(random=kind != "cholesky"))
    with pytest.raises(reml.DataError, match="no single row"):
        fit.plot.residuals("least-confounded")
    assert "Combination 1" in " ".join(markers(fit.plot.qq(kind="least-confounded"))[0].hovertext)


def test_places_are_found_by_their_names_and_trials_where_they_repeat(fit: reml.MixedModelFit) -> None:
    assert fit.places() == ("row", "col", None)
    data = pd.concat([field().assign(site="S1"), field().assign(site="S2")], ignore_index=True)
    assert reml.fit("yield ~ site + (1 | gen)", data).places() == ("row", "col", "site")
    assert reml.fit("Yield ~ 1 + (1 | Batch)", reml.load_sample("dyestuff")).places() is None
    assert fit.places("col", "row") == ("col", "row", None)
