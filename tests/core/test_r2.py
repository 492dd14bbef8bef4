"""R2, intraclass correlations and variance inflation: lme4 1.1-31's fits put into the published formulas in R.

VARIANCES are var(X b), mean(diag(Z Sigma Z')) by term and sigma^2; GVIF is det(R_11) det(R_22) / det(R) of R = cov2cor(vcov(m))
without the intercept. The sleepstudy figures are known: R2 .279 and .799, ICC .722 and .521 (Luedecke et al. 2021, the R package
performance).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.covariance import Dummy, Propagated, Scaled, Sum

OATS = "yield ~ nitro + Variety + nitro:Variety + (1 | Block / Variety)"
VARIANCES = {
    ("sleepstudy", "Reaction ~ Days + (Days | Subject)"): (908.953362623, [1698.071144358], 654.941040682),
    ("pastes", "strength ~ 1 + (1 | batch / cask)"): (0.0, [1.657309073443, 8.433666614891], 0.677999984783),
}
GVIF = {"nitro": (1, 3.0), "Variety": (2, 2.26541564805), "nitro:Variety": (2, 5.27567520366)}


@pytest.mark.parametrize("engine", ["marginal", "henderson"])
@pytest.mark.parametrize("case", VARIANCES, ids=lambda c: c[0])
def test_r2_and_icc(case: tuple[str, str], engine: str) -> None:
    fixed, random, residual = VARIANCES[case]
    fit = reml.fit(case[1], reml.load_sample(case[0]), engine=engine)
    total = fixed + sum(random) + residual
    r2 = fit.r2()
    assert r2["marginal"] == pytest.approx(fixed / total, rel=1e-4)
    assert r2["conditional"] == pytest.approx((fixed + sum(random)) / total, rel=1e-4)
    icc = fit.icc()
    assert list(icc.index) == [*fit.random_terms, "(all random)"]
    np.testing.assert_allclose(icc["adjusted"], np.append(random, sum(random)) / (total - fixed), rtol=1e-4)
    np.testing.assert_allclose(icc["unadjusted"], np.append(random, sum(random)) / total, rtol=1e-4)


def test_the_known_figures() -> None:
    fit = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy"))
    assert [round(v, 3) for v in fit.r2()] == [0.279, 0.799]
    assert [round(v, 3) for v in fit.icc().loc["Subject", ["adjusted", "unadjusted"]]] == [0.722, 0.521]


def test_standard_errors_of_the_icc_are_those_of_the_functions() -> None:
    fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", reml.load_sample("john_alpha"))
    icc = fit.icc()
    for term, numerator in (("gen", "gen"), ("rep:block", "rep:block"), ("(all random)", "(gen + rep:block)")):
        one = fit.function(f"{numerator} / (gen + rep:block + residual)")
        assert icc.loc[term, "adjusted"] == pytest.approx(one["estimate"], rel=1e-12)
        assert icc.loc[term, "std_error"] == pytest.approx(one["std_error"], rel=1e-10)
    zero = reml.fit("Yield ~ 1 + (1 | Batch)", reml.load_sample("dyestuff2"))
    assert zero.icc()["adjusted"].tolist() == [0.0, 0.0] and zero.icc()["std_error"].isna().all()
    assert zero.r2().tolist() == [pytest.approx(0.0, abs=1e-20), pytest.approx(0.0, abs=1e-20)]


def test_random_slopes_count_with_their_mean_over_the_rows() -> None:
    """The icc's standard error with a slope: tr(Z Sigma Z') / n is linear in Sigma's elements."""
    data = reml.load_sample("sleepstudy")
    fit = reml.fit("Reaction ~ Days + (Days | Subject)", data)
    one, two = data["Days"].mean(), (data["Days"] ** 2).mean()
    share = (
        f"(Subject.variance((Intercept)) + 2 * {one!r} * Subject.covariance((Intercept), Days)"
        f" + {float(two)!r} * Subject.variance(Days))"
    ).replace("np.float64(4.5)", "4.5")
    found = fit.function(f"{share} / ({share} + residual)")
    row = fit.icc().loc["Subject"]
    assert (row["adjusted"], row["std_error"]) == pytest.approx((found["estimate"], found["std_error"]), rel=1e-9)


def test_gvif() -> None:
    fit = reml.fit(OATS, reml.load_sample("oats"))
    table = fit.vif()
    assert list(table.index) == list(GVIF)
    for term, (df, gvif) in GVIF.items():
        assert table.loc[term, "df"] == df
        assert table.loc[term, "gvif"] == pytest.approx(gvif, rel=1e-4)
        assert table.loc[term, "gvif_per_df"] == pytest.approx(gvif ** (1 / (2 * df)), rel=1e-4)
    for contrast in ("sum", "helmert"):
        other = reml.fit(
            "yield ~ nitro + Variety + (1 | Block / Variety)", reml.load_sample("oats"), contrasts={"Variety": contrast}
        )
        np.testing.assert_allclose(other.vif()["gvif"], 1.0, rtol=1e-8)  # orthogonal, whatever the coding


def test_the_vif_of_two_covariates_is_that_of_their_correlation() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=90)
    data = pd.DataFrame({"x": x, "z": x + 0.5 * rng.normal(size=90), "g": np.arange(90) % 9})
    data["y"] = data["x"] + rng.normal(size=90)
    fit = reml.fit("y ~ x + z + (1 | g)", data, fixed={"g": 0.0})
    expected = 1 / (1 - np.corrcoef(data["x"], data["z"])[0, 1] ** 2)
    np.testing.assert_allclose(fit.vif()["gvif"], expected, rtol=1e-8)


def test_what_has_none() -> None:
    data = reml.load_sample("john_alpha")
    with pytest.raises(reml.ModelError, match="1 fixed term beside the intercept"):
        reml.fit("yield ~ rep + (1 | gen)", data).vif()
    with pytest.raises(reml.ModelError, match="terms beside an intercept"):
        reml.fit("yield ~ 0 + rep + block + (1 | gen)", data).vif()
    tree = Sum(gen=Propagated(Dummy(data["gen"]), Scaled(24)), residual=Scaled(72))
    fit = reml.fit_covariance(data["yield"], Dummy(data["rep"]), tree)
    for name in ("r2", "icc", "vif"):
        with pytest.raises(reml.ModelError, match="A tree built by hand has no formula"):
            getattr(fit, name)()
