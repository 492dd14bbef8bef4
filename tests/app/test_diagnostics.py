"""The Diagnostics page: the verdict, figures a part at a time, rows looked at, excluded with a reason, put back, refitted."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from app.session import dataset
from tests.app.driver import (
    answered,
    charts,
    fit,
    fitted,
    goto,
    links,
    opened,
    settled,
    sound,
    start,
    study,
    text,
    write,
)

SLEEP = "Reaction ~ Days + (Days | Subject)"


def diagnostics(sample: str = "john_alpha", formula: str | None = None, section: str | None = None):
    at = answered(sound(goto(fitted(sample, formula), "diagnostics")))
    return at if section is None else part(at, section)


def part(at, section: str):
    return answered(sound(at.segmented_control(key="diag_section").set_value(section).run()))


def table(at, column: str) -> pd.DataFrame:
    return next(d.value for d in at.dataframe if column in d.value.columns)


def field() -> pd.DataFrame:
    """12 x 10 plots of two trials whose neighbours are alike, 30 entries twice in each."""
    rng = np.random.default_rng(7)
    row, col = (v.ravel() for v in np.meshgrid(np.arange(1, 13), np.arange(1, 11), indexing="ij"))
    c = 0.8 ** np.abs(np.subtract.outer(row, row)) * 0.7 ** np.abs(np.subtract.outer(col, col))
    parts = []
    for site in "AB":
        gen = np.arange(120)[rng.permutation(120)] % 30
        y = 60 + np.linalg.cholesky(9 * c) @ rng.standard_normal(120) + rng.standard_normal(30)[gen]
        parts.append(
            pd.DataFrame({"site": site, "row": row, "col": col, "gen": [f"G{g:02d}" for g in gen], "yield": y})
        )
    return pd.concat(parts, ignore_index=True)


def in_the_field(formula: str = "yield ~ site + (1 | gen)"):
    at = start()
    study(at).use(dataset("field.csv", field()))
    return answered(sound(goto(fit(write(at.run(), formula)), "diagnostics")))


def test_without_a_fit_the_page_says_so_and_links_to_the_step_that_opens_it() -> None:
    assert "Go to Data" in links(sound(goto(start(), "diagnostics")))
    assert "Go to Model" in links(sound(goto(opened(), "diagnostics")))


# -- the verdict ------------------------------------------------------------------------------------------------


def test_the_verdict_stands_on_top_worst_first_and_says_what_to_do() -> None:
    at = in_the_field()
    said = text(at)
    assert "Residuals of neighbours are alike: residual `id(site):ar1(row):ar1(col)`" in said
    assert "likelihood ratio" in said and "compare the fits" in said
    order = [("red", "orange", "blue").index(colour) for colour in re.findall(r":(red|orange|blue)-badge\[", said)]
    assert len(order) == len([f for f in study(at).shown.fit.check() if f.severity != "ok"]) and order == sorted(order)


def test_the_structure_that_the_verdict_names_is_fitted_by_a_button() -> None:
    at = in_the_field()
    places = [b.key for b in at.button if str(b.key).startswith("diag_do_") and b.label == "Fit with this residual"]
    at = settled(at.button(key=places[0]).click().run())
    found = study(at)
    assert len(found.fits) == 2 and found.shown.specification.residual == "id(site):ar1(row):ar1(col)"
    assert found.specification == found.shown.specification
    assert found.fits[1].fit.criterion < found.fits[0].fit.criterion - 20
    assert "id(site):ar1(row):ar1(col)" in str(sound(goto(at, "model")).text_input(key="residual_text").value)
    at = answered(sound(goto(at, "diagnostics")))
    assert "Residuals of neighbours are alike" not in text(at)


def test_a_variance_at_zero_is_said() -> None:
    at = diagnostics("dyestuff2")
    assert not at.success
    assert "The variance of Batch is estimated as zero" in text(at)


def test_a_quiet_fit_has_nothing_to_report() -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"block": np.repeat([f"B{i}" for i in range(12)], 6), "t": np.tile(list("abcdef"), 12)})
    frame["y"] = 10 + np.repeat(rng.normal(0, 2, 12), 6) + np.tile(np.arange(6.0), 12) + rng.normal(0, 1, 72)
    at = start()
    study(at).use(dataset("quiet.csv", frame))
    at = answered(sound(goto(fit(write(at.run(), "y ~ t + (1 | block)")), "diagnostics")))
    assert all(f.severity == "ok" for f in study(at).shown.fit.check())
    assert len(at.success) == 1 and "Nothing to report" in text(at)
    assert "Converged" in text(at)  # under what is as it should be


def test_the_verdict_is_computed_once_and_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    at = diagnostics()
    asked = []
    monkeypatch.setattr(type(study(at).shown.fit), "check", lambda *a, **k: asked.append(1))
    sound(at.run())
    assert not asked

    job = study(at).shown.answers.get("verdict", "row", "col")
    seen = []
    monkeypatch.undo()
    fit = study(at).shown.fit
    assert job is not None and job.result is not None
    fit.check(on_progress=lambda done, total: seen.append((done, total)))
    assert seen[0][0] == 0 and seen[-1][0] < seen[-1][1] and len({total for _, total in seen}) == 1
    with pytest.raises(reml.FitCancelled):
        fit.check(on_progress=lambda done, total: done < total - 1)


def test_large_fits_are_checked_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.widgets.verdict.UNASKED_ROWS", 50)
    at = diagnostics()
    assert "residual of neighbours" not in text(at).lower()
    at = answered(sound(at.button(key="ask_verdict").click().run()))
    assert "Residuals of neighbours are alike" in text(at)


# -- the figures ------------------------------------------------------------------------------------------------


def test_only_the_part_that_is_looked_at_is_computed() -> None:
    at = diagnostics()
    answers = study(at).shown.answers
    assert charts(at) == 5
    assert answers.get("influence", "(rows)") is None
    at = part(at, "Influence")
    assert charts(at) == 1 and answers.get("influence", "(rows)").result is not None
    assert charts(part(at, "Space")) == 3
    assert charts(part(at, "Random effects")) == 1


@pytest.mark.parametrize(
    "kind",
    [
        "marginal",
        "pearson",
        "studentized",
        "studentized-external",
        "standardized-marginal",
        "cholesky",
        "least-confounded",
    ],
)
def test_residuals_of_every_kind(kind: str) -> None:
    at = diagnostics("dyestuff")
    at = answered(sound(at.selectbox(key="diag_kind").set_value(kind).run()))
    assert not at.error
    assert charts(at) == (2 if kind == "least-confounded" else 5)


def test_residuals_by_each_column_and_tests_when_asked() -> None:
    at = diagnostics()
    for factor in at.selectbox(key="diag_by").options:
        sound(at.selectbox(key="diag_by").set_value(factor).run())
        assert not at.error and charts(at) == 5
    at = answered(sound(at.button(key="ask_residual_tests").click().run()))
    expected = study(at).shown.fit.residual_tests()
    assert len(table(at, "Statistic")) == len(expected)


def test_influence_is_listed_by_the_rule_that_is_named() -> None:
    at = diagnostics("sleepstudy", SLEEP, "Influence")
    fit = study(at).shown.fit
    expected = fit.influential()
    assert table(at, "MDFFITS")["Row"].tolist() == [str(i) for i in expected.index]
    assert f"{len(expected)} of 180 cases are beyond the limit" in text(at)
    at = answered(sound(at.selectbox(key="diag_cases").set_value("Subject").run()))
    at = answered(sound(at.selectbox(key="diag_rule").set_value("outer fence").run()))
    expected = fit.influential("Subject", rule="outer fence")
    if len(expected):
        assert table(at, "MDFFITS")["Subject"].tolist() == list(expected.index)
    else:
        assert "No case is beyond the limit" in text(at)
    for measure in at.selectbox(key="diag_measure").options:
        key = next(k for k, v in MEASURES.items() if v == measure)
        assert not answered(sound(at.selectbox(key="diag_measure").set_value(key).run())).error


MEASURES = {
    "cooks_distance": "Cook's distance", "mdffits": "MDFFITS", "covtrace": "COVTRACE", "covratio": "COVRATIO",
    "leverage": "Leverage, overall", "leverage_fixed": "Leverage, fixed effects",
    "leverage_random": "Leverage, random effects", "leverage_unconfounded": "Leverage, unconfounded",
}  # fmt: skip


def test_a_column_called_row_is_told_from_single_rows() -> None:
    at = part(in_the_field(), "Influence")
    words = at.selectbox(key="diag_cases").options
    assert words[0] == "single rows" and "each row" in words and len(set(words)) == len(words)


def test_refits_are_asked_for_and_show_the_change_of_the_variances() -> None:
    at = diagnostics("dyestuff", None, "Influence")
    at = answered(sound(at.selectbox(key="diag_cases").set_value("Batch").run()))
    at = answered(sound(at.selectbox(key="diag_measure").set_value("covratio").run()))
    at = answered(sound(at.button(key="ask_influence_refits").click().run()))
    assert "By refits" in text(at)
    shown = table(at, "Change of Batch.variance").set_index("Batch")
    expected = study(at).shown.fit.influence("Batch", refit=True)
    for level, said in shown["Change of Batch.variance"].items():
        assert said == f"{100 * expected.loc[level, 'rvc_Batch.variance']:+.1f} %"


def test_levels_that_are_chosen_stand_for_their_rows() -> None:
    at = diagnostics("dyestuff", None, "Influence")
    at = answered(sound(at.selectbox(key="diag_cases").set_value("Batch").run()))
    at = answered(sound(at.selectbox(key="diag_measure").set_value("covratio").run()))
    at = answered(sound(at.button(key="diag_choose_influential").click().run()))
    assert len(table(at, "Fitted")) == 30  # six batches of five


def test_the_field_has_maps_of_every_trial_variograms_and_lags() -> None:
    at = part(in_the_field("yield ~ site + (1 | gen)"), "Space")
    assert at.selectbox(key="diag_trial").value == "site" and at.selectbox(key="diag_one").value == "A"
    assert charts(at) == 3
    for what in ("response", "fitted", "gen"):
        assert charts(sound(at.selectbox(key="diag_map").set_value(what).run())) == 3
    at = answered(sound(at.selectbox(key="diag_one").set_value("B").run()))
    at = answered(sound(at.selectbox(key="diag_variogram").set_value("lines").run()))
    at = answered(sound(at.multiselect(key="diag_directions").set_value(["row", "all"]).run()))
    at = answered(sound(at.segmented_control(key="diag_path").set_value("serpentine").run()))
    assert charts(at) == 3 and not at.error


def test_a_table_without_positions_asks_for_them() -> None:
    at = diagnostics("dietox", "Feed ~ Time + Evit + (1 | Pig)")
    assert study(at).shown.fit.n_dropped > 0 and charts(at) == 5 and not at.error
    at = part(at, "Space")
    assert charts(at) == 0 and "No columns of this table are known to be positions" in text(at)


def test_quantiles_of_every_term_and_effect() -> None:
    at = diagnostics("sleepstudy", SLEEP, "Random effects")
    at = answered(sound(at.selectbox(key="diag_effect").set_value("Days").run()))
    assert len(table(at, "Standardised")) == 18
    at = answered(sound(at.selectbox(key="diag_levels").set_value("ls").run()))
    assert table(at, "Rows")["Rows"].tolist() == [10] * 18


# -- rows -------------------------------------------------------------------------------------------------------


def excluded(at, rows: str, reason: str):
    at = sound(at.text_input(key="diag_rows_named").set_value(rows).run())
    at.text_input(key="diag_reason").set_value(reason)
    return sound(at.button(key="diag_exclude_now").click().run())


def test_chosen_rows_are_shown_as_they_were_read() -> None:
    at = diagnostics("sleepstudy", SLEEP)
    at = sound(at.text_input(key="diag_rows_named").set_value("3, 57, 999").run())
    shown = table(at, "Fitted")
    data = reml.load_sample("sleepstudy")
    assert shown["Row"].tolist() == ["3", "57"] and shown["Reaction"].tolist() == data.loc[[3, 57], "Reaction"].tolist()
    np.testing.assert_allclose(shown["Fitted"] + shown["Residual"], shown["Reaction"])
    assert "no row 999" in text(at)


def test_rows_are_excluded_with_a_reason_refitted_and_put_back() -> None:
    at = diagnostics("sleepstudy", SLEEP)
    at = excluded(at, "3, 57", " ")
    assert "Say why" in text(at) and study(at).specification.excluded == ()
    at = excluded(at, "3, 57", "fell asleep")
    assert study(at).specification.excluded == ((3, "fell asleep"), (57, "fell asleep"))
    assert at.text_input(key="diag_rows_named").value == ""
    assert "still in this fit" in text(at)

    at = settled(at.button(key="diag_refit").click().run())
    shown = study(at).shown
    expected = reml.fit(SLEEP, reml.load_sample("sleepstudy").drop(index=[3, 57]))
    assert shown.number == 2 and shown.fit.n_obs == 178
    assert shown.fit.criterion == pytest.approx(expected.criterion, abs=1e-6)

    at = sound(goto(at, "results"))
    assert "2 rows are excluded from this fit: rows 3, 57 (fell asleep)" in text(at)
    assert "without 2 excluded rows" in text(at)
    code = shown.fit.to_code()
    assert "exclude={3: 'fell asleep', 57: 'fell asleep'}" in code
    names: dict = {"__name__": "script"}
    exec(code.replace('reml.read_table("data.csv")', 'reml.load_sample("sleepstudy")').replace("print(fit)", ""), names)
    assert names["fit"].criterion == pytest.approx(shown.fit.criterion, abs=1e-6)
    assert "data[-c(4, 58), ]" in shown.fit.to_code("r-lme4")

    at = answered(sound(goto(at, "diagnostics")))
    assert "Fit 2 leaves these rows out." in text(at)
    at = sound(at.button(key="diag_back_3").click().run())
    assert study(at).specification.excluded == ((57, "fell asleep"),)
    at = sound(at.button(key="diag_back_57").click().run())
    assert "fit 2 still leaves out 2" in text(at)
    at = settled(at.button(key="diag_refit").click().run())
    assert study(at).shown.fit.n_obs == 180 and study(at).shown.number == 3


def test_the_same_model_is_refitted_and_the_model_page_follows() -> None:
    """The fit that is shown is fitted again, not what stands on the Model page at the time."""
    at = fitted("sleepstudy", "Reaction ~ Days + (1 | Subject)")
    at = write(at, SLEEP)  # changed, not fitted
    at = answered(sound(goto(at, "diagnostics")))
    at = settled(excluded(at, "7", "ill").button(key="diag_refit").click().run())
    assert study(at).shown.fit.formula == "Reaction ~ Days + (1 | Subject)" and study(at).shown.fit.n_obs == 179
    at = sound(goto(at, "model"))
    assert at.text_area(key="model_text").value == "Reaction ~ Days + (1 | Subject)"
    assert study(at).preview().n_obs == 179
    at = fit(write(at, SLEEP))  # another model keeps them out
    assert study(at).shown.fit.n_obs == 179 and study(at).shown.fit.excluded == {7: "ill"}


def test_many_excluded_rows_are_a_table() -> None:
    at = excluded(diagnostics("sleepstudy", SLEEP), ", ".join(map(str, range(20))), "first hours")
    assert len(table(at, "Reason")) == 20
    at = sound(at.multiselect(key="diag_back_20").set_value([0, 1]).run())
    at = sound(at.button(key="diag_back_now").click().run())
    assert len(study(at).specification.excluded) == 18


def test_rows_of_another_table_can_be_looked_at_only() -> None:
    at = diagnostics("sleepstudy", SLEEP)
    at.switch_page("app_pages/data.py").run()
    at = answered(sound(goto(at.button(key="open_john_alpha").click().run(), "diagnostics")))
    at = sound(at.text_input(key="diag_rows_named").set_value("3").run())
    assert "of another table" in text(at) and len(table(at, "Fitted")) == 1
    assert not [b for b in at.button if b.key == "diag_exclude_now"]


def test_a_new_table_begins_without_exclusions() -> None:
    at = excluded(diagnostics("sleepstudy", SLEEP), "3", "asleep")
    at.switch_page("app_pages/data.py").run()
    at.button(key="open_dyestuff").click().run()
    assert study(at).specification.excluded == ()


def test_outliers_of_the_verdict_are_chosen_by_a_button() -> None:
    data = reml.load_sample("dyestuff")
    data.loc[4, "Yield"] += 900
    at = start()
    study(at).use(dataset("typo.csv", data))
    at = answered(sound(goto(fit(write(at.run(), "Yield ~ 1 + (1 | Batch)")), "diagnostics")))
    assert "farther from the rest" in text(at)
    button = next(b for b in at.button if b.label == "Choose these rows")
    at = answered(sound(button.click().run()))
    assert table(at, "Fitted")["Row"].tolist() == ["4"]
