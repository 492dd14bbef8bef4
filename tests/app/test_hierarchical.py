"""The section of hierarchical models: trials, fit, results, evidence, recovery, without a browser."""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import openreml_core as reml
from app.groups import SUBJECT, GroupStudy, Request
from app.jobs import GroupJob, State, begin
from app.session import trial_table
from app.widgets.group_model import SETTINGS, TITLES
from app.widgets.group_results import take
from openreml_core.hierarchical import models
from tests.app.driver import charts, goto, links, sound, start, study, text


def page(at: AppTest, name: str) -> AppTest:
    """Go to a page of the section."""
    return sound(goto(at, f"hierarchical_{name}"))


def group(at: AppTest) -> GroupStudy:
    """What the session holds of this section."""
    return study(at).group


def simulated(subjects: int = 12, trials: int = 60) -> AppTest:
    """The studio with an example simulated from the chosen model."""
    at = page(start(), "trials")
    at.number_input(key="group_sim_subjects").set_value(subjects).run()
    at.number_input(key="group_sim_trials").set_value(trials).run()
    return sound(at.button(key="group_simulate").click().run())


def brought(table: pd.DataFrame, kind: str = "RescorlaWagner") -> AppTest:
    """The studio with trials of one's own, as the upload takes them."""
    at = page(start(), "trials")
    group(at).kind = kind
    group(at).take(trial_table("mine.csv", table, 'reml.read_table("mine.csv")'))
    return page(at, "trials")


def fitted(at: AppTest) -> AppTest:
    """Press Fit and wait."""
    sound(page(at, "fit").button(key="group_fit").click().run())
    until = time.monotonic() + 60
    while group(at).job.active:
        assert time.monotonic() < until, "the fit did not end in time"
        time.sleep(0.02)
    return page(at, "fit")


def answered(at: AppTest, seconds: float = 120) -> AppTest:
    """Wait until nothing is being computed, and draw the page again, as often as it asks for more."""
    until = time.monotonic() + seconds
    while True:
        kept = [group(at).answers, *(f.answers for f in group(at).fits)]
        if not any(answers.active for answers in kept):
            return sound(at.run())
        assert time.monotonic() < until, "the answer did not come in time"
        time.sleep(0.02)


#: A column by which a table of the pages is known.
KNOWN = {
    "group_means": "Mean, free",
    "group_subjects": "Free scale",
    "group_replay_trace": "EM step",
    "group_compared": "Exceedance",
    "group_recovery": "RMSE",
    "group_confusion_table": "Simulated",
    "group_failed": "Why",
}


def frame(at: AppTest, key: str) -> pd.DataFrame:
    """The table with a key."""
    return next(d.value for d in at.dataframe if KNOWN[key] in d.value)


def words(at: AppTest) -> str:
    """All the words of the page; names keep their underscores."""
    return text(at).replace("\\_", "_")


@pytest.fixture(scope="module")
def ready() -> AppTest:
    return fitted(simulated())


def test_every_model_of_the_library_can_be_chosen_and_has_its_settings() -> None:
    assert set(TITLES) == set(models.LIBRARY)
    at = page(start(), "trials")
    for kind in TITLES:
        sound(at.selectbox(key="group_kind").set_value(kind).run())
        model = models.LIBRARY[kind]()
        assert model.about in text(at)
        assert all(f"**{p.name}**" in words(at) for p in model.parameters)
        assert {s.name for s in SETTINGS.get(kind, ())} <= set(model.settings())


def test_empty_pages_say_what_to_do_next() -> None:
    at = start()
    for name in ("fit", "results", "compare"):
        page(at, name)
        assert "Go to Trials" in links(at) and len(at.info) == 1
    page(at, "recovery")
    assert at.button(key="ask_group_recover")


def test_settings_change_the_model_and_outlive_a_change_of_page() -> None:
    at = page(start(), "trials")
    at.checkbox(key="group_setting_RescorlaWagner_sticky").check().run()
    at.selectbox(key="group_setting_RescorlaWagner_learning_rates").set_value(2).run()
    assert group(at).model() == models.RescorlaWagner(2, sticky=True)
    assert "learning_rate_negative" in words(at)
    at.number_input(key="group_sim_subjects").set_value(17).run()
    page(at, "recovery")
    page(at, "trials")
    assert at.checkbox(key="group_setting_RescorlaWagner_sticky").value
    assert at.number_input(key="group_sim_subjects").value == 17


