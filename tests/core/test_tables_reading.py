"""Reading tables: whatever a spreadsheet, a field computer or R writes becomes the same table."""

from __future__ import annotations

import datetime
import io
import time
import warnings
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest

from openreml_core.tables import read_table, sheet_names

PLAIN = pd.DataFrame({"gen": ["A", "B", "C"], "rep": [1, 1, 2], "yield": [4.5, 5.25, np.nan]})


def same(table: pd.DataFrame, expected: pd.DataFrame = PLAIN) -> None:
    pd.testing.assert_frame_equal(table, expected, rtol=0, atol=0)


def workbook(**sheets: list[list[object]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "gen,rep,yield\nA,1,4.5\nB,1,5.25\nC,2,NA\n",
        "gen;rep;yield\nA;1;4,5\nB;1;5,25\nC;2;\n",
        "gen\trep\tyield\nA\t1\t4.5\nB\t1\t5.25\nC\t2\tNaN\n",
        "gen\trep\tyield\nA\t1\t4,5\nB\t1\t5,25\nC\t2\tnan\n",
        "gen|rep|yield\nA|1|4.5\nB|1|5.25\nC|2|NA\n",
        "gen  rep yield\nA    1   4.5\nB    1   5.25\nC    2   NA\n",
        "gen,rep,yield\r\nA,1,4.5\r\nB,1,5.25\r\nC,2,*\r\n",
        "gen,rep,yield\rA,1,4.5\rB,1,5.25\rC,2,.\r",
        "gen,rep,yield\n\nA,1,4.5\n,,\nB,1,5.25\nC,2,\n\n\n",
        ' "gen" , rep , "yield"\n "A", 1, 4.5\n"B",1 ,5.25 \nC,2, NA',
        'gen,rep,yield\nA,1,"4,5"\nB,1,"5,25"\nC,2,\n',
        "gen,rep,yield,,\nA,1,4.5,,\nB,1,5.25,,\nC,2,,,\n",
        "gen,rep,yield\nA,1,4.5,\nB,1,5.25,\nC,2,,\n",
    ],
    ids=[
        "comma",
        "semicolon, decimal comma",
        "tab",
        "tab, decimal comma",
        "bar",
        "blanks",
        "Windows lines, star",
        "old Mac lines, dot",
        "blank lines",
        "blanks around cells",
        "quoted decimal comma",
        "hollow columns",
        "separator at the end of each row",
    ],
)
def test_separators_and_marks(text: str) -> None:
    same(read_table(text.encode()))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(encoding: str) -> None:
    table = read_table("Größe;Höhe\nkrümelig;1,5\nfein;2,5\n".encode(encoding))
    same(table, pd.DataFrame({"Größe": ["krümelig", "fein"], "Höhe": [1.5, 2.5]}))


def test_sources_are_equal(tmp_path: Path) -> None:
    content = b"gen,rep,yield\nA,1,4.5\nB,1,5.25\nC,2,NA\n"
    path = tmp_path / "trial.csv"
    path.write_bytes(content)
    with path.open("rb") as binary, path.open(encoding="utf-8") as text:
        for source in (path, str(path), content, bytearray(content), io.BytesIO(content), binary, text):
            same(read_table(source))


def test_a_file_read_before_is_read_from_its_start() -> None:
    stream = io.BytesIO(b"gen,rep,yield\nA,1,4.5\nB,1,5.25\nC,2,NA\n")
    stream.read()
    same(read_table(stream))


def test_the_content_decides_not_the_name() -> None:
    book = workbook(trial=[["gen", "rep", "yield"], ["A", 1, 4.5], ["B", 1, 5.25], ["C", 2, None]])
    same(read_table(book, name="trial.csv"))
    same(read_table(b"gen,rep,yield\nA,1,4.5\nB,1,5.25\nC,2,NA\n", name="trial.xlsx"))


