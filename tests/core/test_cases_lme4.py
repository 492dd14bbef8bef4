"""Every case that lme4 was run on, held to the accuracy that NUMERICS asks for.

Bars: criterion 1e-6 absolute, or lower than the reference; fixed effects and their SEs 1e-5 of the SE; variance
components 1e-4 relative (1e-6 of the residual variance near zero); BLUPs and conditional SDs 1e-4 of the residual SD;
df 1e-3 relative; t and p 1e-4 relative.

Names differ between languages (``MachineB`` and ``Machine[T.B]``, ``cask:batch`` and ``batch:cask``), so they are
compared with the brackets taken out and the parts of an interaction sorted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from tests.reference import ABSENT, Reference

NOT_HERE = {"insteval"}  # 73,421 rows: for the engine of the mixed-model equations, in tests/benchmarks


CASES = [name for name in Reference().cases("lme4") if name not in NOT_HERE]


def canonical(name: str) -> str:
    """``Time:C(Evit, contr.poly)[.L]`` and ``Evit.L:Time`` are both ``Evit.L:Time``."""
    name = re.sub(r"C\((\w+)[^)]*\)", r"\1", name)
    parts = re.split(r":(?![^\[]*\])", name)
    return ":".join(sorted(part.replace("[T.", "[").replace("[", "").replace("]", "") for part in parts))


def level_key(level: str, group: str) -> tuple[str, ...]:
    """The parts of a level in the order of the sorted factors of its group."""
    factors, parts = group.split(":"), level.split(":")
    return tuple(part for _, part in sorted(zip(factors, parts, strict=True)))


def prepared(name: str) -> SimpleNamespace:
    reference = Reference()
    case = reference.case(name)
    data = reference.table(case["data"], case["factors"])
    if case["weights"]:
        data[case["weights"]] = 1.0 + np.arange(1, len(data) + 1) % 3
    fit = reml.fit(
        case["openreml"] or case["formula"],
        data,
        method="reml" if case["reml"] else "ml",
        weights=case["weights"],
    )
    return SimpleNamespace(case=case, data=data, fit=fit)


@pytest.fixture(scope="module", params=CASES or [pytest.param(None, marks=pytest.mark.skip(ABSENT))])
def study(request: pytest.FixtureRequest) -> SimpleNamespace:
    """A reference case, its data and our fit of it (one fit a case for all tests)."""
    return prepared(request.param)


def labelled(entry: dict[str, Any]) -> pd.DataFrame:
    """One covariance matrix of the reference, with the names of its effects."""
    names = np.atleast_1d(entry["names"])
    return pd.DataFrame(entry["cov"], index=names, columns=names)


def by_factor(matrices: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """One matrix a grouping factor: terms on the same factor (``Subject``, ``Subject.1``) are independent blocks."""
    joined: dict[str, pd.DataFrame] = {}
    for group, matrix in matrices.items():
        key = canonical(re.sub(r"\.\d+$", "", group))
        blocks = [joined[key], matrix] if key in joined else [matrix]
        joined[key] = pd.concat(blocks).fillna(0.0).rename(index=canonical, columns=canonical)
    return joined


def groups(fit: Any) -> Iterator[tuple[str, str]]:
    """Each random term of a fit with its grouping factor (``Subject.1`` is a second term on Subject)."""
    for term in fit.random_terms:
        yield term, re.sub(r"\.\d+$", "", term)


def test_criterion(study: SimpleNamespace) -> None:
    case, fit = study.case, study.fit
    assert fit.converged, fit.message
    assert fit.n_obs == case["n"]
    assert fit.criterion <= case["criterion"] + 1e-6, f"ours {fit.criterion:.9f}, lme4 {case['criterion']:.9f}"
    # A criterion far *below* lme4's would be another criterion, not a better optimum.
    assert fit.criterion >= case["criterion"] - 1e-4, f"ours {fit.criterion:.9f}, lme4 {case['criterion']:.9f}"


def test_scalars(study: SimpleNamespace) -> None:
    case, fit = study.case, study.fit
    assert fit.loglik == pytest.approx(case["loglik"], abs=1e-6)
    assert fit.aic == pytest.approx(case["aic"], abs=2e-6)
    assert fit.bic == pytest.approx(case["bic"], abs=2e-6)
    assert fit.sigma == pytest.approx(case["sigma"], rel=5e-5)
    assert bool(fit.singular) is case["singular"]


def test_fixed_effects(study: SimpleNamespace) -> None:
    case = study.case
    ours = study.fit.fixed_effects().rename(index=canonical)
    names = [canonical(name) for name in case["fixef"]]
    assert sorted(ours.index) == sorted(names)
    ours = ours.loc[names]
    errors = np.sqrt(np.diag(case["vcov"]))
    off = np.abs(ours["estimate"] - list(case["fixef"].values())) / errors
    assert off.max() < 1e-5, f"{off.idxmax()} is off by {off.max():.2e} SE"
    off = np.abs(ours["std_error"] / errors - 1)
    assert off.max() < 1e-5, f"the SE of {off.idxmax()} is off by {off.max():.2e}"


def test_fixed_covariance(study: SimpleNamespace) -> None:
    case = study.case
    ours = study.fit.fixed_covariance.rename(index=canonical, columns=canonical)
    names = [canonical(name) for name in case["fixef"]]
    errors = np.sqrt(np.diag(case["vcov"]))
    off = (ours.loc[names, names].to_numpy() - np.array(case["vcov"])) / np.outer(errors, errors)
    assert np.abs(off).max() < 2e-5


def test_variance_components(study: SimpleNamespace) -> None:
    case, fit = study.case, study.fit
    residual = case["sigma"] ** 2
    components = fit.variance_components()
    ours = components.loc[components["group"] == "residual", "estimate"].item()
    assert ours == pytest.approx(residual, rel=1e-4)
    theirs = by_factor({group: labelled(entry) for group, entry in case["varcorr"].items()})
    mine = by_factor({term: fit.variance_matrix(term) for term in fit.random_terms})
    assert sorted(mine) == sorted(theirs)
    for group, matrix in theirs.items():
        assert sorted(mine[group].index) == sorted(matrix.index)
        matched = mine[group].loc[matrix.index, matrix.columns]
        np.testing.assert_allclose(matched, matrix, rtol=1e-4, atol=1e-6 * residual, err_msg=group)


def test_blups(study: SimpleNamespace) -> None:
    case, fit = study.case, study.fit
    bar = 1e-4 * case["sigma"]
    compared = 0
    for term, group in groups(fit):
        theirs_group = next(g for g in case["ranef"] if canonical(g) == canonical(group))
        theirs = case["ranef"][theirs_group]
        names = [canonical(name) for name in np.atleast_1d(theirs["names"])]
        keys = [level_key(level, theirs_group) for level in theirs["levels"]]
        mode = pd.DataFrame(theirs["mode"], index=keys, columns=names)
        ours = fit.random_effects(term)
        index = [level_key(str(level), group) for level in ours["level"]]
        assert sorted(set(index)) == sorted(keys)
        for effect, rows in ours.assign(key=index).groupby("effect", sort=False, observed=True):
            name = canonical(str(effect))
            blup = rows.set_index("key").loc[keys]
            np.testing.assert_allclose(blup["blup"], mode[name], rtol=0, atol=bar)
            if "cond_sd" in theirs:
                sd = np.array(theirs["cond_sd"])
                sd = sd.T if len(names) == 1 else sd
                np.testing.assert_allclose(blup["std_error"], sd[:, names.index(name)], rtol=0, atol=bar)
            compared += len(blup)
    assert compared == sum(np.size(theirs["mode"]) for theirs in case["ranef"].values())


def test_fitted_and_residuals(study: SimpleNamespace) -> None:
    case, fit = study.case, study.fit
    bar = 1e-4 * case["sigma"]
    np.testing.assert_allclose(fit.fitted(), case["fitted"], rtol=0, atol=bar)
    np.testing.assert_allclose(fit.residuals(), case["residuals"], rtol=0, atol=bar)
    np.testing.assert_allclose(fit.fitted(random=False), case["marginal_fitted"], rtol=0, atol=bar)
    complete = study.data.index[study.data[fit.response_name].notna()]
    assert fit.fitted().index.equals(complete)


def test_satterthwaite(study: SimpleNamespace) -> None:
    case = study.case
    theirs = pd.DataFrame(case["coefficients_satterthwaite"]).set_index(".row").rename(index=canonical)
    table = study.fit.fixed_effects(ddf="satterthwaite")
    ours = table.rename(index=canonical).loc[theirs.index]
    np.testing.assert_allclose(ours["df"], theirs["df"], rtol=1e-3)
    np.testing.assert_allclose(ours["t"], theirs["t value"], rtol=1e-4, atol=1e-5)
    # Far in the tail p moves by many times what t and df do: compare its logarithm there.
    p, wanted = ours["p_value"].to_numpy(), theirs["Pr(>|t|)"].to_numpy()
    near = wanted > 1e-8
    np.testing.assert_allclose(p[near], wanted[near], rtol=1e-4)
    some = ~near & (wanted > 0)
    np.testing.assert_allclose(np.log(p[some]), np.log(wanted[some]), rtol=1e-4)
    assert "satterthwaite" in str(table.attrs["ddf"]).lower()
