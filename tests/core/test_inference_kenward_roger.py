"""Kenward-Roger's covariance, df and F against pbkrtest (through lmerTest), published values, and both engines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.inference import joint_test
from tests.core.test_cases_lme4 import canonical
from tests.reference import ABSENT, Reference

#: coef(summary(lmer(Yield ~ x + (1 | Batch)), ddf = "Kenward-Roger")) of lmerTest 3.1 with pbkrtest 0.5 on Dyestuff2, x = 0 to 4.
SINGULAR = {"std_error": [1.16377207226779, 0.47510795899291], "df": [24.069767441861, 23.0]}

CASES = [name for name in Reference().cases("lme4") if "coefficients_kenward_roger" in Reference().case(name)]


def fitted(name: str, engine: str = "auto") -> tuple[dict, reml.MixedModelFit]:
    reference = Reference()
    case = reference.case(name)
    data = reference.table(case["data"], case["factors"])
    return case, reml.fit(case["openreml"] or case["formula"], data, engine=engine)


@pytest.mark.parametrize("name", CASES or [pytest.param(None, marks=pytest.mark.skip(ABSENT))])
@pytest.mark.parametrize("engine", ["marginal", "henderson"])
def test_coefficients_are_pbkrtests(name: str, engine: str) -> None:
    case, fit = fitted(name, engine)
    table = fit.fixed_effects(ddf="kenward-roger").rename(index=canonical)
    for row in case["coefficients_kenward_roger"]:
        own = table.loc[canonical(row[".row"])]
        assert own["estimate"] == pytest.approx(row["Estimate"], abs=1e-5 * row["Std. Error"])
        assert own["std_error"] == pytest.approx(row["Std. Error"], rel=1e-5)
        assert own["df"] == pytest.approx(row["df"], rel=1e-3)
        assert own["t"] == pytest.approx(row["t value"], rel=1e-4, abs=1e-5)
        assert own["p_value"] == pytest.approx(row["Pr(>|t|)"], rel=2e-3)  # at a df that agrees to 1e-3
    assert table.attrs["ddf"] == "Kenward-Roger"


@pytest.mark.parametrize("engine", ["marginal", "henderson"])
def test_joint_test_of_any_rows(engine: str) -> None:
    """pbkrtest 0.5-2, KRmodcomp(m, L) for d <- oats_unbalanced and L: Marvellous - Golden rain and nitro 0.6 - 0.4, jointly."""
    if not Reference().found():
        pytest.skip(ABSENT)
    _, fit = fitted("oats_unbalanced", engine)
    names = list(fit.fixed_effects().index)
    rows = np.zeros((3, len(names)))
    rows[0, names.index("Variety[T.Marvellous]")] = 1
    rows[1, names.index("nitro[T.0.6]")], rows[1, names.index("nitro[T.0.4]")] = 1, -1
    rows[2] = rows[0] - 2 * rows[1]  # says nothing more
    found = joint_test(fit.estimates, rows, "kenward-roger")
    assert (found.num_df, found.F) == (2, pytest.approx(0.6311619319, rel=1e-4))
    assert found.den_df == pytest.approx(35.91775901, rel=1e-3)
    assert found.scaling == pytest.approx(0.9889727388, rel=1e-4)
    assert found.p_value == pytest.approx(0.5377701239, rel=1e-3)


def test_a_residual_structure_that_is_linear_in_its_elements() -> None:
    """us within subjects without missing visits is a multivariate normal: Hotelling's T2 is exact, and Kenward-Roger finds it.

    (Kenward and Roger 1997, section 4.2.) With s subjects and k visits that T2 = s d'S^-1 d for k - 1 differences,
    F = (s - k + 1) / ((s - 1) (k - 1)) T2 on (k - 1, s - k + 1).
    """
    rng = np.random.default_rng(4)
    s, k = 12, 4
    y = rng.normal(size=(s, k)) @ np.array([[1, 0.8, 0.4, 0.2], [0, 1, 0.6, 0.1], [0, 0, 1.5, 0.9], [0, 0, 0, 0.7]])
    y += np.array([0.0, 0.4, 0.9, 0.5])
    subject, visit = (i.reshape(-1).astype(str) for i in np.indices((s, k)))
    data = pd.DataFrame({"y": y.reshape(-1), "subject": subject, "visit": visit})
    differences = y[:, 1:] - y[:, :1]
    mean, spread = differences.mean(axis=0), np.cov(differences.T)
    f = s * mean @ np.linalg.solve(spread, mean) * (s - k + 1) / ((s - 1) * (k - 1))
    fit = reml.fit("y ~ visit", data, residual="id(subject):us(visit)")
    row = fit.anova(ddf="kenward-roger").iloc[0]
    assert (row["num_df"], row["den_df"]) == (k - 1, pytest.approx(s - k + 1, rel=1e-5))
    assert row["F"] == pytest.approx(f, rel=1e-5)


def test_equicorrelation_is_a_random_intercept() -> None:
    """cs within subjects is the same V as (1 | subject): the adjusted covariance and the df must be the same."""
    rng = np.random.default_rng(9)
    subject, visit = (i.reshape(-1) for i in np.indices((9, 4)))
    data = pd.DataFrame({"subject": subject.astype(str), "visit": visit.astype(str), "x": rng.normal(size=36)})
    data["y"] = data["x"] + rng.normal(size=9)[subject] + 0.7 * rng.normal(size=36)
    data = data.drop(index=[3, 10, 11, 25]).reset_index(drop=True)
    one = reml.fit("y ~ x + visit + (1 | subject)", data)
    other = reml.fit("y ~ x + visit", data, residual="id(subject):cs(visit)")
    for table in ("fixed_effects", "anova"):
        a, b = (getattr(fit, table)(ddf="kenward-roger").select_dtypes("number") for fit in (one, other))
        a, b = (
            t.drop(columns=["sum_sq", "mean_sq"], errors="ignore") for t in (a, b)
        )  # in units of different residuals
        np.testing.assert_allclose(a, b, rtol=2e-5)


def test_a_curved_structure_is_held_to_the_definition() -> None:
    """AR(1): C_A written out in (variance, rho) with V's derivatives by differences."""
    rng = np.random.default_rng(1)
    subject, time = (i.reshape(-1) for i in np.indices((8, 5)))
    data = pd.DataFrame({"subject": subject.astype(str), "time": time, "x": rng.normal(size=40)})
    data["y"] = 2 + data["x"] + 0.3 * time + np.repeat(rng.normal(size=8), 5) + rng.normal(size=40)
    fit = reml.fit("y ~ x + time", data, residual="id(subject):ar1(time)")
    x = fit.design.X
    lag = np.abs(time[:, None] - time[None, :])
    same = subject[:, None] == subject[None, :]

    def v(nu: np.ndarray) -> np.ndarray:
        return nu[0] * nu[1] ** lag * same

    nu = np.array(list(fit.parameters.values()))
    h = 1e-3 * np.eye(2)
    first = np.array([(v(nu + e) - v(nu - e)) / 2e-3 for e in h])
    second = np.array([[(v(nu + e + f) - v(nu + e - f) - v(nu - e + f) + v(nu - e - f)) / 4e-6 for f in h] for e in h])
    inverse = np.linalg.inv(v(nu))
    c = np.linalg.inv(x.T @ inverse @ x)
    p = np.array([-x.T @ inverse @ d @ inverse @ x for d in first])
    q = np.array([[x.T @ inverse @ d @ inverse @ e @ inverse @ x for e in first] for d in first])
    r = np.array([[x.T @ inverse @ d @ inverse @ x for d in row] for row in second])
    information = np.array(
        [
            [
                np.trace(inverse @ first[i] @ inverse @ first[j]) - np.trace(2 * c @ q[i, j] - c @ p[i] @ c @ p[j])
                for j in (0, 1)
            ]
            for i in (0, 1)
        ]
    )
    w = 2 * np.linalg.inv(information)
    inside = sum(w[i, j] * (q[i, j] - p[i] @ c @ p[j] - r[i, j] / 4) for i in (0, 1) for j in (0, 1))
    adjusted = c + 2 * c @ inside @ c
    table = fit.fixed_effects(ddf="kenward-roger")
    np.testing.assert_allclose(table["std_error"], np.sqrt(np.diag(adjusted)), rtol=1e-5)
    t = np.einsum("ij,kjl,li->ki", c, p, c)
    np.testing.assert_allclose(table["df"], 2 * np.diag(c) ** 2 / np.einsum("ki,kl,li->i", t, w, t), rtol=1e-4)


