"""The `content` of a table: a hash of its values that is the same for every writer, chunking and version of a library.

**Blocks.** The rows are cut by `tables/block_boundaries`, whatever objects they are in. Each column of each
block has a digest.

**A column's digest** is sha256 over V ‖ L ‖ X ‖ the digests of its children, where
- V = sha256 of the validity, one byte a row: 1 for a value, 0 for null. All below leaves out the rows that are null.
- L = sha256 of lengths, int64 little-endian, of text, binary, lists and maps; of nothing for all other types.
- X = sha256 of the values, little-endian, at the width of their type: numbers, dates, times; a boolean is one byte;
  text is UTF-8, one value after the other; a decimal is 16 bytes (32 above 38 digits), two's complement. −0.0 is 0.0,
  every NaN is the quiet one with no payload (it is a value: null is another thing). A dictionary has int64 positions.
- children: a list has its elements, laid end to end; a map its keys and its items; a struct its fields; a dictionary
  its categories, in order, used or not. The others have none.
An extension type has the digest of its storage. Below the top level a dictionary is only an encoding: its values count.
A position of a dictionary that points to a null is null. Run-end encoding, views and `large_` are encodings too.

**Types** are written by `type_text`: string, large_string and string_view are `string`, binary likewise, all lists of
free length are `list<…>`. Names of list elements, nullability of fields and the width of dictionary positions are not
in it. Time zones are the text that the type carries: UTC and Etc/UTC are two types.

**content** is "c1:" and the sha256 of canonical JSON: columns (names and types in order), blocks (rows and digests in
order), and, where there is any, what `tables/pandas_metadata.observed` sees in the schema (index,
labels, pandas' own dtypes).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as types

from datapkg.errors import IntegrityError
from datapkg.format import canonical
from datapkg.tables.arrow_values import empty_table
from datapkg.tables.block_boundaries import cut_batches
from datapkg.tables.block_reader import open_block, rows_at_once
from datapkg.tables.pandas_metadata import forgotten_categories, observed, restore_categories, with_columns
from datapkg.tables.type_names import is_list, type_text

__all__ = ["Content", "block_digests", "content_hash", "content_of_objects", "content_of_table", "type_text"]

PREFIX = "c1:"
READ_ROWS = 65_536
# Opens an object for reading; the stream is closed after each pass.
Open = Callable[[], AbstractContextManager[BinaryIO]]
# Called with the rows of a batch and the number of the first row, from 0.
Check = Callable[[pa.Table, int], None]
_ONES = memoryview(bytes([1]) * 65_536)


@dataclass(frozen=True)
class Content:
    """The content of a table, its columns as the manifest has them, and its number of rows."""

    hash: str
    columns: list[tuple[str, str]]
    rows: int


def content_of_table(table: pa.Table) -> Content:
    """Return the content of a table in memory."""
    return content_of_parts([table], table.schema)


def content_of_objects(objects: Sequence[BinaryIO], check: Check | None = None) -> Content:
    """Return the content of a table in Parquet objects, in this order; keep a few blocks in memory.

    Call `check` with each batch as it was read and the number of its first row, from 0. The caller closes the streams.
    Raise pyarrow's errors for what is not Parquet or has damaged pages, and what `check` raises.
    """
    return content_of_opened([partial(_as_it_is, stream) for stream in objects], check)


def _as_it_is(stream: BinaryIO) -> AbstractContextManager[BinaryIO]:
    return nullcontext(stream)


def content_of_opened(
    objects: Sequence[Open], check: Check | None = None, rows: list[int] | None = None, *, as_narrow: bool = False
) -> Content:
    """Return the content of a table in Parquet objects that are opened one at a time, however many there are.

    `check` is that of `content_of_objects`; `rows` receives the number of rows read from each object. Raise
    `IntegrityError` for an object whose columns are not those of the first, pyarrow's errors, and what `check` raises.
    """
    with _parquet(objects[0]) as first:
        schema = first.schema_arrow
    categories = _all_categories(objects, schema, check)
    parts = (restore_categories(part, schema) for part in _batches(objects, schema, check, rows=rows))
    return content_of_parts((_with_categories(part, categories) for part in parts), schema, as_narrow=as_narrow)


def content_of_parts(parts: Iterable[pa.Table], schema: pa.Schema, *, as_narrow: bool = False) -> Content:
    """Return the content of a table that comes in parts; dictionaries must be the same in each."""
    first = restore_categories(empty_table(schema), schema)
    rows, digests = [], []
    for block in cut_batches(parts, first.schema, as_narrow=as_narrow):
        block = block if len(block) else first
        rows.append(len(block))
        digests.append(block_digests(block))
    return Content(content_hash(schema_of(first, schema), rows, digests), column_texts(first.schema), sum(rows))


def schema_of(table: pa.Table, schema: pa.Schema) -> pa.Schema:
    """Return the table's types with the metadata of the schema that it was read with."""
    return table.schema.with_metadata(schema.metadata)


