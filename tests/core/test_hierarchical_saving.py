"""A saved fit comes back as it was; a file that is none is named; nothing in it is run."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import openreml_core as reml
from openreml_core.hierarchical import Family, GroupPrior, TorchModel, fit, fit_or_load, load, models

H = reml.hierarchical
MODEL = models.RescorlaWagner(sticky=True)


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    table = MODEL.simulate(n_subjects=10, n_trials=60, seed=1)
    table["age"] = 20.0 + table["subject"] % 4
    table.loc[5, "reward"] = np.nan  # the first subject is left out
    return table


OPTIONS = [
    dict(),
    dict(covariance="full", family=Family("student_t", 5.0)),
    dict(covariates="age", fixed={"stickiness": 0.0}, prior=GroupPrior({"learning_rate": (0.0, 1.0)}, 0.5, 3.0)),
]


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "t", "covariates"])
def test_everything_comes_back(data: pd.DataFrame, tmp_path: Path, options: dict) -> None:
    made = fit(MODEL, data, **options)
    made.save(tmp_path / "a.fit")
    again = load(tmp_path / "a.fit")
    assert again.model == MODEL and again.message == made.message and again.converged == made.converged
    pd.testing.assert_frame_equal(again.subjects(), made.subjects())
    pd.testing.assert_frame_equal(again.group(), made.group())
    pd.testing.assert_frame_equal(again.trace, made.trace)
    pd.testing.assert_frame_equal(again.group_covariance_se, made.group_covariance_se)
    for method in ("laplace", "importance"):
        assert again.evidence(method) == pytest.approx(made.evidence(method), abs=1e-9)
    assert again.bic() == pytest.approx(made.bic(), abs=1e-9)
    pd.testing.assert_frame_equal(again.posterior_predictive(2), made.posterior_predictive(2))


def test_nothing_is_pickled(data: pd.DataFrame) -> None:
    file = io.BytesIO()
    fit(MODEL, data).save(file)
    with zipfile.ZipFile(file) as archive:
        assert sorted(archive.namelist()) == ["arrays.npz", "fit.json", "trials.parquet"]
        with np.load(io.BytesIO(archive.read("arrays.npz")), allow_pickle=False) as arrays:
            assert all(arrays[name].dtype.kind == "f" for name in arrays.files)
    assert load(file).n_subjects == 9


def coin(p: torch.Tensor, b: H.Batch) -> torch.Tensor:
    return torch.where(b.mask, torch.where(b["choice"] == 1, p.log(), (1 - p).log()), 0.0).sum(1)


def test_a_model_of_ones_own_is_asked_for(data: pd.DataFrame, tmp_path: Path) -> None:
    own = TorchModel(coin, {"bias": "logit"}, columns=["choice"])
    made = fit(own, data)
    made.save(tmp_path / "own.fit")
    with pytest.raises(reml.ModelError, match="a file does not hold functions"):
        load(tmp_path / "own.fit")
    assert load(tmp_path / "own.fit", own).evidence() == pytest.approx(made.evidence(), abs=1e-9)
    with pytest.raises(reml.ModelError, match="not of this Rescorla-Wagner"):
        load(tmp_path / "own.fit", MODEL)


def test_fit_or_load_fits_once(data: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "kept.fit", []
    first = fit_or_load(path, MODEL, data, covariance="full", on_iteration=seen.append)
    count = len(seen)
    second = fit_or_load(path, MODEL, data, covariance="full", on_iteration=seen.append)
    assert len(seen) == count > 0
    np.testing.assert_array_equal(first.group_mean, second.group_mean)
    with pytest.raises(reml.DataError, match="covariance='full', not 'diagonal'"):
        fit_or_load(path, MODEL, data)
    with pytest.raises(reml.DataError, match="other trials"):
        fit_or_load(path, MODEL, data[data["subject"] < 9], covariance="full")
    with pytest.raises(reml.ModelError, match="not of this"):
        fit_or_load(path, models.RescorlaWagner(), data, covariance="full")


def test_what_is_no_fit_is_named(data: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(reml.DataError, match="There is no file"):
        load(tmp_path / "none.fit")
    (tmp_path / "text.fit").write_text("hello")
    with pytest.raises(reml.DataError, match="is not a saved hierarchical fit"):
        load(tmp_path / "text.fit")
    made = fit(MODEL, data)
    with pytest.raises(reml.DataError, match="cannot be saved"):
        made.save(tmp_path / "no" / "folder.fit")
    made.save(tmp_path / "a.fit")
    with zipfile.ZipFile(tmp_path / "a.fit") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for change, words in (({"version": 99}, "later version"), ({"places": [0]}, "damaged"), ({"trace": []}, "damaged")):
        record = json.loads(parts["fit.json"]) | change
        with zipfile.ZipFile(tmp_path / "b.fit", "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, json.dumps(record) if name == "fit.json" else content)
        with pytest.raises(reml.DataError, match=words):
            load(tmp_path / "b.fit")
