"""Figures of hierarchical models show the numbers of the fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core import figures
from openreml_core.hierarchical import compare, fit, models, recover

MODEL = models.SignalDetection()


@pytest.fixture(scope="module")
def made():
    data = MODEL.simulate(n_subjects=12, n_trials=60, seed=1)
    return fit(MODEL, data), fit(MODEL, data, fixed={"criterion": 0.0})


def test_distributions_show_every_subject_on_the_native_scale(made) -> None:
    fig = figures.parameter_distributions(made[0])
    table = made[0].subjects()
    assert len(fig.data) == 2 and fig.data[0].boxpoints == "all"
    np.testing.assert_array_equal(fig.data[0].y, table[table["parameter"] == "sensitivity"]["native"])


@pytest.mark.parametrize("family", ["gaussian", "student_t", "laplace", "cauchy"])
def test_the_group_density_integrates_to_one(made, family: str) -> None:
    own = fit(MODEL, MODEL.simulate(n_subjects=12, n_trials=60, seed=1), family=family)
    fig = figures.group_density(own, "criterion")
    curve = fig.data[1]
    assert fig.data[0].histnorm == "probability density"
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(1, abs=0.2 if family == "cauchy" else 0.05)
    with pytest.raises(reml.DataError, match="no parameter"):
        figures.group_density(own, "bias")


def test_evidence_bars_are_differences_to_the_best(made) -> None:
    table = compare({"whole": made[0], "unbiased": made[1]})
    fig = figures.evidence_comparison(table)
    np.testing.assert_allclose(fig.data[0].x, table["bic_difference"])
    assert figures.evidence_comparison(table.head(0)).layout.annotations[0].name == "message"


def test_recovery_has_a_panel_per_parameter() -> None:
    found = recover(MODEL, n_subjects=10, n_trials=50)
    fig = figures.recovery_scatter(found.table)
    points = [t for t in fig.data if t.mode == "markers"]
    assert len(points) == 2
    np.testing.assert_array_equal(points[0].x, found.table.query("parameter == 'sensitivity'")["true"])


def test_the_trace_shows_criterion_and_step(made) -> None:
    fig = figures.evidence_trace(made[0].trace, upto=2)
    assert list(fig.data[0].x) == [0, 1, 2]
    np.testing.assert_array_equal(fig.data[0].y, made[0].trace["criterion"].head(3))
    assert figures.convergence(made[0].trace).data  # the monitor's own figures take the trace as well
    assert figures.parameter_traces(made[0].trace).data


def test_confusion_writes_every_share_and_distributions_wrap() -> None:
    names = pd.Index(["one", "another model with a long name"])
    table = pd.DataFrame([[0.9, 0.1], [0.4, 0.6]], index=names, columns=names)
    fig = figures.confusion_matrix(table)
    assert [a.text for a in fig.layout.annotations] == ["90 %", "10 %", "40 %", "60 %"]
    np.testing.assert_array_equal(fig.data[0].z, table)
    assert fig.data[0].x[1] == "another model with<br>a long name"
    assert figures.confusion_matrix(table.iloc[:0]).layout.annotations[0].name == "message"
    two_step = models.TwoStep()
    wide = figures.parameter_distributions(fit(two_step, two_step.simulate(6, 20, seed=1), max_iterations=2))
    assert len(wide.data) == 6 and {t.yaxis for t in wide.data} == {"y", *(f"y{k}" for k in range(2, 7))}
    assert wide.layout.height > 600


def test_every_kind_of_step_has_its_colour_in_the_legend(made) -> None:
    trace = made[0].trace
    shown = [t.name for t in figures.evidence_trace(trace).data if t.showlegend]
    assert set(shown) <= {"EM step", "Extrapolated", "Variance set to zero", "Rejected"}
    assert "EM step" in shown and len(shown) == trace["step"].nunique() - 1