def test_a_variance_at_zero_counts_as_estimated(reference: Reference) -> None:
    """Standard errors and df as lmerTest with pbkrtest gives them for ``Yield ~ x + (1 | Batch)``."""
    d = reference.table("dyestuff2.csv", ["Batch"])
    d["x"] = np.arange(len(d)) % 5
    for engine in ("marginal", "henderson"):
        fit = reml.fit("Yield ~ x + (1 | Batch)", d, engine=engine)
        assert fit.singular
        table = fit.fixed_effects(ddf="kenward-roger")
        np.testing.assert_allclose(table["std_error"], SINGULAR["std_error"], rtol=1e-7)
        np.testing.assert_allclose(table["df"], SINGULAR["df"], rtol=1e-7)


def test_a_split_plot_keeps_its_df_where_whole_plots_do_not_vary() -> None:
    """4 blocks of 3 whole plots of 2 subplots: (3 - 1)(4 - 1) = 6 for varieties, 3 (4 - 1)(2 - 1) = 9 within whole plots."""
    rng = np.random.default_rng(11)
    d = pd.DataFrame([(b, v, n) for b in "abcd" for v in "xyz" for n in "12"], columns=["block", "variety", "nitro"])
    e = rng.standard_normal((4, 3, 2))
    e -= e.mean(axis=2, keepdims=True)  # whole plots are equal on average: their variances are estimated at zero
    d["y"] = 10 + e.ravel() + (d["variety"] == "x") + 2.0 * (d["nitro"] == "2")
    fit = reml.fit("y ~ variety * nitro + (1 | block) + (1 | block:variety)", d)
    assert (fit.variance_components()["bound"] == "at zero").sum() == 2
    assert fit.anova(ddf="kenward-roger")["den_df"].to_numpy() == pytest.approx([6, 9, 9], abs=1e-6)


