"""Residuals and leverage: HLMdiag's and lme4's numbers, V written out, engine against engine, and what cannot be asked."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.diagnostics import residual_values
from openreml_core.diagnostics.confounding import least_confounded
from openreml_core.diagnostics.residuals import KINDS
from tests.contracts.models import plain_v
from tests.contracts.test_rows import plain_r
from tests.reference import ABSENT, Reference

HLM = {
    "slopes_corr": "y ~ x + (x | g)",
    "slopes_indep": "y ~ x + (x || g)",
    "slopes_crossed": "y ~ x + (x | g1) + (1 | g2)",
}
CASES = ["sleepstudy_slopes", "sleepstudy_intercept", "penicillin", "dyestuff", "john_alpha"]
needs_reference = pytest.mark.skipif(not (Reference().fits / "hlmdiag").is_dir(), reason=ABSENT)


def hlm_case(name: str, engine: str) -> SimpleNamespace:
    """HLMdiag's numbers, and our fit at the variances that it had."""
    folder = Reference().fits / "hlmdiag"
    found = json.loads((folder / f"{name}_r_results.json").read_text(encoding="utf-8"))
    group = "g1" if "cov_g1" in found else "g"
    cov = found[f"cov_{group}"]
    held = {f"{group}.variance({a})": cov[a][a] for a in ("(Intercept)", "x")}
    if name != "slopes_indep":
        held[f"{group}.covariance((Intercept), x)"] = cov["(Intercept)"]["x"]
    if "var_g2" in found:
        held["g2.variance"] = found["var_g2"]
    held["residual.variance"] = found["var_resid"]
    data = pd.read_csv(folder / f"{name}_data.csv")
    return SimpleNamespace(found=found, data=data, fit=reml.fit(HLM[name], data, engine=engine, fixed=held))


def reference_fit(name: str, engine: str = "auto") -> tuple[dict, reml.MixedModelFit]:
    case = Reference().case(name)
    data = Reference().table(case["data"], case["factors"])
    return case, reml.fit(case["openreml"] or case["formula"], data, engine=engine)


@needs_reference
@pytest.mark.parametrize("engine", ["marginal", "henderson"])
@pytest.mark.parametrize("name", HLM)
def test_hlmdiag(name: str, engine: str) -> None:
    study = hlm_case(name, engine)
    fit, found = study.fit, study.found
    leverage = fit.leverage()
    kinds = {"fixed": "fixef", "random": "ranef", "overall": "overall", "unconfounded": "ranef.uc"}
    for ours, theirs in kinds.items():
        np.testing.assert_allclose(leverage[ours], found["leverage"][theirs], rtol=1e-8)
    np.testing.assert_allclose(fit.residuals("conditional"), found["resid_cond"], rtol=1e-8)
    np.testing.assert_allclose(fit.residuals("marginal"), found["resid_marg"], rtol=1e-8)
    influence = fit.influence()
    np.testing.assert_allclose(influence["cooks_distance"], found["cooksd"], rtol=1e-8)
    np.testing.assert_allclose(influence["mdffits"], found["mdffits"], rtol=1e-8)


@pytest.mark.skipif(not Reference().found(), reason=ABSENT)
@pytest.mark.parametrize("name", CASES)
def test_lme4(name: str) -> None:
    """Its estimates are good to about 1e-6, and so are its leverages."""
    case, fit = reference_fit(name)
    np.testing.assert_allclose(fit.leverage()["overall"], case["leverage"], rtol=1e-5)
    np.testing.assert_allclose(fit.residuals("studentized"), case["rstudent_conditional"], atol=1e-5)
    np.testing.assert_allclose(fit.residuals("pearson"), case["pearson"], atol=1e-5)
    np.testing.assert_allclose(fit.influence()["cooks_lme4"], case["cooks_distance"], rtol=1e-4, atol=1e-8)


def field() -> pd.DataFrame:
    """A trial of 8 x 9 plots with a trend that is AR(1) along rows and columns, four of the plots missing."""
    rng = np.random.default_rng(8)
    row, col = (x.ravel() for x in np.meshgrid(np.arange(1, 9), np.arange(1, 10), indexing="ij"))
    r = 0.8 ** np.abs(row[:, None] - row) * 0.8 ** np.abs(col[:, None] - col)
    trend = 1.5 * np.linalg.cholesky(r) @ rng.normal(size=72)
    gen = rng.permutation(np.repeat(np.arange(24), 3))
    y = 20 + trend + rng.normal(size=24)[gen] + 0.5 * rng.normal(size=72)
    table = pd.DataFrame({"row": row, "col": col, "gen": [f"G{g:02d}" for g in gen], "yield": y, "trend": trend})
    return table.drop([3, 20, 21, 50])


