"""John and Williams' alpha design: 24 genotypes, 3 replicates of 6 incomplete blocks of 4 plots.

The numbers are lme4 1.1-31's (bobyqa to 1e-10), with lmerTest 3.1-3 for the degrees of freedom. The rounded components
of V and the log-likelihood without constants are the values this trial is known by.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml

FORMULA = "yield ~ rep + (1 | gen) + (1 | rep:block)"
CRITERION = 93.19382024197
COMPONENTS = {"gen": 0.1429019684746, "rep:block": 0.07021832045818, "residual": 0.2856871968158**2}
SIGMA = 0.2856871968158
COEFFICIENTS = {  # estimate, SE, Satterthwaite df
    "(Intercept)": (4.51825, 0.145113809464, 21.0902557661),
    "rep[T.R2]": (0.2978458333333, 0.1738031588362, 11.7551106852),
    "rep[T.R3]": (-0.4140458333333, 0.1738031588362, 11.7551106798),
}
GENOTYPES = {  # BLUP, conditional SD
    "G01": (0.50118364, 0.16992502),
    "G02": (0.00496271, 0.16992502),
    "G03": (-0.78456261, 0.16992502),
    "G04": (0.00612564, 0.16992502),
    "G05": (0.47494994, 0.16987898),
    "G06": (0.04464041, 0.16987898),
    "G07": (-0.30894762, 0.16992502),
    "G08": (0.06222948, 0.16992502),
    "G09": (-0.80993138, 0.16987898),
    "G10": (-0.08937303, 0.16992502),
    "G11": (-0.19643450, 0.16992502),
    "G12": (0.22575843, 0.16992502),
    "G13": (0.23166488, 0.16987898),
    "G14": (0.24339986, 0.16987898),
    "G15": (0.42469976, 0.16987898),
    "G16": (0.20096462, 0.16992502),
    "G17": (0.07807796, 0.16987898),
    "G18": (-0.11018090, 0.16992502),
    "G19": (0.28957599, 0.16987898),
    "G20": (-0.33896901, 0.16987898),
    "G21": (0.25613206, 0.16987898),
    "G22": (0.02408882, 0.16987898),
    "G23": (-0.17699759, 0.16987898),
    "G24": (-0.25305755, 0.16992502),
}
BLOCKS = {
    "R1:B1": (0.12313617, 0.14613466),
    "R1:B2": (-0.14122540, 0.14613466),
    "R1:B3": (-0.15039436, 0.14613466),
    "R1:B4": (-0.10675553, 0.14613466),
    "R1:B5": (0.07370430, 0.14613466),
    "R1:B6": (0.20153481, 0.14613466),
    "R2:B1": (-0.53264067, 0.14613466),
    "R2:B2": (-0.30123297, 0.14613466),
    "R2:B3": (0.24323932, 0.14613466),
    "R2:B4": (0.13487842, 0.14613466),
    "R2:B5": (0.27533690, 0.14613466),
    "R2:B6": (0.18041901, 0.14613466),
    "R3:B1": (0.05056982, 0.14613513),
    "R3:B2": (-0.04778405, 0.14613513),
    "R3:B3": (0.15107898, 0.14613513),
    "R3:B4": (0.05376069, 0.14613513),
    "R3:B5": (-0.00804764, 0.14613513),
    "R3:B6": (-0.19957780, 0.14613513),
}


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return reml.read_table(Path(__file__).parents[2] / "sample_data" / "john_alpha.csv")


@pytest.fixture(scope="module")
def fit(data: pd.DataFrame) -> reml.MixedModelFit:
    return reml.fit(FORMULA, data)


def components(fit: reml.MixedModelFit) -> pd.Series:
    return fit.variance_components().set_index("group")["estimate"]


def test_the_optimum(fit: reml.MixedModelFit) -> None:
    assert fit.converged
    assert not fit.singular
    assert fit.n_obs == 72
    assert fit.rank == 3
    assert fit.criterion == pytest.approx(CRITERION, abs=1e-6)
    assert fit.loglik == pytest.approx(-CRITERION / 2, abs=1e-6)
    assert fit.loglik_asreml == pytest.approx(-CRITERION / 2 + 69 / 2 * math.log(2 * math.pi), abs=1e-6)
    assert fit.loglik_asreml == pytest.approx(16.8099, abs=1e-4)
    assert fit.aic == pytest.approx(105.19382024197, abs=1e-6)
    assert fit.bic == pytest.approx(118.853816956067, abs=1e-6)
    assert fit.sigma == pytest.approx(SIGMA, rel=5e-5)


def test_variance_components(fit: reml.MixedModelFit) -> None:
    ours = components(fit)
    assert list(ours.index) == ["gen", "rep:block", "residual"]
    for group, rounded in {"gen": 0.142902, "rep:block": 0.070218, "residual": 0.081616}.items():
        assert ours[group] == pytest.approx(COMPONENTS[group], rel=1e-4)
        assert ours[group] == pytest.approx(rounded, rel=1e-4)
    table = fit.variance_components()
    assert table["percent"].sum() == pytest.approx(100)
    np.testing.assert_allclose(table["std_dev"], np.sqrt(table["estimate"]))


def indicators(data: pd.DataFrame) -> dict[str, np.ndarray]:
    """Z of each term, (n, q), written out."""
    blocks = data["rep"].astype(str) + ":" + data["block"].astype(str)
    return {name: pd.get_dummies(g).to_numpy(float) for name, g in {"gen": data["gen"], "rep:block": blocks}.items()}


def projection(fit: reml.MixedModelFit, data: pd.DataFrame) -> np.ndarray:
    """P at the estimates, (n, n), by the book: V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1."""
    theta = components(fit)
    x = np.column_stack([np.ones(len(data)), data["rep"] == "R2", data["rep"] == "R3"]).astype(float)
    v = theta["residual"] * np.eye(len(data)) + sum(theta[name] * z @ z.T for name, z in indicators(data).items())
    inverse = np.linalg.inv(v)
    return inverse - inverse @ x @ np.linalg.solve(x.T @ inverse @ x, x.T @ inverse)


def test_standard_errors_of_the_components(fit: reml.MixedModelFit, data: pd.DataFrame) -> None:
    """They are the roots of the diagonal of AI^-1, with AI_kl = y'P V_k P V_l P y / 2."""
    p, y = projection(fit, data), data["yield"].to_numpy(float)
    derivatives = [z @ z.T for z in indicators(data).values()] + [np.eye(len(data))]
    working = np.column_stack([d @ p @ y for d in derivatives])
    errors = np.sqrt(np.diag(np.linalg.inv(working.T @ p @ working / 2)))
    np.testing.assert_allclose(fit.variance_components()["std_error"], errors, rtol=1e-6)


