"""Tables that are read in batches, for sources that may be larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.types as types

from datapkg.building.readers.validity import check_values
from datapkg.tables.arrow_values import empty_table
from datapkg.tables.extension_types import has_inner_extensions, schema_without, without_inner_extensions
from datapkg.tables.frame_to_arrow import table_from_arrow, with_dtypes
from datapkg.tables.table_stream import TablePart

# Rows per batch that datapkg builds itself; batches of a file keep their length, up to `_MOST_ROWS`.
BATCH_ROWS = 16_384
_MOST_ROWS = 131_072
# The pandas dtypes for integers and booleans with nulls.
NULLABLE = {pa.bool_(): "boolean"} | {
    kind: str(kind).replace("u", "U", 1).replace("int", "Int")
    for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
}


@dataclass(frozen=True)
class Batches:
    """A `TableStream` whose types are known before it is read; each call of `read()` starts at the first row.

    `rows` is how many there are, 0 if that is not known.
    """

    schema: pa.Schema
    read: Callable[[], Iterator[pa.Table]]
    rows: int = 0

    def parts(self) -> Iterator[TablePart]:
        """Yield all rows in order, each batch with the names and metadata of `schema`."""
        done = 0
        for table in self.read():
            done += len(table)
            share = done / self.rows if self.rows else 0.0
            yield TablePart(pa.Table.from_arrays(table.columns, schema=self.schema), share=share)


def batches(schema: pa.Schema, read: Callable[[], Iterable[Any]], rows: int = 0) -> pa.Table | Batches:
    """Return a stream of the record batches or tables that `read()` returns, which all have this schema.

    If there are categories, all batches are read at once into one table, because each batch may have its own categories
    and a table has one list of them. `rows` is their number, if it is known. Raise `InvalidInput` for invalid values
    when they are reached.
    """

    if has_inner_extensions(schema):
        schema = schema_without(schema)

    def parts() -> Iterator[pa.Table]:
        row = 0
        for batch in read():
            table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
            check_values(table, row)  # before anything follows an offset in it
            table = without_inner_extensions(table)
            row += len(table)
            for start in range(0, len(table), _MOST_ROWS):
                yield table.slice(start, _MOST_ROWS)

    if any(map(_has_categories, schema.types)):
        return table_from_arrow(pa.concat_tables([schema.empty_table(), *parts()]))
    return Batches(table_from_arrow(schema.empty_table()).schema, parts, rows)


def _has_categories(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return _has_categories(kind.storage_type)
    return bool(types.is_dictionary(kind)) or any(_has_categories(kind.field(at).type) for at in range(kind.num_fields))


def described(schema: pa.Schema, nulls: Mapping[str, int]) -> pa.Schema:
    """Return the schema with nullable dtypes for integer and boolean columns that have nulls."""
    dtypes = {each.name: NULLABLE[each.type] for each in schema if nulls.get(each.name) and each.type in NULLABLE}
    return with_dtypes(empty_table(schema), dtypes).schema
