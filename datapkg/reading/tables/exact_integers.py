"""Columns of integers beside nulls, of which Arrow would make floats, and change integers beyond 2^53."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from datapkg.reading.tables.arrow_reader import index_columns

_EXACT = 2**53  # up to here, a float of 64 bits holds every integer
_DTYPES: dict[pa.DataType, Any] = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}


def integers_beside_nulls(table: pa.Table) -> dict[int, Any]:
    """Return the pandas arrays of columns that would change, by their position in the frame.

    They are columns with nulls and integers that no float holds, and nested ones with integers beside nulls.
    """
    index = set(index_columns(table.schema))
    # `Schema.names` and `Schema.types` are computed at each access: in a loop, quadratic time.
    shown = [(at, field.type) for at, field in enumerate(table.schema) if field.name not in index]
    found = {}
    for place, (at, kind) in enumerate(shown):
        column = table.column(at)
        if types.is_nested(kind):
            if any(_has_null_integers(each) for each in column.chunks):
                found[place] = column.to_pandas(integer_object_nulls=True).array
        elif (dtype := exact_dtype(column)) is not None:
            found[place] = dtype.__from_arrow__(column)
    return found


def exact_dtype(column: pa.ChunkedArray) -> Any:
    """Return the pandas dtype that holds integers beside nulls which no float holds; None for other columns."""
    if column.type not in _DTYPES or not column.null_count:
        return None
    return _DTYPES[column.type] if is_rounded(*pc.min_max(column).as_py().values()) else None


def is_rounded(least: Any, greatest: Any) -> bool:
    """Return whether integers between these may not be exact as floats; None stands for no integer."""
    return any(isinstance(each, int) and abs(each) > _EXACT for each in (least, greatest))


def _has_null_integers(array: pa.Array, is_inner: bool = False) -> bool:
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _has_null_integers(array.storage, is_inner)
    if types.is_struct(kind):
        return any(_has_null_integers(array.field(at), True) for at in range(kind.num_fields))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind) or types.is_map(kind):
        return any(_has_null_integers(each, True) for each in _children(array))
    return is_inner and types.is_integer(kind) and array.null_count > 0


def _children(array: pa.Array) -> list[pa.Array]:
    return [array.keys, array.items] if types.is_map(array.type) else [array.values]