def test_reliability(fit: reml.MixedModelFit, data: pd.DataFrame) -> None:
    """Var(u^) / Var(u) = sigma2_u z'P z, the squared correlation of a BLUP with what it predicts."""
    p = projection(fit, data)
    for term, z in indicators(data).items():
        expected = components(fit)[term] * np.diag(z.T @ p @ z)
        np.testing.assert_allclose(fit.random_effects(term)["reliability"], expected, rtol=1e-6)


def test_fixed_effects(fit: reml.MixedModelFit) -> None:
    table = fit.fixed_effects(ddf="satterthwaite")
    assert list(table.index) == list(COEFFICIENTS)
    for name, (estimate, error, df) in COEFFICIENTS.items():
        row = table.loc[name]
        assert row["estimate"] == pytest.approx(estimate, abs=1e-5 * error)
        assert row["std_error"] == pytest.approx(error, rel=1e-5)
        assert row["df"] == pytest.approx(df, rel=1e-3)
        assert row["t"] == pytest.approx(estimate / error, rel=1e-4)
        assert row["lower"] < estimate < row["upper"]
    assert table.loc["rep[T.R3]", "p_value"] == pytest.approx(0.0350154082505, rel=1e-4)


@pytest.mark.parametrize(("term", "expected"), [("gen", GENOTYPES), ("rep:block", BLOCKS)], ids=["gen", "rep:block"])
def test_blups(fit: reml.MixedModelFit, term: str, expected: dict[str, tuple[float, float]]) -> None:
    table = fit.random_effects(term).set_index("level").loc[list(expected)]
    blup, error = np.array(list(expected.values())).T
    np.testing.assert_allclose(table["blup"], blup, rtol=0, atol=1e-4 * SIGMA)
    np.testing.assert_allclose(table["std_error"], error, rtol=0, atol=1e-4 * SIGMA)


