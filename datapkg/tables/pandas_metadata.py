"""What a table's schema holds besides names and types: pandas' index, labels and dtypes, and categories.

pandas writes them as JSON under the key `pandas` of an Arrow schema, with versions and row counts in it. This module
returns the part of it that a reader can see, and keeps the part that Parquet loses under a key of datapkg.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from datapkg.errors import IntegrityError

PANDAS_KEY = b"pandas"
CATEGORIES_KEY = b"datapkg.categories"
ORIGIN_KEY = "datapkg"
"""The key of attrs that names the package a frame came from; it is not a part of what a publisher stored."""
_ATTRS_KEY = b"PANDAS_ATTRS"
_UNREADABLE = (ValueError, KeyError, IndexError, AttributeError, TypeError, RecursionError, pa.ArrowException)
BLOCK_KEY = b"datapkg.block"
"""The key of a footer for what it holds of its block (`tables/block_metadata`): metadata of a file, not of a table."""
_WRITERS_OWN = (BLOCK_KEY, b"ARROW:", b"PARQUET:", b"org.apache.", b"parquet.", b"writer.")
_EXTENSION_DTYPES = {"boolean", "string", "Float32", "Float64"} | {
    f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)
}
_EXTENSION_STARTS = ("period[", "interval[", "Sparse[", "string[")


def pandas_metadata(schema: pa.Schema) -> dict[str, Any]:
    """Return pandas' description of the frame that the schema came from; {} if there is none that can be read."""
    text = (schema.metadata or {}).get(PANDAS_KEY)
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def observed(schema: pa.Schema) -> dict[str, Any]:
    """Return all that a reader can see in a schema's metadata, in one normal form; {} if there is nothing.

    `index`: the columns, or the range, that are the index; `labels`: column labels that are not their stored name;
    `levels`: names and types of the labels; `dtypes`: those of pandas that no Arrow type implies; `attributes`;
    `metadata`: keys of other libraries. A default index, pandas' version and what writers record of themselves are left
    out.
    """
    pandas = pandas_metadata(schema)
    found = {
        "index": _index(pandas.get("index_columns")),
        "labels": _labels(pandas.get("columns")),
        "levels": _levels(pandas.get("column_indexes")),
        "dtypes": _dtypes(pandas.get("columns")),
        "attributes": without_origin(pandas.get("attributes")),
        "metadata": _foreign(schema.metadata or {}),
    }
    return {key: value for key, value in found.items() if value}


def without_origin(attributes: Any) -> Any:
    """Return attrs without the entry in which datapkg records where the frame came from."""
    if not isinstance(attributes, dict) or ORIGIN_KEY not in attributes:
        return attributes
    return {key: value for key, value in attributes.items() if key != ORIGIN_KEY}