@contextmanager
def _parquet(opened: Open) -> Iterator[pq.ParquetFile]:
    with opened() as stream, open_block(stream, checked=True) as file:
        yield file


def _batches(
    objects: Sequence[Open],
    schema: pa.Schema,
    check: Check | None,
    columns: list[str] | None = None,
    rows: list[int] | None = None,
) -> Iterator[pa.Table]:
    row = 0
    for number, opened in enumerate(objects, start=1):
        start = row
        with _parquet(opened) as file:
            if column_texts(file.schema_arrow) != column_texts(schema):
                raise IntegrityError(f"object {number} of the table has other columns than the first")
            for batch in file.iter_batches(rows_at_once(file, READ_ROWS), columns=columns):
                table = pa.Table.from_batches([batch])
                if check is not None:
                    check(table, row)
                row += len(table)
                yield table
        if rows is not None:
            rows.append(row - start)


def _all_categories(objects: Sequence[Open], schema: pa.Schema, check: Check | None) -> dict[int, pa.Array]:
    """Return the categories of each dictionary column over all objects, as a reader that joins them gets them."""
    found: dict[int, pa.Array] = {}
    forgotten = forgotten_categories(schema)
    for index, field in enumerate(schema):
        if not types.is_dictionary(field.type) or field.name in forgotten:
            continue
        chunks: list[pa.Array] = []
        for part in _batches(objects, schema, check, [field.name]):
            for chunk in part.column(0).chunks:
                if not chunks or not chunks[-1].dictionary.equals(chunk.dictionary):
                    chunks.append(chunk.slice(0, 0))
        joined = pa.chunked_array(chunks, type=field.type).unify_dictionaries()
        found[index] = joined.chunk(0).dictionary if joined.num_chunks else pa.array([], field.type.value_type)
    return found


def _with_categories(table: pa.Table, categories: dict[int, pa.Array]) -> pa.Table:
    columns = {}
    for index, values in categories.items():
        column = table.column(index)
        chunks = []
        for chunk in column.chunks:
            places = pc.index_in(chunk.dictionary, value_set=values, skip_nulls=True).cast(pa.int32())
            chunks.append(
                pa.DictionaryArray.from_arrays(places.take(chunk.indices), values, ordered=column.type.ordered)
            )
        kind = pa.dictionary(pa.int32(), values.type, column.type.ordered)
        columns[index] = pa.chunked_array(chunks, type=kind)
    return with_columns(table, columns)


def column_texts(schema: pa.Schema) -> list[tuple[str, str]]:
    """Return names and types as the manifest's `columns` have them."""
    return [(field.name, type_text(field)) for field in schema]


def content_hash(schema: pa.Schema, rows: Sequence[int], digests: Sequence[Sequence[bytes]]) -> str:
    """Return the content of a table from its schema, the rows of its blocks, and one digest a column of each block."""
    value: dict[str, Any] = {
        "columns": column_texts(schema),
        "rows": sum(rows),
        "blocks": [[count, [each.hex() for each in block]] for count, block in zip(rows, digests, strict=True)],
    }
    if seen := observed(schema):
        value["frame"] = json.dumps(seen, sort_keys=True, separators=(",", ":"))
    return PREFIX + hashlib.sha256(canonical.encode(value)).hexdigest()


def block_digests(block: pa.Table) -> list[bytes]:
    """Return one digest a column of these rows."""
    return [_column_digest(column) for column in block.unify_dictionaries().columns]


def _column_digest(column: pa.ChunkedArray) -> bytes:
    digest = _Digest(column.type)
    categories = b""
    for chunk in column.chunks:
        if types.is_dictionary(column.type):
            categories = categories or _column_digest(pa.chunked_array([chunk.dictionary]))
            chunk = _positions(chunk)
        digest.feed(chunk)
    if types.is_dictionary(column.type):
        categories = categories or _Digest(column.type.value_type).finish()
    return digest.finish(categories)


def _positions(array: pa.Array) -> pa.Array:
    """Return the int64 positions in the categories; null where the category is null."""
    positions = array.indices.cast(pa.int64())
    if array.dictionary.null_count:
        # `array.is_null()` crashes the process for categories of the type null.
        is_valid = array.dictionary.is_valid().take(array.indices)
        positions = pc.if_else(is_valid, positions, pa.scalar(None, pa.int64()))
    return positions


