"""Structures by clicking: random terms and residuals from menus, in step with their text, fitted to known numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from app.session import dataset
from tests.app.driver import charts, goto, opened, settled, sound, start, study, text, write
from tests.reference import Reference


def model(sample: str = "john_alpha"):
    return sound(goto(opened(sample), "model"))


def with_table(name: str, table: pd.DataFrame):
    at = start()
    study(at).use(dataset(name, table))
    return sound(goto(at, "model"))


def formula(at) -> str:
    return study(at).specification.formula


def residual(at) -> str | None:
    return study(at).specification.residual


def pick(at, key: str, choice):
    return sound(at.selectbox(key=key).set_value(choice).run())


def emblems(at) -> int:
    return sum("emblem" in str(chart.proto.id) for chart in at.get("plotly_chart"))


# -- random terms ----------------------------------------------------------------------------------------------


def test_structures_over_a_factor_are_offered_once_it_is_among_the_effects() -> None:
    at = model("machines")
    write(at, "score ~ 1 + (1 | Worker)")
    words = " ".join(at.selectbox(key="model_random_0_structure").options)
    assert "one variance" in words and "compound symmetry" not in words
    sound(at.multiselect(key="model_random_0_effects").set_value(["Machine"]).run())
    assert formula(at) == "score ~ 1 + (0 + Machine | Worker)"
    words = " ".join(at.selectbox(key="model_random_0_structure").options)
    assert "Simple: compound symmetry (cs)" in words and "Serial: first-order autoregression (ar1)" in words
    pick(at, "model_random_0_structure", "cs")
    assert formula(at) == "score ~ 1 + cs(0 + Machine | Worker)"
    assert "3 effects, 2 parameters" in text(at)
    assert emblems(at) == 1


def test_an_intercept_gives_way_to_a_structure_over_levels() -> None:
    at = write(model("machines"), "score ~ 1 + (Machine | Worker)")
    pick(at, "model_random_0_structure", "fa")
    assert formula(at) == "score ~ 1 + fa(0 + Machine | Worker)"
    assert at.multiselect(key="model_random_0_effects").value == ["Machine"]
    sound(at.number_input(key="model_random_0_k").set_value(2).run())
    assert formula(at) == "score ~ 1 + fa(0 + Machine | Worker, k=2)"
    assert at.number_input(key="model_random_0_k").max == 3


@pytest.mark.parametrize(
    "term",
    [
        "cs(0 + C(age) | Subject)",
        "arh1(0 + age | Subject)",
        "ante(0 + age | Subject, k=2)",
        "fa(0 + C(age) | Subject, k=2)",
        "us(0 + C(age) | Subject)",
        "spl(age)",
        "exp(0 + pos(age) | Subject)",
        "matern(0 + pos(age) | Subject, nu=2.5)",
        "kron(us(Sex), ar1(age) | Subject)",
    ],
)
def test_what_is_typed_is_found_in_the_menus_and_kept(term: str) -> None:
    at = sound(write(model("orthodont"), f"distance ~ Sex + {term}"))
    assert at.selectbox(key="model_random_0_structure").value == term.partition("(")[0]
    assert formula(at).endswith(term)
    sound(at.multiselect(key="model_fixed").set_value([]).run())  # a click elsewhere leaves the term as it was written
    assert formula(at) == f"distance ~ 1 + {term}"


def test_what_no_menu_says_is_shown_as_it_was_written() -> None:
    at = sound(write(model("orthodont"), "distance ~ 1 + kron(fa(Sex, k=1), ar1(age) | Subject)"))
    assert "Written by hand" in text(at)
    assert "kron(fa(Sex, k=1), ar1(age) | Subject)" in text(at)


def test_a_surface_takes_the_rows_and_columns_of_the_field() -> None:
    at = write(model("wheat2"), "yield ~ 1 + (1 | Block)")
    pick(at, "model_random_0_structure", "spl2d")
    assert formula(at) == "yield ~ 1 + spl2d(latitude, longitude)"


@pytest.mark.parametrize(
    ("sample", "term", "parameters"),
    [
        ("wheat2", "spl2d(latitude, longitude)", 6),
        ("orthodont", "spl(age)", 2),
        ("orthodont", "exp(0 + pos(age) | Subject)", 3),
        ("orthodont", "kron(us(Sex), ar1(age) | Subject)", 5),
    ],
)
def test_smooth_spatial_and_product_terms_are_described_fitted_and_shown(
    sample: str, term: str, parameters: int
) -> None:
    at = model(sample)
    response = at.selectbox(key="model_response").value
    sound(write(at, f"{response} ~ 1 + {term}"))
    assert {m.label: m.value for m in at.metric}["Variances"] == str(parameters)
    assert emblems(at) == 1 and "observations before the fit" in text(at)
    settled(at.button(key="fit_now").click().run(), seconds=120)
    assert len(study(at).shown.fit.parameters) == parameters
    sound(goto(at, "results"))
    assert not at.error


def test_a_product_by_clicks() -> None:
    at = write(model("orthodont"), "distance ~ age + (1 | Subject)")
    pick(at, "model_random_0_structure", "kron")
    assert formula(at) == "distance ~ age"  # incomplete: not written yet
    pick(at, "model_random_0_first_of", "Sex")
    pick(at, "model_random_0_second_of", "age")
    assert formula(at) == "distance ~ age + kron(us(Sex), ar1(age) | Subject)"


def test_cs_by_clicks_gives_the_numbers_of_a_random_intercept_and_interaction() -> None:
    """cs over the machines of a worker is (1 | Worker/Machine) with another name: lme4's REML criterion 215.6876."""
    at = write(model("machines"), "score ~ Machine + (0 + Machine | Worker)")
    pick(at, "model_random_0_structure", "cs")
    settled(at.button(key="fit_now").click().run())
    assert study(at).shown.fit.criterion == pytest.approx(215.6876, abs=1e-4)


