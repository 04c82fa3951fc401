"""Summarise a table from its footers: describe its columns, and estimate its size in memory."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.types as types

from datapkg.reading.tables import arrow_reader
from datapkg.reading.tables.statistics import column_statistics
from datapkg.reading.tables.stored_table import StoredTable


def describe(table: StoredTable) -> pd.DataFrame:
    """Return a row a stored column: type, count, nulls, min, max; missing where the footers are not exact.

    Raise `ObjectNotFound`, `CorruptObject`.
    """
    schema, found = arrow_reader.schema(table), column_statistics(table)
    rows: list[tuple[Any, ...]] = []
    for field in schema:
        of = found[field.name]
        bounds = [_bound(each, field.type) for each in (of.least, of.greatest)] if _is_exact(field.type) else [None] * 2
        count = None if of.nulls is None else table.node.rows - of.nulls
        rows.append((str(field.type), count, of.nulls, *bounds))
    columns = [list(each) for each in zip(*rows, strict=True)] or [[]] * 5
    kinds = ("str", "Int64", "Int64", "object", "object")
    names = ("type", "count", "nulls", "min", "max")
    data = {name: pd.Series(values, dtype=kind) for name, values, kind in zip(names, columns, kinds, strict=True)}
    return pd.DataFrame(data).set_axis(pd.Index(schema.names, name="column"), axis=0)


def _is_exact(kind: pa.DataType) -> bool:
    """Return whether a footer's least and greatest are values of the column.

    Those of text may be truncated, those of half floats are bytes, and pyarrow cuts the nanoseconds of a time of day.
    """
    if types.is_dictionary(kind) or types.is_float16(kind) or kind == pa.time64("ns"):
        return False
    return bool(types.is_primitive(kind) or types.is_decimal(kind))


def _bound(value: Any, kind: pa.DataType) -> Any:
    """Return a least or greatest value: pyarrow gives that of a duration as an integer."""
    return pd.Timedelta(value, kind.unit) if types.is_duration(kind) and isinstance(value, int) else value


def nbytes(table: StoredTable) -> int:
    """Return about how many bytes the table takes in Arrow's memory format.

    Numbers and times are counted exactly; text and nested columns as what their objects decompress to, which is less
    than in memory if values repeat.
    """
    schema = arrow_reader.schema(table)
    fixed = [_bits(field.type) for field in schema]
    found = {} if all(fixed) else column_statistics(table)
    sizes = [
        -(-table.node.rows * bits // 8) if bits else found[name].uncompressed_bytes
        for name, bits in zip(schema.names, fixed, strict=True)
    ]
    return sum(sizes)


def _bits(kind: pa.DataType) -> int:
    """Return the width of a value in bits; 0 if values differ in width."""
    if types.is_dictionary(kind):
        return int(kind.index_type.bit_width)
    if types.is_primitive(kind) or types.is_decimal(kind) or types.is_fixed_size_binary(kind):
        return int(kind.bit_width)
    return 0
