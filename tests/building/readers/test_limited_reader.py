"""Files on which a library aborts the process are rejected, and this process survives."""

from __future__ import annotations

import contextlib
import gzip
import io
import sqlite3
import subprocess
import sys
import types
import warnings
import zipfile
from pathlib import Path

import openpyxl
import pandas
import pyarrow as pa
import pytest
from pyarrow import feather

from datapkg.building.readers import excel_range, limited_reader, sqlite_file
from datapkg.errors import TransformFailed
from tests.building.builds import Bench, write
from tests.building.readers.test_ods import cell, header, ods


@pytest.fixture
def stray(tmp_path: Path) -> Path:
    """Return a workbook of two sheets; the second has a cell far from the others that `dimension` does not cover."""
    book = openpyxl.Workbook()
    book.active.append(["a"])  # type: ignore[union-attr]
    sheet = book.create_sheet("Far away")
    sheet["B2"] = 1
    sheet["XFD1048575"] = 0
    book.save(tmp_path / "whole.xlsx")
    path = tmp_path / "stray.xlsx"
    with zipfile.ZipFile(tmp_path / "whole.xlsx") as whole, zipfile.ZipFile(path, "w") as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name).replace(b'ref="B2:XFD1048575"', b'ref="B2:C3"'))
    return path


def test_error_names_a_stray_cell(stray: Path) -> None:
    with pytest.raises(TransformFailed, match="sheet 'Far away' spans B2:XFD1048575") as caught:
        Bench().build(stray)
    assert "clear the stray cells up to XFD1048575" in caught.value.hint


def test_many_repeated_rows_of_a_spreadsheet(tmp_path: Path) -> None:
    row = "<table:table-row>"
    many = ods(Wide=[header("a"), [cell("float", "7", repeated=16_384)]])
    with zipfile.ZipFile(io.BytesIO(many)) as whole, zipfile.ZipFile(tmp_path / "t.ods", "w") as archive:
        for name in whole.namelist():
            text = whole.read(name).decode().replace(row, f'{row[:-1]} table:number-rows-repeated="1048576">')
            archive.writestr(name, text)
    with pytest.raises(TransformFailed, match="cannot be read as ods"):
        Bench().build(tmp_path / "t.ods")


def test_more_cells_than_a_frame_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.cell(10_000, 400, 1)
    sheet.cell(1, 1, 1)
    book.save(tmp_path / "t.xlsx")
    monkeypatch.setattr(limited_reader, "max_bytes", lambda: 1 << 28)
    with pytest.raises(TransformFailed, match=r"spans A1:OJ10000, more cells than fit into 0\.2 GiB"):
        Bench().build(tmp_path)


def test_corrupt_feather_version_1_file(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        feather.write_feather(
            pandas.DataFrame({"a": [1, 2, 3], "s": ["x", "y", None]}), tmp_path / "t.feather", version=1
        )
    data = (tmp_path / "t.feather").read_bytes()
    refused = 0
    for at in range(160, len(data), 40):
        (tmp_path / "t.feather").write_bytes(data[:at] + b"9999" + data[at:])
        try:
            Bench().build(tmp_path)
        except TransformFailed:
            refused += 1
    assert refused


def test_dead_child_process_is_reported(tmp_path: Path) -> None:
    library = types.ModuleType("library")
    library.__file__ = str(tmp_path / "folder" / "python_calamine" / "__init__.py")
    write(tmp_path / "folder", {"python_calamine/__init__.py": "import os\nos.abort()\n"})
    with pytest.raises(limited_reader.ReaderDied) as caught:
        limited_reader.run("workbook", tmp_path / "any", library)
    assert caught.value.doing == ""
    write(tmp_path / "folder", {"python_calamine/__init__.py": "raise ValueError('no  workbook')\n"})
    with pytest.raises(ValueError, match="no workbook"):
        limited_reader.run("workbook", tmp_path / "any", library)


def test_child_process_has_limits(tmp_path: Path) -> None:
    code = "from datapkg.building.readers import limited_reader as l; l._limit(1 << 31); bytearray(1 << 32)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MemoryError" in done.stderr


@pytest.mark.parametrize("body", [b"", b"PK\x05\x06" + bytes(18)])
def test_used_range_of_a_file_that_is_not_a_workbook(body: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").write_bytes(body)
    assert excel_range.cell_range(tmp_path / "t.xlsx", 0) is None


def test_arrow_tables_are_passed_through_the_child_process(tmp_path: Path) -> None:
    table = pa.table({"a": [1, None], "t": ["é", ""]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        feather.write_feather(table, str(tmp_path / "t.feather"), version=1)
    bench = Bench()
    assert bench.table(bench.build(tmp_path), "t").equals(table)


def test_endless_compressed_line_is_rejected(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "t.csv.gz", "wb", 1) as stream:
        stream.write(b"a,b\n1,")
        for _ in range(300):
            stream.write(bytes(1 << 20))
    with pytest.raises(TransformFailed, match="a line longer than 256 MiB"):
        Bench().build(tmp_path)


def test_large_values_made_by_a_database_view(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "t.db")) as database:
        database.execute("create table t (a integer, b generated always as (zeroblob(900000000)) virtual)")
        database.execute("insert into t (a) values (1)")
        database.commit()
    with pytest.raises(TransformFailed, match="too big"):
        Bench().build(tmp_path)


def test_long_database_values_are_read_in_small_batches() -> None:
    rows = [("x" * (20 << 20), n) for n in range(5)]
    assert [len(each) for each in sqlite_file._groups(iter(rows), [0], 16_384)] == [2, 2, 1]
    assert [len(each) for each in sqlite_file._groups(iter(rows), [], 3)] == [3, 2]


def test_json_nested_too_deeply_is_rejected(tmp_path: Path) -> None:
    for depth, built in ((90, True), (300, False), (100_000, False)):
        write(tmp_path, {"t.jsonl": '{"a":' * depth + "1" + "}" * depth})
        if built:
            Bench().build(tmp_path)
        else:
            with pytest.raises(TransformFailed, match=r"nested in more than 100 levels|recursion"):
                Bench().build(tmp_path)
