"""What models, trials, comparisons and scripts are said to be, in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.hierarchical import (
    Family,
    GroupPrior,
    PythonModel,
    compare,
    confusion,
    describe_trials,
    fit,
    load,
    models,
    recover,
    true_parameters,
    verdict,
)

EVERY = [
    models.RescorlaWagner(),
    models.RescorlaWagner(2, sticky=True, gain_loss=True, n_options=3),
    models.TwoStep(),
    models.Regression(["x", "z"], "gaussian"),
    models.Regression(["x"], "poisson"),
    models.AutoRegressive(2),
    models.SignalDetection(),
    models.ProspectTheory(),
    models.Discounting("exponential"),
    models.BayesianLearner(bonus=True),
    models.DriftDiffusion(bias=True),
]


@pytest.mark.parametrize("model", EVERY, ids=lambda m: m.name)
def test_every_parameter_and_column_has_a_meaning(model) -> None:
    table = models.describe(model)
    assert list(table["parameter"]) == [p.name for p in model.parameters]
    assert table["meaning"].str.len().min() > 10
    assert set(table["scale"]) <= {"0 to 1", "0 to 2", "positive", "any number"}
    assert all(models.column_meaning(model, role) for role in model.roles)
    with pytest.raises(reml.ModelError, match="no column"):
        models.column_meaning(model, "colour")


@pytest.mark.parametrize("model", EVERY, ids=lambda m: m.name)
def test_alternatives_read_the_same_columns_and_have_names_of_their_own(model) -> None:
    found = models.alternatives(model)
    assert model in found
    assert len({m.name for m in found}) == len(found)
    for other in found:
        assert set(other.columns) <= set(model.columns) and other.response == model.response


def test_alternatives_keep_the_users_columns() -> None:
    model = models.RescorlaWagner(n_options=3, columns={"choice": "key"})
    assert all(m.columns == ("key", "reward") and m.n_options == 3 for m in models.alternatives(model))
    regressions = models.alternatives(models.Regression(["x", "z"], columns={"y": "hit", "z": "load"}))
    assert [m.columns for m in regressions] == [("hit", "x", "load"), ("hit", "load"), ("hit", "x"), ("hit",)]


def test_columns_are_guessed_by_name_and_only_once() -> None:
    guess = reml.hierarchical.guess_columns
    own = pd.DataFrame(columns=["Participant_ID", "key.response", "Reward", "trial"])
    assert guess(models.RescorlaWagner(), own) == {
        "subject": "Participant_ID",
        "choice": "key.response",
        "reward": "Reward",
    }
    assert guess(models.DriftDiffusion(), pd.DataFrame(columns=["subject", "RT", "response"])) == {
        "subject": "subject",
        "response": "response",
        "time": "RT",
    }
    for model in EVERY:
        simulated = guess(model, model.simulate(2, 10, seed=1))
        assert simulated == {"subject": "subject", **{role: role for role in model.roles}}
    assert guess(models.ProspectTheory(), pd.DataFrame(columns=["a", "b"])) == {}


def trials() -> pd.DataFrame:
    table = models.RescorlaWagner().simulate(n_subjects=6, n_trials=30, seed=2)
    table = table[~((table["subject"] == 2) & (table["trial"] > 1))]
    table.loc[table["subject"] == 3, "choice"] = 1
    table.loc[table[table["subject"] == 4].index[5], "reward"] = np.nan
    swapped = table[table["subject"] == 5].index
    table.loc[swapped[0], "trial"] = 99
    return table


def test_trials_are_described_and_what_stands_out_is_said() -> None:
    about = describe_trials(models.RescorlaWagner(), trials())
    assert about.seen[0] == "6 subjects with 1 to 30 trials (median 30), 151 in all."
    assert about.seen[1].startswith("*choice* is 0 in ")
    left, one, constant, order = about.findings
    assert "1 subject will be left out: 4 (*reward* is missing" in left
    assert one.startswith("1 subject with one trial only: 2.")
    assert constant.startswith("1 subject with the same *choice* in all trials: 3.")
    assert "not in the order of *trial*: 5." in order
    assert about.usable == 5 and len(about.subjects) == 6
    about = describe_trials(models.AutoRegressive(), models.AutoRegressive().simulate(2, 30, seed=1))
    assert about.seen[1].startswith("*y* lies between") and about.findings == ()


@pytest.fixture(scope="module")
def fits() -> dict[str, reml.hierarchical.HierarchicalFit]:
    data = models.RescorlaWagner(sticky=True).simulate(25, 100, seed=5, mean={"stickiness": 1.0})
    return {m.name: fit(m, data) for m in models.alternatives(models.RescorlaWagner())[:2]}


def test_the_verdict_says_which_model_is_best_and_by_how_much(fits) -> None:
    table = compare(fits)
    first, second = verdict(table)[:2]
    ahead = table["bic"].iloc[1] - table["bic"].iloc[0]
    assert table.index[0] == "Rescorla-Wagner (stickiness)" and ahead > 10
    assert first == (
        f"Rescorla-Wagner (stickiness) is best: its integrated BIC is {ahead:.3g} lower than that of Rescorla-Wagner, "
        "very strong evidence."
    )
    assert second.startswith("Among subjects, it is more frequent")
    near = table.assign(bic_difference=[0.0, 1.2], exceedance=[0.3, 0.7])
    assert "are as good as each other" in verdict(near)[0]
    assert verdict(near)[1].startswith("Yet among subjects, Rescorla-Wagner is more frequent")


OPTIONS = [
    {},
    dict(covariance="full", family=Family("student_t", 5.0), missing="drop", max_iterations=50, accelerate=False),
    dict(fixed={"stickiness": 0.0}, prior=GroupPrior({"learning_rate": (0.0, 1.0)}, 0.5, 3.0), covariates="age"),
    dict(convergence="changes", tolerance=1e-5, family="cauchy"),
]


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "full t", "prior", "changes"])
def test_the_script_repeats_the_fit(options: dict, tmp_path) -> None:
    model = models.RescorlaWagner(sticky=True, columns={"choice": "key"})
    data = model.simulate(8, 50, seed=3).rename(columns={"subject": "who"})
    data["age"] = 20.0 + data["who"] % 3
    data.loc[3, "reward"] = np.nan
    made = fit(model, data, "who", **options)
    data.to_csv(tmp_path / "trials.csv", index=False)
    script = made.to_code(f"reml.read_table({str(tmp_path / 'trials.csv')!r})", subject="who")
    space: dict = {}
    exec(script, space)  # as a user runs it
    np.testing.assert_allclose(space["fit"].group_mean, made.group_mean, atol=1e-9)
    assert space["fit"].options == made.options and space["model"] == model
    own = fit(PythonModel(lambda p, t: -float(p[0] ** 2), ["a"]), data[["who", "trial"]], "who", n_jobs=1)
    with pytest.raises(reml.ModelError, match="cannot be written down"):
        own.to_code()


def test_a_saved_fit_gives_its_trials_back(tmp_path) -> None:
    data = trials().assign(subject=lambda t: "s" + t["subject"].astype(str))
    made = fit(models.RescorlaWagner(), data)
    made.save(tmp_path / "a.fit")
    again = load(tmp_path / "a.fit").trials()
    assert list(again["subject"]) == list(data["subject"])
    pd.testing.assert_frame_equal(again[["choice", "reward"]], data[["choice", "reward"]].reset_index(drop=True))
    np.testing.assert_allclose(fit(models.RescorlaWagner(), again).group_mean, made.group_mean, atol=1e-9)


def test_repeated_simulations_tell_how_far_they_are_and_stop_when_asked() -> None:
    told: list[tuple[int, int]] = []
    model = models.SignalDetection()
    recover(model, 5, 20, n_sets=2, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 2), (1, 2)]
    two = [models.Discounting("hyperbolic"), models.Discounting("exponential")]
    with pytest.raises(reml.FitCancelled):
        confusion(two, n_sets=2, n_subjects=4, n_trials=10, on_progress=lambda done, total: done < 1)
    assert list(true_parameters(model.simulate(3, 5, seed=1)).columns) == ["subject", "sensitivity", "criterion"]