def others_without_origin(metadata: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Return a schema's metadata without the footer's block note, and without the origin in pandas' attrs."""
    metadata = {key: value for key, value in metadata.items() if key != BLOCK_KEY}
    try:
        attributes = json.loads(metadata[_ATTRS_KEY])
    except (KeyError, ValueError, RecursionError):
        return metadata
    kept = without_origin(attributes)
    if kept == attributes:
        return metadata
    others = {key: value for key, value in metadata.items() if key != _ATTRS_KEY}
    return others | ({_ATTRS_KEY: json.dumps(kept).encode()} if kept else {})


def _index(columns: Any) -> list[Any]:
    if not isinstance(columns, list):
        return []
    if len(columns) == 1 and isinstance(columns[0], dict):
        kind = {key: columns[0].get(key) for key in ("kind", "name", "start", "step")}
        return [] if kind == {"kind": "range", "name": None, "start": 0, "step": 1} else [kind]
    return columns


def _labels(columns: Any) -> list[list[Any]]:
    entries = [each for each in columns if isinstance(each, dict)] if isinstance(columns, list) else []
    return [[e["field_name"], e.get("name")] for e in entries if "field_name" in e and e["field_name"] != e.get("name")]


def _levels(levels: Any) -> list[Any]:
    if not isinstance(levels, list):
        return []
    kinds = [[each.get("name"), each.get("pandas_type")] for each in levels if isinstance(each, dict)]
    return [] if len(kinds) == 1 and kinds[0] in ([None, "unicode"], [None, "empty"]) else kinds


def _dtypes(columns: Any) -> list[list[str]]:
    entries = [each for each in columns if isinstance(each, dict)] if isinstance(columns, list) else []
    pairs = [(each.get("field_name") or each.get("name"), each.get("numpy_type")) for each in entries]
    return sorted([str(name), str(dtype)] for name, dtype in pairs if _is_extension(dtype))


def _is_extension(dtype: Any) -> bool:
    return isinstance(dtype, str) and (
        dtype in _EXTENSION_DTYPES or dtype.startswith(_EXTENSION_STARTS) or dtype.endswith("[pyarrow]")
    )


def _foreign(metadata: dict[bytes, bytes]) -> dict[str, str]:
    return {
        key.decode("utf-8", "backslashreplace"): value.decode("utf-8", "backslashreplace")
        for key, value in others_without_origin(metadata).items()
        if key not in (PANDAS_KEY, CATEGORIES_KEY) and not key.startswith(_WRITERS_OWN)
    }


def remember_categories(table: pa.Table) -> pa.Table:
    """Return the table with the categories that Parquet would lose, those of other values than text, in its schema.

    Of a table without rows, all categories are kept there. Every dictionary column must have one dictionary
    (`unify_dictionaries`).
    """
    kept = {
        field.name: [field.type.ordered, _to_text(_dictionary(table.column(index)))]
        for index, field in enumerate(table.schema)
        if types.is_dictionary(field.type)
        if not (types.is_string(field.type.value_type) and (len(table) or not table.column(index).num_chunks))
    }
    metadata = {key: value for key, value in (table.schema.metadata or {}).items() if key != CATEGORIES_KEY}
    if kept:
        metadata[CATEGORIES_KEY] = json.dumps(kept).encode()
    return table.replace_schema_metadata(metadata)


def _dictionary(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0).dictionary if column.num_chunks else pa.array([], column.type.value_type)


def forgotten_categories(schema: pa.Schema) -> dict[str, tuple[bool, pa.Array]]:
    """Return what `remember_categories` kept: by field name, whether categories are ordered, and the categories."""
    text = (schema.metadata or {}).get(CATEGORIES_KEY)
    if not text:
        return {}
    try:
        return {str(name): (bool(ordered), _from_text(values)) for name, (ordered, values) in json.loads(text).items()}
    except _UNREADABLE as error:
        raise IntegrityError(f"the categories kept in a table's schema cannot be read: {error}") from error


def restore_categories(table: pa.Table, schema: pa.Schema | None = None) -> pa.Table:
    """Return a table read from Parquet with the categories that Parquet lost; it may have any columns, in any order.

    `schema` is that of the object, if the table's own has lost its metadata. Raise `IntegrityError` for categories that
    cannot be read, or are not those of the column.
    """
    columns = {}
    for name, (ordered, categories) in forgotten_categories(schema or table.schema).items():
        for index in table.schema.get_all_field_indices(name):
            try:
                columns[index] = _as_categories(table.column(index), categories, ordered)
            except _UNREADABLE as error:
                raise IntegrityError(f"column {name!r} does not fit the categories kept for it: {error}") from error
    return with_columns(table, columns)


def with_columns(table: pa.Table, columns: Mapping[int, pa.ChunkedArray]) -> pa.Table:
    """Return a table with other values, of any type, in the columns at these places.

    `Table.set_column` copies the list of all columns at each call, which adds up where a table has thousands.
    """
    if not columns:
        return table
    fields = [field.with_type(columns[at].type) if at in columns else field for at, field in enumerate(table.schema)]
    arrays = [columns.get(at, column) for at, column in enumerate(table.columns)]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, table.schema.metadata))


def _as_categories(column: pa.ChunkedArray, categories: pa.Array, ordered: bool) -> pa.ChunkedArray:
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    codes = pc.index_in(column.cast(categories.type), value_set=categories, skip_nulls=True).cast(pa.int32())
    chunks = codes.chunks or [pa.array([], pa.int32())]
    return pa.chunked_array([pa.DictionaryArray.from_arrays(each, categories, ordered=ordered) for each in chunks])


def _to_text(values: pa.Array) -> str:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([("", values.type)])) as writer:
        writer.write_batch(pa.record_batch([values], names=[""]))
    return base64.b64encode(sink.getvalue().to_pybytes()).decode("ascii")


def _from_text(text: str) -> pa.Array:
    with pa.ipc.open_stream(base64.b64decode(text, validate=True)) as reader:
        values = reader.read_all().column(0).combine_chunks()
    # It comes from a file of somebody else: offsets may lead outside of their buffer.
    values.validate(full=True)
    if values.null_count or len(values.unique()) != len(values):
        raise ValueError("they are not all different values")
    return values
