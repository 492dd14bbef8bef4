"""The Data page: samples, uploads, roles, what is seen; bad files leave the study as it is."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from openreml_core import Role, sample_data
from tests.app.driver import JOHN_ALPHA, charts, links, opened, sound, start, study, text

TABLE = b"rep,gen,yield\n" + b"".join(
    f"R{r},G{g},{4 + 0.3 * r + 0.1 * g + 0.07 * ((r * g) % 5)}\n".encode() for r in range(1, 4) for g in range(1, 9)
)


def uploaded(at, name: str, content: bytes):
    return at.file_uploader(key="upload").set_value((name, content, "application/octet-stream")).run()


def test_a_new_visitor_sees_an_upload_and_every_sample_study() -> None:
    at = sound(start())
    assert [t.value for t in at.title] == ["Data"]
    assert len(at.file_uploader) == 1
    for sample in sample_data():
        assert at.button(key=f"open_{sample.name}").label == "Open"
        assert sample.title in text(at)


@pytest.mark.parametrize("name", [sample.name for sample in sample_data()])
def test_a_sample_study_opens_with_its_roles_and_model(name: str) -> None:
    sample = next(s for s in sample_data() if s.name == name)
    at = sound(opened(name))
    held = study(at)
    assert len(held.data.table) == sample.n_rows
    assert held.data.roles == sample.roles
    assert held.specification.formula == sample.formula
    assert "What I see" in text(at)
    assert not at.error


def test_john_alpha_is_described_from_its_counts() -> None:
    at = opened()
    assert "24 genotypes in 3 replicates of 6 incomplete blocks of 4 plots" in text(at)
    assert at.selectbox(key="role_4").value == "response"
    assert charts(at) == 1  # the map of the field
    assert "Next: choose a model" in links(at)


def test_the_page_shows_the_table() -> None:
    frame = opened().dataframe[0].value
    assert list(frame.columns) == ["plot", "rep", "block", "gen", "yield", "row", "col"]
    assert len(frame) == 72


def test_a_role_is_corrected_and_the_proposal_follows() -> None:
    at = opened()
    sound(at.selectbox(key="role_2").set_value("ignore").run())
    assert study(at).data.roles["block"] is Role.IGNORE
    assert "block" not in study(at).specification.formula
    assert study(at).specification.formula.startswith("yield ~")


def test_a_role_that_a_column_cannot_have_is_refused_in_words() -> None:
    at = opened()
    sound(at.selectbox(key="role_3").set_value("covariate").run())
    assert "gen" in at.error[0].value and "not a number" in at.error[0].value
    assert study(at).data.roles["gen"] is Role.FACTOR
    assert at.selectbox(key="role_3").value == "factor"
    at.selectbox(key="role_0").set_value("ignore").run()
    assert not at.error  # the next choice that is possible clears the message


def test_an_uploaded_csv_becomes_the_study() -> None:
    at = sound(uploaded(start(), "trial.csv", TABLE))
    held = study(at)
    assert held.data.name == "trial.csv"
    assert held.data.table.shape == (24, 3)
    assert held.data.roles["yield"] is Role.RESPONSE
    assert held.specification.formula.startswith("yield ~")


def test_after_an_upload_the_whole_page_knows_the_table() -> None:
    at = uploaded(start(), "trial.csv", TABLE)
    assert any("24 rows, 3 columns" in c.value for c in at.sidebar.caption)
    assert at.button(key="to_model").label == "Choose a model"
    assert len(at.expander) == 1  # the gallery is folded away


def test_a_workbook_of_two_sheets_asks_for_one() -> None:
    buffer = io.BytesIO()
    with pd.ExcelWriter(buffer) as book:
        pd.DataFrame({"note": ["sown in May", "harvested in August"]}).to_excel(book, sheet_name="Notes", index=False)
        pd.read_csv(io.BytesIO(TABLE)).to_excel(book, sheet_name="Plots", index=False)
    at = sound(uploaded(start(), "trial.xlsx", buffer.getvalue()))
    assert at.selectbox(key="upload_sheet").options == ["Notes", "Plots"]
    sound(at.selectbox(key="upload_sheet").set_value("Plots").run())
    assert study(at).data.table.shape == (24, 3)


def test_a_parquet_file_is_read() -> None:
    buffer = io.BytesIO()
    pd.read_csv(io.BytesIO(TABLE)).to_parquet(buffer)
    assert study(sound(uploaded(start(), "trial.parquet", buffer.getvalue()))).data.table.shape == (24, 3)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("nothing.csv", b"", "empty"),
        ("broken.xlsx", b"PK\x03\x04 this is no workbook", "damaged"),
        ("twice.csv", b"gen,gen,yield\nA,B,1\nC,D,2\n", "gen"),
        ("picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(40), "picture"),
    ],
)
def test_a_bad_file_is_refused_in_words_and_the_study_is_kept(name: str, content: bytes, word: str) -> None:
    at = opened()
    before = study(at).data
    sound(uploaded(at, name, content))
    assert word in at.error[0].value
    assert "Traceback" not in text(at)
    assert study(at).data is before
    assert study(at).specification.formula == JOHN_ALPHA


def test_missing_cells_are_counted() -> None:
    at = sound(opened("dietox"))
    assert "have no Weight" in text(at) or "empty cell" in text(at)
