"""What else is asked of a fit on the Results page: intervals, tests of random terms, heritability, correlations, R2."""

from __future__ import annotations

import pytest

import openreml_core as reml
from app.jobs import State
from tests.app.driver import answered, charts, fitted, goto, sound, study, text


def results(sample: str, formula: str | None = None):
    return answered(sound(goto(fitted(sample, formula), "results")))


def table(at, column: str):
    return next(d.value for d in at.dataframe if column in d.value.columns)


def choose(at, key: str, value):
    return answered(sound(at.segmented_control(key=key).set_value(value).run()))


def ask(at, question: str):
    return answered(sound(at.button(key=f"ask_{question}").click().run()))


def test_wald_intervals_of_fixed_effects_are_there_at_once() -> None:
    at = choose(results("sleepstudy"), "interval_of", "fixed")
    frame = table(at, "Parameter").set_index("Parameter")
    # 10.46729 -+ 2.109816 * 1.545790, t of 17 df
    assert frame.loc["Days", ["From", "To"]].tolist() == pytest.approx([7.20596, 13.72862], abs=2e-3)
    assert "t with Satterthwaite degrees of freedom" in text(at)


def test_profiles_are_computed_when_asked_for_and_agree_with_lme4() -> None:
    at = choose(results("dyestuff"), "interval_method", "profile")
    drawn = charts(at)
    assert not [d for d in at.dataframe if "From" in d.value.columns and "Parameter" in d.value.columns]
    at = ask(at, "profile")
    frame = table(at, "Parameter")
    assert frame["Of"].tolist() == ["Batch", "residual"]
    # lme4's confint: .sig01 12.198 to 84.063, .sigma 38.230 to 67.658
    assert frame.loc[1, ["From", "To"]].tolist() == pytest.approx([38.22998, 67.65770], abs=1e-3)
    assert frame.loc[0, ["From", "To"]].tolist() == pytest.approx([12.19854, 84.06305], abs=5e-3)
    assert charts(at) == drawn + 1
    assert "by profile likelihood (ML)" in text(at)


def test_a_level_is_read_off_without_new_profiles_and_reml_has_its_own() -> None:
    at = ask(choose(results("dyestuff"), "interval_method", "profile"), "profile")
    kept = study(at).shown.answers
    names = ("sd_(Intercept)|Batch", "sigma")
    first = kept.get("profile", names, "ml")
    at = answered(sound(at.selectbox(key="interval_level").set_value(0.9).run()))
    narrower = table(at, "Parameter")
    assert narrower.loc[1, "From"] > 38.23 and narrower.loc[1, "To"] < 67.65
    assert kept.get("profile", names, "ml") is first
    at = choose(at, "profile_likelihood", "reml")
    assert kept.get("profile", names, "reml") is None  # it waits to be asked for
    assert at.button(key="ask_profile") is not None


def test_the_bootstrap_is_a_job_with_progress_whose_answer_is_kept() -> None:
    at = choose(results("sleepstudy"), "interval_method", "bootstrap")
    at.number_input(key="bootstrap_count").set_value(100).run()
    at = ask(at, "bootstrap")
    frame = table(at, "Parameter")
    expected = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy")).confint(
        "bootstrap", n_boot=100, seed=1
    )
    assert frame["From"].tolist() == pytest.approx(expected["lower"].iloc[:4].tolist(), rel=1e-6)
    job = study(at).shown.answers.get("bootstrap", 100, 1)
    assert (job.done, job.total) == (100, 100)
    at = answered(sound(at.selectbox(key="bootstrap_kind").set_value("basic").run()))
    assert "parametric bootstrap, basic: 100 data sets" in text(at)
    assert study(at).shown.answers.get("bootstrap", 100, 1) is job
    keys = {b.key for b in at.get("download_button")}
    assert {"interval_bootstrap_csv", "replicates_csv"} <= keys


def test_fixed_effects_of_few_blocks_have_intervals_of_their_own() -> None:
    at = choose(choose(results("oats"), "interval_of", "fixed"), "fixed_ddf", "kenward-roger")
    fit = study(at).shown.fit
    assert "t with Kenward-Roger degrees of freedom" in text(at)
    at = choose(at, "interval_method", "profile")
    names = list(fit.interval_parameters.query("kind == 'fixed effect'").index)[1:2]
    at.multiselect(key=f"profile_names_{study(at).shown.number}_fixed").set_value(names).run()
    at = ask(at, "profile")
    plain = table(at, "Parameter")[["From", "To"]].to_numpy()
    at = answered(sound(at.checkbox(key="profile_calibrate").set_value(True).run()))
    frame = table(at, "Parameter")
    expected = fit.confint(parameters=names, calibrate=True, n_boot=1000, seed=1)
    assert frame["From"].tolist() == pytest.approx(expected["lower"].tolist(), rel=1e-6)
    assert frame["From"].iloc[0] < plain[0, 0] and frame["To"].iloc[0] > plain[0, 1]
    assert "calibrated by 1,000 data sets simulated from the model" in text(at)
    drawn = charts(at)
    assert charts(choose(at, "profile_what", "density")) == drawn
    at = choose(at, "interval_method", "bootstrap")
    at.number_input(key="bootstrap_count").set_value(100).run()
    at.selectbox(key="bootstrap_kind").set_value("studentized").run()
    frame = table(ask(at, "bootstrap"), "Parameter")
    expected = fit.bootstrap(100, 1).confint(kind="studentized").loc[names[0]]
    assert frame["From"].iloc[1] == pytest.approx(expected["lower"], rel=1e-6)
    assert "parametric bootstrap, studentised: 100 data sets" in text(at)