def models() -> dict[str, dict]:
    """Models of every layout of the residual; n of some tens."""
    sleep, oats = (reml.load_sample(name) for name in ("sleepstudy", "oats"))
    sleep = sleep.assign(w=1.0 + np.arange(len(sleep)) % 3, half=np.where(np.arange(len(sleep)) % 20 < 9, "a", "b"))
    return {
        "slopes": dict(formula="Reaction ~ Days + (Days | Subject)", data=sleep),
        "weights": dict(formula="Reaction ~ Days + (Days | Subject)", data=sleep, weights="w"),
        "ml": dict(formula="Reaction ~ Days + (1 | Subject)", data=sleep, method="ml"),
        "sections": dict(formula="Reaction ~ Days + (1 | Subject)", data=sleep, residual="dsum(id(units) | half)"),
        "serial": dict(formula="Reaction ~ Days + (1 | Subject)", data=sleep, residual="id(Subject):ar1(Days) + id(units)"),
        "split plot": dict(formula="yield ~ nitro * Variety + (1 | Block/Variety)", data=oats),
        "field": dict(formula="yield ~ 1 + (1 | gen)", data=field(), residual="ar1(row):ar1(col)"),
        "spline": dict(formula="Reaction ~ spl(Days) + (1 | Subject)", data=sleep),
        "held": dict(formula="Reaction ~ Days + (1 | Subject)", data=sleep, fixed={"Subject": 1400.0}),
        "tied": dict(
            formula="yield ~ nitro + (1 | Block/Variety)", data=oats, ties={"Block:Variety.variance": "0.5 * Block.variance"}
        ),
    }  # fmt: skip


MODELS = models()


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest) -> tuple[reml.MixedModelFit, reml.MixedModelFit]:
    """A model by both engines, the second at the estimates of the first."""
    options = MODELS[request.param]
    dense = reml.fit(**options, engine="marginal")
    return dense, reml.fit(**options, engine="henderson")


def test_residuals_from_v_written_out(pair: tuple[reml.MixedModelFit, reml.MixedModelFit]) -> None:
    for fit in pair:
        model, at = fit._model, fit.estimates.at
        v, r = (at.sigma2 * m(model, at.theta).numpy() for m in (plain_v, plain_r))
        x, y = model.X.numpy(), model.y.numpy()
        inverse = np.linalg.inv(v)
        c = np.linalg.inv(x.T @ inverse @ x)
        p = inverse - inverse @ x @ c @ x.T @ inverse
        e, m = r @ p @ y, v @ p @ y
        internal = e / np.sqrt(np.diag(r @ p @ r))
        df = len(y) - x.shape[1] - 1
        outside = np.sqrt((y @ p @ y - (p @ y) ** 2 / np.diag(p)) / df)
        expected = {
            "conditional": e,
            "marginal": m,
            "pearson": e / np.sqrt(np.diag(r)),
            "standardized": internal,
            "studentized": internal,
            "studentized-external": internal / outside,
            "standardized-marginal": m / np.sqrt(np.diag(v @ p @ v)),
            "cholesky": np.linalg.solve(np.linalg.cholesky(v), m),
        }
        for kind, values in expected.items():
            np.testing.assert_allclose(
                fit.residuals(kind), values, rtol=1e-6, atol=1e-7 * np.abs(values).max(), err_msg=kind
            )
        h1, h2 = x @ c @ x.T @ inverse, (v - r) @ p
        leverage = fit.leverage()
        np.testing.assert_allclose(leverage["fixed"], np.diag(h1), rtol=1e-7)
        np.testing.assert_allclose(leverage["random"], np.diag(h2), atol=1e-9)
        np.testing.assert_allclose(leverage["overall"], np.diag(h1 + h2), atol=1e-9)
        np.testing.assert_allclose(leverage["unconfounded"], np.diag(v - r) / np.diag(r), rtol=1e-7, atol=1e-12)


