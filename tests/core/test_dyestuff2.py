"""Box and Tiao's simulated batches (1973, table 5.1.4), as in lme4's Dyestuff2: no variance between batches.

The numbers are lme4 1.1-31's; with the batch variance at zero the model is a mean and a variance, plain to check.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml

YIELD = {
    "A": [7.298, 3.846, 2.434, 9.566, 7.990],
    "B": [5.220, 6.556, 0.608, 11.788, -0.892],
    "C": [0.110, 10.386, 13.434, 5.510, 8.166],
    "D": [2.212, 4.852, 7.092, 9.288, 4.980],
    "E": [0.282, 9.014, 4.458, 9.446, 7.198],
    "F": [1.722, 4.782, 8.106, 0.758, 3.758],
}


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return pd.DataFrame([(batch, y) for batch, values in YIELD.items() for y in values], columns=["Batch", "Yield"])


@pytest.mark.parametrize("algorithm", ["ai", "ai-em"])
def test_a_variance_of_zero_is_a_result(data: pd.DataFrame, algorithm: str) -> None:
    fit = reml.fit("Yield ~ 1 + (1 | Batch)", data, algorithm=algorithm)
    assert fit.converged
    assert fit.singular
    assert fit.criterion == pytest.approx(161.828277812288, abs=1e-6)
    table = fit.variance_components().set_index("group")
    assert table.loc["residual", "estimate"] == pytest.approx(data["Yield"].var(), rel=1e-6)
    assert table.loc["residual", "estimate"] == pytest.approx(3.715684274476**2, rel=1e-6)
    assert table.loc["Batch", "estimate"] < 1e-6 * data["Yield"].var()
    assert table.loc["Batch", "bound"]
    assert not table.loc["residual", "bound"]


def test_what_a_zero_variance_means(data: pd.DataFrame) -> None:
    fit = reml.fit("Yield ~ 1 + (1 | Batch)", data)
    np.testing.assert_allclose(fit.random_effects("Batch")["blup"], 0, atol=1e-4)
    row = fit.fixed_effects().loc["(Intercept)"]
    assert row["estimate"] == pytest.approx(data["Yield"].mean())
    assert row["std_error"] == pytest.approx(data["Yield"].std() / np.sqrt(30), rel=1e-5)
    assert any("Batch" in text for text in fit.warnings)
