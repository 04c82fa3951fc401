"""Read a text with one engine, in pieces of any size, and report differences from plain pandas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa

from datapkg.building.readers.csv.arrow_engine import ArrowTextStream, BlockSizeControl
from datapkg.building.readers.csv.dialect import detect_dialect
from datapkg.building.readers.csv.exact_columns import with_exact_integers
from datapkg.building.readers.csv.pandas_chunked import ChunkStream, reads_in_chunks
from datapkg.building.readers.csv.record_splitter import Text
from datapkg.building.readers.csv.unsupported import UnsupportedByEngine
from datapkg.tables.frame_to_arrow import table_from_frame
from datapkg.tables.storage_types import to_storage_types
from datapkg.tables.table_stream import RestartRead, TableStream


class EngineDeclined(Exception):
    """The engine requires another engine to read the text."""


def by_pandas(path: Path, kwargs: dict[str, Any]) -> pa.Table:
    """Return what pandas reads, with its large integers corrected, as an Arrow table; exceptions propagate."""

    def as_text() -> pandas.DataFrame:
        return pandas.read_csv(path, low_memory=False, **{**kwargs, "dtype": "str"})

    frame = with_exact_integers(pandas.read_csv(path, low_memory=False, **kwargs), kwargs, as_text)
    return to_storage_types(table_from_frame(frame))


def fast(path: Path, kwargs: dict[str, Any], piece: int = 20, workers: int = 2) -> pa.Table:
    """Return what the fast engine reads; raise `EngineDeclined` if it leaves the text to another engine."""
    stream = fast_stream(path, kwargs, piece, workers)
    return all_of(stream)


def fast_stream(path: Path, kwargs: dict[str, Any], piece: int = 20, workers: int = 2) -> ArrowTextStream:
    """Return the stream of the fast engine; this call or reading the stream may raise `EngineDeclined`."""
    body = path.read_bytes()
    head = body[: body.rfind(b"\n") + 1] or body
    layout = detect_dialect(head, kwargs)
    if layout is None:
        raise EngineDeclined("its layout")
    try:
        return ArrowTextStream(Text(path), layout, _leave, BlockSizeControl(piece, workers, workers + 1))
    except UnsupportedByEngine as reason:
        raise EngineDeclined(str(reason)) from reason


def in_chunks(path: Path, kwargs: dict[str, Any], rows: int = 2) -> pa.Table:
    """Return what pandas reads in chunks; raise `EngineDeclined` if equality with a whole read is not provable."""
    if not reads_in_chunks(kwargs):
        raise EngineDeclined("its kwargs")
    try:
        return all_of(ChunkStream(path, kwargs, rows, _leave))
    except UnsupportedByEngine as reason:
        raise EngineDeclined(str(reason)) from reason


def _leave(reason: str) -> TableStream:
    raise EngineDeclined(reason)


def all_of(stream: TableStream) -> pa.Table:
    """Return all rows of a stream, which may restart once."""
    try:
        tables = [part.table for part in stream.parts()]
    except RestartRead:
        tables = [part.table for part in stream.parts()]
    assert all(table.schema.equals(stream.schema, check_metadata=True) for table in tables)
    return pa.concat_tables(tables) if tables else stream.schema.empty_table()


def difference(found: pa.Table, expected: pa.Table) -> str:
    """Return the first difference between two tables, in value bits or schema; "" if there is none."""
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
