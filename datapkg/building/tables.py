"""A table in memory becomes Parquet objects, one a block, with a hash of its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.types as types

from datapkg.building.parquet_writer import WRITER, columns_with_dictionaries, write_block
from datapkg.errors import InvalidInput
from datapkg.format.blocks import cut_table
from datapkg.format.canonical import encode
from datapkg.format.content import block_digests, column_texts, content_hash
from datapkg.format.frames import remember_categories
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest import Block
from datapkg.objects.base import Objects

# A node is one line of a manifest, of at most 1 MiB; the rest is for objects and metadata.
MAX_COLUMNS_BYTES = 640 << 10


@dataclass(frozen=True)
class PreparedTable:
    """A table in its blocks, with all that the manifest says of it but the objects."""

    columns: list[tuple[str, str]]
    content: str
    rows: int
    blocks: list[pa.Table]

    def put(self, objects: Objects) -> tuple[list[Block], dict[str, Any]]:
        """Writes every block and stores it; gives the objects, and for the record how they were written."""
        dictionaries = columns_with_dictionaries(self.blocks[0])
        stored = [_put(block, dictionaries, objects) for block in self.blocks]
        return stored, {**WRITER, "dictionaries": dictionaries}


def prepare(table: pa.Table) -> PreparedTable:
    """Cuts a table and computes its content; nothing is stored.

    Raises `InvalidInput` or pyarrow's errors for what Parquet cannot hold.
    """
    if not table.num_columns:
        raise InvalidInput("there is no column in it")
    table = as_stored(table.unify_dictionaries())
    columns = column_texts(table.schema)
    if len(encode(columns)) > MAX_COLUMNS_BYTES:
        raise InvalidInput(f"{len(columns):,} columns have names and types of more than {MAX_COLUMNS_BYTES >> 10} KiB")
    table = remember_categories(table)
    write_block(table.slice(0, 0), [])
    blocks = cut_table(table)
    content = content_hash(table.schema, [len(block) for block in blocks], [block_digests(block) for block in blocks])
    return PreparedTable(columns, content, len(table), blocks)


def _put(block: pa.Table, dictionaries: list[str], objects: Objects) -> Block:
    data = write_block(block.combine_chunks(), dictionaries)
    hash = hash_bytes(memoryview(data))
    objects.put(pa.BufferReader(data), hash)
    return Block(hash, len(block), data.size)


def as_stored(table: pa.Table) -> pa.Table:
    """The table in the types that come back from Parquet; values are the same."""
    fields = [field.with_type(_stored_type(field.type)) for field in table.schema]
    columns = [
        column if column.type == field.type else _cast(column, field.type)
        for column, field in zip(table.columns, fields, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, table.schema.metadata))


def _stored_type(kind: Any) -> Any:
    if types.is_date64(kind):
        return pa.date32()
    if types.is_time32(kind) and kind.unit == "s":
        return pa.time32("ms")
    if types.is_timestamp(kind) and kind.unit == "s":
        return pa.timestamp("ms", kind.tz)
    if types.is_run_end_encoded(kind):
        return _stored_type(kind.value_type)
    if types.is_dictionary(kind) and _stored_text(kind.value_type) is not None:
        return pa.dictionary(kind.index_type, _stored_text(kind.value_type), kind.ordered)
    return _stored_text(kind) or kind


def _stored_text(kind: Any) -> Any:
    if types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_binary_view(kind):
        return pa.binary()
    return None


def _cast(column: pa.ChunkedArray, kind: Any) -> pa.ChunkedArray:
    """The column in another type, in pieces that 32-bit offsets can reach."""
    pieces = [piece for chunk in column.chunks for piece in _pieces(chunk)]
    return pa.chunked_array([_cast_array(piece, kind) for piece in pieces], type=kind)


def _cast_array(array: Any, kind: Any) -> Any:
    if types.is_run_end_encoded(array.type):
        import pyarrow.compute as pc

        array = pc.run_end_decode(array)
    if types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(
            array.indices, array.dictionary.cast(kind.value_type), ordered=kind.ordered
        )
    return array.cast(kind)


def _pieces(array: Any, limit: int = 1 << 30) -> list[Any]:
    if array.nbytes <= limit or len(array) <= 1:
        return [array]
    half = len(array) // 2
    return [*_pieces(array.slice(0, half), limit), *_pieces(array.slice(half), limit)]
