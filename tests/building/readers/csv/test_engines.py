"""Which engine reads a file, and that every engine returns the same table."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pytest

from datapkg.building.readers.csv import engines
from datapkg.building.readers.csv.arrow_engine import ArrowCsvStream, ArrowTextStream, BlockSizeControl
from datapkg.building.readers.csv.engines import EngineLimits, read
from datapkg.building.readers.csv.pandas_chunked import ChunkStream
from datapkg.tables.table_stream import TableStream, TextStream
from tests.building.readers.csv.engines import all_of, by_pandas, difference

SMALL = EngineLimits(fast=10, chunks=10, chunk=40, pace=BlockSizeControl(50))
BODY = "a,b\n" + "1,x\n" * 20 + ",y\n" + "2,z\n" * 20


def write(folder: Path, body: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(body if isinstance(body, bytes) else body.encode())
    return path


def streamed(path: Path, kwargs: dict[str, Any] | None = None, limits: EngineLimits = SMALL) -> pa.Table | TableStream:
    return read(path, {"sep": ",", **(kwargs or {})}, _no_warning, limits)


def table_of(found: pa.Table | TableStream) -> pa.Table:
    return found if isinstance(found, pa.Table) else all_of(found)


def _no_warning(text: str) -> None:
    raise AssertionError(text)


def test_small_files_are_read_whole(tmp_path: Path) -> None:
    path = write(tmp_path, BODY)
    assert difference(table_of(streamed(path, limits=EngineLimits())), by_pandas(path, {})) == ""
    assert isinstance(streamed(path, limits=EngineLimits()), pa.Table)


@pytest.mark.parametrize(
    ("kwargs", "kind"),
    [
        ({}, ArrowTextStream),
        ({"dtype": "str", "na_values": ["x"]}, ArrowTextStream),
        ({"skiprows": 0, "comment": "#"}, ChunkStream),
        ({"thousands": "."}, ChunkStream),
        ({"index_col": "a"}, pa.Table),
        ({"dtype": {"b": "category"}}, pa.Table),
        ({"skipfooter": 1, "engine": "python"}, pa.Table),
        ({"sep": None, "engine": "python"}, pa.Table),
        ({"parse_dates": ["b"]}, pa.Table),
        ({"nrows": 3}, pa.Table),
    ],
)
@pytest.mark.filterwarnings("ignore:Could not infer format")
def test_kwargs_select_the_engine(tmp_path: Path, kwargs: dict[str, Any], kind: type) -> None:
    path = write(tmp_path, BODY)
    found = streamed(path, kwargs)
    assert isinstance(found, kind)
    engine = {} if "engine" in kwargs else {"low_memory": False}
    expected = pandas.read_csv(path, **{"sep": ",", **engine, **kwargs})
    assert len(table_of(found)) == len(expected)


PACKED: list[tuple[str, Callable[[bytes], bytes]]] = [
    (".gz", gzip.compress),
    (".bz2", bz2.compress),
    (".xz", lzma.compress),
    (".zst", lambda data: pa.compress(data, "zstd", asbytes=True)),
]


@pytest.mark.parametrize(("suffix", "pack"), PACKED, ids=[each[0] for each in PACKED])
def test_compressed_text_is_streamed(tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    path = write(tmp_path, pack(BODY.encode()), "data.csv" + suffix)
    found = streamed(path)
    assert isinstance(found, ArrowCsvStream)
    assert not isinstance(found, TextStream)
    plain = by_pandas(write(tmp_path, BODY), {})
    assert difference(table_of(found), plain) == ""
    in_chunks = streamed(path, {"thousands": "."})
    assert isinstance(in_chunks, ChunkStream)
    assert difference(table_of(in_chunks), plain) == ""


def test_compression_kwarg_is_used(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(BODY.encode()), "data")
    found = streamed(path, {"compression": "gzip"})
    assert isinstance(found, ArrowCsvStream)
    assert difference(table_of(found), by_pandas(path, {"compression": "gzip"})) == ""
    assert isinstance(streamed(write(tmp_path, BODY, "b.csv.gz"), {"compression": None}), ArrowTextStream)


def test_archive_of_one_file_is_read_in_chunks(tmp_path: Path) -> None:
    path = tmp_path / "data.csv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.csv", BODY)
    found = streamed(path)
    assert isinstance(found, ChunkStream)
    assert difference(table_of(found), by_pandas(path, {})) == ""


@pytest.mark.parametrize(
    "late",
    [f"{2**63},x\n", f"{2**70},x\n", f"{2**70},x\nt,x\n", "1\r 2,x\n", "1,2\n", "-0,x\n"],
)
def test_late_odd_values_read_as_in_pandas(tmp_path: Path, late: str) -> None:
    path = write(tmp_path, BODY + late)
    for kwargs in ({}, {"thousands": "."}):
        found = table_of(streamed(path, kwargs))
        assert difference(found, by_pandas(path, kwargs)) == ""


def test_long_rows_raise_the_error_of_pandas(tmp_path: Path) -> None:
    path = write(tmp_path, BODY + "1,2,3\n")
    with pytest.raises(pandas.errors.ParserError, match="Expected 2 fields in line 43, saw 3"):
        table_of(streamed(path))


def test_text_that_is_not_utf_8_raises_the_error_of_pandas(tmp_path: Path) -> None:
    path = write(tmp_path, BODY.encode() + b"1,\xff\n")
    for kwargs in ({}, {"thousands": "."}):
        with pytest.raises(UnicodeDecodeError):
            table_of(streamed(path, kwargs))


def test_short_malformed_text_is_retried_with_the_python_engine(tmp_path: Path) -> None:
    path = write(tmp_path, "\r,b\n" + "1\n3,4\n" * 20)
    messages: list[str] = []
    found = table_of(read(path, {"sep": ","}, messages.append, SMALL))
    assert len(found) == 40
    assert "Python engine" in messages[0]
    with pytest.raises(pandas.errors.ParserError):
        table_of(streamed(path, limits=EngineLimits(fast=10, chunks=10, python=10)))


def test_dtype_keys_name_the_columns_of_a_headerless_file(tmp_path: Path) -> None:
    path = write(tmp_path, "5,x\n" * 20 + ",y\n")
    found = streamed(path, {"header": None, "dtype": {"n": "int", "t": "str"}})
    assert isinstance(found, ArrowTextStream)
    table = table_of(found)
    assert table.column_names == ["n", "t"]
    assert table.schema.pandas_metadata["columns"][0]["numpy_type"] == "Int64"


def test_file_larger_than_memory_causes_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, BODY)
    monkeypatch.setattr(engines, "_memory", lambda: 2 * len(BODY) - 2)
    messages: list[str] = []
    read(path, {"sep": ",", "index_col": "a"}, messages.append, SMALL)
    assert len(messages) == 1
    assert "whole" in messages[0]
    assert "index_col" in messages[0]
