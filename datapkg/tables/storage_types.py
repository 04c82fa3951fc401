"""The types in which a table is stored in Parquet and read back: those that Parquet has, one for each kind of value."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.types as types

from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted
from datapkg.tables.extension_types import with_children, without_inner_extensions


def to_storage_types(table: pa.Table) -> pa.Table:
    """Return the table in the types that Parquet gives back, with one dictionary a column; values are the same.

    Raise `InvalidInput` naming a column that holds only empty dicts, for which Parquet has no type.
    """
    for field in table.schema:
        if _is_empty_struct(field.type):
            raise InvalidInput(
                f"column {quoted(field.name)} holds only empty objects ({{}}), which Parquet has no type for",
                column=field.name,
            )
    table = without_inner_extensions(table)
    fields = [field.with_type(_stored_type(field.type)) for field in table.schema]
    columns = [_cast(column, field) for column, field in zip(table.columns, fields, strict=True)]
    columns = [_null_as_no_category(column) for column in columns]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, table.schema.metadata)).unify_dictionaries()


def _is_empty_struct(kind: Any) -> bool:
    """Return whether a type has a struct without fields, at any depth."""
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
    if types.is_decimal32(kind) or types.is_decimal64(kind):  # pandas cannot read them in lists
        return pa.decimal128(kind.precision, kind.scale)
    if types.is_run_end_encoded(kind):
        return _stored_type(kind.value_type)
    if types.is_dictionary(kind):
        values = _stored_type(kind.value_type)
        is_one = _are_categories(values)
        return pa.dictionary(kind.index_type, values, kind.ordered) if is_one else _inner_type(kind.value_type)
    return _stored_text(kind) or with_children(kind, _inner_type)


def _inner_type(kind: Any) -> Any:
    """Return the type of values below the top level, where a dictionary is only an encoding."""
    if types.is_dictionary(kind):
        return _inner_type(kind.value_type)
    # 64-bit offsets are the same type, and converting would copy the text; writing views crashes the process.
    return kind if types.is_large_string(kind) or types.is_large_binary(kind) else _stored_type(kind)


def _are_categories(kind: Any) -> bool:
    """Return whether Arrow can look up values of this type, so that they are read back as categories."""
    tests = (types.is_integer, types.is_float32, types.is_float64, types.is_boolean, types.is_temporal, types.is_null)
    is_other = types.is_string(kind) or types.is_binary(kind) or types.is_fixed_size_binary(kind)
    return is_other or types.is_decimal(kind) or any(test(kind) for test in tests)


def _stored_text(kind: Any) -> Any:
    if types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_binary_view(kind):
        return pa.binary()
    return None


def _cast(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """Return the column in the type of a field, in chunks that 32-bit offsets can address."""
    if column.type == field.type:
        return column
    pieces = [piece for chunk in column.chunks for piece in _pieces(chunk)]
    try:
        return pa.chunked_array([_cast_array(piece, field.type) for piece in pieces], type=field.type)
    except pa.ArrowNotImplementedError as error:
        message = f"column {quoted(field.name)}: a table cannot keep Arrow's type {column.type}"
        raise InvalidInput(message, column=field.name) from error


def _null_as_no_category(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the column with nulls among its positions, where a dictionary has a null among its values."""
    if not types.is_dictionary(column.type) or not any(chunk.dictionary.null_count for chunk in column.chunks):
        return column
    import pyarrow.compute as pc

    chunks = []
    for chunk in column.chunks:
        is_valid = chunk.dictionary.is_valid()
        place = pc.subtract(pc.cumulative_sum(is_valid.cast(pa.int64())), 1)
        place = pc.if_else(is_valid, place, pa.scalar(None, pa.int64())).cast(column.type.index_type)
        values = chunk.dictionary.drop_null()
        chunks.append(pa.DictionaryArray.from_arrays(place.take(chunk.indices), values, ordered=column.type.ordered))
    return pa.chunked_array(chunks, type=column.type)


def _cast_array(array: Any, kind: Any) -> Any:
    if types.is_run_end_encoded(array.type):
        import pyarrow.compute as pc

        array = pc.run_end_decode(array)
    if types.is_dictionary(array.type) and types.is_dictionary(kind):
        values = array.dictionary.cast(kind.value_type)
        return pa.DictionaryArray.from_arrays(array.indices, values, ordered=kind.ordered)
    if types.is_dictionary(array.type):
        array = array.dictionary.take(array.indices)
    return array.cast(kind)


def _pieces(array: Any, limit: int = 1 << 30) -> list[Any]:
    if array.nbytes <= limit or len(array) <= 1:
        return [array]
    half = len(array) // 2
    return [*_pieces(array.slice(0, half), limit), *_pieces(array.slice(half), limit)]
