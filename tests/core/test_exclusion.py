"""Rows left out on purpose: the fit is that of the table without them, and it says which and why, in every form it takes."""

from __future__ import annotations

import io
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml

FORMULA = "Reaction ~ Days + (Days | Subject)"
OUT = {5: "asleep", 60: "asleep", 100: ""}


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return reml.load_sample("sleepstudy")


def test_the_fit_is_that_of_the_table_without_the_rows(data: pd.DataFrame) -> None:
    fit = reml.fit(FORMULA, data, exclude=OUT)
    other = reml.fit(FORMULA, data.drop(index=list(OUT)))
    assert fit.n_obs == 177 and fit.n_dropped == 0
    assert fit.criterion == pytest.approx(other.criterion, abs=1e-9)
    pd.testing.assert_frame_equal(fit.fixed_effects(), other.fixed_effects())
    assert fit.excluded == OUT and other.excluded == {}
    assert not set(OUT) & set(fit.residuals().index)
    assert "rows 5, 60 (asleep); row 100" in fit.summary()


def test_weights_and_offset_given_by_row_follow(data: pd.DataFrame) -> None:
    w = np.linspace(0.5, 2.0, 180)
    fit = reml.fit(FORMULA, data, weights=w, offset=pd.Series(np.arange(180.0)), exclude=[5, 60])
    kept = data.assign(w=w, o=np.arange(180.0)).drop(index=[5, 60])
    assert fit.criterion == pytest.approx(reml.fit(FORMULA, kept, weights="w", offset="o").criterion, abs=1e-8)


def test_a_changed_model_keeps_them_out(data: pd.DataFrame) -> None:
    fit = reml.fit(FORMULA, data, exclude=OUT)
    changed = fit.update("Reaction ~ Days + (1 | Subject)")
    assert changed.n_obs == 177 and changed.excluded == OUT
    assert fit.compare(changed)["LRT"].notna().any()
    more = fit.without([7, 8], reason="ill")
    assert more.excluded == OUT | {7: "ill", 8: "ill"} and more.n_obs == 175
    again = more.refit(more.response * 2)
    assert again.n_obs == 175 and again.excluded == more.excluded
    assert again.update("Reaction ~ 1 + (1 | Subject)").excluded == more.excluded
    assert more.update("Reaction ~ 1 + (1 | Subject)").excluded == more.excluded
    assert len(fit.random_anova()) == 2


def test_the_code_repeats_the_fit(data: pd.DataFrame, tmp_path) -> None:
    fit = reml.fit(FORMULA, data, exclude=OUT).without([7], reason='the "old" lamp')
    data.to_csv(tmp_path / "data.csv", index=False)
    code = fit.to_code().replace('"data.csv"', repr(str(tmp_path / "data.csv"))).replace("print(fit)", "")
    names: dict = {}
    exec(code, names)
    assert names["fit"].criterion == pytest.approx(fit.criterion, abs=1e-6)
    assert names["fit"].excluded == fit.excluded == OUT | {7: 'the "old" lamp'}


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
def test_the_code_in_r_repeats_the_fit(data: pd.DataFrame, tmp_path) -> None:
    fit = reml.fit(FORMULA, data, exclude=OUT)
    data.to_csv(tmp_path / "data.csv", index=False)
    script = fit.to_code("r-lme4") + "cat('criterion', format(REMLcrit(fit), digits = 12), nobs(fit))\n"
    done = subprocess.run(["Rscript", "-e", script], cwd=tmp_path, capture_output=True, text=True)
    if done.returncode and "lme4" in done.stderr:
        pytest.skip("lme4 is not installed")
    criterion, n = done.stdout.split("criterion ")[-1].split()
    assert float(criterion) == pytest.approx(fit.criterion, abs=1e-4) and int(n) == 177


def test_a_saved_fit_remembers_them(data: pd.DataFrame) -> None:
    fit = reml.fit(FORMULA, data, exclude=OUT)
    file = io.BytesIO()
    fit.save(file)
    back = reml.load(io.BytesIO(file.getvalue()))
    assert back.excluded == OUT and back.n_obs == 177
    assert back.to_code() == fit.to_code()
    assert back.without([8]).excluded == OUT | {8: ""}
    changed = back.update("Reaction ~ 1 + (1 | Subject)")
    assert changed.n_obs == 177 and changed.excluded == OUT


def test_names_of_rows_may_be_text(data: pd.DataFrame) -> None:
    named = data.set_axis([f"r{i}" for i in range(180)], axis=0)
    fit = reml.fit(FORMULA, named, exclude=["r5"])
    assert fit.excluded == {"r5": ""} and fit.n_obs == 179
    with pytest.raises(reml.ModelError, match="Python"):
        fit.to_code("r-lme4")


def test_a_preview_leaves_them_out(data: pd.DataFrame) -> None:
    assert reml.preview(FORMULA, data, exclude=OUT).n_obs == 177


@pytest.mark.parametrize(
    ("exclude", "words"),
    [([999], "no row 999"), ("5", "does not name rows"), (5, "does not name rows"), ({5: 3}, "no text")],
)
def test_what_is_no_row_is_refused(data: pd.DataFrame, exclude, words: str) -> None:
    with pytest.raises(reml.DataError, match=words):
        reml.fit(FORMULA, data, exclude=exclude)


def test_all_rows_and_rows_in_files_are_refused(data: pd.DataFrame, tmp_path) -> None:
    with pytest.raises(reml.DataError, match="Every row"):
        reml.fit(FORMULA, data, exclude=data.index)
    data.to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(reml.DataError, match="by their labels"):
        reml.fit(FORMULA, tmp_path / "data.csv", exclude=[5])
    with pytest.raises(reml.ModelError, match="no option"):
        reml.fit_many(FORMULA, data, by="Subject", exclude=[5])
