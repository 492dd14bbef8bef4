"""The sample studies: complete, documented, and the published values."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from openreml_core.errors import DataError
from openreml_core.tables import Role, Sample, load_sample, sample_data
from openreml_core.tables import samples as module

SAMPLES = sample_data()
ASKED_FOR = {"john_alpha", "sleepstudy", "dietox", "oats", "penicillin", "wheat2"}


def test_the_catalogue_and_the_folder_agree(sample_dir: Path) -> None:
    assert {sample.name for sample in SAMPLES} == {path.stem for path in sample_dir.glob("*.csv")} >= ASKED_FOR
    assert len({sample.name for sample in SAMPLES}) == len(SAMPLES)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_a_sample_is_what_it_says(sample: Sample) -> None:
    table = load_sample(sample.name)
    assert table.shape == (sample.n_rows, sample.n_columns)
    assert list(sample.roles) == table.columns.tolist()
    assert list(sample.roles.values()).count(Role.RESPONSE) == 1
    response = next(name for name, role in sample.roles.items() if role is Role.RESPONSE)
    assert sample.formula.startswith(f"{response} ~ ") and "|" in sample.formula
    assert sample.question.endswith(("?", ".", ")")) and sample.source and sample.licence and sample.title


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_the_values_are_the_published_ones(reference, sample: Sample) -> None:
    known = pd.read_csv(reference.data / f"{sample.name}.csv", keep_default_na=False, na_values=["NA", ""])
    pd.testing.assert_frame_equal(load_sample(sample.name), known, rtol=0, atol=0)


def test_the_readme_lists_every_sample(sample_dir: Path) -> None:
    readme = (sample_dir / "README.md").read_text(encoding="utf-8")
    for sample in SAMPLES:
        line = next(line for line in readme.splitlines() if line.startswith(f"| `{sample.name}`"))
        assert f"{sample.n_rows} x {sample.n_columns}" in line
        assert sample.question in line and sample.source in line
        assert sample.formula.replace("|", "\\|") in line


def test_an_unknown_sample_is_named() -> None:
    with pytest.raises(DataError, match=r"no sample study \*john_alfa\*\. Did you mean \*john_alpha\*\?"):
        load_sample("john_alfa")


def test_an_installed_package_finds_its_own_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "_sample_data"
    monkeypatch.setattr(module, "FOLDERS", (inside, tmp_path / "sample_data"))
    with pytest.raises(DataError, match="not part of this installation"):
        sample_data()
    inside.mkdir()
    entry = {
        "name": "tiny",
        "title": "t",
        "question": "q?",
        "source": "s",
        "licence": "l",
        "rows": 1,
        "formula": "y ~ 1",
    }
    (inside / "samples.json").write_text(json.dumps([entry | {"roles": {"y": "response"}}]))
    (inside / "tiny.csv").write_text("y\n4.5\n")
    assert [sample.name for sample in sample_data()] == ["tiny"]
    assert load_sample("tiny")["y"].tolist() == [4.5]