@pytest.mark.parametrize(
    "text",
    [
        '"","gen","rep","yield"\n"1","A",1,4.5\n"2","B",1,5.25\n"3","C",2,NA\n',
        ",gen,rep,yield\n0,A,1,4.5\n1,B,1,5.25\n2,C,2,\n",
        "gen,rep,yield\n1,A,1,4.5\n2,B,1,5.25\n3,C,2,NA\n",
        "Unnamed: 0,gen,rep,yield\n0,A,1,4.5\n1,B,1,5.25\n2,C,2,\n",
    ],
    ids=["write.csv", "to_csv", "write.table", "to_csv twice"],
)
def test_row_numbers_are_left_out(text: str) -> None:
    same(read_table(text.encode()))


def test_row_names_that_say_something_are_kept() -> None:
    table = read_table(b'"","yield"\n"plot 7",4.5\n"plot 9",5\n')
    assert table.columns.tolist() == ["row_name", "yield"]
    assert table["row_name"].tolist() == ["plot 7", "plot 9"]


def test_quoted_text_with_newlines_quotes_and_separators() -> None:
    table = read_table(b'gen,note,yield\nA,"lodged,\n""half"" of it",4.5\nB,,5\n')
    assert table["note"].tolist()[0] == 'lodged,\n"half" of it'
    assert table["yield"].tolist() == [4.5, 5.0]


def test_stars_and_dots_are_missing_among_numbers_only() -> None:
    table = read_table(b"a,b,c,d\n1,*,*,.\n*,x,*,2.5\n.,NA,*,*\n")
    assert table["a"].tolist()[0] == 1.0 and table["a"].isna().tolist() == [False, True, True]
    assert table["b"].tolist()[:2] == ["*", "x"] and table["b"].isna().tolist() == [False, False, True]
    assert table["c"].tolist() == ["*", "*", "*"]
    assert table["d"].isna().tolist() == [True, False, True]


def test_none_is_a_level() -> None:
    assert read_table(b"fert,yield\nNone,2.5\nP,6\n")["fert"].tolist() == ["None", "P"]


def test_a_column_without_values_is_kept_as_missing() -> None:
    table = read_table(b"gen,note,yield\nA,,4.5\nB,NA,5\n")
    assert table["note"].isna().all() and table["note"].dtype == np.float64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a;b\nx;1.234,5\ny;2\n", [1234.5, 2.0]),
        ('a,b\nx,"1,234.5"\ny,2\n', [1234.5, 2.0]),
        ('a,b\nx,"1,234"\ny,"12,345"\n', [1234, 12345]),
        ("a;b;c\nx;1,234;0,5\ny;12,345;1\n", [1.234, 12.345]),
        ("a\tb\tc\nx\t1,234\t0.5\ny\t12,345\t1\n", [1234, 12345]),
        ("a,b\nx,1e3\ny,-2.5E-1\n", [1000.0, -0.25]),
        ("a,b\nx,+.5\ny,5.\n", [0.5, 5.0]),
    ],
)
def test_numbers(text: str, expected: list[float]) -> None:
    assert read_table(text.encode())["b"].tolist() == expected


@pytest.mark.parametrize("cell", ["1_000", "0x1F", "1 000", "12345678901234567890123", "inf", "1.2.3", "½"])
def test_what_is_no_number_stays_text(cell: str) -> None:
    assert read_table(f"a,b\nx,{cell}\ny,2\n".encode())["b"].tolist() == [cell, "2"]


def test_numbers_are_read_exactly() -> None:
    values = np.random.default_rng(3).normal(size=2000) * 10.0 ** np.arange(-10, 10).repeat(100)
    text = "i,x\n" + "\n".join(f"{i},{value!r}" for i, value in enumerate(values.tolist()))
    assert np.array_equal(read_table(text.encode())["x"].to_numpy(), values)


def test_given_separator_and_decimal_win() -> None:
    table = read_table(b"a;b,c\n1;2,3\n4;5,6\n", separator=",", decimal=".")
    assert table.columns.tolist() == ["a;b", "c"]


def test_a_separator_inside_the_header_is_not_taken() -> None:
    table = read_table(b"plot;yield (t/ha, dry)\n1;4,5\n2;5,5\n")
    assert table["yield (t/ha, dry)"].tolist() == [4.5, 5.5]


