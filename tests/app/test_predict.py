"""Predict: uploaded rows, the fitted ones, rows as in the template; what is wrong with them is said in words."""

from __future__ import annotations

import pandas as pd
import pytest

import openreml_core as reml
from tests.app.driver import answered, fitted, goto, links, opened, sound, start, text

FORMULA = "Reaction ~ Days + (Days | Subject)"


def predict(sample: str = "sleepstudy"):
    return sound(goto(fitted(sample), "predict"))


def uploaded(at, rows: pd.DataFrame, name: str = "new.csv"):
    file = (name, rows.to_csv(index=False).encode(), "text/csv")
    return answered(sound(at.file_uploader(key="predict_file").set_value(file).run()))


def table(at):
    return next(d.value for d in at.dataframe if "Prediction" in d.value.columns)


def fit() -> reml.MixedModelFit:
    return reml.fit(FORMULA, reml.load_sample("sleepstudy"))


def test_without_a_fit_the_page_says_so_and_links_to_the_step_that_opens_it() -> None:
    assert "Go to Data" in links(sound(goto(start(), "predict")))
    assert "Go to Model" in links(sound(goto(opened(), "predict")))


def test_uploaded_rows_are_predicted_with_intervals() -> None:
    rows = pd.DataFrame({"Days": [0, 10], "Subject": ["308", "308"]})
    at = uploaded(predict(), rows)
    found = table(at)
    # lme4's coef(fm1)$Subject["308", ]: 253.6637 + 19.66626 Days
    assert found["Prediction"].tolist() == pytest.approx([253.6637, 253.6637 + 196.6626], abs=2e-3)
    expected = fit().predict(rows.astype({"Subject": str}), std_error=True, interval="prediction")
    assert found[["SE", "From", "To"]].to_numpy() == pytest.approx(expected[["std_error", "lower", "upper"]].to_numpy())
    assert "with all random terms; 95 % prediction intervals for a new observation" in text(at)
    assert "predictions_csv" in {b.key for b in at.get("download_button")}
    at = answered(sound(at.selectbox(key="predict_random").set_value("none").run()))
    assert table(at)["Prediction"].tolist() == pytest.approx([251.4051, 251.4051 + 104.6729], abs=2e-3)
    at = answered(sound(at.selectbox(key="predict_interval").set_value("confidence").run()))
    assert "Satterthwaite degrees of freedom" in text(at)


def test_new_levels_are_an_error_that_names_them_until_they_are_allowed() -> None:
    at = uploaded(predict(), pd.DataFrame({"Days": [3], "Subject": ["newcomer"]}))
    assert "newcomer" in text(at) and not [d for d in at.dataframe if "Prediction" in d.value.columns]
    at = answered(sound(at.checkbox(key="predict_new").set_value(True).run()))
    assert table(at)["Prediction"].tolist() == pytest.approx([251.4051 + 3 * 10.46729], abs=2e-3)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (pd.DataFrame({"Day": [1], "Subject": ["308"]}), "Days"),
        (pd.DataFrame({"Days": ["soon"], "Subject": ["308"]}), "Days"),
    ],
)
def test_rows_that_do_not_fit_are_refused_in_words(rows: pd.DataFrame, words: str) -> None:
    at = uploaded(predict(), rows)
    assert words in text(at)
    assert not [d for d in at.dataframe if "Prediction" in d.value.columns]


def test_a_file_that_cannot_be_read_is_said() -> None:
    at = predict()
    at = sound(at.file_uploader(key="predict_file").set_value(("empty.csv", b"", "text/csv")).run())
    assert "empty" in text(at)


def test_rows_that_lack_a_value_are_counted() -> None:
    at = uploaded(predict(), pd.DataFrame({"Days": [1.0, None], "Subject": ["308", "309"]}))
    assert "1 of the rows lack a value" in text(at)
    assert table(at)["Prediction"].isna().tolist() == [False, True]


def test_the_fitted_rows_and_rows_typed_in() -> None:
    at = predict("oats")
    assert "nitro, Variety, Block" in text(at).replace("*", "")
    at = answered(sound(at.segmented_control(key="predict_source").set_value("the fitted rows").run()))
    expected = reml.fit("yield ~ C(nitro) * Variety + (1 | Block/Variety)", reml.load_sample("oats")).fitted()
    assert table(at)["Prediction"].tolist() == pytest.approx(expected.tolist(), abs=1e-4)
    at = answered(sound(at.segmented_control(key="predict_source").set_value("typed in").run()))
    assert table(at)["Prediction"].tolist() == pytest.approx(expected.head(3).tolist(), abs=1e-4)


def test_a_column_of_the_file_that_is_called_like_a_result_is_kept() -> None:
    at = uploaded(predict(), pd.DataFrame({"Days": [0], "Subject": ["308"], "Prediction": [1.5]}))
    found = table(at)
    assert found["Prediction"].tolist() == [1.5]
    assert found["Prediction (model)"].tolist() == pytest.approx([253.6637], abs=2e-3)
