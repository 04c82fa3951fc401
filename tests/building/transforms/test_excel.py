"""What workbooks become: one sheet a node, as pandas reads it with calamine."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest

from datapkg.errors import InvalidBuildFile, TransformFailed
from tests.building.builds import Bench, write


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    first = pandas.DataFrame({"n": [1, 2], "t": ["x", None], "d": pandas.to_datetime(["2024-01-02", None])})
    with pandas.ExcelWriter(tmp_path / "book.xlsx") as writer:
        first.to_excel(writer, sheet_name="One", index=False)
        pandas.DataFrame({"m": [1, "x"]}).to_excel(writer, sheet_name="Mixed", index=False)
    return tmp_path / "book.xlsx"


def test_the_first_sheet(workbook: Path) -> None:
    bench = Bench()
    frame = bench.frame(bench.build(workbook), "book")
    pandas.testing.assert_frame_equal(frame, pandas.read_excel(workbook, engine="calamine"))
    assert frame["t"].isna().tolist() == [False, True]


def test_an_old_workbook(tmp_path: Path) -> None:
    import xlwt

    book = xlwt.Workbook()
    sheet = book.add_sheet("s")
    for row, values in enumerate((["a", "b"], [1, "x"])):
        for column, value in enumerate(values):
            sheet.write(row, column, value)
    book.save(str(tmp_path / "old.xls"))
    bench = Bench()
    assert bench.frame(bench.build(tmp_path), "old").to_dict("list") == {"a": [1], "b": ["x"]}


def test_a_sheet_by_name_with_kwargs(workbook: Path) -> None:
    build_file = """\
contents:
  mixed: {file: book.xlsx, kwargs: {sheet_name: Mixed, dtype: {m: str}}}
  number: {file: book.xlsx, kwargs: {sheet_name: 0, usecols: [n]}}
"""
    write(workbook.parent, {"build.yml": build_file})
    bench = Bench()
    built = bench.build(workbook.parent)
    assert bench.frame(built, "mixed")["m"].tolist() == ["1", "x"]
    assert bench.frame(built, "number").to_dict("list") == {"n": [1, 2]}


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ("{sheet_name: Mixed}", "column 'm' holds values of several types: int, str"),
        ("{sheet_name: None}", "'None' not found"),
        ("{sheet_name: [One, Mixed]}", "one sheet"),
        ("{sheet_name: }", "one sheet"),
    ],
)
def test_what_cannot_be_a_table(workbook: Path, kwargs: str, reason: str) -> None:
    write(workbook.parent, {"build.yml": f"contents:\n  a: {{file: book.xlsx, kwargs: {kwargs}}}\n"})
    with pytest.raises(TransformFailed, match=reason):
        Bench().build(workbook.parent)


def test_the_hint_for_a_mixed_column_is_a_dtype(workbook: Path) -> None:
    write(workbook.parent, {"build.yml": "contents:\n  a: {file: book.xlsx, kwargs: {sheet_name: Mixed}}\n"})
    with pytest.raises(TransformFailed) as caught:
        Bench().build(workbook.parent)
    assert caught.value.hint == "to read it as text say kwargs: {dtype: {m: str}}"


def test_kwargs_that_are_refused(workbook: Path) -> None:
    write(workbook.parent, {"build.yml": "contents:\n  a: {file: book.xlsx, kwargs: {engine: openpyxl, sep: x}}\n"})
    with pytest.raises(InvalidBuildFile, match="calamine"):
        Bench().build(workbook.parent)


def test_no_workbook_at_all(tmp_path: Path) -> None:
    with pytest.raises(TransformFailed, match="cannot be read as xlsx"):
        Bench().build(write(tmp_path, {"a.xlsx": "text"}))
