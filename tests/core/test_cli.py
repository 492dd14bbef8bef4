"""The command line: results on standard output, progress on standard error, one sentence for a mistake."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.cli import main

SAMPLES = Path(__file__).parents[2] / "sample_data"
ALPHA, SLEEP = str(SAMPLES / "john_alpha.csv"), str(SAMPLES / "sleepstudy.csv")
FORMULA = "yield ~ rep + (1 | gen) + (1 | rep:block)"
CRITERION = 93.19382024197


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence that `arguments` end in, on standard error, with exit code 2 and nothing on standard output."""
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert len(captured.err.strip().splitlines()) == 1, captured.err
    return captured.err


def test_fit_prints_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", ALPHA, FORMULA]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == reml.fit(FORMULA, reml.read_table(ALPHA)).summary().strip()
    assert "93.19" in captured.out
    lines = captured.err.strip().splitlines()
    assert lines[0].startswith("iteration   0")
    assert f"{CRITERION:.4f}" in lines[-1]


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", ALPHA, FORMULA, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", ALPHA, FORMULA, "--json", "--quiet"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["criterion"] == pytest.approx(CRITERION, abs=1e-6)
    assert result["n_obs"] == 72
    assert result["converged"] is True
    assert result["formula"] == FORMULA
    assert [row["coefficient"] for row in result["fixed_effects"]] == ["(Intercept)", "rep[T.R2]", "rep[T.R3]"]
    variances = {row["group"]: row["estimate"] for row in result["variance_components"]}
    assert variances["gen"] == pytest.approx(0.1429019684746, rel=1e-4)