def test_an_example_is_simulated_fitted_and_shown(ready: AppTest) -> None:
    at = page(ready, "trials")
    assert "12 subjects with 60 trials each, 720 in all." in text(at)
    at = page(ready, "fit")
    assert at.success[0].value.startswith("Converged after")
    assert charts(at) == 2
    last = at.slider(key="group_replay_1").max
    sound(at.slider(key="group_replay_1").set_value(0).run())
    assert "**Iteration 0.** Starting values of the group" in text(at)
    assert len(frame(at, "group_replay_trace")) == last + 1


def test_results_are_those_of_the_core(ready: AppTest) -> None:
    model = models.RescorlaWagner()
    made = reml.hierarchical.fit(model, model.simulate(12, 60, seed=1))
    at = answered(page(ready, "results"))
    shown = frame(at, "group_means")
    np.testing.assert_allclose(shown["Mean, free"], made.group_mean, atol=1e-9)
    np.testing.assert_allclose(shown["SE, free"], made.group_se, atol=1e-9)
    np.testing.assert_allclose(shown["Mean"], made.group()["native"], atol=1e-9)
    np.testing.assert_allclose(frame(at, "group_subjects")["Estimate"], made.subjects()["native"], atol=1e-9)
    assert f"{made.bic():.7g}" in text(at)
    assert charts(at) >= 2
    at.text_input(key="group_search").set_value("12").run()
    assert set(frame(at, "group_subjects")["Subject"]) == {"12"}
    at.selectbox(key="group_which").set_value("learning_rate").run()
    assert len(frame(at, "group_subjects")) == 1
    page(at, "trials")
    page(at, "results")
    assert at.text_input(key="group_search").value == "12"  # kept while the page was left
    at.text_input(key="group_search").set_value("").run()
    at.selectbox(key="group_which").set_value("").run()
    at.selectbox(key="group_density").set_value("inverse_temperature").run()
    sound(at)


def test_the_script_on_the_page_repeats_the_fit(ready: AppTest) -> None:
    at = page(ready, "results")
    space: dict[str, Any] = {}
    exec(next(c.value for c in at.code if "import openreml_core" in c.value), space)
    np.testing.assert_allclose(space["fit"].group_mean, group(at).fits[0].fit.group_mean, atol=1e-9)


def test_models_are_compared_and_the_best_is_kept(ready: AppTest) -> None:
    at = page(ready, "compare")
    sound(at.button(key="ask_group_models").click().run())
    answered(answered(at))
    table = frame(at, "group_compared")
    assert len(table) == 3 and table["Integrated BIC"].is_monotonic_increasing
    assert "integrated BIC" in text(at) and "Exceedance" in table and "No determinant" in table
    before = len(group(at).fits)
    sound(at.button(key="group_show_best").click().run())
    assert group(at).shown.fit.model.name == table["Model"].iloc[0]
    assert len(group(at).fits) in (before, before + 1)
    page(at, "compare")
    assert len(frame(at, "group_compared")) == 3  # the answer is kept


def test_recovery_and_confusion(ready: AppTest) -> None:
    at = page(ready, "recovery")
    at.number_input(key="group_recover_subjects").set_value(15).run()
    at.number_input(key="group_recover_trials").set_value(60).run()
    answered(at.button(key="ask_group_recover").click().run())
    found = reml.hierarchical.recover(models.RescorlaWagner(), 15, 60).summary()
    np.testing.assert_allclose(frame(at, "group_recovery")["r"], found["r_native"], atol=1e-9)
    assert f"(r = {found['r_native'].iloc[0]:.2f})" in text(at)
    for key, value in (("subjects", 8), ("trials", 30), ("sets", 1)):
        at.number_input(key=f"group_confusion_{key}").set_value(value).run()
    answered(at.button(key="ask_group_confusion").click().run())
    shown = frame(at, "group_confusion_table")
    assert len(shown) == 2 and (shown.drop(columns="Simulated").sum(axis=1) == 100).all()
    page(at, "trials")
    page(at, "recovery")
    assert at.number_input(key="group_recover_subjects").value == 15
    assert len(frame(at, "group_confusion_table")) == 2


def test_subjects_that_fail_are_said_before_and_listed_after_the_fit() -> None:
    table = models.RescorlaWagner().simulate(8, 40, seed=2).rename(columns={"subject": "ID", "choice": "key response"})
    table = table[~((table["ID"] == 2) & (table["trial"] > 1))]
    table.loc[table["ID"] == 3, "key response"] = 1
    table.loc[table[table["ID"] == 4].index[5], "reward"] = np.nan
    at = brought(table)
    assert group(at).columns == {SUBJECT: "ID", "choice": "key response", "reward": "reward"}
    words = "\n".join(w.value for w in at.warning)
    assert "1 subject will be left out" in words and "with one trial only" in words and "in all trials" in words
    at = fitted(at)
    failed = frame(at, "group_failed")
    assert failed["Subject"].tolist() == ["4"] and "missing" in failed["Why"].iloc[0]
    at = answered(page(at, "results"))
    assert "7 subjects" in text(at)
    status = frame(at, "group_subjects").drop_duplicates("Subject").set_index("Subject")["Status"]
    assert status["4"].startswith("left out: ") and status["1"] == "ok"