def test_workbook_first_sheet_is_read_and_said() -> None:
    book = workbook(trial=[["gen", "yield"], ["A", 4.5]], notes=[["text"], ["hello"]])
    with pytest.warns(UserWarning, match="2 sheets; the first, trial, was read") as said:
        assert read_table(book)["yield"].tolist() == [4.5]
    assert said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_table(book, sheet="notes")["text"].tolist() == ["hello"]
        assert read_table(book, sheet=1)["text"].tolist() == ["hello"]
    assert sheet_names(book) == ["trial", "notes"]
    assert sheet_names(b"a,b\n1,2\n") == []


def test_workbook_cells() -> None:
    book = workbook(
        s=[
            [None, None, None, None, None, None],
            [None, "gen", "rep", "yield", "mixed", "sown"],
            [None, "A", 1, 4, "4.5", datetime.datetime(2024, 5, 31)],
            [],
            [None, " B ", 2, 5.5, "*", datetime.datetime(2024, 6, 1)],
            [None, "NA", 3, None, 3, None],
        ]
    )
    table = read_table(book)
    assert table.columns.tolist() == ["gen", "rep", "yield", "mixed", "sown"]
    assert table["gen"].tolist()[:2] == ["A", "B"] and pd.isna(table["gen"][2])
    assert table["rep"].dtype == np.int64 and table["yield"].tolist()[:2] == [4.0, 5.5]
    assert table["mixed"].tolist()[0] == 4.5 and table["mixed"].isna().tolist() == [False, True, False]
    assert table["sown"].tolist()[:2] == ["2024-05-31", "2024-06-01"]


def test_workbook_equals_csv(tmp_path: Path, sample_dir: Path) -> None:
    table = read_table(sample_dir / "dietox.csv")
    table.to_excel(tmp_path / "dietox.xlsx", index=False)
    same(read_table(tmp_path / "dietox.xlsx"), table)


def test_parquet_equals_csv(tmp_path: Path, sample_dir: Path) -> None:
    table = read_table(sample_dir / "dietox.csv")
    table.to_parquet(tmp_path / "dietox.parquet")
    same(read_table(tmp_path / "dietox.parquet"), table)


def test_parquet_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "dose": pd.Categorical(["low", "high"], categories=["low", "high"], ordered=True),
            "day": pd.to_datetime(["2024-05-31", None]),
            "ok": [True, False],
            "n": pd.array([1, None], dtype="Int64"),
            "x": np.array([1.5, 2.5], dtype="float32"),
        },
        index=pd.Index([11, 12], name="plot"),
    )
    frame.to_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table["plot"].tolist() == [11, 12]
    assert table["dose"].cat.categories.tolist() == ["low", "high"]
    assert table["day"][0] == "2024-05-31" and pd.isna(table["day"][1])
    assert table["ok"].tolist() == ["True", "False"]
    assert table["n"].dtype == np.float64 and table["x"].dtype == np.float64


def test_published_values_are_read_as_pandas_reads_them(reference) -> None:
    for path in sorted(reference.data.glob("*.csv")):
        if path.stat().st_size < 200_000:
            same(read_table(path), pd.read_csv(path, keep_default_na=False, na_values=["NA", ""]))


def test_200_000_rows_are_read_fast() -> None:
    rng = np.random.default_rng(1)
    n = 200_000
    frame = pd.DataFrame(
        {"plot": np.arange(n) + 7, "gen": rng.integers(0, 800, n), "yield": rng.normal(5, 1, n).round(4)}
    )
    content = frame.to_csv(index=False).encode()
    start = time.perf_counter()
    table = read_table(content)
    assert time.perf_counter() - start < 10  # 0.4 s on one core of 2024
    same(table, frame)


def test_whole_numbers_beyond_int64_in_parquet_are_text() -> None:
    buffer = io.BytesIO()
    frame = pd.DataFrame({"id": np.array([1, 2**64 - 1], dtype="uint64"), "n": np.array([1, 2], dtype="uint64")})
    frame.to_parquet(buffer)
    table = read_table(buffer.getvalue())
    assert table["id"].tolist() == ["1", "18446744073709551615"]
    assert table["n"].dtype == "int64"