def test_what_is_not_a_number_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", ALPHA, FORMULA, "--json", "--quiet"]) == 0
    text = capsys.readouterr().out
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_options_reach_the_fit(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "fit.reml"
    options = ["--method", "ml", "--algorithm", "ai-em", "--engine", "marginal", "--save", str(path)]
    assert main(["fit", ALPHA, FORMULA, *options, "--quiet", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    expected = reml.fit(FORMULA, reml.read_table(ALPHA), method="ml")
    assert result["method"] == "ml"
    assert result["criterion"] == pytest.approx(expected.criterion, abs=1e-6)
    assert reml.load(path).criterion == pytest.approx(result["criterion"])


def test_a_pattern_of_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table = pd.read_csv(ALPHA)
    for rep, part in table.groupby("rep"):
        part.to_csv(tmp_path / f"{rep}.csv", index=False)
    assert main(["fit", str(tmp_path / "R*.csv"), FORMULA, "--quiet", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["criterion"] == pytest.approx(CRITERION, abs=1e-6)
    assert (result["n_obs"], result["engine"]) == (72, "henderson")
    assert "No file matches" in complaint(["fit", str(tmp_path / "none-*.csv"), FORMULA], capsys)
    assert "factor(x)" in complaint(["fit", str(tmp_path / "R*.csv"), FORMULA, "--factor", "block"], capsys)


def test_factor_makes_numbers_levels(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["fit", SLEEP, "Reaction ~ Days + (1 | Subject)", "--quiet", "--json"]
    ranks = []
    for factors in ([], ["--factor", "Days"], ["--factor", "Days, Subject"]):
        assert main([*arguments, *factors]) == 0
        ranks.append(json.loads(capsys.readouterr().out)["rank"])
    assert ranks == [2, 10, 10]


def test_a_residual(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", ALPHA, "yield ~ rep + (1 | gen)", "--quiet", "--residual", "dsum(id(units) | rep)"]) == 0
    assert "Residual:  dsum(id(units) | rep)" in capsys.readouterr().out


def test_a_sheet_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, table = tmp_path / "trial.xlsx", reml.read_table(ALPHA)
    with pd.ExcelWriter(path) as book:
        table.to_excel(book, sheet_name="trial", index=False)
        table.assign(**{"yield": table["yield"] * 2}).to_excel(book, sheet_name="twice", index=False)
    results = []
    for sheet in ([], ["--sheet", "twice"]):
        assert main(["fit", str(path), FORMULA, "--quiet", "--json", *sheet]) == 0
        captured = capsys.readouterr()
        results.append(json.loads(captured.out)["sigma"])
        said = captured.err.strip()
        assert said == "" if sheet else (said.startswith("openreml: The workbook") and len(said.splitlines()) == 1)
    assert results[1] == pytest.approx(2 * results[0], rel=1e-5)
    assert "thrice" in complaint(["fit", str(path), FORMULA, "--sheet", "thrice"], capsys)


def test_the_path_is_looked_at_before_the_fit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("openreml_core.cli.fit", lambda *_, **__: pytest.fail("fitted first"))
    assert "folder" in complaint(["fit", ALPHA, FORMULA, "--save", str(tmp_path / "no" / "a.fit")], capsys)


def test_a_result_is_shown_though_it_cannot_be_saved(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(["fit", ALPHA, FORMULA, "--quiet", "--save", str(tmp_path / "a.fit")]) == 2
    captured = capsys.readouterr()
    assert "93.19" in captured.out and "No space left" in captured.err


def test_a_fit_that_stops_short_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", ALPHA, FORMULA, "--quiet", "--max-iterations", "1"]) == 1
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["fit", "nowhere.csv", "y ~ x"], "nowhere.csv"),
        (["fit", ALPHA, "yeild ~ rep + (1 | gen)"], "yeild"),
        (["fit", ALPHA, "yield ~ rep + (1 | gen"], ""),
        (["fit", ALPHA, FORMULA, "--factor", "gen,blok"], "blok"),
        (["fit", ALPHA, FORMULA, "--weights", "w"], "w"),
        (["fit", ALPHA, FORMULA, "--max-iterations", "0"], "max-iterations"),
        (["fit", ALPHA, FORMULA, "--method", "bayes"], "method"),
        (["fit", ALPHA, FORMULA, "--quiet", "--save", "/no/such/folder/fit.reml"], "/no/such/folder"),
        (["fit", ALPHA, FORMULA, "--max-iterations", "²"], "max-iterations"),
        (["fit", ALPHA, FORMULA, "--residual", "ar9(row)"], "ar9"),
        (["fit", ALPHA, FORMULA, "--sheet", "one"], "sheet"),
        (["app", "--port", "0"], "65535"),
        (["app", "--port", "65536"], "65535"),
        (["app", "--port", "²"], "65535"),
        (["fit", ALPHA], "FORMULA"),
        (["fti"], "fti"),
    ],
    ids=lambda value: " ".join(value[2:])[:40] if isinstance(value, list) else None,
)
def test_a_mistake_is_one_sentence(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert word in complaint(arguments, capsys)


def test_a_keyboard_interrupt_is_not_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(row: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("openreml_core.cli._progress", interrupt)
    assert main(["fit", ALPHA, FORMULA]) == 130
    assert capsys.readouterr().err.strip() == "openreml: cancelled."


@pytest.mark.parametrize(
    ("arguments", "passed"), [([], []), (["app"], []), (["app", "--port", "8600"], ["--port", "8600"])]
)
def test_without_a_command_the_studio_opens(
    arguments: list[str], passed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def launch(options: list[str]) -> int:
        calls.append(options)
        return 0

    real = importlib.import_module
    monkeypatch.setattr(
        importlib, "import_module", lambda name: SimpleNamespace(main=launch) if name == "app.launch" else real(name)
    )
    assert main(arguments) == 0
    assert calls == [passed]


def test_as_a_program() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "openreml_core", "--version"], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.startswith("openreml-studio ")


def test_help_opens_no_studio() -> None:
    code = """
import sys
from openreml_core.cli import main
try:
    main(["fit", "--help"])
except SystemExit as stop:
    assert not stop.code
assert "streamlit" not in sys.modules
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    assert "FORMULA" in run.stdout
