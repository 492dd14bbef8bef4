"""Profile and Wald intervals: lme4's in the reference cases, R's on REML and serial residuals, and the boundary."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import openreml_core as reml
from openreml_core.covariance import Dummy, Propagated, Scaled, Sum
from openreml_core.inference import quantities
from openreml_core.profiles.curve import Walk
from openreml_core.profiles.held import HeldVariance, Point
from tests.contracts.models import plain_v
from tests.reference import ABSENT, Reference

CASES = [n for n in Reference().cases("lme4") if "confint_profile" in Reference().case(n)]
BOTH = [(n, "marginal") for n in CASES] + [(n, "henderson") for n in CASES if n in ("dyestuff", "sleepstudy_slopes")]
MARKED = BOTH or [pytest.param("", "", marks=pytest.mark.skip(ABSENT))]


def canonical(name: str) -> str:
    stem, _, group = name.replace("[T.", "").replace("]", "").partition("|")
    return f"{stem}|{':'.join(sorted(group.split(':')))}"


def fitted(name: str, engine: str = "auto") -> tuple[dict, reml.MixedModelFit]:
    reference = Reference()
    case = reference.case(name)
    data = reference.table(case["data"], case["factors"])
    formula = case["openreml"] or case["formula"]
    return case, reml.fit(formula, data, method="reml" if case["reml"] else "ml", engine=engine)


def theirs(entry: dict) -> pd.DataFrame:
    names = [canonical(name) for name in np.atleast_1d(entry["names"])]
    return pd.DataFrame(np.array(entry["interval"], dtype=float), index=names, columns=["lower", "upper"])


@pytest.mark.parametrize(("name", "engine"), MARKED)
def test_profile_intervals_are_lme4s(name: str, engine: str) -> None:
    case, fit = fitted(name, engine)
    ours = fit.confint(method="profile")
    ours.index = ours.index.map(canonical)
    wanted = theirs(case["confint_profile"])
    assert sorted(ours.index) == sorted(wanted.index)
    np.testing.assert_allclose(ours.loc[wanted.index, ["lower", "upper"]], wanted, rtol=1e-3)
    said = " ".join(ours.attrs["notes"])
    assert ("refitted" in said) is bool(case["reml"])


WALD = [n for n in Reference().cases("lme4") if n in ("cake", "oats_unbalanced", *CASES)]


@pytest.mark.parametrize("name", WALD or [pytest.param("", marks=pytest.mark.skip(ABSENT))])
def test_wald_intervals_of_fixed_effects_are_lme4s(name: str) -> None:
    case, fit = fitted(name)
    wanted = theirs(case["confint_wald"])
    ours = fit.confint(method="wald", parameters="fixed")
    ours.index = ours.index.map(canonical)
    errors = (wanted["upper"] - wanted["lower"]) / 3.92
    for side in ("lower", "upper"):
        assert ((ours.loc[wanted.index, side] - wanted[side]) / errors).abs().max() < 2e-5


def test_order_and_names_are_lme4s(reference: Reference) -> None:
    case, fit = fitted("sleepstudy_slopes")
    assert fit.confint("wald").index.tolist() == case["confint_profile"]["names"]


def test_curves_say_the_same_as_the_search(reference: Reference) -> None:
    case, fit = fitted("sleepstudy_slopes_ml")
    profile = fit.profile("Subject")
    assert list(profile.curves) == case["confint_profile"]["names"][:3]
    read = profile.confint()
    np.testing.assert_allclose(read[["lower", "upper"]], theirs(case["confint_profile"])[:3], rtol=1e-3)
    table = profile.table
    for _, points in table.groupby("parameter"):
        assert points["value"].is_monotonic_increasing and points["zeta"].is_monotonic_increasing
        assert points["zeta"].iloc[0] < -2.9 and points["zeta"].iloc[-1] > 2.9
        # zeta is what the criterion rises by, signed.
        np.testing.assert_allclose(points["criterion"] - fit.criterion, points["zeta"] ** 2, atol=1e-6)
    with pytest.raises(reml.ModelError, match="as far as a level"):
        profile.confint(0.9999)


def test_a_held_quantity_has_its_value_and_the_criterion_its_v() -> None:
    """At a point of a profile the fitted Sigma has the held value, and the criterion is -2 l of that V."""
    data = reml.load_sample("machines")
    fit = reml.fit("score ~ Machine + (Machine | Worker)", data, method="ml")
    known = {q.name: q for q in quantities(fit.estimates.engine.model)}
    for name, value in (("cor_Machine[T.C].Machine[T.B]|Worker", -0.8), ("cor_Machine[T.C].(Intercept)|Worker", 0.5),
                        ("sd_Machine[T.C]|Worker", 2.0)):  # fmt: skip
        held = HeldVariance(fit.estimates, known[name])
        point = held.at(value, None)
        assert point.converged
        sigma = held.model.components[0].structure.matrix(point.theta[:6]).numpy()
        found = sigma[0, 1] / np.sqrt(sigma[0, 0] * sigma[1, 1]) if name.startswith("cor") else np.sqrt(sigma[0, 0])
        assert found == pytest.approx(value, abs=1e-9)
        v = plain_v(held.model, point.theta).numpy()
        y, x = held.model.y.numpy(), held.model.X.numpy()
        inverse = np.linalg.inv(v)
        b = np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ y)
        r = y - x @ b
        minus_two_l = np.linalg.slogdet(v)[1] + r @ inverse @ r + len(y) * np.log(2 * np.pi)
        assert point.criterion == pytest.approx(minus_two_l, abs=1e-7)
        assert point.criterion > fit.criterion


def test_reml_profile_of_dyestuff() -> None:
    # R: the restricted likelihood written out, optimize() over the other parameter, uniroot() for the bounds.
    fit = reml.fit("Yield ~ 1 + (1 | Batch)", reml.load_sample("dyestuff"))
    table = fit.confint(likelihood="reml", parameters="random")
    np.testing.assert_allclose(table["lower"], [15.657197, 38.230123], rtol=1e-4)
    np.testing.assert_allclose(table["upper"], [101.066124, 67.657673], rtol=1e-4)
    assert "restricted" in table.attrs["notes"][0]


def test_serial_residual_is_nlmes() -> None:
    # nlme: lme(..., corAR1(r, fixed = TRUE), method = "ML"), uniroot() on its log-likelihood.
    fit = reml.fit("Reaction ~ Days + (1 | Subject)", reml.load_sample("sleepstudy"), residual="id(Subject):ar1(Days)")
    table = fit.confint(parameters="residual.ar1(Days).rho")
    assert table["lower"].item() == pytest.approx(0.46531145, rel=1e-4)
    assert table["upper"].item() == pytest.approx(0.82303, rel=1e-4)


def test_wald_of_variances_is_near_nlmes() -> None:
    # nlme: intervals(lme(Reaction ~ Days, random = ~ Days | Subject)), from the observed information instead of the average.
    table = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy")).confint("wald")
    rows = ["sd_(Intercept)|Subject", "sd_Days|Subject", "sigma"]
    np.testing.assert_allclose(table.loc[rows, "lower"], [15.60123511, 3.92213570, 22.801433], rtol=2e-3)
    np.testing.assert_allclose(table.loc[rows, "upper"], [39.23308657, 8.94193239, 28.723705], rtol=2e-3)


def test_one_sample_is_exact() -> None:
    """Without random effects the profile of b is a t statistic's, that of sigma a chi2's: closed forms."""
    y = np.array([3.1, 4.7, 2.2, 5.9, 4.1, 3.3, 6.0, 2.8])
    n = len(y)
    data = pd.DataFrame({"y": y})
    fit = reml.fit("y ~ 1", data, method="ml")
    table = fit.confint()
    limit = stats.chi2.ppf(0.95, 1)
    rss = float(((y - y.mean()) ** 2).sum())
    half = np.sqrt(rss / n * np.expm1(limit / n))  # n log(1 + n d^2 / rss) = limit
    found = table.loc["(Intercept)", ["lower", "upper"]].astype(float)
    np.testing.assert_allclose(found, [y.mean() - half, y.mean() + half], rtol=1e-5)
    for bound in table.loc["sigma", ["lower", "upper"]].astype(float):
        d = n * np.log(bound**2) + rss / bound**2 - (n * np.log(rss / n) + n)
        assert d == pytest.approx(limit, abs=1e-3)


def test_a_variance_at_zero_has_an_interval_from_zero() -> None:
    rng = np.random.default_rng(0)
    data = pd.DataFrame(
        {"g": np.repeat(list("ABCDEF"), 5), "y": 5 + np.tile(rng.normal(size=5), 6) + 0.3 * rng.normal(size=30)}
    )
    fit = reml.fit("y ~ 1 + (1 | g)", data)
    assert fit.singular
    table = fit.confint(parameters="g")
    assert table["lower"].item() == 0.0 and 0 < table["upper"].item() < 1
    assert "reaches zero" in " ".join(table.attrs["notes"])


def test_a_correlation_at_its_end_is_said() -> None:
    data = reml.load_sample("orthodont")
    fit = reml.fit("distance ~ age + (age | Subject)", data)
    name = "cor_age.(Intercept)|Subject"
    table = fit.confint(parameters=name)
    assert -1 <= table.loc[name, "lower"] < table.loc[name, "estimate"] < table.loc[name, "upper"] <= 1
    said = "where the parameter ends" in " ".join(table.attrs["notes"])
    assert said is bool(table.loc[name, "lower"] == -1 or table.loc[name, "upper"] == 1)


def test_held_and_tied_parameters_have_no_profile_and_weights_count() -> None:
    data = reml.load_sample("sleepstudy").assign(w=lambda d: 1.0 + np.arange(len(d)) % 3)
    fit = reml.fit(
        "Reaction ~ Days + (Days || Subject)",
        data,
        weights="w",
        ties={"Subject.variance(Days)": "0.05 * Subject.variance((Intercept))"},
    )
    table = fit.confint(parameters="Subject")
    assert table.index.tolist() == ["sd_(Intercept)|Subject"]
    assert "it follows" in " ".join(table.attrs["notes"])
    # The bound is where the likelihood of the tied model has fallen by chi2 / 2: the whole fit with the variance held there.
    ml = fit.update(method="ml")
    at = fit.update(
        method="ml", ties=None, fixed={"Subject": [table["upper"].item() ** 2, 0.05 * table["upper"].item() ** 2]}
    )
    assert at.criterion - ml.criterion == pytest.approx(stats.chi2.ppf(0.95, 1), abs=1e-3)
    held = reml.fit("Reaction ~ Days + (1 | Subject)", data, fixed={"Subject": 600.0})
    with pytest.raises(reml.ModelError, match="it is held"):
        held.confint(parameters="Subject")


def test_rank_deficient_x_and_bad_input() -> None:
    data = reml.load_sample("sleepstudy").assign(twice=lambda d: 2 * d["Days"])
    fit = reml.fit("Reaction ~ Days + twice + (1 | Subject)", data, method="ml")
    assert fit.confint("wald").index.tolist()[-2:] == ["(Intercept)", "Days"]
    for options, words in (
        ({"method": "bayes"}, "not known"),
        ({"level": 95}, "not a probability"),
        ({"parameters": "Dais"}, "no parameter of this model"),
        ({"parameters": 3}, "names no parameters"),
        ({"likelihood": "reml"}, "no REML profile"),
        ({"likelihood": "rmel"}, "not known"),
    ):
        with pytest.raises(reml.ModelError, match=words):
            fit.confint(**options)


# -- the walk along a profile -----------------------------------------------------------------------------------


class Drawn:
    """A profile that is given as a function."""

    def __init__(self, function: Callable[[float], float], lower: float = -np.inf, upper: float = np.inf) -> None:
        self.function, self.lower, self.upper = function, lower, upper

    def at(self, value: float, warm: torch.Tensor | None) -> Point:
        found = self.function(value)
        if np.isnan(found):
            raise reml.ConvergenceError("no likelihood")
        return Point(found, torch.zeros(1), True)


def walked(held: Drawn, direction: int, zeta: float = 1.96) -> Walk:
    walk = Walk(held, 0.0, 0.0, direction)
    walk.out_to(zeta, 0.5, 1.0)
    return walk


def test_walk_finds_the_crossing_of_a_curve_that_is_known() -> None:
    walk = walked(Drawn(lambda x: np.expm1(x) ** 2), 1)
    assert walk.crossing(1.96) == pytest.approx(np.log1p(1.96), abs=1e-5)
    assert walked(Drawn(lambda x: 4 * x * x), -1).crossing(1.96) == pytest.approx(-0.98, abs=1e-5)
    assert walk.side.notes == []


def test_walk_reports_what_is_odd() -> None:
    bumpy = walked(Drawn(lambda x: 2 * np.sin(x) ** 2 + 0.02 * x * x), 1)
    assert "not monotone" in " ".join(bumpy.side.notes)
    lower = walked(Drawn(lambda x: x * x - 3 * x), 1)
    assert "no global maximum" in " ".join(lower.side.notes)
    flat = walked(Drawn(lambda x: 1 - np.exp(-x * x)), 1)
    assert not flat.side.reached and "do not limit it" in " ".join(flat.side.notes)
    ended = walked(Drawn(lambda x: x * x, upper=1.0), 1)
    assert ended.side.at_end and ended.side.values[-1] == 1.0
    nowhere = walked(Drawn(lambda x: x * x if x < 1 else np.nan), 1)
    assert "no likelihood beyond" in " ".join(nowhere.side.notes)


def test_a_tree_has_wald_and_bootstrap_intervals() -> None:
    d = reml.load_sample("john_alpha")
    v = Sum(gen=Propagated(Dummy(d["gen"]), Scaled(24)), residual=Scaled(72))
    fit = reml.fit_covariance(d["yield"], Dummy(d["rep"]), v)
    same = reml.fit("yield ~ 0 + rep + (1 | gen)", d)
    for method, more in (("wald", {}), ("bootstrap", {"n_boot": 5, "seed": 1})):
        ours, theirs = (f.confint(method, **more) for f in (fit, same))
        assert ours.index.tolist()[:2] == ["sd_gen/sigma2", "sd_residual/sigma2"]
        np.testing.assert_allclose(ours["estimate"][:2], theirs["estimate"][:2], rtol=1e-4)
    wald = [f.confint("wald")[["lower", "upper"]][:2] for f in (fit, same)]
    np.testing.assert_allclose(*wald, rtol=1e-3)
    with pytest.raises(reml.ModelError, match="no profile"):
        fit.confint(parameters="sd_gen/sigma2")
