"""A workbook with one sheet becomes a table, one with several becomes a group, as pandas reads them with calamine."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pandas
import pytest

from datapkg.errors import InvalidBuildFile, TransformFailed
from tests.building.builds import Bench, kinds, write


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    first = pandas.DataFrame({"n": [1, 2], "t": ["x", None], "d": pandas.to_datetime(["2024-01-02", None])})
    with pandas.ExcelWriter(tmp_path / "book.xlsx") as writer:
        first.to_excel(writer, sheet_name="One", index=False)
        pandas.DataFrame({"m": [1, "x"]}).to_excel(writer, sheet_name="Mixed", index=False)
    return tmp_path / "book.xlsx"


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Return a typical workbook: two data sheets, an empty one, a hidden one, a chart, and one with a numeric name."""
    book = openpyxl.Workbook()
    first = book.active
    assert first is not None
    first.title = "Sales"
    for row in (["id", "amount"], [1, 9.5], [2, None]):
        first.append(row)
    for title, rows in {"2024": [["year"], [2024]], "Empty": [], "Notes": [["note"], ["x"]]}.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book["Notes"].sheet_state = "hidden"
    book.create_chartsheet("Chart")
    book.save(tmp_path / "many.xlsx")
    return tmp_path / "many.xlsx"


def built_as(path: Path, words: str) -> tuple[Bench, dict[str, str], list[str]]:
    """Return the node built from this workbook, and the warnings."""
    write(path.parent, {"build.yml": f"contents:\n  book: {{file: {path.name}{words}}}\n"})
    bench = Bench()
    built = bench.build(path.parent)
    bench.packages["last/built"] = built.manifest
    return bench, kinds(built), built.warnings


def test_one_sheet_is_a_table(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"n": [1, 2], "t": ["x", None], "d": pandas.to_datetime(["2024-01-02", None])})
    frame.to_excel(tmp_path / "book.xlsx", sheet_name="One", index=False)
    bench = Bench()
    found = bench.frame(bench.build(tmp_path / "book.xlsx"), "book")
    pandas.testing.assert_frame_equal(found, pandas.read_excel(tmp_path / "book.xlsx", engine="calamine"))
    assert found["t"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("words", "paths", "warned"),
    [
        ("", ["book/2024", "book/Sales"], ["hidden: 'Notes'"]),
        (', sheet: "*"', ["book/2024", "book/Notes", "book/Sales"], ["empty: 'Empty'"]),
        (", sheet: [Notes, Sales]", ["book/Notes", "book/Sales"], []),
        (", sheet: Notes", ["book"], []),
        (", sheet: 0", ["book"], []),
        (", sheet: 2024", ["book"], []),
        (', sheet: "2024"', ["book"], []),
        (", kwargs: {sheet_name: Sales}", ["book"], []),
        (", kwargs: {sheet_name: 1}", ["book"], []),
    ],
)
def test_sheet_selection(many: Path, words: str, paths: list[str], warned: list[str]) -> None:
    _, found, warnings = built_as(many, words)
    assert found == dict.fromkeys(paths, "table")
    assert len(warnings) == len(warned)
    assert all(each in warning for each, warning in zip(warned, warnings, strict=True))


def test_group_of_sheets_equals_what_pandas_reads(many: Path) -> None:
    bench = Bench()
    built = bench.build(many)
    frames = pandas.read_excel(many, sheet_name=None, engine="calamine")
    for name in ("Sales", "2024"):
        pandas.testing.assert_frame_equal(bench.frame(built, f"many/{name}"), frames[name])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            ", sheet: Sale",
            "there is no sheet 'Sale'; did you mean 'Sales'? there are 'Sales', '2024', 'Empty', 'Notes'",
        ),
        (", sheet: 4", "there is no sheet 4; there are 'Sales', '2024', 'Empty', 'Notes'"),
        (", sheet: Chart", "there is no sheet 'Chart'; there are"),
        (", sheet: [Sales, Sole]", "there is no sheet 'Sole'"),
        (", sheet: Empty", "it has no columns"),
        (", sheet: Sales, kwargs: {sheet_name: Sales}", "mean the same"),
        (", kwargs: {usecols: [id]}", "sheet '2024': Usecols do not match columns"),
    ],
)
def test_invalid_sheet_selections(many: Path, words: str, reason: str) -> None:
    with pytest.raises(TransformFailed) as caught:
        built_as(many, words)
    assert reason in str(caught.value)


def test_empty_workbook(tmp_path: Path) -> None:
    openpyxl.Workbook().save(tmp_path / "a.xlsx")
    with pytest.raises(TransformFailed, match="every sheet is empty: 'Sheet'"):
        Bench().build(tmp_path / "a.xlsx")


