"""Figures of means, differences, profiles, bootstrap and comparison: what is drawn is what the tables hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from scipy import stats

import openreml_core as reml
from openreml_core import figures
from openreml_core.figures import theme
from openreml_core.figures.uncertainty import profile_density


def said(fig: go.Figure) -> str:
    return " ".join(a.text for a in fig.layout.annotations).replace("<br>", " ")


def ends(trace: go.Scatter) -> np.ndarray:
    """Both ends of every interval of a trace, (points, 2)."""
    x = np.asarray(trace.x, dtype=float)
    return np.column_stack([x - trace.error_x.arrayminus, x + trace.error_x.array])


def verticals(fig: go.Figure, panel: int = 0) -> list[float]:
    """Where lines across a panel stand."""
    axis = "x" if panel == 0 else f"x{panel + 1}"
    return [s.x0 for s in fig.layout.shapes if s.type == "line" and s.x0 == s.x1 and s.xref == axis]


@pytest.fixture(scope="module")
def oats() -> reml.MixedModelFit:
    return reml.fit("yield ~ C(nitro) * Variety + (1 | Block/Variety)", reml.load_sample("oats"))


# -- means ------------------------------------------------------------------------------------------------------


def test_means_have_their_intervals_and_letters(oats: reml.MixedModelFit) -> None:
    fig = oats.plot.means("nitro")
    points, letters = fig.data
    # emmeans: 79.389, 98.889, 114.222, 123.389, SE 7.174688 on 6.8 df; Tukey's letters c, b, a, a.
    np.testing.assert_allclose(points.x, [79.38889, 98.88889, 114.22222, 123.38889], atol=1e-4)
    half = stats.t.ppf(0.975, oats.means("nitro")["df"]) * oats.means("nitro")["std_error"]
    np.testing.assert_allclose(ends(points)[:, 1] - points.x, half, rtol=1e-9)
    assert [t.strip() for t in letters.text] == ["c", "b", "a", "a"]
    np.testing.assert_allclose(letters.x, ends(points)[:, 1])  # each beside the end of its interval
    assert list(letters.y) == list(points.y) == ["0", "0.2", "0.4", "0.6"] == list(fig.layout.yaxis.categoryarray)
    assert "Mean" in points.hovertext[0] or "yield" in points.hovertext[0]
    assert "Group c" in points.hovertext[0] and "SE 7.175" in points.hovertext[0]
    assert fig.layout.xaxis.title.text == "yield, 95 % interval"


def test_means_within_a_factor_have_a_panel_each_and_its_numbers(oats: reml.MixedModelFit) -> None:
    table = oats.means("nitro", by="Variety").letters()
    fig = oats.plot.means("nitro", by="Variety")
    panels = [t for t in fig.data if t.mode == "markers"]
    letters = [t for t in fig.data if t.mode == "text"]
    assert [a.text for a in fig.layout.annotations] == [
        f"Variety {v}" for v in ("Golden Rain", "Marvellous", "Victory")
    ]
    for k, (_, part) in enumerate(table.groupby("Variety", sort=False, observed=True)):
        np.testing.assert_allclose(panels[k].x, part["estimate"])
        np.testing.assert_allclose(ends(panels[k]), part[["lower", "upper"]])
        assert [t.strip() for t in letters[k].text] == part["letters"].tolist()
    span = [a.range for a in fig.select_xaxes()]
    assert all(r == span[0] for r in span)
    assert span[0][0] < table["lower"].min() and span[0][1] > table["upper"].max()


def test_means_largest_first_and_those_that_cannot_be_estimated() -> None:
    data = reml.load_sample("oats")
    fit = reml.fit(
        "yield ~ C(nitro) * Variety + (1 | Block)", data[~((data["nitro"] == 0.6) & (data["Variety"] == "Victory"))]
    )
    means = fit.means("nitro:Variety")
    fig = figures.means_plot(means.letters(), response="yield", largest_first=True)
    drawn = fig.data[0]
    known = means.frame.dropna(subset=["estimate"]).sort_values("estimate", ascending=False)
    axis = list(fig.layout.yaxis.categoryarray)
    order = np.argsort([axis.index(k) for k in drawn.y])
    np.testing.assert_allclose(np.asarray(drawn.x)[order], known["estimate"])
    assert axis[-1] == "0.6, Victory" not in drawn.y
    assert "1 of 12 cannot be estimated" in said(fig)


def test_lines_of_an_interaction_stand_at_the_numbers_of_their_factor(oats: reml.MixedModelFit) -> None:
    table = oats.means("nitro:Variety").frame
    fig = figures.interaction_plot(table, "nitro", response="yield")
    assert [t.name for t in fig.data] == ["Variety Golden Rain", "Variety Marvellous", "Variety Victory"]
    for line in fig.data:
        part = table[table["Variety"] == line.name.removeprefix("Variety ")]
        np.testing.assert_allclose(line.y, part["estimate"])
        np.testing.assert_allclose(line.y + line.error_y.array, part["upper"])
        np.testing.assert_allclose(line.x, [0, 0.2, 0.4, 0.6], atol=0.02)
    assert list(fig.layout.xaxis.ticktext) == ["0", "0.2", "0.4", "0.6"]


# -- differences ------------------------------------------------------------------------------------------------


def test_pairs_have_their_intervals_and_those_that_differ_stand_out(oats: reml.MixedModelFit) -> None:
    table = oats.means("nitro").pairs("tukey")
    fig = oats.plot.pairs("nitro")
    found = {t.name: t for t in fig.data}
    telling = table[table["p_value"] < 0.05]
    np.testing.assert_allclose(found["differs from zero"].x, telling["estimate"])
    np.testing.assert_allclose(ends(found["differs from zero"]), telling[["lower", "upper"]])
    assert list(found["does not"].y) == ["0.4 - 0.6"] and found["does not"].marker.color == theme.INK
    np.testing.assert_allclose(found["does not"].x, [-9.16667], atol=1e-4)  # emmeans: p 0.1797 on 45 df
    assert "p 0.180" in found["does not"].hovertext[0] and "45.0 df" in found["does not"].hovertext[0]
    assert list(fig.layout.yaxis.categoryarray) == table["contrast"].tolist()
    assert ends(found["differs from zero"]).max() < 0 < ends(found["does not"]).max()


def test_the_square_of_all_pairs_is_row_less_column() -> None:
    fit = reml.fit("yield ~ gen + rep + (1 | rep:block)", reml.load_sample("john_alpha"))
    means = fit.means("gen")
    pairs = means.pairs("none")
    fig = figures.pairs_square(pairs, means.labels)
    z = np.array(fig.data[0].z, dtype=float)
    estimate = means["estimate"].to_numpy(float)
    np.testing.assert_allclose(
        np.nan_to_num(z), np.subtract.outer(estimate, estimate) * ~np.eye(24, dtype=bool), atol=1e-10
    )
    dots = np.array(fig.data[0].text) == "\u2022"
    assert dots.sum() == 2 * (pairs["p_value"] < 0.05).sum() > 0 and (dots == dots.T).all()
    assert means.labels[0] in fig.data[0].hovertext[0][1] and "less" in fig.data[0].hovertext[0][1]


# -- profiles and bootstrap -------------------------------------------------------------------------------------


def test_profile_curves_pass_their_bounds_where_the_interval_ends(oats: reml.MixedModelFit) -> None:
    profile = oats.profile("random")
    table = profile.confint(0.9)
    fig = oats.plot.profile("random", level=0.9)
    bound = stats.norm.ppf(0.95)
    bands = [(s.y0, s.y1) for s in fig.layout.shapes if s.type == "rect"]
    np.testing.assert_allclose(bands, [(-bound, bound)] * 3)
    for k, name in enumerate(table.index):
        own = profile.table[profile.table["parameter"] == name]
        np.testing.assert_allclose(fig.data[k].x, own["value"])
        np.testing.assert_allclose(fig.data[k].y, own["zeta"])
        np.testing.assert_allclose(verticals(fig, k), table.loc[name, ["lower", "upper"]].astype(float))
        at = np.interp(verticals(fig, k), own["value"], own["zeta"])
        np.testing.assert_allclose(at, [-bound, bound], atol=0.06)
    titles = [a.text for a in fig.layout.annotations]
    assert titles == ["<b>Block</b><br>SD", "<b>Block:Variety</b><br>SD", "<b>residual</b><br>SD"]


def test_the_density_of_a_mean_is_what_its_likelihood_says() -> None:
    y = np.random.default_rng(3).normal(10, 2, 12)
    fit = reml.fit("y ~ 1", pd.DataFrame({"y": y}))
    fig = fit.plot.profile("fixed", what="density")
    x, p = np.array(fig.data[0].x), np.array(fig.data[0].y)
    # D(m) = n log(1 + (m - mean)^2 / s^2), s^2 by ML; zeta its signed root, p = phi(zeta) zeta', by hand.
    d, s, n = x - y.mean(), y.std(), 12
    zeta = np.sign(d) * np.sqrt(n * np.log1p((d / s) ** 2))
    with np.errstate(invalid="ignore"):
        slope = n * d / s**2 / (1 + (d / s) ** 2) / zeta
    wanted = stats.norm.pdf(zeta) * np.where(np.abs(d) < 1e-6, np.sqrt(n) / s, slope)
    np.testing.assert_allclose(p, wanted, atol=2e-3 * wanted.max())
    inside = np.sum(np.diff(x) * (p[1:] + p[:-1]) / 2)
    assert inside == pytest.approx(stats.norm.cdf(zeta[-1]) - stats.norm.cdf(zeta[0]), abs=1e-3)
    assert fig.layout.yaxis.title.text == "Density" and not [s for s in fig.layout.shapes if s.type == "rect"]


def test_densities_of_a_variance_that_may_be_zero_and_of_a_flat_profile() -> None:
    fit = reml.fit("Yield ~ 1 + (1 | Batch)", reml.load_sample("dyestuff"))
    part = fit.profile("Batch").table
    x, p = profile_density(part["value"].to_numpy(), part["zeta"].to_numpy())
    assert x[0] == 0 and (p >= 0).all()
    inside = np.sum(np.diff(x) * (p[1:] + p[:-1]) / 2)
    assert inside == pytest.approx(
        stats.norm.cdf(part["zeta"].iloc[-1]) - stats.norm.cdf(part["zeta"].iloc[0]), abs=2e-3
    )
    assert len(profile_density(np.array([0.0, 1.0]), np.array([0.0, 0.0]))[0]) == 0
    with pytest.raises(ValueError, match="neither 'zeta' nor 'density'"):
        figures.profile_curves(part, what="deviance")


def test_a_calibrated_interval_has_a_band_of_its_own() -> None:
    data = pd.DataFrame({"y": np.random.default_rng(1).normal(size=8), "block": list("aabbccdd"), "t": list("xy") * 4})
    fit = reml.fit("y ~ t + (1 | block)", data)
    name = "t[T.y]"
    table = fit.confint(parameters=name, calibrate=True, n_boot=300, seed=1)
    profile = fit.profile(name)
    fig = figures.profile_curves(profile.table, table)
    (band,) = [s.y1 for s in fig.layout.shapes if s.type == "rect"]
    assert band == table.attrs["zeta"][name] > 1.96
    own = profile.table
    np.testing.assert_allclose(np.interp(verticals(fig), own["value"], own["zeta"]), [-band, band], atol=0.03)


def test_histograms_hold_every_replicate_and_mark_estimate_and_interval(oats: reml.MixedModelFit) -> None:
    drawn = oats.bootstrap(120, seed=4, parameters="random")
    table = drawn.confint(0.9, "percentile")
    fig = oats.plot.bootstrap(120, 4, level=0.9, parameters="random")
    for k, name in enumerate(table.index):
        bars, values = fig.data[k], drawn.replicates[name]
        assert sum(bars.y) == 120
        low, high = bars.x[0] - bars.width[0] / 2, bars.x[-1] + bars.width[-1] / 2
        assert low <= values.min() + 1e-9 and high >= values.max() - 1e-9
        low, high = table.loc[name, ["lower", "upper"]].astype(float)
        left, width = np.array(bars.x) - np.array(bars.width) / 2, np.array(bars.width)
        wanted = [((values >= a) & (values < a + w)).sum() for a, w in zip(left[:-1], width[:-1], strict=True)]
        np.testing.assert_allclose(bars.y[:-1], wanted, atol=1)  # a value on an edge
        np.testing.assert_allclose(verticals(fig, k), [low, high, table.loc[name, "estimate"]])
        assert values.between(low, high).mean() >= 0.9  # more where a variance is zero in many


def test_bounds_that_are_infinite_are_not_drawn() -> None:
    drawn = reml.fit("Yield ~ 1 + (1 | Batch)", reml.load_sample("dyestuff")).bootstrap(200, seed=3)
    table = drawn.confint(kind="studentized")
    fig = figures.bootstrap_histograms(drawn.replicates, table)
    assert np.isinf(table["upper"].iloc[0]) and len(verticals(fig)) == 2
    fig.to_json()


def test_an_empty_profile_and_no_replicates_are_said() -> None:
    empty = pd.DataFrame(columns=["parameter", "group", "kind", "value", "zeta"])
    assert "No profile" in said(figures.profile_curves(empty))
    nothing = pd.DataFrame(columns=["group", "kind", "estimate", "lower", "upper"])
    assert "no replicates" in said(figures.bootstrap_histograms(pd.DataFrame(), nothing))


# -- comparison -------------------------------------------------------------------------------------------------


def test_criteria_are_drawn_above_the_smallest_of_each() -> None:
    data = reml.load_sample("sleepstudy")
    slopes = reml.fit("Reaction ~ Days + (Days | Subject)", data, method="ml")
    plain = reml.fit("Reaction ~ Days + (1 | Subject)", data, method="ml")
    mean = reml.fit("Reaction ~ 1 + (1 | Subject)", data, method="ml")
    fig = slopes.plot.compare(plain, mean, labels=["slopes", "plain", "mean"])
    aic, bic = fig.data
    # lme4: AIC 1763.939, 1802.079, 1916.541; BIC 1783.097, 1814.850, 1926.120.
    assert list(fig.layout.yaxis.categoryarray) == ["mean", "plain", "slopes"] == list(aic.y)
    np.testing.assert_allclose(aic.x, np.array([1916.541, 1802.079, 1763.939]) - 1763.939, atol=2e-3)
    np.testing.assert_allclose(bic.x, np.array([1926.120, 1814.850, 1783.097]) - 1783.097, atol=2e-3)
    assert "the smallest" in aic.hovertext[2] and "above the smallest" in aic.hovertext[0]