@pytest.mark.parametrize("start", [-4, -1, 0, 1, 3, 5])
def test_every_start_ends_at_the_same_optimum(data: pd.DataFrame, start: float) -> None:
    """All three log standard deviations start at the same value, from e^-4 to e^5."""
    variance = math.exp(2 * start)
    fit = reml.fit(FORMULA, data, start={"gen": variance, "rep:block": variance, "residual": variance})
    assert fit.converged
    first = fit.trace.iloc[0]
    assert first["gen.variance"] == pytest.approx(variance)
    assert first["residual.variance"] == pytest.approx(variance)
    assert fit.criterion == pytest.approx(CRITERION, abs=1e-6)
    ours = components(fit)
    for group, value in COMPONENTS.items():
        assert ours[group] == pytest.approx(value, rel=1e-4)


def test_em_ends_at_the_same_optimum(data: pd.DataFrame) -> None:
    fit = reml.fit(FORMULA, data, algorithm="em", max_iterations=5000)
    assert fit.converged
    assert set(fit.trace["step"]) == {"start", "EM"}
    assert np.all(np.diff(fit.trace["criterion"]) <= 1e-9)
    assert fit.criterion == pytest.approx(CRITERION, abs=1e-5)


def test_the_scale_of_the_response_does_not_matter(data: pd.DataFrame, fit: reml.MixedModelFit) -> None:
    shares = fit.variance_components()["percent"]
    for power in range(-6, 7):
        scaled = reml.fit(FORMULA, data.assign(**{"yield": data["yield"] * 10.0**power}))
        assert scaled.converged
        assert abs(len(scaled.trace) - len(fit.trace)) <= 1, f"y times 1e{power}"
        np.testing.assert_allclose(scaled.variance_components()["percent"], shares, rtol=1e-5, err_msg=f"1e{power}")
        assert scaled.sigma == pytest.approx(fit.sigma * 10.0**power, rel=1e-6)


def test_the_order_of_the_rows_does_not_matter(data: pd.DataFrame, fit: reml.MixedModelFit) -> None:
    shuffled = data.sample(frac=1, random_state=1)
    again = reml.fit(FORMULA, shuffled)
    assert again.criterion == pytest.approx(fit.criterion, abs=1e-8)
    assert again.fitted().index.equals(shuffled.index)
    np.testing.assert_allclose(again.fitted().loc[data.index], fit.fitted(), atol=1e-6)


def test_the_trace_tells_the_whole_story(data: pd.DataFrame) -> None:
    rows = []
    fit = reml.fit(FORMULA, data, on_iteration=rows.append)
    assert len(rows) == len(fit.trace)
    assert list(fit.trace["iteration"]) == list(range(len(rows)))
    assert fit.trace["step"].iloc[0] == "start"
    assert all(row.sentence for row in rows)
    assert rows[-1].criterion == pytest.approx(fit.criterion, abs=1e-9)
    assert fit.trace["gradient"].iloc[-1] < 1e-5
    last = fit.trace.iloc[-1]
    assert last["gen.variance"] == pytest.approx(COMPONENTS["gen"], rel=1e-4)
    assert fit.parameters["residual.variance"] == pytest.approx(COMPONENTS["residual"], rel=1e-4)


def test_a_callback_that_returns_false_cancels(data: pd.DataFrame) -> None:
    with pytest.raises(reml.FitCancelled) as caught:
        reml.fit(FORMULA, data, on_iteration=lambda row: row.iteration < 2)
    assert len(caught.value.trace) == 3


def test_too_few_iterations_are_said(data: pd.DataFrame) -> None:
    fit = reml.fit(FORMULA, data, max_iterations=1)
    assert not fit.converged
    assert "1" in fit.message


def test_save_and_load(fit: reml.MixedModelFit, tmp_path: Path) -> None:
    path = tmp_path / "alpha.reml"
    fit.save(path)
    again = reml.load(path)
    assert again.criterion == pytest.approx(fit.criterion, rel=1e-12)
    pd.testing.assert_frame_equal(again.variance_components(), fit.variance_components())
    pd.testing.assert_frame_equal(again.fixed_effects(), fit.fixed_effects())
    pd.testing.assert_frame_equal(again.random_effects("gen"), fit.random_effects("gen"))
    pd.testing.assert_series_equal(again.residuals(), fit.residuals())
    assert again.summary() == fit.summary()


def test_a_saved_fit_holds_no_pickle(fit: reml.MixedModelFit, tmp_path: Path) -> None:
    import pickletools
    import zipfile

    path = tmp_path / "alpha.reml"
    fit.save(path)
    contents = [path.read_bytes()]
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            contents = [archive.read(name) for name in archive.namelist()]
    for content in contents:
        assert not content.startswith(b"\x80")  # pickle's protocol mark
        with pytest.raises(Exception):  # noqa: B017
            list(pickletools.genops(content))