def test_least_confounded_residuals_are_what_they_say(pair: tuple[reml.MixedModelFit, reml.MixedModelFit]) -> None:
    """They are T y with T V T' = I, T X = 0, and the share of R in it is l."""
    found = []
    for fit in pair:
        view, n = fit._view, fit.n_obs
        values, share = least_confounded(view)
        model, at = fit._model, fit.estimates.at
        v, r = (at.sigma2 * m(model, at.theta).numpy() for m in (plain_v, plain_r))
        inverse, x = np.linalg.inv(v), model.X.numpy()
        p = inverse - inverse @ x @ np.linalg.inv(x.T @ inverse @ x) @ x.T @ inverse
        kept = share.numpy() > 1e-6
        h = np.linalg.cholesky(r)
        eigenvalues = np.linalg.eigvalsh(h.T @ p @ h)[::-1][: n - fit.rank]
        np.testing.assert_allclose(share, eigenvalues.clip(0, 1), atol=1e-8)
        assert len(values) == n - fit.rank
        # sum of squares of independent standard normal values: y'P y.
        if kept.all():
            np.testing.assert_allclose(float(values @ values), model.y.numpy() @ p @ model.y.numpy(), rtol=1e-7)
        found.append(fit.residuals("least confounded"))
    assert list(found[0].index) == list(range(1, len(found[0]) + 1))


def test_residuals_of_equal_share_do_not_depend_on_the_engine() -> None:
    options = MODELS["slopes"]
    a, b = (reml.fit(**options, engine=e).residuals("least-confounded") for e in ("marginal", "henderson"))
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_residuals_of_a_correct_model_are_what_they_should_be() -> None:
    """Monte Carlo: studentised residuals have variance 1, Cholesky and least confounded ones are uncorrelated."""
    fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", reml.load_sample("john_alpha"))
    view = fit._view
    y = fit.simulate(4000, seed=3).to_numpy()
    import torch

    e = view.rows.residual_times(view.rows.times(torch.tensor(y))).numpy()
    scale = e / np.sqrt(view.rows.both.numpy())[:, None]
    np.testing.assert_allclose(scale.var(axis=1).mean(), 1.0, rtol=0.02)
    np.testing.assert_allclose((e.var(axis=1) / view.rows.both.numpy()), 1.0, atol=0.15)


def test_a_row_that_fixed_effects_reproduce_has_no_studentised_residual() -> None:
    data = reml.load_sample("sleepstudy").assign(only=0.0)
    data.loc[7, "only"] = 1.0
    for engine in ("marginal", "henderson"):
        fit = reml.fit("Reaction ~ Days + only + (1 | Subject)", data, engine=engine)
        for kind in ("studentized", "studentized-external"):
            e = fit.residuals(kind)
            assert np.isnan(e.loc[7])
            assert e.drop(7).notna().all()
        assert np.isnan(fit.influence().loc[7, "cooks_distance"])
        assert fit.leverage().loc[7, "fixed"] == pytest.approx(1.0)
        assert "1 of the 180 rows cannot be left out" in " ".join(fit.influence().attrs["notes"])


def test_a_variance_of_zero() -> None:
    fit = reml.fit("Yield ~ 1 + (1 | Batch)", reml.load_sample("dyestuff2"))
    leverage = fit.leverage()
    np.testing.assert_allclose(leverage["random"], 0.0, atol=1e-12)
    np.testing.assert_allclose(leverage["fixed"], 1 / 30)
    # lm(Yield ~ 1): rstudent = t statistic of a row of its own.
    y = fit.response
    external = fit.residuals("studentized-external")
    rest = y.drop(y.index[4])
    t = (y.iloc[4] - rest.mean()) / (rest.std(ddof=1) * np.sqrt(1 + 1 / len(rest)))
    assert external.iloc[4] == pytest.approx(t)


