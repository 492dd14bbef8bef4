"""What can be wrong with trials, models and options: each is named, and the other subjects are fitted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import openreml_core as reml
from openreml_core.hierarchical import OwnTransform, Parameter, PythonModel, TorchModel, fit, models
from openreml_core.hierarchical.torch_likelihood import left_domain

MODEL = models.RescorlaWagner()


@pytest.fixture(scope="module")
def good() -> pd.DataFrame:
    data = MODEL.simulate(n_subjects=12, n_trials=80, seed=1)
    data["subject"] = "s" + data["subject"].astype(str)
    return data


def with_subject(good: pd.DataFrame, name: str, **columns: list) -> pd.DataFrame:
    return pd.concat([good, pd.DataFrame({"subject": name, **columns})], ignore_index=True)


def status(made, name: str) -> str:
    return made.subjects().query("subject == @name")["status"].iloc[0]


def test_a_subject_with_one_trial_is_named_and_changes_little(good: pd.DataFrame) -> None:
    plain = fit(MODEL, good)
    made = fit(MODEL, with_subject(good, "single", choice=[1], reward=[1.0]))
    assert status(made, "single") == "one trial only" and "single (one trial only)" in made.message
    assert made.n_subjects == 13 and made.converged
    assert abs(made.group_mean - plain.group_mean).max() < 0.1


def test_constant_choices_are_named_and_fitted(good: pd.DataFrame) -> None:
    made = fit(MODEL, with_subject(good, "stuck", choice=[1] * 60, reward=[0.0, 1.0] * 30))
    assert status(made, "stuck") == "*choice* is 1 in all 60 trials" and "stuck (*choice* is 1" in made.message
    own = made.subjects().query("subject == 'stuck'")
    assert own["map"].notna().all() and np.isfinite(made.evidence())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_subject_with_nan_or_infinity_is_left_out(good: pd.DataFrame, value: float) -> None:
    plain = fit(MODEL, good)
    made = fit(MODEL, with_subject(good, "gap", choice=[0, 1, 1], reward=[1.0, value, 0.0]))
    assert status(made, "gap").startswith("excluded: *reward* is") and "row 961" in status(made, "gap")
    assert "Left out: gap (*reward*" in made.message
    np.testing.assert_array_equal(made.group_mean, plain.group_mean)
    assert made.subjects().query("subject == 'gap'")[["map", "native", "std_error"]].isna().all(axis=None)
    with pytest.raises(reml.DataError, match=r"gap is not in the fit: excluded"):
        made.posterior_covariance("gap")


def test_missing_trials_can_be_dropped(good: pd.DataFrame) -> None:
    data = with_subject(good, "gap", choice=[0, 1, 1], reward=[1.0, np.nan, 0.0])
    made = fit(MODEL, data, missing="drop")
    assert status(made, "gap") == "ok" and made.n_trials == len(good) + 2


def test_choices_that_are_none_of_the_options_are_named(good: pd.DataFrame) -> None:
    made = fit(MODEL, with_subject(good, "odd", choice=[0, 2, 1], reward=[1.0, 0.0, 0.0]))
    assert status(made, "odd") == "excluded: *choice* is 2 in row 961; it has to be 0 or 1"


def impossible(p, b):
    """Coins; a subject whose ``y`` is 9 has probability zero."""
    each = torch.where(b["y"] == 1, p[:, :1].log(), (1 - p[:, :1]).log())
    each = torch.where(b["y"] == 9, -torch.inf, each)
    return torch.where(b.mask, each, 0.0).sum(1)


def coins(last: int = 9) -> pd.DataFrame:
    rows = [pd.DataFrame({"subject": i, "y": [1] * (3 + 2 * i) + [0] * (17 - 2 * i)}) for i in range(8)]
    return pd.concat([*rows, pd.DataFrame({"subject": "none", "y": [1, 0, last]})], ignore_index=True)


def test_an_infinite_likelihood_is_named(good: pd.DataFrame) -> None:
    model = TorchModel(impossible, {"bias": "logit"}, columns=["y"])
    made = fit(model, coins())
    assert status(made, "none").startswith("excluded: the log-likelihood is not finite at bias")
    without = fit(model, coins().query("subject != 'none'"))
    np.testing.assert_allclose(made.group_mean, without.group_mean, atol=1e-6)
    assert made.n_subjects == 8 and made.evidence() == pytest.approx(without.evidence(), abs=1e-6)
    with pytest.raises(reml.ConvergenceError, match="No subject can be fitted"):
        fit(model, coins().query("subject == 'none'"))


def test_an_infinite_likelihood_of_a_python_model_is_named() -> None:
    def slow(p: np.ndarray, t: pd.DataFrame) -> float:
        if (t["y"] == 9).any():
            return -np.inf
        return float(np.log(np.where(t["y"] == 1, p[0], 1 - p[0])).sum())

    made = fit(PythonModel(slow, {"bias": "logit"}, columns=["y"]), coins(), n_jobs=1)
    fast = fit(TorchModel(impossible, {"bias": "logit"}, columns=["y"]), coins())
    assert status(made, "none").startswith("excluded: the log-likelihood is not finite at bias")
    np.testing.assert_allclose(made.group_mean, fast.group_mean, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda p, b: torch.log(p), r"returns a tensor of shape \(\d+, 1\) for \d+ subjects"),
        (lambda p, b: p.sum(), r"returns a tensor of shape \(\)"),
        (lambda p, b: 1.0, "returns float"),
        (lambda p, b: b["y"].sum(1).double(), "differentiate"),
        (lambda p, b: p @ torch.ones(7), "fails: RuntimeError"),
        (lambda p, b: b["z"], r"column \*z\*"),
    ],
)
def test_a_model_of_another_shape_is_refused(function, words: str) -> None:
    with pytest.raises(reml.ModelError, match=words):
        fit(TorchModel(function, {"bias": "logit"}, columns=["y"], name="mine"), coins(1))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda: np.zeros(3), r"the model returns an array of shape \(3,\); one number is needed"),
        (lambda: "much", "the model returns str"),
        (lambda: 1 / 0, "the model fails: ZeroDivisionError: division by zero"),
    ],
)
def test_a_python_model_that_fails_for_a_subject_names_it(answer, words: str) -> None:
    def slow(p: np.ndarray, t: pd.DataFrame):
        if (t["y"] == 9).any():
            return answer()
        return float(np.log(np.where(t["y"] == 1, p[0], 1 - p[0])).sum())

    made = fit(PythonModel(slow, {"bias": "logit"}, columns=["y"]), coins(), n_jobs=1)
    assert words.split(r"\(")[0] in status(made, "none") and made.n_subjects == 8
    assert made.converged


def test_a_transform_that_leaves_its_domain_is_named() -> None:
    data = coins(1)
    root = OwnTransform(torch.sqrt, torch.square, (0.0, 1.0))
    made = fit(TorchModel(impossible, [Parameter("bias", root, 0.5, 0.2)], columns=["y"]), data)
    assert made.n_subjects == 9  # steps that leave the domain are shortened
    log = OwnTransform(torch.log, torch.exp, (0.0, 1.0))  # minus infinity at the start, zero
    with pytest.raises(reml.DataError, match=r"transform of \*bias\* leaves its domain at its start, 0 on the free"):
        fit(TorchModel(impossible, [Parameter("bias", log)], columns=["y"]), data)


def test_a_subject_outside_the_domain_is_told_why() -> None:
    parameter = Parameter("bias", OwnTransform(torch.sqrt, torch.square, (0.0, 2.0)), 0.8)
    assert left_domain(parameter, -1.0).startswith(
        "the transform of *bias* gives nan for -1, outside its domain (0, 2)"
    )
    assert "gives 3 for 9" in left_domain(parameter, 9.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(covariance="block"), "covariance='block'"),
        (dict(family="normal"), "Choose one of gaussian"),
        (dict(convergence="time"), "convergence='time'"),
        (dict(max_iterations=0), "max_iterations=0"),
        (dict(tolerance=-1.0), "tolerance=-1.0"),
        (dict(n_jobs=0), "n_jobs=0"),
        (dict(missing="mean"), "missing='mean'"),
        (dict(on_iteration=3), "on_iteration"),
        (dict(fixed={"alpha": 0.1}), r"fixed names \*alpha\*.*learning_rate"),
        (dict(fixed={"learning_rate": 1.5}), r"\*learning_rate\*: The value 1.5 is outside"),
        (dict(fixed={"learning_rate": 0.5, "inverse_temperature": 1.0}), "All parameters are held"),
        (dict(start={"learning_rate": -1.0}), r"\*learning_rate\*: The value -1 is outside"),
        (dict(subject="person"), r"no column \*person\*"),
        (dict(covariates="trial"), r"\*trial\* changes within subject"),
        (dict(covariates="(1 | subject)"), "no bars"),
        (dict(prior=reml.hierarchical.GroupPrior(mean={"rate": (0, 1)})), r"prior names \*rate\*"),
        (dict(prior=reml.hierarchical.GroupPrior(mean={"learning_rate": (0, 0)})), "standard deviation"),
        (dict(prior=reml.hierarchical.GroupPrior(df=-1)), "positive"),
    ],
)
def test_wrong_options_are_named(good: pd.DataFrame, options: dict, words: str) -> None:
    with pytest.raises(reml.ModelError, match=words):
        fit(MODEL, good, **options)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (lambda d: d.drop(columns="reward"), r"needs column \*reward\*"),
        (lambda d: d.head(0), "no rows"),
        (lambda d: d.assign(subject=np.nan), "lacks the subject"),
        (lambda d: d.assign(reward="much"), r"\*reward\* holds 'much', which is no number"),
        (lambda d: d.assign(reward=np.nan), "No subject can be fitted; subject s1"),
        (lambda d: [], "no subjects"),
        (lambda d: [d, 3], "no table"),
        (lambda d: [d.head(5), d.head(6)], "Two tables are of subject s1"),
        (lambda d: "trials.csv", "holds no trials"),
    ],
)
def test_wrong_trials_are_named(good: pd.DataFrame, data, words: str) -> None:
    with pytest.raises(reml.ModelError, match=words):
        fit(MODEL, data(good))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TorchModel(3, {"a": "log"}), "is a function"),
        (lambda: TorchModel(impossible, {"a": "cube"}), "'cube' of"),
        (lambda: TorchModel(impossible, {}), "no parameters"),
        (lambda: TorchModel(impossible, ["a", "a"]), r"Two parameters are called \*a\*"),
        (lambda: TorchModel(impossible, {"a": (2, 1)}), "empty"),
        (lambda: TorchModel(impossible, [Parameter("a", spread=0.0)]), "spread"),
        (lambda: fit(models.RescorlaWagner, pd.DataFrame()), r"Call it: RescorlaWagner\(\)"),
        (lambda: fit("RescorlaWagner", pd.DataFrame()), "is no model"),
    ],
)
def test_wrong_models_are_named(make, words: str) -> None:
    with pytest.raises(reml.ModelError, match=words):
        make()


def test_no_variation_between_subjects_is_said() -> None:
    rng = np.random.default_rng(1)
    data = pd.concat([pd.DataFrame({"subject": i, "y": rng.permutation([0, 1] * 20)}) for i in range(10)])
    made = fit(models.Regression([], "binomial"), data)
    assert made.converged and "to zero" in set(made.trace["step"])
    assert any("No variation between subjects is seen in intercept" in w for w in made.warnings), made.message
    # all coins are one coin of 400 throws: standard error 1 / sqrt(n p (1 - p))
    assert made.group_se["intercept"] == pytest.approx(0.1, rel=1e-4)
    assert made.group_covariance_se.isna().all(axis=None)
    assert made.evidence() == pytest.approx(400 * np.log(0.5), abs=1e-3)
