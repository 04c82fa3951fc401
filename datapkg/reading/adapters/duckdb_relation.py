"""A table as a relation of duckdb, which reads what a query needs of its Parquet objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from datapkg.reading.adapters import files
from datapkg.reading.nodes.interchange import Exchanged

# What duckdb would take for a pattern in the name of a file.
_PATTERN = frozenset("*?[]{}")


def convert(
    table: Exchanged,
    columns: Sequence[str] | None = None,
    filters: Any = None,
    connection: duckdb.DuckDBPyConnection | None = None,
) -> duckdb.DuckDBPyRelation:
    """A relation of this connection, or of duckdb's own of this process."""
    connection = connection or duckdb.default_connection()
    if filters is None and (found := _scan(table, connection)) is not None:
        return found if columns is None else found.select(*map(_column, files.known(table, columns)))
    return connection.from_arrow(table.arrow(columns, filters))


def _scan(table: Exchanged, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation | None:
    """A scan of the objects; None where duckdb would read other types or names there than it takes from Arrow."""
    names = list(map(str, files.paths(table)))
    if any(_PATTERN & set(name) for name in names):
        return None
    found = connection.read_parquet(names, hive_partitioning=False, union_by_name=False)
    wanted = connection.from_arrow(table.schema.empty_table())
    return found if (found.columns, found.types) == (wanted.columns, wanted.types) else None


def _column(name: str) -> duckdb.Expression:
    return duckdb.ColumnExpression(name)
