"""A table as a relation of duckdb, which reads what a query needs of its Parquet objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.types as types

from datapkg.errors import WrongType
from datapkg.reading.adapters import files
from datapkg.tables.extension_types import with_children

if TYPE_CHECKING:
    from datapkg.reading.protocols import TableLike

# Characters that duckdb treats as patterns in file names.
_PATTERN = frozenset("*?[]{}")


def convert(
    table: TableLike,
    columns: Sequence[str] | None = None,
    filters: Any = None,
    connection: duckdb.DuckDBPyConnection | None = None,
) -> duckdb.DuckDBPyRelation:
    """Return a relation of this connection, or of duckdb's default connection."""
    connection = connection or duckdb.default_connection()
    try:
        return _relation(table, columns, filters, connection)
    except pa.ArrowInvalid as error:
        raise WrongType(
            f"{table.__stored__.place}: duckdb has durations of whole microseconds, and here are finer ones, so choose "
            f"other columns: {error}"
        ) from error
    except duckdb.NotImplementedException as error:
        raise WrongType(
            f"{table.__stored__.place}: duckdb does not support all of its types, so choose other columns: {error}"
        ) from error


def _relation(
    table: TableLike, columns: Sequence[str] | None, filters: Any, connection: duckdb.DuckDBPyConnection
) -> duckdb.DuckDBPyRelation:
    names = None if columns is None else files.known(table, columns)
    # duckdb ignores case: of two names that only differ in it, the first column would be found for both.
    is_clear = names is None or len({name.lower() for name in table.columns}) == len(table.columns)
    if filters is None and is_clear and (found := _scan(table, connection)) is not None:
        return found if names is None else found.select(*map(_column, names))
    return connection.from_arrow(_known(table.arrow(columns, filters)))


def _known(found: pa.Table) -> pa.Table:
    """Return the same values in types that duckdb has: no half-precision floats, no durations below a microsecond.

    Raise ArrowInvalid for such a duration, which duckdb would round.
    """
    kinds = [field.with_type(_known_type(field.type)) for field in found.schema]
    return found.cast(pa.schema(kinds, found.schema.metadata))


def _known_type(kind: pa.DataType) -> pa.DataType:
    if types.is_float16(kind):
        return pa.float32()
    return pa.duration("us") if kind == pa.duration("ns") else with_children(kind, _known_type)


def _scan(table: TableLike, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation | None:
    """Return a scan of the objects; None if duckdb would read other types or names there than from Arrow."""
    names = list(map(str, files.paths(table)))
    if any(_PATTERN & set(name) for name in names):
        return None
    try:
        # The name of a folder such as `year=2020` must not become a column.
        found = connection.read_parquet(names, hive_partitioning=False, union_by_name=False)
        wanted = connection.from_arrow(_known(table.schema.empty_table()))
    except duckdb.Error:
        return None
    return found if (found.columns, found.types) == (wanted.columns, wanted.types) else None


def _column(name: str) -> duckdb.Expression:
    return duckdb.ColumnExpression(name)