def test_group_residuals() -> None:
    data = reml.load_sample("sleepstudy")
    fit = reml.fit("Reaction ~ Days + (Days | Subject)", data)
    ls = fit.group_residuals(kind="ls").pivot(index="level", columns="effect", values="residual")
    for subject, own in data.groupby("Subject", observed=True):
        slope, intercept = np.polyfit(own["Days"], own["Reaction"], 1)
        b = fit.fixed_effects()["estimate"]
        assert ls.loc[str(subject), "Days"] == pytest.approx(slope - b["Days"])
        assert ls.loc[str(subject), "(Intercept)"] == pytest.approx(intercept - b["(Intercept)"])
    eb = fit.group_residuals()
    blups = fit.random_effects()
    np.testing.assert_allclose(eb["residual"], blups["blup"])
    variance = np.tile(np.diag(fit.variance_matrix("Subject")), len(blups) // 2)
    np.testing.assert_allclose(eb["standardized"], blups["blup"] / np.sqrt(variance - blups["pev"]))


def test_group_residuals_with_correlated_errors_and_other_terms() -> None:
    options = MODELS["serial"]
    a, b = (reml.fit(**options, engine=e).group_residuals(kind="ls") for e in ("marginal", "henderson"))
    np.testing.assert_allclose(a["residual"], b["residual"], rtol=1e-4, atol=1e-4)
    fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", reml.load_sample("john_alpha"))
    other = fit.random_part("rep:block")
    own = (fit.response - fit.fitted(random=False) - other).groupby(fit.data["gen"].astype(str)).mean()
    ls = fit.group_residuals("gen", "ls").set_index("level")["residual"]
    np.testing.assert_allclose(ls, own.loc[ls.index])


def test_leverage_by_group_is_the_mean() -> None:
    fit = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy"))
    by_row = fit.leverage()
    by_group = fit.leverage("Subject")
    np.testing.assert_allclose(by_group, by_row.groupby(fit.data["Subject"].to_numpy(), observed=True).mean())


def test_names_of_kinds() -> None:
    fit = reml.fit("Reaction ~ Days + (1 | Subject)", reml.load_sample("sleepstudy"))
    for kind in KINDS:
        assert fit.residuals(kind).name == f"{kind} residual"
    np.testing.assert_array_equal(fit.residuals("Studentised external"), fit.residuals("studentized-external"))
    for wrong in ("deviance", 3, None):
        with pytest.raises(reml.ModelError, match="not available"):
            fit.residuals(wrong)
    with pytest.raises(reml.ModelError, match="no random effects"):
        reml.fit("Reaction ~ Days", reml.load_sample("sleepstudy")).group_residuals()
    with pytest.raises(reml.ModelError, match="Choose 'eb' or 'ls'"):
        fit.group_residuals(kind="mean")
    with pytest.raises(reml.DataError, match="There is no column"):
        fit.leverage("nothing")
    with pytest.raises(reml.DataError, match="labels of groups"):
        fit.leverage([1, 2, 3])


def test_by_hand_as_by_formula() -> None:
    from openreml_core.covariance import Dummy, Propagated, Scaled, Sum

    s = reml.load_sample("john_alpha")
    v = Sum(
        gen=Propagated(Dummy(s["gen"]), Scaled(24)),
        block=Propagated(Dummy(s["rep"], s["block"]), Scaled(18)),
        residual=Scaled(72),
    )
    a = reml.fit_covariance(s["yield"], Dummy(s["rep"]), v)
    b = reml.fit("yield ~ 0 + rep + (1 | gen) + (1 | rep:block)", s)
    for kind in ("conditional", "pearson", "studentized", "studentized-external", "standardized-marginal", "cholesky"):
        np.testing.assert_allclose(a.residuals(kind), b.residuals(kind), atol=1e-5, err_msg=kind)
    np.testing.assert_allclose(a.leverage(), b.leverage(), atol=1e-6)
    np.testing.assert_allclose(a.influence(), b.influence(), rtol=1e-4)
    with pytest.raises(reml.ModelError, match="by rows"):
        a.group_residuals("gen")
    with pytest.raises(reml.ModelError, match="cannot be refitted"):
        a.influence(refit=True)


def test_rows_in_files_are_said_to_be_there(tmp_path) -> None:
    path = tmp_path / "t.csv"
    reml.load_sample("john_alpha").to_csv(path, index=False)
    fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", str(path))
    asked = [
        lambda: fit.residuals("studentized"),
        fit.leverage,
        fit.influence,
        lambda: fit.influence(refit=True),
        lambda: fit.influence("gen"),
        fit.variogram,
        fit.residual_envelope,
        lambda: fit.without(3),
        lambda: fit.group_residuals("gen", "ls"),
    ]
    for question in asked:
        with pytest.raises(reml.ModelError, match="stayed in the file"):
            question()
    assert len(fit.group_residuals("gen")) == 24
    assert fit.check().of("convergence")


def test_saved_fits_have_the_same_residuals(tmp_path) -> None:
    fit = reml.fit(**MODELS["weights"])
    fit.save(tmp_path / "f.reml")
    again = reml.load(tmp_path / "f.reml")
    for kind in ("studentized", "cholesky"):
        np.testing.assert_allclose(again.residuals(kind), fit.residuals(kind), rtol=1e-9)


def test_no_matrix_of_all_rows_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    from openreml_core.diagnostics import decorrelate

    fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", reml.load_sample("john_alpha"))
    monkeypatch.setattr(decorrelate, "available_bytes", lambda: 1e4)
    for kind in ("cholesky", "least-confounded"):
        with pytest.raises(reml.ModelError, match="rows hang together"):
            fit.residuals(kind)
    assert len(residual_values(fit._view, "studentized")) == 72