def test_a_column_that_is_not_found_is_asked_for() -> None:
    table = models.RescorlaWagner().simulate(12, 60, seed=1).rename(columns={"reward": "lohn"})
    at = brought(table)
    assert "Choose a column for *reward*" in "\n".join(i.value for i in at.info)
    assert page(at, "fit").button(key="group_fit").disabled
    page(at, "trials")
    sound(at.selectbox(key="group_column_reward").set_value("lohn").run())
    assert group(at).model() == models.RescorlaWagner(columns={"reward": "lohn"})
    assert fitted(at).success[0].value.startswith("Converged after")


def test_columns_that_cannot_be_fitted_are_an_error_in_words() -> None:
    table = models.RescorlaWagner().simulate(3, 20, seed=1)
    table["choice"] = 5
    at = brought(table)
    assert "it has to be 0 or 1" in at.error[0].value
    sound(page(at, "fit").button(key="group_fit").click().run())
    until = time.monotonic() + 30
    while group(at).job.active and time.monotonic() < until:
        time.sleep(0.02)
    at = page(at, "fit")
    assert "No subject can be fitted" in at.error[0].value and "Traceback" not in text(at)


def test_predictors_of_a_regression_are_columns_of_the_table() -> None:
    table = models.Regression(["load", "age"], "gaussian").simulate(10, 30, seed=1)
    at = brought(table, "Regression")
    at.selectbox(key="group_setting_Regression_family").set_value("gaussian").run()
    at.multiselect(key="group_predictors").set_value(["load", "age"]).run()
    sound(at)
    assert group(at).model() == models.Regression(["load", "age"], "gaussian")
    page(fitted(at), "compare")
    assert len(at.multiselect[0].options) == 4


def test_a_model_without_alternatives_is_compared_in_other_ways() -> None:
    at = page(start(), "trials")
    at.selectbox(key="group_kind").set_value("SignalDetection").run()
    at.button(key="group_simulate").click().run()
    assert "The library has one model of such trials" in page(at, "compare").info[0].value
    fitted(at)
    at.selectbox(key="group_covariance").set_value("full").run()
    at = fitted(at)
    page(at, "results")
    assert "Correlations of parameters between subjects" in text(at)
    page(at, "compare")
    assert [str(o).startswith("Fit 1") for o in at.multiselect[0].options].count(True) == 1


def test_a_saved_fit_comes_back_with_its_trials() -> None:
    model = models.BayesianLearner(columns={"choice": "key"})
    table = model.simulate(8, 40, seed=3)
    made = reml.hierarchical.fit(model, table, covariance="full")
    file = io.BytesIO()
    made.save(file)
    at = page(start(), "results")
    take(group(at), reml.hierarchical.load(file, n_jobs=1), "saved.openreml")
    answered(page(at, "results"))
    assert "Bayesian learner" in text(at)
    assert group(at).kind == "BayesianLearner" and group(at).model() == model and group(at).covariance == "full"
    at = fitted(at)
    np.testing.assert_allclose(group(at).shown.fit.group_mean, made.group_mean, atol=1e-9)


def test_a_cancelled_fit_keeps_the_trials_and_the_fits() -> None:
    class Slow(models.RescorlaWagner):
        def log_likelihood(self, parameters: Any, trials: Any) -> Any:
            time.sleep(0.05)
            return super().log_likelihood(parameters, trials)

    at = simulated()
    found = group(at)
    found.asked = Request(Slow(), SUBJECT, max_iterations=1000)
    found.job = begin(GroupJob(found.asked.model, found.trials.table, found.asked.options()))
    until = time.monotonic() + 30
    while len(found.job.rows) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    page(at, "fit")
    began = time.monotonic()
    sound(at.button(key="group_cancel").click().run())
    assert found.job.state is State.CANCELLED and time.monotonic() - began < 2
    page(at, "fit")
    assert at.info[0].value.startswith("Cancelled after") and found.trials is not None and not found.fits


def test_the_study_of_mixed_models_is_left_alone(ready: AppTest) -> None:
    page(ready, "fit")
    assert study(ready).data is None and study(ready).fits == []
    sound(goto(ready, "data"))
    assert "No table yet." in text(ready)
