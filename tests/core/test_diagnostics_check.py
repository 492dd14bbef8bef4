"""The verdict: that what is wrong is found and named, and that what is right is let be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

import openreml_core as reml
from openreml_core.diagnostics import Finding, Verdict
from openreml_core.diagnostics.simulated import draws, growth, monte_carlo, straightness, unequal
from tests.core.test_diagnostics_residuals import field
from tests.reference import ABSENT, Reference


def topics(found: Verdict) -> set[str]:
    return {f.topic for f in found if f.severity != "ok"}


def clean(seed: int = 3, q: int = 20, n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.arange(n) % q
    x = rng.normal(size=n)
    return pd.DataFrame(
        {"g": [f"g{i:02d}" for i in g], "x": x, "y": 3 + x + rng.normal(size=q)[g] + rng.normal(size=n)}
    )


def test_a_good_fit_is_let_be() -> None:
    found = reml.fit("y ~ x + (1 | g)", clean()).check()
    assert topics(found) == set()
    assert found.severity == "ok"
    assert found.of("convergence")[0].values["eigenvalues"][0] > 0


def test_every_finding_says_what_why_and_what_to_do() -> None:
    table = field()
    found = reml.fit("yield ~ 1 + (1 | gen)", table).check()
    assert isinstance(found, list)
    for finding in found:
        assert isinstance(finding, Finding)
        assert all(text.endswith((".", ")", "?")) for text in (finding.what, finding.why, finding.do)), finding
    severities = [f.severity for f in found]
    assert severities == sorted(severities, key=("problem", "warning", "note", "ok").index)
    assert list(found.table().columns) == ["severity", "topic", "what", "why", "do"]
    assert found[0].what in str(found)
    assert "<table" in found._repr_html_()


def test_convergence() -> None:
    fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", reml.load_sample("john_alpha"), max_iterations=1)
    found = fit.check()
    assert found[0].severity == "problem"
    assert found[0].topic == "convergence"


def test_singular_terms_name_the_direction() -> None:
    found = reml.fit("Yield ~ 1 + (1 | Batch)", reml.load_sample("dyestuff2")).check()
    assert found.of("singular term")[0].subject == ("Batch",)
    rng = np.random.default_rng(2)
    g, x = np.repeat(np.arange(30), 10), np.tile(np.arange(10.0), 30)
    u = rng.normal(size=30)
    y = 1 + x + u[g] * (1 + 2 * x) + 0.5 * rng.normal(size=300)
    fit = reml.fit("y ~ x + (x | g)", pd.DataFrame({"y": y, "x": x, "g": g}))
    singular = fit.check().of("singular term")
    if fit.singular:
        assert "(Intercept) - " in singular[0].what


def test_bounds_few_levels_and_confounding() -> None:
    data = clean(q=4)
    found = reml.fit("y ~ x + (1 | g)", data).check()
    assert found.of("few levels")[0].values["levels"] == 4
    # h repeats g but for two rows: only the sum of their variances is known.
    data = clean(5)
    data["h"] = data["g"].where(data.index > 1, "g19")
    fit = reml.fit("y ~ x + (1 | g) + (1 | h)", data)
    assert topics(fit.check()) & {"confounded terms", "singular term", "curvature"}


def test_fixed_part() -> None:
    data = clean()
    rng = np.random.default_rng(1)
    data["z"] = data["x"] + 1e-3 * rng.normal(size=200)
    found = reml.fit("y ~ x + z + (1 | g)", data).check()
    assert set(found.of("collinear effects")[0].subject) == {"x", "z"}
    data["big"] = 1e6 * rng.normal(size=200)
    assert reml.fit("y ~ x + big + (1 | g)", data).check().of("scales")[0].subject == ("big", "x")
    data["same"] = 2 * data["x"]
    assert reml.fit("y ~ x + same + (1 | g)", data).check().of("aliased effects")[0].subject == ("same",)
    data.loc[:80, "x"] = np.nan
    assert reml.fit("y ~ x + (1 | g)", data).check().of("missing values")


def test_rows() -> None:
    data = clean()
    data.loc[17, "y"] += 12
    found = reml.fit("y ~ x + (1 | g)", data).check()
    assert found.of("outliers")[0].subject == ("17",)
    data = clean()
    data.loc[5, ["x", "y"]] = 60.0, -40.0
    found = reml.fit("y ~ x + (1 | g)", data).check()
    assert "5" in found.of("influential rows")[0].subject
    data = clean()
    data.loc[data["g"] == "g03", "y"] += 40.0 * data["x"]
    found = reml.fit("y ~ x + (1 | g)", data).check()
    assert found.of("influential levels")[0].subject == ("g03",)


def test_growing_variance() -> None:
    rng = np.random.default_rng(4)
    x = rng.uniform(0, 4, 200)
    data = pd.DataFrame({"g": np.arange(200) % 20, "x": x, "y": np.exp(1 + x / 2 + 0.3 * rng.normal(size=200))})
    fit = reml.fit("y ~ x + (1 | g)", data)
    assert fit.check().of("constant variance")[0].values["statistic"] > 0.2
    assert not reml.fit("log(y) ~ x + (1 | g)", data).check().of("constant variance")


def test_residual_structures() -> None:
    found = reml.fit("yield ~ 1 + (1 | gen)", field()).check().of("residual structure")
    assert found[0].severity == "warning"
    assert found[0].subject == ("ar1(row):ar1(col)",)
    values = found[0].values
    plain = reml.fit("yield ~ 1 + (1 | gen)", field())
    spatial = reml.fit("yield ~ 1 + (1 | gen)", field(), residual="ar1(row):ar1(col)")
    assert values["LRT"] == pytest.approx(plain.criterion - spatial.criterion, abs=1e-6)
    assert values["df"] == 2
    assert not spatial.check().of("residual structure")  # it has one
    table = field()
    table["yield"] = np.random.default_rng(6).normal(size=len(table)) + table["gen"].factorize()[0] / 9
    assert reml.fit("yield ~ 1 + (1 | gen)", table).check().of("residual structure")[0].severity == "ok"
    assert not plain.check(alternatives=()).of("residual structure")
    asked = plain.check(alternatives=["ar1(row):ar1(col) + id(units)"]).of("residual structure")
    assert asked[0].values["df"] == 3
    assert plain.check(alternatives=["ar1(nowhere)"]).of("residual structure")[0].severity == "note"


def test_residual_structures_along_time_and_in_trials() -> None:
    found = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy")).check()
    assert found.of("residual structure")[0].subject == ("id(Subject):ar1(Days)",)
    both = pd.concat([field().assign(trial="a"), field().assign(trial="b")], ignore_index=True)
    found = reml.fit("yield ~ trial + (1 | gen)", both).check().of("residual structure")
    assert found[0].subject == ("id(trial):ar1(row):ar1(col)",)


def test_large_trials_are_judged_by_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    from openreml_core.diagnostics import alternatives

    monkeypatch.setattr(alternatives, "FIELD_ROWS", 10)
    found = reml.fit("yield ~ 1 + (1 | gen)", field()).check().of("residual structure")[0]
    assert found.severity == "warning"
    assert found.values["row_correlation"] > 0.3
    assert "LRT" not in found.values


@pytest.mark.skipif(not Reference().found(), reason=ABSENT)
def test_nin_is_told_of_its_trend() -> None:
    """The likelihood ratio against lme4's and the dense reference's criteria."""
    table = Reference().table("stroup_nin.csv", ["gen", "rep"])
    found = reml.fit("yield ~ gen", table).check().of("residual structure")[0]
    assert found.severity == "warning"
    assert found.subject == ("ar1(row):ar1(col)",)
    assert "trend" in found.why
    reference = Reference().case("nin_ar1_ar1")
    plain = reml.fit("yield ~ gen", table)
    assert found.values["LRT"] == pytest.approx(plain.criterion - reference["criterion"], abs=1e-3)
    blocks = reml.fit("yield ~ gen + (1 | rep)", table).check()
    assert blocks.of("residual structure")[0].subject == ("ar1(row):ar1(col)",)
    assert blocks.of("residual structure")[0].values["p_value"] < 1e-10


def test_p_values_are_uniform_where_the_model_holds() -> None:
    """Monte Carlo of the tests themselves: responses drawn from a model, its variances held, give uniform p-values."""
    data = clean(n=60, q=12)
    fit = reml.fit("y ~ x + (1 | g)", data)
    found = draws(fit._view, 400, 9)
    codes = np.unique(fit.data["g"], return_inverse=True)[1] % 3
    for statistic, tail in (
        (straightness(found.drawn), "lower"),
        (growth(found.drawn, found.fitted_drawn), "both"),
        (unequal(found.drawn, codes), "upper"),
    ):
        p = [monte_carlo(s, np.delete(statistic, i), tail) for i, s in enumerate(statistic)]
        assert kstest(p, "uniform").pvalue > 0.001


def test_tests_of_residuals() -> None:
    data = clean()
    fit = reml.fit("y ~ x + (1 | g)", data)
    half = pd.Series(np.where(data.index < 100, "a", "b"), index=data.index, name="half")
    table = fit.residual_tests(half, simulations=99)
    assert list(table.index) == ["normality", "variance along fitted", "variance by half", "outliers"]
    assert table["p_value"].between(0, 1).all()
    pd.testing.assert_frame_equal(table, fit.residual_tests(half, simulations=99))
    data.loc[half == "a", "y"] += 4 * np.random.default_rng(8).normal(size=100)
    uneven = reml.fit("y ~ x + (1 | g)", data).residual_tests(half, simulations=99)
    assert uneven.loc["variance by half", "p_value"] <= 0.02
    from scipy.stats import levene

    e = reml.fit("y ~ x", data).residuals("studentized")
    plain = reml.fit("y ~ x", data).residual_tests(half, simulations=99)
    expected = levene(e[half == "a"], e[half == "b"], center="median").statistic
    assert plain.loc["variance by half", "statistic"] == pytest.approx(expected)
    with pytest.raises(reml.DataError, match="one level"):
        fit.residual_tests(pd.Series("a", index=data.index))
    for wrong in (3, 2.5, None):
        with pytest.raises(reml.ModelError, match="number of draws"):
            fit.residual_tests(simulations=wrong)


def test_envelope() -> None:
    fit = reml.fit("y ~ x + (1 | g)", clean())
    table = fit.residual_envelope(simulations=199)
    assert table["residual"].is_monotonic_increasing
    assert (table["lower"] <= table["upper"]).all()
    assert ((table["residual"] < table["lower"]) | (table["residual"] > table["upper"])).mean() < 0.3
    np.testing.assert_allclose(table["residual"].sort_index(), fit.residuals("studentized").sort_index())
    with pytest.raises(reml.ModelError, match="not a probability"):
        fit.residual_envelope(level=95)


def test_by_hand_and_without_rows(tmp_path) -> None:
    from openreml_core.covariance import Dummy, Propagated, Scaled, Sum

    s = reml.load_sample("john_alpha")
    tree = Sum(gen=Propagated(Dummy(s["gen"]), Scaled(24)), residual=Scaled(72))
    assert reml.fit_covariance(s["yield"], Dummy(s["rep"]), tree).check().of("convergence")
    s.to_csv(tmp_path / "t.csv", index=False)
    assert reml.fit("yield ~ rep + (1 | gen)", str(tmp_path / "t.csv")).check().of("convergence")