def test_xls_workbook(tmp_path: Path) -> None:
    import xlwt

    book = xlwt.Workbook()
    sheet = book.add_sheet("s")
    for row, values in enumerate((["a", "b"], [1, "x"])):
        for column, value in enumerate(values):
            sheet.write(row, column, value)
    book.save(str(tmp_path / "old.xls"))
    bench = Bench()
    assert bench.frame(bench.build(tmp_path), "old").to_dict("list") == {"a": [1], "b": ["x"]}


def test_sheet_by_name_with_kwargs(workbook: Path) -> None:
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
        ("{sheet_name: Mixed}", "column 'm' holds values of several types: int \\(row 1\\), str \\(row 2\\)"),
        ("{sheet_name: None}", "there is no sheet 'None'; there are 'One', 'Mixed'"),
        ("{sheet_name: [One, Mixed]}", "one sheet"),
        ("{sheet_name: }", "one sheet"),
    ],
)
def test_sheet_that_cannot_be_a_table_is_rejected(workbook: Path, kwargs: str, reason: str) -> None:
    write(workbook.parent, {"build.yml": f"contents:\n  a: {{file: book.xlsx, kwargs: {kwargs}}}\n"})
    with pytest.raises(TransformFailed, match=reason):
        Bench().build(workbook.parent)


def test_hint_for_a_mixed_column_is_a_dtype(workbook: Path) -> None:
    write(workbook.parent, {"build.yml": "contents:\n  a: {file: book.xlsx, kwargs: {sheet_name: Mixed}}\n"})
    with pytest.raises(TransformFailed) as caught:
        Bench().build(workbook.parent)
    assert caught.value.hint == "to read it as text say kwargs: {dtype: {m: str}}"


def test_unsupported_kwargs(workbook: Path) -> None:
    write(workbook.parent, {"build.yml": "contents:\n  a: {file: book.xlsx, kwargs: {engine: openpyxl, sep: x}}\n"})
    with pytest.raises(InvalidBuildFile, match="calamine"):
        Bench().build(workbook.parent)


def test_file_that_is_not_a_workbook(tmp_path: Path) -> None:
    with pytest.raises(TransformFailed, match="cannot be read as xlsx"):
        Bench().build(write(tmp_path, {"a.xlsx": "text"}))


def column_of(folder: Path, cells: list[object], kwargs: str = "") -> tuple[str, list[object], list[str]]:
    book = openpyxl.Workbook()
    assert book.active is not None
    for cell in ["a", *cells]:
        book.active.append([cell, "-"])
    book.save(folder / "b.xlsx")
    write(folder, {"build.yml": f"contents: {{t: {{file: b.xlsx, kwargs: {{{kwargs}}}}}}}"})
    bench = Bench()
    built = bench.build(folder)
    column = bench.table(built, "t")["a"]
    return str(column.type), column.to_pylist(), built.warnings


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["007", "8"], "string", ["007", "8"]),
        (["1.10", None, "1.9"], "string", ["1.10", None, "1.9"]),
        (["+5", "6"], "string", ["+5", "6"]),
        (["1e5", "6"], "string", ["1e5", "6"]),
        (["9007199254740993", None], "string", ["9007199254740993", None]),
        (["7", "8"], "int64", [7, 8]),
        (["7", 8, None], "double", [7.0, 8.0, None]),
        (["1.5", "2"], "double", [1.5, 2.0]),
        ([True, None, False], "bool", [True, None, False]),
        ([True, False], "bool", [True, False]),
        (["NA", "x"], "string", [None, "x"]),
    ],
)
def test_cells_keep_their_values(tmp_path: Path, cells: list[object], kind: str, values: list[object]) -> None:
    assert column_of(tmp_path, cells) == (kind, values, [])


@pytest.mark.parametrize(("cells", "reason"), [([True, 1], "bool .row 1., int"), (["007", 5], "int .row 2., str")])
def test_cells_of_several_kinds_are_refused(tmp_path: Path, cells: list[object], reason: str) -> None:
    with pytest.raises(TransformFailed, match=reason):
        column_of(tmp_path, cells)
    assert column_of(tmp_path, cells, "dtype: {a: int}")[1] == [int(str(cell).replace("True", "1")) for cell in cells]


def test_integers_that_a_cell_may_have_rounded_are_reported(tmp_path: Path) -> None:
    _, _, warnings = column_of(tmp_path, [2**53 + 1, 5])
    assert ["integers above 2^53" in each for each in warnings] == [True]
