"""The iteration figures: criterion, gradient and parameters, in full and up to an iteration."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.figures import convergence, parameter_groups, parameter_traces, theme
from openreml_core.figures.iterations import parameter_names, split_name


@pytest.fixture
def trace() -> pd.DataFrame:
    return pd.DataFrame(
        {"iteration": [0, 1, 2, 3], "criterion": [100.0, 95, 95, 93.2], "change": [np.nan, -5, 0, -1.8],
         "gradient": [5.0, 0.1, 0.1, 0.0], "radius": 1.0, "ratio": 1.0, "step": ["start", "AI shortened", "rejected", "AI"],
         "seconds": 0.0, "sentence": ["s0", "s1", "s2", "s3"], "gen.variance": [0.1, 0.2, 0.2, 0.14],
         "rep:block.variance": [0.1, 0.0, 0.0, 0.0], "residual.variance": [0.1, 0.08, 0.08, 0.0816]},
    )  # fmt: skip


def marks(fig, axis="x"):
    return {t.name: t for t in fig.data if t.mode == "markers" and t.xaxis == axis}


def test_convergence_marks_each_kind_of_step_in_its_colour(trace) -> None:
    fig = convergence(trace)
    kinds = marks(fig)
    assert {k: list(t.x) for k, t in kinds.items()} == {"Start": [0], "AI step": [3], "Shortened": [1], "Rejected": [2]}
    assert kinds["AI step"].marker.color == theme.CONVERGED and kinds["Rejected"].marker.color == theme.FAILED
    assert kinds["Shortened"].marker.color == theme.BOUND and list(kinds["AI step"].y) == [93.2]
    assert fig.layout.yaxis2.type == "log" and fig.layout.yaxis2.title.text == "Scaled gradient"
    assert "s3" in kinds["AI step"].hovertext[0]
    shown = [t.name for t in fig.data if t.showlegend]
    assert sorted(shown) == ["AI step", "Rejected", "Shortened"]


def test_a_gradient_of_exactly_zero_is_still_on_the_log_axis(trace) -> None:
    last = marks(convergence(trace), "x2")["AI step"]
    np.testing.assert_allclose(last.y, [0.01])
    assert "Gradient 0" in last.hovertext[0]


def test_upto_hides_later_points_and_keeps_the_axes(trace) -> None:
    full, part = convergence(trace), convergence(trace, upto=1)
    assert "AI step" not in marks(part) and list(marks(part)["Shortened"].x) == [1]
    for axis in ("xaxis", "yaxis", "xaxis2", "yaxis2"):
        assert full.layout[axis].range == part.layout[axis].range
    assert any(t.mode == "lines" and len(t.x) == 4 and t.line.color == theme.GRID for t in part.data)
    for a, b in zip(
        parameter_traces(trace).select_yaxes(), parameter_traces(trace, upto=0).select_yaxes(), strict=True
    ):
        assert a.range == b.range


def test_the_tolerance_is_drawn_and_within_the_axis(trace) -> None:
    fig = convergence(trace, tolerance=1e-6)
    assert fig.layout.shapes[0].y0 == 1e-6 and fig.layout.yaxis2.range[0] < -6


def test_parameters_have_a_panel_each_and_zero_is_marked_as_bound(trace) -> None:
    fig = parameter_traces(trace)
    panels = {t.name: t for t in fig.data if t.mode == "markers"}
    assert list(panels) == ["gen.variance", "rep:block.variance", "residual.variance"]
    np.testing.assert_allclose(panels["gen.variance"].y, trace["gen.variance"])
    assert set(panels["gen.variance"].marker.color) == {theme.RANDOM}
    assert set(panels["residual.variance"].marker.color) == {theme.RESIDUAL}
    assert list(panels["rep:block.variance"].marker.color) == [theme.RANDOM] + [theme.BOUND] * 3
    assert [a.text for a in fig.layout.annotations] == [
        "<b>gen</b><br>variance", "<b>rep:block</b><br>variance", "<b>Residual</b><br>variance"]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "parts"),
    [("gen.variance", ("gen", "variance")),
     ("Subject.1.variance((Intercept))", ("Subject.1", "variance((Intercept))")),
     ("a.b:c.covariance((Intercept), x.y)", ("a.b:c", "covariance((Intercept), x.y)")),
     ("residual.ar1(row).rho", ("residual.ar1(row)", "rho")), ("odd", ("odd", ""))],
)  # fmt: skip
def test_parameter_names_are_parted_into_term_and_kind(name, parts) -> None:
    assert split_name(name) == parts


def test_short_and_empty_traces(trace) -> None:
    for part in (trace.iloc[:0], trace.iloc[:1]):
        for draw in (convergence, parameter_traces):
            draw(part).to_json()
    assert convergence(trace.iloc[:0]).layout.annotations[0].text == "No iteration has been made yet."
    assert "no free variance parameters" in parameter_traces(trace.iloc[:, :9]).layout.annotations[0].text.replace(
        "<br>", " "
    )
    broken = trace.assign(criterion=np.nan, gradient=np.nan)
    convergence(broken).to_json()


def test_the_trace_of_a_fit() -> None:
    fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", reml.load_sample("john_alpha"))
    assert parameter_names(fit.trace) == ["gen.variance", "rep:block.variance", "residual.variance"]
    n = sum(len(t.x) for t in marks(fit.plot.trace()).values())
    assert n == len(fit.trace)
    last = [t for t in fit.plot.parameters().data if t.mode == "markers"]
    np.testing.assert_allclose([t.y[-1] for t in last], [0.142902, 0.070218, 0.081617], atol=2e-6)


def test_parameters_are_grouped_where_they_are_many() -> None:
    names = [f"gen.loading(county[C{i}], factor {f})" for f in (1, 2) for i in range(1, 9)]
    names += [f"gen.specific variance(county[C{i}])" for i in range(1, 9)]
    names += [f"residual[C{i}].{p}" for i in range(1, 9) for p in ("variance", "ar1(row).rho")]
    trace = pd.DataFrame(
        {"iteration": [0, 1], "criterion": [2.0, 1.0], "gradient": [1.0, 0.1]} | dict.fromkeys(names, 0.5)
    )
    groups = parameter_groups(trace)
    assert list(groups) == [
        "gen: loading (1 to 12)", "gen: loading (13 to 16)", "gen: specific variance", "Residual: variance", "Residual: ar1(row)",
    ]  # fmt: skip
    assert sorted(name for group in groups.values() for name in group) == sorted(names)
    fig = parameter_traces(trace, names=groups["Residual: ar1(row)"])
    headings = [a.text for a in fig.layout.annotations]
    assert headings[0] == "<b>Residual in C1</b><br>ar1(row) rho" and len(headings) == 8
    assert parameter_traces(trace, names=groups["gen: loading (1 to 12)"]).layout.annotations[0].text == (
        "<b>gen</b><br>loading C1, factor 1"
    )
    assert list(parameter_groups(trace[["iteration", "criterion", "gradient", *names[:12]]])) == ["All"]
