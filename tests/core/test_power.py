"""Power by simulation: against the noncentral F and t where theory is exact, and at the level where there is no effect."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.optimize import brentq

import openreml_core as reml


@pytest.fixture(scope="module")
def groups() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    treatment = np.tile(np.repeat(list("abc"), 2), 6)
    block = np.repeat([f"b{i}" for i in range(6)], 6)
    y = rng.normal(size=36) + np.repeat(rng.normal(size=6), 6)
    return pd.DataFrame({"treatment": treatment, "block": block, "y": y})


def within(row: pd.Series, exact: float) -> None:
    error = np.sqrt(exact * (1 - exact) / row["n_sim"])
    assert abs(row["power"] - exact) < 4 * error + 1e-9


def test_power_of_a_factor_is_the_noncentral_fs(groups: pd.DataFrame) -> None:
    """Treatments in complete blocks: F(2, 28) with noncentrality 12 sum (tau - mean)^2 / sigma2, exactly (blocks fixed)."""
    fit = reml.fit("y ~ block + treatment", groups)
    table = fit.power("treatment", n_sim=400, seed=2, effect=[0.4, 1.0])
    tau = np.array([0.0, 0.4, 1.0])
    ncp = 12 * ((tau - tau.mean()) ** 2).sum() / fit.sigma**2
    within(table.iloc[0], stats.ncf.sf(stats.f.ppf(0.95, 2, 28), 2, 28, ncp))
    assert "F of 2" in table["test"][0] and table["lower"][0] < table["power"][0] < table["upper"][0]


def test_level_where_there_is_no_effect(groups: pd.DataFrame) -> None:
    fit = reml.fit("y ~ treatment + (1 | block)", groups)
    within(fit.power("treatment", n_sim=400, seed=3, effect=[0, 0]).iloc[0], 0.05)
    none = {"treatment[T.b]": 0.0, "treatment[T.c]": 0}
    within(fit.power("treatment", n_sim=200, seed=3, effect=none, alpha=0.2, ddf="kenward-roger").iloc[0], 0.2)


def test_power_of_a_variance_is_the_anova_fs(groups: pd.DataFrame) -> None:
    """In a balanced one-way layout the likelihood ratio grows with F = MSB / MSW ~ (1 + n s2_b / s2) F(5, 30)."""
    fit = reml.fit("y ~ 1 + (1 | block)", groups)
    for effect in (0.0, 0.3):
        row = fit.power("block", n_sim=400, seed=4, effect=effect).iloc[0]
        # The F at which half chi2(0), half chi2(1) is at 5 %: LRT = 2.7055 as a function of F alone.
        limit = _f_at(2.7055, 6, 6)
        ratio = 1 + 6 * effect / fit.sigma**2
        within(row, stats.f.sf(limit / ratio, 5, 30))
    assert "half chi2(0), half chi2(1)" in row["test"]


def _f_at(lrt: float, a: int, n: int) -> float:
    """F with the given REML likelihood ratio, for a groups of n: from the two mean squares' likelihood."""

    def ratio(f: float) -> float:
        b, w = a - 1, a * (n - 1)
        pooled = (b * f + w) / (b + w)
        return (b + w) * np.log(pooled) - b * np.log(f)

    return brentq(lambda f: ratio(f) - lrt, 1.0, 50.0)


def test_notes_and_bad_input(groups: pd.DataFrame) -> None:
    fit = reml.fit("y ~ treatment + (1 | block)", groups)
    table = fit.power("treatment[T.b]", n_sim=3, seed=1)
    assert "no more than the p-value" in " ".join(table.attrs["notes"])
    for arguments, words in (
        ({"term": "treatmnt"}, "no term of this model"),
        ({"term": "treatment", "effect": 1.0}, "2 coefficients"),
        ({"term": "treatment", "effect": {"x": 1}}, "no coefficient"),
        ({"term": "treatment[T.b]", "effect": "large"}, "no number"),
        ({"term": "block", "effect": -1}, "no variance"),
        ({"term": "treatment", "alpha": 5}, "not a probability"),
        ({"term": "treatment", "ddf": "kenward"}, "not available"),
    ):
        with pytest.raises(reml.ModelError, match=words):
            fit.power(n_sim=2, **arguments)
    slopes = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy"))
    with pytest.raises(reml.ModelError, match="3 parameters"):
        slopes.power("Subject", n_sim=2, effect=1.0)
    assert slopes.power("Days in (Days | Subject)", n_sim=5, seed=1)["power"].item() == 1.0