class _Digest:
    """The digest of one column, computed from consecutive arrays of any length."""

    def __init__(self, kind: pa.DataType) -> None:
        self._validity, self._lengths, self._values = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        self._children = [_Digest(child) for child in _children(kind)]

    def finish(self, more: bytes = b"") -> bytes:
        whole = hashlib.sha256()
        for part in (self._validity, self._lengths, self._values):
            whole.update(part.digest())
        for child in self._children:
            whole.update(child.finish())
        whole.update(more)
        return whole.digest()

    def feed(self, array: pa.Array) -> None:
        array = _plain(array)
        self._feed_validity(array)
        if array.null_count:
            # What is stored below a null is undefined, and differs between writers.
            array = array.drop_null()
        if not len(array):
            return
        kind = array.type
        if self._children:
            self._feed_nested(array)
        elif types.is_large_binary(kind):
            offsets, data = _text_parts(array)
            self._lengths.update(np.diff(offsets).astype("<i8"))
            self._values.update(data)
        elif types.is_boolean(kind):
            self._values.update(_bits(array.buffers()[1], array))
        elif not types.is_null(kind):
            self._values.update(_value_bytes(array))

    def _feed_validity(self, array: pa.Array) -> None:
        if array.null_count == len(array):
            self._validity.update(bytes(len(array)))
        elif array.null_count:
            self._validity.update(_bits(array.buffers()[0], array))
        else:
            for start in range(0, len(array), len(_ONES)):
                self._validity.update(_ONES[: len(array) - start])

    def _feed_nested(self, array: pa.Array) -> None:
        if types.is_struct(array.type):
            for index, child in enumerate(self._children):
                child.feed(array.field(index))
            return
        if types.is_fixed_size_list(array.type):
            self._children[0].feed(array.flatten())
            return
        offsets = _offsets(array)
        self._lengths.update(np.diff(offsets).astype("<i8"))
        first, count = int(offsets[0]), int(offsets[-1] - offsets[0])
        parts = (array.keys, array.items) if types.is_map(array.type) else (array.values,)
        for child, part in zip(self._children, parts, strict=True):
            child.feed(part.slice(first, count))


def _children(kind: pa.DataType) -> list[pa.DataType]:
    if isinstance(kind, pa.BaseExtensionType):
        return _children(kind.storage_type)
    if types.is_run_end_encoded(kind):
        return _children(kind.value_type)
    if types.is_map(kind):
        return [kind.key_type, kind.item_type]
    if is_list(kind) or types.is_fixed_size_list(kind):
        return [kind.value_type]
    return [field.type for field in kind.fields] if types.is_struct(kind) else []


def _plain(array: pa.Array) -> pa.Array:
    """Return the same values in the one encoding that is hashed."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(array.storage)
    if types.is_dictionary(kind):
        return _plain(array.dictionary_decode())
    if types.is_run_end_encoded(kind):
        return _plain(pc.run_end_decode(array))
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return array.cast(pa.large_string()).cast(pa.large_binary())
    if types.is_binary(kind) or types.is_binary_view(kind):
        return array.cast(pa.large_binary())
    if types.is_decimal(kind):
        width = pa.decimal128 if kind.precision <= 38 else pa.decimal256
        return array.cast(width(kind.precision, kind.scale))
    return array.cast(_without_views(kind)) if _has_views(kind) else array


def _has_views(kind: pa.DataType) -> bool:
    """Return whether text below the top level is stored in views, which pyarrow cannot filter."""
    return any(types.is_string_view(each) or types.is_binary_view(each) or _has_views(each) for each in _children(kind))


def _without_views(kind: pa.DataType) -> pa.DataType:
    if types.is_string_view(kind) or types.is_binary_view(kind):
        return pa.large_string() if types.is_string_view(kind) else pa.large_binary()
    if types.is_map(kind):
        return pa.map_(_without_views(kind.key_type), _without_views(kind.item_type))
    if types.is_fixed_size_list(kind):
        return pa.list_(_without_views(kind.value_type), kind.list_size)
    if is_list(kind):
        return pa.large_list(_without_views(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([field.with_type(_without_views(field.type)) for field in kind.fields])
    return kind


def _bits(buffer: pa.Buffer, array: pa.Array) -> Any:
    bits = np.frombuffer(buffer, np.uint8)[array.offset // 8 : (array.offset + len(array) + 7) // 8]
    return np.unpackbits(bits, bitorder="little")[array.offset % 8 :][: len(array)]


def _offsets(array: pa.Array) -> Any:
    wide = types.is_large_binary(array.type) or types.is_large_list(array.type)
    width = 8 if wide else 4
    return np.frombuffer(array.buffers()[1], f"<i{width}", len(array) + 1, array.offset * width)


def _text_parts(array: pa.Array) -> tuple[Any, Any]:
    offsets = _offsets(array)
    data = array.buffers()[2]
    return offsets, b"" if data is None else memoryview(data)[int(offsets[0]) : int(offsets[-1])]


def _value_bytes(array: pa.Array) -> Any:
    """Return the values of a fixed-width type, without nulls, little-endian."""
    width = array.type.bit_width // 8
    if not width:
        return b""
    data = np.frombuffer(array.buffers()[1], np.uint8, len(array) * width, array.offset * width)
    if not types.is_floating(array.type):
        return data
    # Adding 0 turns −0.0 into 0.0.
    floats = data.view(f"<f{width}") + np.array(0, f"<f{width}")
    floats[np.isnan(floats)] = np.nan
    return floats.view(np.uint8)
