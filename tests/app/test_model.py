"""The Model page: clicks and text in step, the size before the fit, problems in words before the fit."""

from __future__ import annotations

import pytest

from tests.app.driver import JOHN_ALPHA, goto, links, opened, sound, start, study, text, write


def model(sample: str = "john_alpha"):
    return sound(goto(opened(sample), "model"))


def test_without_a_table_the_page_says_so_and_links_to_data() -> None:
    at = sound(goto(start(), "model"))
    assert len(at.info) == 1
    assert "Go to Data" in links(at)


def test_the_builder_shows_the_formula() -> None:
    at = model()
    assert at.text_area(key="model_text").value == JOHN_ALPHA
    assert at.selectbox(key="model_response").value == "yield"
    assert at.multiselect(key="model_fixed").value == ["rep"]
    assert at.multiselect(key="model_random_0_group").value == ["gen"]
    assert at.multiselect(key="model_random_1_group").value == ["rep", "block"]


def test_the_size_is_given_in_numbers_before_the_fit() -> None:
    at = model()
    assert {m.label: m.value for m in at.metric} == {"Rows": "72", "Left out": "0", "Fixed": "3", "Variances": "3"}
    assert r"\sigma^2" in at.latex[0].value
    assert "variance between the 24 levels of gen" in text(at)


def test_a_click_on_a_fixed_term_is_written_into_the_formula() -> None:
    at = model()
    sound(at.multiselect(key="model_fixed").set_value(["rep", "gen"]).run())
    assert at.text_area(key="model_text").value == "yield ~ rep + gen + (1 | gen) + (1 | rep:block)"
    assert study(at).specification.formula == at.text_area(key="model_text").value


def test_a_random_term_is_added_filled_and_removed_by_clicks() -> None:
    at = model()
    sound(at.button(key="add_random").click().run())
    assert at.text_area(key="model_text").value == JOHN_ALPHA  # not complete yet: nothing is written
    sound(at.multiselect(key="model_random_2_group").set_value(["rep"]).run())
    assert at.text_area(key="model_text").value == f"{JOHN_ALPHA} + (1 | rep)"
    sound(at.button(key="remove_random_0").click().run())
    assert at.text_area(key="model_text").value == "yield ~ rep + (1 | rep:block) + (1 | rep)"
    assert at.multiselect(key="model_random_0_group").value == ["rep", "block"]


def test_no_intercept_by_a_click() -> None:
    at = model()
    sound(at.checkbox(key="model_intercept").uncheck().run())
    assert study(at).specification.formula == "yield ~ 0 + rep + (1 | gen) + (1 | rep:block)"


def test_typing_moves_the_builder() -> None:
    at = sound(write(opened("sleepstudy"), "log(Reaction) ~ Days + (Days || Subject)"))
    assert at.selectbox(key="model_response").value == "log(Reaction)"
    assert at.multiselect(key="model_random_0_effects").value == ["1", "Days"]
    assert at.selectbox(key="model_random_0_structure").value == "diag"
    assert not at.error


def test_nesting_is_written_out_in_the_builder() -> None:
    at = sound(write(opened(), "yield ~ 1 + (1 | rep/block)"))
    assert at.multiselect(key="model_random_0_group").value == ["rep"]
    assert at.multiselect(key="model_random_1_group").value == ["rep", "block"]


def test_slope_and_structure_by_clicks() -> None:
    at = model("sleepstudy")
    sound(at.selectbox(key="model_random_0_structure").set_value("diag").run())
    assert study(at).specification.formula == "Reaction ~ Days + (Days || Subject)"
    sound(at.multiselect(key="model_random_0_effects").set_value(["1"]).run())
    assert study(at).specification.formula == "Reaction ~ Days + (1 | Subject)"


@pytest.mark.parametrize(
    ("formula", "word"),
    [
        ("yield ~ rep + (1 | gen", "parenthesis"),
        ("yield rep", "~"),
        ("yield ~ open('x') + (1 | gen)", "open"),
    ],
)
def test_a_formula_that_cannot_be_read_leaves_the_model_as_it_is(formula: str, word: str) -> None:
    at = sound(write(opened(), formula))
    assert word in at.error[0].value
    assert study(at).specification.formula == JOHN_ALPHA
    assert at.text_area(key="model_text").value == formula  # what was typed stays to be corrected


@pytest.mark.parametrize(
    ("formula", "word"),
    [
        ("yeild ~ rep + (1 | gen)", "yield"),
        ("yield ~ rep + (1 | genotype)", "gen"),
        ("yield ~ factor(plot) + (1 | gen)", "72"),
        ("gen ~ rep + (1 | block)", "gen"),
    ],
)
def test_a_model_that_cannot_be_fitted_is_refused_in_words(formula: str, word: str) -> None:
    at = sound(write(opened(), formula))
    assert word in at.error[0].value
    assert "Traceback" not in text(at)
    assert not at.metric


def test_warnings_come_before_the_fit() -> None:
    at = sound(write(opened(), "yield ~ rep + gen + (1 | gen)"))
    assert any("gen" in w.value for w in at.warning)


def test_the_options_reach_the_specification_and_survive_leaving_the_page() -> None:
    at = model()
    sound(at.selectbox(key="option_algorithm").set_value("em").run())
    assert study(at).specification.max_iterations == 2000  # EM's own limit
    sound(at.number_input(key="option_limit").set_value(50).run())
    goto(goto(at, "data"), "model")
    assert at.selectbox(key="option_algorithm").value == "em"
    assert at.number_input(key="option_limit").value == 50
    assert study(at).specification.algorithm == "em"


def test_the_model_survives_leaving_the_page() -> None:
    at = model()
    at.multiselect(key="model_fixed").set_value([]).run()
    goto(goto(at, "data"), "model")
    assert at.multiselect(key="model_fixed").value == []
    assert at.text_area(key="model_text").value == "yield ~ 1 + (1 | gen) + (1 | rep:block)"


def test_a_structure_that_is_typed_keeps_its_name() -> None:
    at = model("orthodont")
    write(at, "distance ~ Sex + cs(0 + C(age) | Subject)")
    assert list(at.dataframe[0].value["Structure"]) == ["cs"]
    assert "cs(0 + C(age) | Subject)" in text(at)
