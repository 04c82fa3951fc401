"""Reads a text by one engine, in pieces as small as wanted, and says where that differs from plain pandas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa

from datapkg.building.readers.csv.arrow_engine import ArrowTextStream, BlockSizeControl
from datapkg.building.readers.csv.dialect import detect_dialect
from datapkg.building.readers.csv.pandas_chunked import ChunkStream, reads_in_chunks
from datapkg.building.readers.csv.record_splitter import Text
from datapkg.building.readers.csv.unsupported import UnsupportedByEngine
from datapkg.tables.frame_to_arrow import table_from_frame
from datapkg.tables.storage_types import to_storage_types
from datapkg.tables.table_stream import RestartRead, TableStream


class Left(Exception):
    """The engine said that another one must read the text."""


def by_pandas(path: Path, kwargs: dict[str, Any]) -> pa.Table:
    """What plain pandas reads, as Arrow keeps it; raises what it raises."""
    return to_storage_types(table_from_frame(pandas.read_csv(path, low_memory=False, **kwargs)))


def fast(path: Path, kwargs: dict[str, Any], piece: int = 20, workers: int = 2) -> pa.Table:
    """What the fast engine reads; raises `Left` if it leaves it to others."""
    stream = fast_stream(path, kwargs, piece, workers)
    return all_of(stream)


def fast_stream(path: Path, kwargs: dict[str, Any], piece: int = 20, workers: int = 2) -> ArrowTextStream:
    """The stream of the fast engine; it, or reading it, raises `Left` if it leaves the text to others."""
    body = path.read_bytes()
    head = body[: body.rfind(b"\n") + 1] or body
    layout = detect_dialect(head, kwargs)
    if layout is None:
        raise Left("its layout")
    try:
        return ArrowTextStream(Text(path), layout, _leave, BlockSizeControl(piece, workers, workers + 1))
    except UnsupportedByEngine as reason:
        raise Left(str(reason)) from reason


def in_chunks(path: Path, kwargs: dict[str, Any], rows: int = 2) -> pa.Table:
    """What pandas reads in chunks; raises `Left` if that is not provably the same."""
    if not reads_in_chunks(kwargs):
        raise Left("its kwargs")
    try:
        return all_of(ChunkStream(path, kwargs, rows, _leave))
    except UnsupportedByEngine as reason:
        raise Left(str(reason)) from reason


def _leave(reason: str) -> TableStream:
    raise Left(reason)


def all_of(stream: TableStream) -> pa.Table:
    """All rows of a stream, which may start again once."""
    try:
        tables = [part.table for part in stream.parts()]
    except RestartRead:
        tables = [part.table for part in stream.parts()]
    assert all(table.schema.equals(stream.schema, check_metadata=True) for table in tables)
    return pa.concat_tables(tables) if tables else stream.schema.empty_table()


def difference(found: pa.Table, expected: pa.Table) -> str:
    """Where two tables differ, in a bit of a value or in what describes them; "" if nowhere."""
    if not found.schema.equals(expected.schema, check_metadata=True):
        return f"schema {found.schema} is not {expected.schema}"
    if len(found) != len(expected):
        return f"{len(found)} rows are not {len(expected)}"
    for name, one, other in zip(found.column_names, found.columns, expected.columns, strict=True):
        if not _bits(one).equals(_bits(other)):
            return f"column {name}: {one.to_pylist()} is not {other.to_pylist()}"
    return ""


def _bits(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    if not pa.types.is_floating(array.type):
        return array
    values = array.fill_null(0.0).to_numpy(zero_copy_only=False)
    return pa.array(values.view(f"i{values.itemsize}"), mask=array.is_null().to_numpy(zero_copy_only=False))
