"""Intervals for few blocks: studentised bootstrap and calibrated profiles against Student's t, where it is exact."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import openreml_core as reml
from openreml_core.simulation import draw_responses, roots_of_ratio
from openreml_core.simulation.roots import without_effect

EFFECT = "treatment[T.new]"
ENDS = ["lower", "upper"]


def pairs(blocks: int = 4, seed: int = 5, between: float = 4.0) -> pd.DataFrame:
    """Two treatments in blocks that differ much more than plots."""
    rng = np.random.default_rng(seed)
    block, new = np.repeat(np.arange(blocks), 2), np.tile([0, 1], blocks)
    y = between * rng.normal(size=blocks)[block] + rng.normal(size=2 * blocks) + 2 * new
    return pd.DataFrame({"y": y, "block": block.astype(str), "treatment": np.where(new, "new", "control")})


@pytest.fixture(scope="module")
def paired() -> reml.MixedModelFit:
    return reml.fit("y ~ treatment + (1 | block)", pairs())


def exact(data: pd.DataFrame) -> np.ndarray:
    """The paired t interval."""
    wide = data.pivot(index="block", columns="treatment", values="y")
    d = wide["new"] - wide["control"]
    return d.mean() + np.array([-1, 1]) * stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))


def half(table: pd.DataFrame, row: str = EFFECT) -> float:
    low, high = table.loc[row, ENDS].astype(float)
    return (high - low) / 2


def test_studentized_interval_of_pairs_is_students_t(paired: reml.MixedModelFit) -> None:
    drawn = paired.bootstrap(4000, seed=1)
    low, high = exact(pairs())
    table = drawn.confint(kind="studentized")
    # The quantile's standard error is 2.3 % of t(3)'s: sqrt(0.05 * 0.95 / 4000) / (2 * 0.0236) of 3.18.
    np.testing.assert_allclose(half(table), (high - low) / 2, rtol=0.06)
    assert table.loc[EFFECT, ENDS].mean() == pytest.approx((low + high) / 2, rel=1e-6)
    # Percentiles have the normal's quantile: 1.96 in the place of 3.18.
    np.testing.assert_allclose(half(drawn.confint()) / half(table), 1.96 / 3.182, rtol=0.08)


def test_calibrated_profile_of_pairs_is_students_t(paired: reml.MixedModelFit) -> None:
    low, high = exact(pairs())
    table = paired.confint(parameters=EFFECT, calibrate=True, n_boot=4000, seed=2)
    np.testing.assert_allclose(half(table), (high - low) / 2, rtol=0.06)
    plain = paired.confint(parameters=EFFECT)
    # The likelihood of four differences: 4 log(1 + t^2 / 3) = 3.8415 at its bound, t = 2.198 (block variance far from zero).
    np.testing.assert_allclose(half(plain), (high - low) / 2 * 2.198 / 3.182, rtol=0.01)
    assert "held against its size in 4000 responses" in " ".join(table.attrs["notes"])


def test_studentized_interval_of_one_samples_sigma_is_chi2s() -> None:
    fit = reml.fit("y ~ 1", pd.DataFrame({"y": np.random.default_rng(3).normal(10, 2, 6)}))
    wanted = fit.sigma * np.sqrt(5 / stats.chi2.ppf([0.975, 0.025], 5))
    found = fit.bootstrap(6000, seed=4).confint(kind="studentized").loc["sigma", ENDS].astype(float)
    np.testing.assert_allclose(found, wanted, rtol=0.06)


RESIDUALS = {"one batch": None, "one by one": "id(Subject):ar1(Days)"}


@pytest.mark.parametrize("residual", RESIDUALS)
def test_roots_are_likelihood_ratios_of_fits(residual: str) -> None:
    data = reml.load_sample("sleepstudy").drop(index=[3, 50, 51])
    more = {} if RESIDUALS[residual] is None else {"residual": RESIDUALS[residual]}
    fit = reml.fit("Reaction ~ Days + (1 | Subject)", data, method="ml", **more)
    y = draw_responses(fit.estimates.engine.model, fit.estimates.at, 3, np.random.default_rng(1))
    found = roots_of_ratio(fit.estimates, y, fit.estimates.at.beta, [1])[1]
    slope = fit.fixed_effects().loc["Days", "estimate"]
    for i in range(3):
        table = data.assign(Reaction=y[:, i].numpy(), held=slope * data["Days"].astype(float))
        whole = reml.fit("Reaction ~ Days + (1 | Subject)", table, method="ml", **more)
        without = reml.fit("Reaction ~ 1 + offset(held) + (1 | Subject)", table, method="ml", **more)
        assert found[i] ** 2 == pytest.approx(without.criterion - whole.criterion, abs=2e-5)


def test_a_model_with_an_effect_held_at_its_estimate_has_the_same_criterion() -> None:
    fit = reml.fit("yield ~ nitro + Variety + (1 | Block/Variety)", reml.load_sample("oats"), method="ml")
    for j in (0, 2):
        held = without_effect(fit.estimates, j, float(fit.estimates.at.beta[j]))
        assert held.at.criterion == pytest.approx(fit.criterion, abs=1e-7)
        rest = [k for k in range(4) if k != j]
        torch.testing.assert_close(held.at.beta, fit.estimates.at.beta[rest], rtol=1e-5, atol=1e-6)


def test_studentized_where_a_variance_is_zero_or_often_is() -> None:
    zero = reml.fit("Yield ~ 1 + (1 | Batch)", reml.load_sample("dyestuff2")).bootstrap(200, seed=3)
    name = "sd_(Intercept)|Batch"
    table = zero.confint(kind="studentized")
    assert table.loc[name, "upper"] == zero.confint().loc[name, "upper"] > 0
    assert "studentised intervals have no meaning: percentiles" in " ".join(table.attrs["notes"])
    often = reml.fit("Yield ~ 1 + (1 | Batch)", reml.load_sample("dyestuff")).bootstrap(200, seed=3)
    table = often.confint(kind="studentized")
    estimate, low, high = table.loc[name, ["estimate", *ENDS]].astype(float)
    assert 0 < low < estimate and high == np.inf
    assert (often.replicates[name] == 0).mean() > 0.025
    assert "there is no upper bound" in " ".join(table.attrs["notes"])


def test_studentized_correlations_stay_within_their_ends() -> None:
    fit = reml.fit("distance ~ age + (age | Subject)", reml.load_sample("orthodont"))
    row = fit.bootstrap(200, seed=1).confint(kind="studentized").loc["cor_age.(Intercept)|Subject"]
    assert -1 <= row["lower"] < row["estimate"] < row["upper"] <= 1


def test_calibration_counts_weights_held_parameters_and_columns_that_others_determine(
    paired: reml.MixedModelFit,
) -> None:
    data = pairs(6).assign(w=1.0 + np.arange(12) % 2, copy=lambda t: (t["treatment"] == "new") * 2.0)
    for options in ({"weights": "w"}, {"fixed": {"block.variance": 9.0}}, {"method": "ml"}, {"engine": "henderson"}):
        fit = reml.fit("y ~ treatment + copy + (1 | block)", data, **options)
        assert fit.aliased
        table = fit.confint(parameters="fixed", calibrate=True, n_boot=40, seed=1)
        assert (table["lower"] < table["estimate"]).all() and (table["estimate"] < table["upper"]).all()
    alone = reml.fit("y ~ 1 + (1 | block)", data).confint(parameters="(Intercept)", calibrate=True, n_boot=40, seed=1)
    assert np.isfinite(alone[ENDS].to_numpy(float)).all()
    with pytest.raises(reml.ModelError, match=r"Only profiles of fixed effects.*likelihood='reml'"):
        paired.confint(parameters="sigma", calibrate=True)


def test_calibration_tells_progress_and_is_cancelled(paired: reml.MixedModelFit) -> None:
    seen: list[tuple[int, int]] = []
    paired.confint(parameters=EFFECT, calibrate=True, n_boot=40, seed=1, on_progress=lambda d, of: seen.append((d, of)))
    assert [s for s in seen if s[1] == 80] == [(40, 80), (80, 80)]
    with pytest.raises(reml.FitCancelled):
        paired.confint(parameters=EFFECT, calibrate=True, n_boot=40, seed=1, on_progress=lambda d, of: False)
