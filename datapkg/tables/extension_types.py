"""Extension types that pyarrow has but cannot filter, join or make empty: they are replaced by their storage.

These are all types below the top level (a list of JSON, a struct with a UUID) and tensors with a permutation. Others at
the top level are kept; unregistered ones are read as their storage anyway.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.types as types

from datapkg.format.texts import quoted
from datapkg.tables.type_names import is_list


def has_inner_extensions(schema: pa.Schema) -> bool:
    """Return whether a schema has extension types that are replaced by their storage."""
    return any(_names(field.type) for field in schema)


def schema_without(schema: pa.Schema) -> pa.Schema:
    """Return the schema with the storage of these types in their place; warn of each column that has one."""
    for field in schema:
        if names := sorted(_names(field.type)):
            storage = storage_of(field.type)
            warnings.warn(f"column {quoted(field.name)}: {', '.join(names)} is kept as {storage}", stacklevel=3)
    return pa.schema([field.with_type(storage_of(field.type)) for field in schema], schema.metadata)


def without_inner_extensions(table: pa.Table) -> pa.Table:
    """Return the table with the storage of these types in their place; warn of each column that has one."""
    if not has_inner_extensions(table.schema):
        return table
    schema = schema_without(table.schema)
    columns = []
    for column, kind in zip(table.columns, schema.types, strict=True):
        chunks = column.chunks if column.type == kind else [chunk.cast(kind) for chunk in column.chunks]
        columns.append(pa.chunked_array(chunks, type=kind))
    return pa.Table.from_arrays(columns, schema=schema)


def _names(kind: Any, is_inner: bool = False) -> set[str]:
    """Return the names of the extension types in a type that are to be replaced."""
    if isinstance(kind, pa.BaseExtensionType):
        is_one = is_inner or getattr(kind, "permutation", None) is not None
        return ({kind.extension_name} if is_one else set()) | _names(kind.storage_type, True)
    if types.is_dictionary(kind):
        return _names(kind.value_type, True)
    return {name for at in range(kind.num_fields) for name in _names(kind.field(at).type, True)}


def storage_of(kind: Any, is_inner: bool = False) -> Any:
    """Return a type with the storage of these types in their place."""
    if not _names(kind, is_inner):
        return kind
    if isinstance(kind, pa.BaseExtensionType):
        return storage_of(kind.storage_type, True)
    if types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, storage_of(kind.value_type, True), kind.ordered)
    return with_children(kind, lambda child: storage_of(child, True))


def with_children(kind: Any, change: Callable[[Any], Any]) -> Any:
    """Return a nested type with each type directly below it changed; any other type as it is."""

    def changed(field: pa.Field) -> pa.Field:
        return field.with_type(change(field.type))

    if types.is_map(kind):
        return pa.map_(changed(kind.key_field), changed(kind.item_field), kind.keys_sorted)
    if types.is_fixed_size_list(kind):
        return pa.list_(changed(kind.value_field), kind.list_size)
    if types.is_struct(kind):
        return pa.struct([changed(field) for field in kind.fields])
    if is_list(kind):
        return (pa.large_list if types.is_large_list(kind) else pa.list_)(changed(kind.value_field))
    return kind
