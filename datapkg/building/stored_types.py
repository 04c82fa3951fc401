"""The types in which a table rests in Parquet, and comes back: those that Parquet has, one for each kind of value."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.types as types

from datapkg.building.inner_extensions import without_inner_extensions
from datapkg.errors import InvalidInput
from datapkg.format.names import shown


def as_stored(table: pa.Table) -> pa.Table:
    """The table in the types that come back from Parquet; values are the same.

    Raises `InvalidInput` naming a column that holds dicts without any key: Parquet has no type for these.
    """
    for field in table.schema:
        if _is_empty_struct(field.type):
            raise InvalidInput(
                f"column {shown(field.name)} holds only empty objects ({{}}), which Parquet has no type for",
                column=field.name,
            )
    table = without_inner_extensions(table)
    fields = [field.with_type(_stored_type(field.type)) for field in table.schema]
    columns = [
        column if column.type == field.type else _cast(column, field.type)
        for column, field in zip(table.columns, fields, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, table.schema.metadata))


def _is_empty_struct(kind: Any) -> bool:
    """Whether there is a struct without fields in a type, at any depth."""
    if isinstance(kind, pa.BaseExtensionType):
        return _is_empty_struct(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _is_empty_struct(kind.value_type)
    if types.is_struct(kind) and not kind.num_fields:
        return True
    return any(_is_empty_struct(kind.field(at).type) for at in range(kind.num_fields))


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
