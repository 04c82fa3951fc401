"""A table as a relation of duckdb, which reads what a query needs of its Parquet objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.types as types

from datapkg.errors import WrongType
from datapkg.reading.adapters import files

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
    except duckdb.NotImplementedException as error:
        raise WrongType(
            f"{table.__stored__.place}: duckdb does not support all of its types, so choose other columns: {error}"
        ) from error


def _relation(
    table: TableLike, columns: Sequence[str] | None, filters: Any, connection: duckdb.DuckDBPyConnection
) -> duckdb.DuckDBPyRelation:
    if filters is None and (found := _scan(table, connection)) is not None:
        return found if columns is None else found.select(*map(_column, files.known(table, columns)))
    return connection.from_arrow(_known(table.arrow(columns, filters)))


def _known(found: pa.Table) -> pa.Table:
    """Return the same values in types that duckdb has: it has no half-precision floats."""
    kinds = [field.with_type(pa.float32()) if types.is_float16(field.type) else field for field in found.schema]
    return found.cast(pa.schema(kinds, found.schema.metadata))


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
