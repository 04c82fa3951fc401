"""What a schema says of a frame, and the categories kept in it: also when somebody else wrote it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pyarrow as pa
import pytest

from datapkg.errors import IntegrityError
from datapkg.tables.pandas_metadata import (
    CATEGORIES_KEY,
    observed,
    pandas_metadata,
    remember_categories,
    restore_categories,
)


def coded(ordered: bool) -> pa.Table:
    values = pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.int8()), pa.array([30, 10, 20]), ordered=ordered)
    return pa.table({"k": ["x", "y", "z"], "c": values})


@pytest.mark.parametrize("ordered", [True, False])
def test_categories_that_parquet_loses_round_trip(ordered: bool) -> None:
    table = remember_categories(coded(ordered=ordered))
    forgotten = table.set_column(1, "c", table.column("c").cast(pa.int64()))
    restored = restore_categories(forgotten)
    assert restored.schema.field("c").type == pa.dictionary(pa.int32(), pa.int64(), ordered)
    assert restored.column("c").chunk(0).dictionary.to_pylist() == [30, 10, 20]
    assert restored.to_pylist() == table.to_pylist()
    some = restore_categories(forgotten.select(["c"]).replace_schema_metadata(None), forgotten.schema)
    assert some.schema.field("c").type == restored.schema.field("c").type
    assert restore_categories(forgotten.select(["k"])).column_names == ["k"]


def test_categories_that_parquet_keeps_are_not_stored_twice() -> None:
    table = pa.table({"c": pa.array(["a", "b"]).dictionary_encode(), "n": [1, 2]})
    assert CATEGORIES_KEY not in (remember_categories(table).schema.metadata or {})
    assert CATEGORIES_KEY in remember_categories(table.slice(0, 0)).schema.metadata
    assert restore_categories(table) is table


def ipc(values: pa.Array) -> str:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([("", values.type)])) as writer:
        writer.write_batch(pa.record_batch([values], names=[""]))
    return base64.b64encode(sink.getvalue().to_pybytes()).decode()


@pytest.mark.parametrize(
    "kept",
    [
        b"not JSON",
        b"[]",
        b"\xff",
        b'{"0": 1}',
        b'{"x": [true, ""]}',
        b'{"c": [true, "!"]}',
        b'{"c": [true, "AAAA"]}',
        b"[" * 100_000,
        json.dumps({"c": [True, ipc(pa.array([1, 1]))]}).encode(),
        json.dumps({"c": [True, ipc(pa.array([1, None]))]}).encode(),
        json.dumps({"c": [True, ipc(pa.array([[1]]))]}).encode(),
        json.dumps({"k": [True, ipc(pa.array([1]))]}).encode(),
    ],
)
def test_hostile_stored_categories_are_rejected(kept: bytes) -> None:
    table = pa.table({"k": ["x"], "c": [30]}).replace_schema_metadata({CATEGORIES_KEY: kept})
    with pytest.raises(IntegrityError):
        restore_categories(table)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        '{"columns": {"a": 1}, "index_columns": "x", "column_indexes": 5}',
        '{"columns": [1, null, {}], "index_columns": [null, {}], "column_indexes": [1, {}]}',
        '{"columns": [{"name": {}, "field_name": [], "numpy_type": {}}]}',
        "[" * 100_000,
    ],
)
def test_any_description_can_be_looked_at(text: str) -> None:
    schema = pa.schema([("a", pa.int8())], {b"pandas": text.encode()})
    assert isinstance(pandas_metadata(schema), dict)
    seen: Any = observed(schema)
    json.dumps(seen)
