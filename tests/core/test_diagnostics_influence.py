"""Influence: lme4's refits, brute-force refits, deletions at held variances, pairs, rules, and what cannot be left out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.diagnostics import deletion
from tests.core.test_diagnostics_residuals import MODELS, reference_fit
from tests.reference import ABSENT, Reference

MEASURES = ["cooks_distance", "mdffits", "covtrace", "covratio"]
#: Groups that are left out of each of the models.
GROUPS = {
    "slopes": "Subject", "weights": "Subject", "ml": "Subject", "sections": "Subject", "serial": "Subject",
    "split plot": "Block:Variety", "field": "gen", "spline": "Subject", "held": "Subject", "tied": "Block",
}  # fmt: skip


def measures(b: np.ndarray, c: np.ndarray, b_j: np.ndarray, c_j: np.ndarray) -> list[float]:
    """The four measures from their definitions."""
    d, p = b - b_j, len(b)
    return [
        d @ np.linalg.solve(c, d) / p,
        d @ np.linalg.solve(c_j, d) / p,
        abs(np.trace(np.linalg.solve(c, c_j)) - p),
        np.linalg.det(c_j) / np.linalg.det(c),
    ]


@pytest.mark.skipif(not Reference().found(), reason=ABSENT)
@pytest.mark.parametrize("name", ["sleepstudy_slopes", "sleepstudy_intercept", "dyestuff"])
def test_lme4s_refits_without_groups(name: str) -> None:
    """Its Cook's distance of refits is (c - p) / c times (b - b_(J))'C^-1 (b - b_(J)) / p, of c groups."""
    case, fit = reference_fit(name)
    found = case["influence_group"]
    deleted = fit.deletions(found["group"], refit=True)
    theirs = np.array(found["fixed"]).reshape(len(deleted), -1)
    error = np.sqrt(np.diag(fit.fixed_covariance))
    np.testing.assert_allclose((deleted.iloc[:, : fit.rank] - theirs) / error, 0.0, atol=1e-6)
    table = fit.influence(found["group"], refit=True)
    np.testing.assert_allclose(table["cooks_lme4"], found["cooks"], rtol=2e-5, atol=1e-8)


@pytest.mark.parametrize("name", GROUPS)
def test_deletions_at_fixed_variances_are_fits_without_the_rows(name: str) -> None:
    """Rows and levels, by both engines, against fits with every parameter held."""
    options, group = MODELS[name], GROUPS[name]
    for engine in ("marginal", "henderson"):
        fit = reml.fit(**options, engine=engine)
        b, c = fit.fixed_effects(ddf="normal")["estimate"].to_numpy(), fit.fixed_covariance.to_numpy()
        by_row, by_group = fit.influence(), fit.influence(group)
        labels = (
            fit.table[group]
            if ":" not in group
            else fit.table["Block"].astype(str) + ":" + fit.table["Variety"].astype(str)
        )
        held = options | {"fixed": fit.parameters, "ties": None, "engine": engine}
        formula = held.pop("formula")
        if name == "spline":  # fewer days would be another spline
            continue
        level = by_group.index[1]
        for table, deleted, without in (
            (by_row.iloc[[4]], fit.deletions().iloc[4], fit.table.drop(fit.table.index[4])),
            (by_group.loc[[level]], fit.deletions(group).loc[level], fit.table[labels.astype(str) != level]),
        ):
            other = reml.fit(formula, **(held | {"data": without}))
            b_j, c_j = other.fixed_effects(ddf="normal")["estimate"].to_numpy(), other.fixed_covariance.to_numpy()
            np.testing.assert_allclose(deleted, b_j, rtol=1e-7, atol=1e-8 * np.abs(b).max())
            np.testing.assert_allclose(table[MEASURES].iloc[0], measures(b, c, b_j, c_j), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", ["slopes", "weights", "ml", "sections", "serial", "split plot", "held", "tied"])
def test_refits_without_groups_are_brute_force_refits(name: str) -> None:
    options, group = MODELS[name], GROUPS[name]
    fit = reml.fit(**options)
    deleted = fit.deletions(group, refit=True)
    table = fit.influence(group, refit=True)
    assert table.filter(like="rvc_").shape[1] == len(fit._model.parameter_names)
    labels = (
        fit.table[group]
        if ":" not in group
        else fit.table["Block"].astype(str) + ":" + fit.table["Variety"].astype(str)
    )
    b, c = fit.fixed_effects(ddf="normal")["estimate"].to_numpy(), fit.fixed_covariance.to_numpy()
    for level in deleted.index[:3]:
        other = reml.fit(**(options | {"data": fit.table[labels.astype(str) != level]}))
        b_j, c_j = other.fixed_effects(ddf="normal")["estimate"].to_numpy(), other.fixed_covariance.to_numpy()
        np.testing.assert_allclose(deleted.loc[level].iloc[: fit.rank], b_j, rtol=1e-6)
        np.testing.assert_allclose(table.loc[level, MEASURES], measures(b, c, b_j, c_j), rtol=1e-3, atol=1e-6)
        for parameter, value in other.parameters.items():
            size = max(abs(value), 1e-3 * fit.sigma**2)
            assert deleted.loc[level, parameter] == pytest.approx(value, abs=1e-4 * size)
            if fit.parameters[parameter]:
                change = value / fit.parameters[parameter] - 1
                assert table.loc[level, f"rvc_{parameter}"] == pytest.approx(change, abs=2e-3)


def test_rows_refitted() -> None:
    data = reml.load_sample("dyestuff")
    fit = reml.fit("Yield ~ 1 + (1 | Batch)", data)
    table = fit.influence(refit=True)
    assert len(table) == 30
    other = reml.fit("Yield ~ 1 + (1 | Batch)", data.drop(data.index[11]))
    deleted = fit.deletions(refit=True).iloc[11]
    assert deleted["(Intercept)"] == pytest.approx(other.fixed_effects()["estimate"].iloc[0], rel=1e-8)
    assert deleted["Batch.variance"] == pytest.approx(other.parameters["Batch.variance"], rel=1e-4)


@pytest.mark.parametrize("engine", ["marginal", "henderson"])
def test_large_groups_by_the_equations(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two ways of leaving a group out, from P among its rows and from the model without them, agree."""
    for name in ("slopes", "weights", "sections", "serial", "field", "related"):
        if name == "related":
            levels = [f"s{i}" for i in range(18)]
            kinship = pd.DataFrame(0.5 * np.eye(18) + 0.5, index=levels, columns=levels)
            sleep = reml.load_sample("sleepstudy")
            sleep["Subject"] = [levels[i // 10] for i in range(180)]
            options = dict(formula="Reaction ~ Days + (1 | Subject)", data=sleep, relationship={"Subject": kinship})
            group = "Subject"
        else:
            options, group = MODELS[name], GROUPS[name]
        fit = reml.fit(**options, engine=engine)
        monkeypatch.setattr(deletion, "LARGE", 10_000)
        first = fit.influence(group)
        monkeypatch.setattr(deletion, "LARGE", 0)
        second = fit.influence(group)
        np.testing.assert_allclose(first[MEASURES], second[MEASURES], rtol=1e-6, atol=1e-9)


def test_a_whole_section_left_out() -> None:
    """Its variance has no rows any more: it is reported as missing, the others are estimated."""
    options = MODELS["sections"]
    fit = reml.fit(**options)
    deleted = fit.deletions("half", refit=True)
    assert np.isnan(deleted.loc["a", "residual[a].variance"])
    other = reml.fit("Reaction ~ Days + (1 | Subject)", fit.table[fit.table["half"] == "b"])
    assert deleted.loc["a", "residual[b].variance"] == pytest.approx(other.parameters["residual.variance"], rel=1e-4)
    assert deleted.loc["a", "Days"] == pytest.approx(other.fixed_effects()["estimate"]["Days"], rel=1e-6)
    exact = fit.influence("half")
    assert exact[MEASURES].notna().all(axis=None)


def test_pairs() -> None:
    fit = reml.fit("Yield ~ 1 + (1 | Batch)", reml.load_sample("dyestuff"))
    table, deleted = fit.influence(pairs=True), fit.deletions(pairs=True)
    assert len(table) == 30 * 29 // 2
    one_by_one = deletion.without_sets(fit._view, [np.array([3, 17])])
    pair = (fit.data.index[3], fit.data.index[17])
    assert table.loc[pair, "cooks_distance"] == pytest.approx(float(one_by_one.distance), rel=1e-9)
    assert table.loc[pair, "mdffits"] == pytest.approx(float(one_by_one.fits), rel=1e-9)
    assert table.loc[pair, "covratio"] == pytest.approx(float(one_by_one.ratio), rel=1e-9)
    other = reml.fit("Yield ~ 1 + (1 | Batch)", fit.data.drop(list(pair)), fixed=fit.parameters)
    assert deleted.loc[pair].iloc[0] == pytest.approx(other.fixed_effects()["estimate"].iloc[0], rel=1e-9)
    groups = fit.influence("Batch", pairs=True)
    assert len(groups) == 15
    refitted = fit.influence("Batch", pairs=True, refit=True)
    assert refitted["cooks_distance"].notna().all()
    rng = np.random.default_rng(1)
    many = reml.fit("y ~ 1 + (1 | g)", pd.DataFrame({"y": rng.normal(size=2100), "g": np.arange(2100) % 50}))
    with pytest.raises(reml.ModelError, match="pairs, more than are listed"):
        many.influence(pairs=True)


@pytest.mark.parametrize("name", ["weights", "serial", "split plot"])
def test_pairs_of_both_engines(name: str) -> None:
    a, b = (reml.fit(**MODELS[name], engine=engine) for engine in ("marginal", "henderson"))
    first, second = a.influence(pairs=True), b.influence(pairs=True)
    np.testing.assert_allclose(first[MEASURES], second[MEASURES], rtol=1e-3, atol=1e-7)
    sets = [np.array([5, 9]), np.array([0, 40])]
    exact = deletion.without_sets(a._view, sets)
    index = a.data.index
    for i, rows in enumerate(sets):
        row = first.loc[(index[rows[0]], index[rows[1]])]
        assert row["cooks_distance"] * a.rank == pytest.approx(float(exact.distance[i]), rel=1e-7)
        assert row["covtrace"] == pytest.approx(float(exact.trace[i]), rel=1e-7)


def test_coefficients_that_cannot_do_without_the_rows() -> None:
    """Leaving a block out of a fixed factor leaves its coefficient without an estimate; that of the reference, all of them."""
    data = reml.load_sample("oats")
    for engine in ("marginal", "henderson"):
        fit = reml.fit("yield ~ nitro + Block + (1 | Block:Variety)", data, engine=engine)
        exact = fit.influence("Block")
        assert exact["cooks_distance"].isna().all()
        assert "6 of the 6 levels of Block cannot be left out" in " ".join(exact.attrs["notes"])
        assert exact["leverage"].notna().all()
        deleted = fit.deletions("Block", refit=True)
        lost = deleted.loc["II"].iloc[: fit.rank]
        assert list(lost.index[lost.isna()]) == ["Block[T.II]"]
        assert deleted.loc["I", "Block[T.II]"] is np.nan or np.isnan(deleted.loc["I", "Block[T.II]"])
        assert deleted.loc["I", "nitro"] == pytest.approx(
            reml.fit("yield ~ nitro + Block + (1 | Block:Variety)", data[data["Block"] != "I"]).fixed_effects()[
                "estimate"
            ]["nitro"]
        )


def test_refits_that_fail_are_named() -> None:
    data = pd.DataFrame({"y": [1.0, 2.0, 3.5, 4.0, 6.0, 5.5], "g": list("aabbcc"), "x": [1.0, 2, 3, 4, 5, 6]})
    fit = reml.fit("y ~ x + (1 | g)", data)
    table = fit.influence(["a"] * 5 + ["b"], refit=True)
    assert np.isnan(table.loc["a", "cooks_distance"])
    assert any("Without a there is no fit" in note for note in table.attrs["notes"])


def test_an_executor_gives_the_same() -> None:
    fit = reml.fit("Yield ~ 1 + (1 | Batch)", reml.load_sample("dyestuff"))
    with ThreadPoolExecutor(2) as executor:
        there = fit.influence("Batch", refit=True, executor=executor)

    def fresh() -> reml.MixedModelFit:  # a fit keeps its last refits
        return reml.fit("Yield ~ 1 + (1 | Batch)", reml.load_sample("dyestuff"))

    pd.testing.assert_frame_equal(there, fresh().influence("Batch", refit=True))
    seen = []
    fresh().influence("Batch", refit=True, on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (6, 6)
    with pytest.raises(reml.FitCancelled):
        fresh().influence("Batch", refit=True, on_progress=lambda done, total: False)
    with pytest.raises(reml.ModelError, match="cannot be given work"):
        fresh().influence("Batch", refit=True, executor=3)


def test_dfbetas() -> None:
    data = reml.load_sample("sleepstudy")
    fit = reml.fit("Reaction ~ Days + (1 | Subject)", data)
    table = fit.dfbetas("Subject")
    without = data[data["Subject"].astype(str) != "308"]
    other = reml.fit("Reaction ~ Days + (1 | Subject)", without, fixed=fit.parameters)
    mine, theirs = fit.fixed_effects(ddf="normal"), other.fixed_effects(ddf="normal")
    expected = (mine["estimate"] - theirs["estimate"]) / theirs["std_error"]
    np.testing.assert_allclose(table.loc["308"], expected, rtol=1e-6)


def test_rules() -> None:
    fit = reml.fit("Reaction ~ Days + (1 | Subject)", reml.load_sample("sleepstudy"))
    table = fit.influence()
    found = fit.influential()
    assert found.attrs["count"] == int((table["cooks_distance"] > 4 / 180).sum()) == len(found)
    assert "4 / 180" in found.attrs["rule"]
    assert found["cooks_distance"].is_monotonic_decreasing
    fence = fit.influential(rule="outer fence")
    q1, q3 = np.quantile(table["cooks_distance"], [0.25, 0.75])
    assert fence.attrs["limit"] == pytest.approx(q3 + 3 * (q3 - q1))
    from scipy.stats import f

    assert fit.influential(rule="F").attrs["limit"] == pytest.approx(f.ppf(0.5, 2, 178))
    assert fit.influential(measure="mdffits", rule=0.01).attrs["limit"] == 0.01
    for rule in ("5/n", None, True, float("nan")):
        with pytest.raises(reml.ModelError, match="not known"):
            fit.influential(rule=rule)
    with pytest.raises(reml.ModelError, match="no measure"):
        fit.influential(measure="covratio")


def test_delete_and_refit() -> None:
    data = reml.load_sample("sleepstudy").assign(w=lambda d: 1.0 + np.arange(len(d)) % 3)
    fit = reml.fit("Reaction ~ Days + (Days | Subject)", data, weights="w")
    worst = fit.influential().head(3)
    again = fit.without(worst)
    assert len(worst) and again.n_obs == len(data) - len(worst)
    direct = reml.fit("Reaction ~ Days + (Days | Subject)", data.drop(worst.index), weights="w")
    assert again.criterion == pytest.approx(direct.criterion, abs=1e-6)
    assert fit.without(["308", "309"], "Subject").n_obs == 160
    own = reml.fit("Reaction ~ Days + (1 | Subject)", data, weights=data["w"].to_numpy())
    assert own.without(data.index[5]).n_obs == 179
    for wrong, group in ((99999, None), ("nobody", "Subject"), ([], None)):
        with pytest.raises(reml.DataError):
            fit.without(wrong, group)


def test_no_fixed_effects() -> None:
    data = reml.load_sample("dyestuff").assign(y=lambda d: d["Yield"] - 1500)
    fit = reml.fit("y ~ 0 + (1 | Batch)", data)
    with pytest.raises(reml.ModelError, match="no fixed effects"):
        fit.influence()
    assert fit.leverage()["fixed"].eq(0).all()


def test_labels_that_are_not_unique() -> None:
    data = reml.load_sample("dyestuff")
    data.index = [0] * 30
    fit = reml.fit("Yield ~ 1 + (1 | Batch)", data)
    assert len(fit.influence()) == 30
    assert len(fit.influence("Batch")) == 6
    assert fit.influence("Batch")["leverage"].notna().all()