# -- the residual ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def field() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    row, col = (v.ravel() for v in np.meshgrid(np.arange(1, 9), np.arange(1, 11), indexing="ij"))
    c = 0.6 ** np.abs(np.subtract.outer(row, row)) * 0.4 ** np.abs(np.subtract.outer(col, col))
    gen = np.array([f"G{i:02d}" for i in range(20)])[rng.permutation(80) % 20]
    effect = dict(zip(sorted(set(gen)), rng.normal(0, 1, 20), strict=True))
    y = 50 + np.linalg.cholesky(4 * c) @ rng.standard_normal(80) + [effect[g] for g in gen]
    return pd.DataFrame({"row": row, "col": col, "gen": gen, "trial": np.where(row < 5, "T1", "T2"), "yield": y})


def test_rows_and_columns_are_proposed_and_fitted(field: pd.DataFrame) -> None:
    at = with_table("field.csv", field)
    write(at, "yield ~ 1 + (1 | gen)")
    assert at.selectbox(key="residual_kind").value == "independent"
    pick(at, "residual_kind", "grid")
    assert residual(at) == "ar1(row):ar1(col)"
    assert at.text_input(key="residual_text").value == "ar1(row):ar1(col)"
    sound(at.checkbox(key="residual_nugget").check().run())
    assert residual(at) == "ar1(row):ar1(col) + id(units)"
    sound(at.checkbox(key="residual_nugget").uncheck().run())
    assert "R of 36 rows" in text(at)
    settled(at.button(key="fit_now").click().run())
    expected = reml.fit("yield ~ 1 + (1 | gen)", field, residual="ar1(row):ar1(col)")
    assert study(at).shown.fit.criterion == pytest.approx(expected.criterion, abs=1e-8)
    sound(goto(at, "results"))
    assert "residual: ar1(row):ar1(col)" in text(at)
    assert "so many steps apart" in text(at)


def test_the_published_nin_analysis_by_clicks() -> None:
    """ASReml's log-likelihood, -399.3238 (Gilmour and others, ASReml user guide)."""
    reference = Reference()
    if not reference.found():
        pytest.skip("the reference data are not beside this checkout")
    at = with_table("stroup_nin.csv", reference.table("stroup_nin.csv"))
    write(at, "yield ~ gen")
    pick(at, "residual_kind", "grid")
    settled(at.button(key="fit_now").click().run())
    assert study(at).shown.fit.loglik_asreml == pytest.approx(-399.3238, abs=1e-4)


@pytest.mark.parametrize(
    ("typed", "kind"),
    [
        ("ar1(row):ar2(col) + id(units)", "grid"),
        ("dsum(ar1(row):ar1(col) | trial)", "grid"),
        ("id(gen):us(row)", "within"),
        ("id(trial):exp(row, aniso=TRUE)", "within"),
        ("matern(row, col, nu=2.5)", "distance"),
        ("dsum(id(units) | trial)", "groups"),
        ("ar1(row)", "byhand"),
        ("id(units)", "independent"),
    ],
)
def test_a_typed_residual_is_found_in_the_menus(field: pd.DataFrame, typed: str, kind: str) -> None:
    at = with_table("field.csv", field)
    sound(at.text_input(key="residual_text").set_value(typed).run())
    assert at.selectbox(key="residual_kind").value == kind
    assert residual(at) == (None if kind == "independent" else typed)
    assert at.text_input(key="residual_text").value == typed