def test_a_bootstrap_that_is_cancelled_says_so_and_can_be_run_again() -> None:
    at = choose(results("sleepstudy"), "interval_method", "bootstrap")
    at.number_input(key="bootstrap_count").set_value(100_000).run()
    at.button(key="ask_bootstrap").click().run()
    job = study(at).shown.answers.get("bootstrap", 100_000, 1)
    assert job.active
    sound(at.button(key="cancel_bootstrap").click().run())
    assert job.state is State.CANCELLED and job.result is None
    at = sound(at.run())
    assert "Bootstrap: cancelled." in text(at)
    assert at.button(key="ask_bootstrap") is not None


def test_random_terms_are_tested_when_asked_for() -> None:
    at = choose(results("sleepstudy"), "question", "Tests of random terms")
    at = ask(at, "random_tests")
    frame = table(at, "LRT")
    assert frame["Left out"].tolist() == ["nothing", "Days in (Days | Subject)"]
    assert frame["LRT"].iloc[1] == pytest.approx(42.8368, abs=1e-3)  # lmerTest's ranova: 42.837 on 2 df
    assert frame["p (boundary)"].iloc[1] == "< 0.001"
    assert "Likelihood-ratio tests by REML" in text(at)


def test_heritability_where_a_term_suggests_it_and_piepho_on_demand() -> None:
    at = choose(results("john_alpha"), "question", "Heritability")
    frame = table(at, "Heritability").set_index("Method")["Heritability"]
    assert frame["Cullis"] == pytest.approx(0.8091336, abs=1e-5)  # ../shared/reference/AGRONOMY.md
    assert "Piepho" not in frame
    at = ask(at, "piepho")
    assert table(at, "Heritability").set_index("Method")["Heritability"]["Piepho"] == pytest.approx(0.803017, abs=1e-5)
    assert "no standard error" in text(at)
    assert "Heritability" not in results("sleepstudy").segmented_control(key="question").options


def test_correlations_of_a_term_with_several_effects() -> None:
    at = choose(results("sleepstudy"), "question", "Correlations")
    frame = table(at, "Correlation")
    assert frame["Correlation"].tolist() == pytest.approx([0.0656], abs=1e-4)  # lme4
    assert "Correlations" not in results("dyestuff").segmented_control(key="question").options


def test_r2_and_icc_name_their_authors() -> None:
    at = choose(results("dyestuff"), "question", "R² and ICC")
    assert "Nakagawa and Schielzeth" in text(at)
    # variances 1764.05 and 2451.25: 1764.05 / 4215.30
    assert table(at, "ICC, adjusted")["ICC, adjusted"].iloc[0] == pytest.approx(0.41849, abs=1e-4)


def test_anova_of_every_type_and_kenward_roger() -> None:
    at = results("oats")
    frame = table(at, "Denominator df")
    assert frame["F"].tolist() == pytest.approx([37.6857, 1.48534, 0.30282], abs=1e-4)
    assert frame["Denominator df"].tolist() == pytest.approx([45, 10, 45], abs=1e-3)
    for kind in (1, 2):
        at = choose(at, "anova_type", kind)
        assert f"F tests of type {'I' * kind}:" in text(at)
        assert table(at, "Denominator df")["F"].tolist() == pytest.approx([37.6857, 1.48534, 0.30282], abs=1e-4)
    at = choose(results("machines", "score ~ Machine + (0 + Machine | Worker)"), "fixed_ddf", "kenward-roger")
    frame = table(at, "Denominator df")
    assert frame.loc[0, ["F", "Numerator df", "Denominator df"]].tolist() == pytest.approx([32.8030, 2, 4], abs=1e-3)
    assert "Kenward-Roger degrees of freedom" in text(at)


def test_kenward_roger_by_maximum_likelihood_is_refused_in_words() -> None:
    at = goto(fitted("oats"), "model")
    at.segmented_control(key="option_method").set_value("ml").run()
    from tests.app.driver import fit

    at = answered(sound(goto(fit(at), "results")))
    at = choose(at, "fixed_ddf", "kenward-roger")
    assert not at.error and "REML" in text(at)
    assert table(at, "Rank") is not None
