"""Files that hold no table: one clear sentence, and a next step; never the traceback of a reader."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from openreml_core.errors import DataError
from openreml_core.tables import read_table, sheet_names


def message(source: object, **options: object) -> str:
    """Return what reading `source` is refused with."""
    with pytest.raises(DataError) as caught:
        read_table(source, **options)
    assert caught.value.hint, "every refusal says what to do next"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def book_bytes(rows: list[list[object]], title: str = "trial", empty: str | None = None) -> bytes:
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    if empty:
        book.create_sheet(empty)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.to_parquet(out)
    return out.getvalue()


@pytest.mark.parametrize("content", [b"", b"\n\n  \n", b"\xef\xbb\xbf", b",,,\n,,\n"])
def test_empty_file(content: bytes) -> None:
    assert "The file *trial.csv* is empty" in message(content, name="trial.csv")


def test_only_a_header() -> None:
    assert "has a header (plot, gen, yield) but no rows" in message(b"plot,gen,yield\n", name="trial.csv")


def test_binary_content_under_a_csv_name() -> None:
    junk = random.Random(1).randbytes(5000)
    assert "*trial.csv* is not a text file" in message(junk, name="trial.csv")
    assert "not a text file" in message(b"gen,yield\nA,4.5\nB,\x00\x01\x02\n", name="trial.csv")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old kind (xls)"),
        (gzip.compress(b"gen,yield\nA,4.5\n", mtime=0), "gzip"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (b"<!DOCTYPE html><html><table></table></html>", "web page"),
        (b"<?xml version='1.0'?><a/>", "XML"),
    ],
)
def test_other_kinds_of_file_are_named(content: bytes, what: str) -> None:
    assert what in message(content, name="trial.csv")


def test_zip_and_opendocument() -> None:
    for inner, what in (("trial.csv", "a zip archive"), ("content.xml", "an OpenDocument file")):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr(inner, "gen,yield\nA,4.5\n")
        assert what in message(out.getvalue(), name="trial.xlsx")


def test_ragged_rows_are_named_by_line() -> None:
    text = b'plot,gen,yield\n1,"A\nB",4.5\n2,B\n3,C,5,6\n4,D,5\n'
    said = message(text, name="trial.csv")
    assert said.startswith("*trial.csv*: the header has 3 cells, but line 4 has 2 cells, line 5 has 4 cells.")


def test_many_ragged_rows_are_counted() -> None:
    lines = "".join(f"{i},A,4.5\n" if i % 2 else f"{i},A\n" for i in range(1, 21))
    assert "line 3 has 2 cells, line 5 has 2 cells, line 7 has 2 cells and 7 more lines" in message(
        ("plot,gen,yield\n" + lines).encode()
    )


def test_a_quotation_mark_left_open() -> None:
    text = 'plot,gen,yield\n1,"A,4.5\n' + "".join(f"{i},B,5\n" for i in range(2, 50))
    assert "quotation mark" in message(text.encode())
    assert "quotation mark" in message(text.encode() + b"x" * 200_000)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("gen,yield,yield", "columns 2 and 3 are both called *yield*"),
        ("yield,yield,yield", "columns 1, 2 and 3 are all called *yield*"),
        ("gen, yield ,yield", "columns 2 and 3 are both called *yield*"),
    ],
)
def test_duplicate_names(header: str, said: str) -> None:
    assert said in message(f"{header}\n1,2,3\n4,5,6\n".encode())


def test_no_header() -> None:
    assert "holds numbers (1, 2, 4.5), not the names" in message(b"1,2,4.5\n2,3,5.5\n")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    (tmp_path / "john_alpha.csv").write_text("a,b\n1,2\n")
    assert "Did you mean *john_alpha.csv*?" in message(tmp_path / "john_alfa.csv")
    assert "There is no file" in message(tmp_path / "nowhere" / "x.csv")
    assert "is a folder" in message(tmp_path)
    assert "cannot be opened" in message("x" * 5000)
    assert "cannot be opened" in message("a\0b.csv")


def test_no_source() -> None:
    assert "cannot be read from int" in message(7)


def test_too_large_is_found_out_without_reading(tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(2_147_483_648)  # sparse: takes no room on the disk
    assert message(path).startswith("The file *huge.csv* has 2.1 GB; up to 1 GB can be read.")

    class Upload(io.BytesIO):
        size = 2_147_483_648
        name = "upload.csv"

        def read(self, *args: object) -> bytes:
            raise AssertionError("read before the size was looked at")

    assert "*upload.csv* has 2.1 GB" in message(Upload())


def test_the_limit_is_a_parameter() -> None:
    content = b"gen,yield\n" + b"A,4.5\n" * 1000
    assert len(read_table(content, max_bytes=10_000)) == 1000
    for source in (content, io.BytesIO(content)):
        assert "has 6 kB; up to 5 kB can be read" in message(source, max_bytes=5000)

    class Pipe:
        def __init__(self) -> None:
            self.inner = io.BytesIO(content)

        def read(self, n: int = -1) -> bytes:
            return self.inner.read(n)

    assert "more than 5 kB" in message(Pipe(), max_bytes=5000)


def test_a_workbook_that_unpacks_to_more_than_the_limit() -> None:
    book = book_bytes([["gen", "yield"], *([["A", 1]] * 5000)])
    assert "unpacked" in message(book, name="trial.xlsx", max_bytes=len(book) + 10)


def test_empty_workbook() -> None:
    assert "The sheet *trial* of *t.xlsx* is empty" in message(book_bytes([]), name="t.xlsx")
    assert "has a header but no rows" in message(book_bytes([["gen", "yield"]]), name="t.xlsx")
    assert "Name another sheet: notes." in message(book_bytes([], empty="notes"), name="t.xlsx")


def test_unknown_sheet() -> None:
    book = book_bytes([["gen"], ["A"]])
    assert "There is no sheet *trail*" in message(book, sheet="trail") and "*trial*" in message(book, sheet="trail")
    assert "there is no number 3" in message(book, sheet=3)
    assert "is not a workbook" in message(b"a,b\n1,2\n", sheet="trial")


def test_damaged_workbook() -> None:
    book = book_bytes([["gen", "yield"], ["A", 4.5]])
    assert "damaged" in message(book[: len(book) // 2], name="t.xlsx")
    with pytest.raises(DataError, match="damaged"):
        sheet_names(book[: len(book) // 2], name="t.xlsx")


def test_damaged_parquet() -> None:
    good = parquet_bytes(pd.DataFrame({"gen": ["A", "B"], "yield": [4.5, 5.0]}))
    for bad in (good[:40], good[:-8], b"PAR1" + bytes(100) + b"PAR1"):
        assert "damaged" in message(bad, name="t.parquet")


def test_parquet_without_rows_or_with_lists() -> None:
    assert "has no rows" in message(parquet_bytes(pd.DataFrame({"gen": []})))
    nested = pd.DataFrame({"gen": ["A"], "traits": [[1, 2]]})
    assert "column *traits* holds a list" in message(parquet_bytes(nested))


def test_broken_bytes_give_a_table_or_a_sentence() -> None:
    """Whatever one does to the bytes of a file, nothing but DataError comes out."""
    frame = pd.DataFrame({"gen": list("ABCDEFGH"), "rep": [1, 2] * 4, "yield": [4.5, 5, 6, 7, 3, 4, 5, 6]})
    out = io.BytesIO()
    frame.to_excel(out, index=False)
    seeds = {"csv": frame.to_csv(index=False).encode(), "xlsx": out.getvalue(), "parquet": parquet_bytes(frame)}
    dice = random.Random(42)
    read, hints = 0, []
    for kind, content in seeds.items():
        for _ in range(120):
            broken = bytearray(content)
            for _ in range(dice.randrange(1, 12)):
                broken[dice.randrange(len(broken))] = dice.choice(b'\x00\xff",;\n\r\t*09aZ')
            if dice.random() < 0.3:
                del broken[dice.randrange(len(broken)) :]
            try:
                assert isinstance(read_table(bytes(broken), name=f"t.{kind}"), pd.DataFrame)
                read += 1
            except DataError as error:
                hints.append(error.hint)
    assert all(hints) and read > 10 and len(hints) > 100


@pytest.mark.parametrize(
    ("options", "said"),
    [
        *(({"separator": v}, "separator") for v in ("xx", 5, "", "\n", '"')),
        *(({"decimal": v}, "decimal") for v in ("x", 5, "", [])),
        *(({"sheet": v}, "sheet") for v in (1.5, [], b"a")),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], said: str) -> None:
    assert f"{said}=" in message(b"gen;yield\nA;4.5\n", **options)


def test_a_name_with_a_backtick_is_named() -> None:
    said = message(b"gen,soil `pH`,yield\nA,6,4.5\n")
    assert "column 2, *soil `pH`*" in said
    buffer = io.BytesIO()
    pd.DataFrame({"gen": ["A"], "a`b": [1]}).to_parquet(buffer)
    assert "*a`b*" in message(buffer.getvalue())


def test_names_left_blank_are_numbered() -> None:
    assert list(read_table(b"gen, ,\t,yield\nA,6,7,4.5\n").columns) == ["gen", "column_2", "column_3", "yield"]
