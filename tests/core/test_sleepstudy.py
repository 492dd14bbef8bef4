"""Sleep deprivation (Belenky et al. 2003): 18 subjects, 10 days, a line each.

The numbers are lme4 1.1-31's (bobyqa to 1e-10), with lmerTest 3.1-3 for the degrees of freedom.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml

SIGMA = 25.591815892624
COVARIANCE = [[612.089748274669, 9.604335474755], [9.604335474755, 35.071662344214]]
COEFFICIENTS = {  # estimate, SE, Satterthwaite df
    "(Intercept)": (251.405104848486, 6.824555776276, 17.0),
    "Days": (10.467285959596, 1.54578893243, 17.0),
}
CONDITIONAL_SD = (12.070836507354, 2.304836978149)  # balanced: the same for every subject
SUBJECTS = {  # BLUPs of the intercept and of the slope
    "308": (2.258566, 9.198972),
    "309": (-40.398577, -8.619703),
    "310": (-38.960246, -5.448880),
    "330": (23.690498, -4.814331),
    "331": (22.260203, -3.069895),
    "332": (9.039526, -0.272171),
    "333": (16.840431, -0.223624),
    "334": (-7.232579, 1.074576),
    "335": (-0.333696, -10.752159),
    "337": (34.890351, 8.628284),
    "349": (-25.210110, 1.173414),
    "350": (-13.069957, 6.614205),
    "351": (4.577835, -3.015257),
    "352": (20.863592, 3.536013),
    "369": (3.275453, 0.872217),
    "370": (-25.612869, 4.822465),
    "371": (0.807040, -0.988155),
    "372": (12.314539, 1.284030),
}


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return reml.read_table(Path(__file__).parents[2] / "sample_data" / "sleepstudy.csv")


@pytest.fixture(scope="module")
def fit(data: pd.DataFrame) -> reml.MixedModelFit:
    return reml.fit("Reaction ~ Days + (Days | Subject)", data)


def test_the_optimum(fit: reml.MixedModelFit) -> None:
    assert fit.converged
    assert fit.criterion == pytest.approx(1743.62827195849, abs=1e-6)
    assert fit.aic == pytest.approx(1755.62827195849, abs=1e-6)
    assert fit.bic == pytest.approx(1774.78601306383, abs=1e-6)
    assert len(fit.trace) <= 12


def test_variance_components(fit: reml.MixedModelFit) -> None:
    np.testing.assert_allclose(fit.variance_matrix("Subject"), COVARIANCE, rtol=1e-4)
    assert fit.sigma == pytest.approx(SIGMA, rel=5e-5)
    assert list(fit.variance_matrix("Subject").index) == ["(Intercept)", "Days"]
    kinds = fit.variance_components().query("group == 'Subject'")["kind"]
    assert sorted(kinds) == ["correlation", "covariance", "variance", "variance"]


def test_fixed_effects(fit: reml.MixedModelFit) -> None:
    table = fit.fixed_effects(ddf="satterthwaite")
    for name, (estimate, error, df) in COEFFICIENTS.items():
        assert table.loc[name, "estimate"] == pytest.approx(estimate, abs=1e-5 * error)
        assert table.loc[name, "std_error"] == pytest.approx(error, rel=1e-5)
        assert table.loc[name, "df"] == pytest.approx(df, rel=1e-3)
    assert table.loc["Days", "p_value"] == pytest.approx(3.263790019739e-06, rel=1e-4)


def test_blups(fit: reml.MixedModelFit) -> None:
    table = fit.random_effects("Subject")
    table = table.assign(level=table["level"].astype(str))
    for column, effect in enumerate(["(Intercept)", "Days"]):
        rows = table[table["effect"] == effect].set_index("level").loc[list(SUBJECTS)]
        np.testing.assert_allclose(rows["blup"], [b[column] for b in SUBJECTS.values()], rtol=0, atol=1e-4 * SIGMA)
        np.testing.assert_allclose(rows["std_error"], CONDITIONAL_SD[column], rtol=0, atol=1e-4 * SIGMA)


def test_maximum_likelihood(data: pd.DataFrame) -> None:
    fit = reml.fit("Reaction ~ Days + (Days | Subject)", data, method="ml")
    assert fit.criterion == pytest.approx(1751.9393444632, abs=1e-6)
    expected = [[565.515271042699, 11.055414458564], [11.055414458564, 32.682197613824]]
    np.testing.assert_allclose(fit.variance_matrix("Subject"), expected, rtol=1e-4)
    assert fit.method == "ml"


def test_no_correlation(data: pd.DataFrame) -> None:
    fit = reml.fit("Reaction ~ Days + (Days || Subject)", data)
    assert fit.criterion == pytest.approx(1743.66929358131, abs=1e-6)
    matrix = fit.variance_matrix("Subject")
    np.testing.assert_allclose(np.diag(matrix), [627.569116870939, 35.858201805063], rtol=1e-4)
    assert matrix.iloc[0, 1] == 0
    written_out = reml.fit("Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)", data)
    assert written_out.criterion == pytest.approx(fit.criterion, abs=1e-6)
    assert len(written_out.random_terms) == 2


def test_weights(data: pd.DataFrame) -> None:
    weights = 1.0 + np.arange(1, len(data) + 1) % 3
    fit = reml.fit("Reaction ~ Days + (Days | Subject)", data.assign(w=weights), weights="w")
    assert fit.criterion == pytest.approx(1745.41612282761, abs=1e-6)
    assert fit.sigma == pytest.approx(34.388130396836, rel=5e-5)
    doubled = reml.fit("Reaction ~ Days + (Days | Subject)", data.assign(w=2 * weights), weights="w")
    np.testing.assert_allclose(doubled.variance_matrix("Subject"), fit.variance_matrix("Subject"), rtol=1e-4)


def test_an_offset_moves_the_intercept_only(data: pd.DataFrame, fit: reml.MixedModelFit) -> None:
    moved = reml.fit("Reaction ~ Days + offset(shift) + (Days | Subject)", data.assign(shift=100.0))
    assert moved.criterion == pytest.approx(fit.criterion, abs=1e-6)
    difference = moved.fixed_effects()["estimate"] - fit.fixed_effects()["estimate"]
    np.testing.assert_allclose(difference, [-100, 0], atol=1e-5)


def test_missing_values_are_dropped_and_counted(data: pd.DataFrame) -> None:
    holed = data.copy()
    holed.loc[[3, 77], "Reaction"] = np.nan
    holed.loc[100, "Days"] = np.nan
    fit = reml.fit("Reaction ~ Days + (Days | Subject)", holed)
    without = reml.fit("Reaction ~ Days + (Days | Subject)", data.drop(index=[3, 77, 100]))
    assert (fit.n_obs, fit.n_dropped) == (177, 3)
    assert fit.criterion == pytest.approx(without.criterion, abs=1e-8)
    with pytest.raises(reml.DataError, match="Reaction"):
        reml.fit("Reaction ~ Days + (Days | Subject)", holed, missing="error")