def test_variances_held_and_tied_count_as_they_should(reference: Reference) -> None:
    oats = reference.table("oats_unbalanced.csv", ["Block", "Variety", "nitro"])
    free = reml.fit("yield ~ nitro + Variety + (1 | Block) + (1 | Block:Variety)", oats)
    held = {"Block.variance": free.parameters["Block.variance"]}
    fixed = reml.fit(free.formula, oats, fixed=held).fixed_effects(ddf="kenward-roger")
    assert (fixed["df"] > free.fixed_effects(ddf="kenward-roger")["df"] - 1e-6).all()
    ratio = free.parameters["Block.variance"] / free.parameters["Block:Variety.variance"]
    tied = [
        reml.fit(
            free.formula, oats, ties={"Block.variance": f"{ratio!r} * Block:Variety.variance"}, engine=engine
        ).fixed_effects(ddf="kenward-roger")
        for engine in ("marginal", "henderson")
    ]
    pd.testing.assert_frame_equal(*tied, rtol=1e-5)
    # One parameter less to be estimated cannot cost degrees of freedom.
    assert (tied[0]["df"] >= free.fixed_effects(ddf="kenward-roger")["df"] - 1e-6).all()


def test_trees_built_by_hand(reference: Reference) -> None:
    """V as a tree of matrices has the formula's tables: R is found to be zero."""
    from openreml_core.covariance import Dummy, Propagated, Scaled, Sum

    d = reference.table("oats_unbalanced.csv", ["Block", "Variety", "nitro"])
    fit = reml.fit("yield ~ nitro + Variety + (1 | Block) + (1 | Block:Variety)", d)
    v = Sum(
        block=Propagated(Dummy(d["Block"]), Scaled(6)),
        plot=Propagated(Dummy(d["Block"], d["Variety"]), Scaled(18)),
        residual=Scaled(len(d)),
    )
    by_hand = reml.fit_covariance(d["yield"], fit.design.X, v)
    a, b = (f.fixed_effects(ddf="kenward-roger").reset_index(drop=True) for f in (fit, by_hand))
    pd.testing.assert_frame_equal(a, b, rtol=1e-4, check_exact=False)


def test_a_factor_without_loadings_adds_nothing() -> None:
    rng = np.random.default_rng(1)
    d = pd.DataFrame([(g, e) for g in range(12) for e in "abcd" for _ in "12"], columns=["g", "e"])
    d["g"], d["x"] = d["g"].astype(str), rng.standard_normal(len(d))
    within = rng.standard_normal((12, 4, 2))
    d["y"] = 5 + (within - within.mean(axis=2, keepdims=True)).ravel() + d["x"]
    fit = reml.fit("y ~ x + fa(0 + e | g, k=1)", d)
    assert fit.variance_components()["bound"].tolist() == ["at zero"] * 8 + [""]
    plain = reml.fit("y ~ x", d).fixed_effects(ddf="kenward-roger")
    pd.testing.assert_frame_equal(fit.fixed_effects(ddf="kenward-roger"), plain, rtol=1e-6)