def test_within_subjects_by_clicks() -> None:
    at = write(model("orthodont"), "distance ~ age * Sex")
    pick(at, "residual_kind", "within")
    assert residual(at) == "id(Subject):ar1(age)"
    pick(at, "residual_within", "us")
    assert residual(at) == "id(Subject):us(age)"
    pick(at, "residual_within", "ante")
    sound(at.number_input(key="residual_k").set_value(2).run())
    assert residual(at) == "id(Subject):ante(age, k=2)"


def test_by_distance_is_described_and_fitted() -> None:
    at = write(model("wheat2"), "yield ~ variety")
    pick(at, "residual_kind", "distance")
    assert residual(at) == "exp(latitude, longitude)"
    pick(at, "residual_distance", "gau")
    sound(at.checkbox(key="residual_nugget").check().run())
    assert residual(at) == "gau(latitude, longitude) + id(units)"
    assert "range" in text(at)
    settled(at.button(key="fit_now").click().run())
    found = study(at).shown.fit
    assert found.criterion == pytest.approx(1067.10171372142, abs=1e-4)  # nlme 3.1-162, gls with corGaus and nugget
    sound(goto(at, "results"))
    assert "residual: gau(latitude, longitude) + id(units)" in text(at)
    assert "by their distance" in text(at) and "(nugget) is not in it" in text(at)


def test_a_residual_that_cannot_be_read_leaves_the_model_as_it_is(field: pd.DataFrame) -> None:
    at = with_table("field.csv", field)
    sound(at.text_input(key="residual_text").set_value("ar1(row").run())
    assert at.error and "stays id(units)" in text(at)
    assert residual(at) is None
    sound(at.text_input(key="residual_text").set_value("id(units)").run())
    assert not at.error


def test_a_residual_over_a_column_that_is_not_there_is_refused_in_place(field: pd.DataFrame) -> None:
    at = with_table("field.csv", field)
    sound(at.text_input(key="residual_text").set_value("ar1(rwo):ar1(col)").run())
    assert any("rwo" in e.value for e in at.error)
    assert not at.metric


def test_an_incomplete_kind_waits_and_the_residual_stays() -> None:
    at = model("orthodont")
    pick(at, "residual_kind", "grid")
    assert residual(at) is None and "until then" in text(at)
    pick(at, "residual_kind", "groups")
    assert residual(at) is None
    pick(at, "residual_section", "Sex")
    assert residual(at) == "dsum(id(units) | Sex)"
    pick(at, "residual_kind", "independent")
    assert residual(at) is None


def test_the_residual_survives_leaving_the_page_and_ends_with_the_study(field: pd.DataFrame) -> None:
    at = with_table("field.csv", field)
    pick(at, "residual_kind", "grid")
    goto(goto(at, "data"), "model")
    assert at.selectbox(key="residual_kind").value == "grid"
    study(at).use(dataset("again.csv", field))
    goto(goto(at, "data"), "model")
    assert at.selectbox(key="residual_kind").value == "independent"


# -- what is seen ----------------------------------------------------------------------------------------------


def test_the_covariance_of_the_first_rows_is_drawn_before_the_fit() -> None:
    at = model("sleepstudy")
    assert "Correlation of 60 of 180 observations" in text(at)
    assert charts(at) >= 2


def test_many_parameters_are_folded_on_the_page_and_grouped_in_the_trace(field: pd.DataFrame) -> None:
    many = field.assign(site=[f"S{i % 6}" for i in range(80)])
    at = with_table("field.csv", many)
    write(at, "yield ~ site + fa(0 + site | gen, k=1)")
    sound(at.text_input(key="residual_text").set_value("dsum(id(units) | site)").run())
    assert any("18 variance parameters" in e.label for e in at.expander)
    at.number_input(key="option_limit").set_value(3).run()
    settled(at.button(key="fit_now").click().run())
    groups = at.selectbox(key="replay_group")
    assert groups.options == ["gen: loading (6)", "gen: specific variance (6)", "Residual: variance (6)"]
    sound(groups.set_value("Residual: variance").run())
    sound(goto(at, "results"))
    assert "Loadings" in text(at)
    assert len(at.dataframe) >= 4
