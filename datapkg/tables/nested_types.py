"""Columns in forms that pyarrow converts to pandas: it cannot convert lists of fixed-size binary or of views."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as types

from datapkg.tables.pandas_metadata import with_columns


def convertible(table: pa.Table) -> pa.Table:
    """Return the table with plain binary and text inside lists; what is not in a list is unchanged."""
    kinds = {at: kind for at, field in enumerate(table.schema) if (kind := _plain(field.type)) != field.type}
    return with_columns(table, {at: table.column(at).cast(kind) for at, kind in kinds.items()})


def without_empty_chunks(table: pa.Table) -> pa.Table:
    """Return the table without empty chunks of extension types: pandas cannot make intervals of zoned times of them."""
    columns = {at: column for at, column in enumerate(table.columns) if isinstance(column.type, pa.BaseExtensionType)}
    kept = {at: [chunk for chunk in column.chunks if len(chunk)] for at, column in columns.items()}
    return with_columns(table, {at: pa.chunked_array(chunks, columns[at].type) for at, chunks in kept.items()})


def _plain(kind: pa.DataType, in_list: bool = False) -> pa.DataType:
    if not types.is_nested(kind):
        return _flat(kind) if in_list else kind
    if types.is_map(kind):
        return pa.map_(_field(kind.key_field, in_list), _field(kind.item_field, in_list))
    if types.is_fixed_size_list(kind):
        return pa.list_(_field(kind.value_field, True), kind.list_size)
    if types.is_large_list(kind):
        return pa.large_list(_field(kind.value_field, True))
    if types.is_list(kind):
        return pa.list_(_field(kind.value_field, True))
    return pa.struct([_field(each, in_list) for each in kind.fields]) if types.is_struct(kind) else kind


def _flat(kind: pa.DataType) -> pa.DataType:
    if types.is_string_view(kind):
        return pa.string()
    return pa.binary() if types.is_fixed_size_binary(kind) or types.is_binary_view(kind) else kind


def _field(field: pa.Field, in_list: bool) -> pa.Field:
    return field.with_type(_plain(field.type, in_list))
