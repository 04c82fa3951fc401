"""A table as a relation of duckdb."""

from __future__ import annotations

import duckdb

from datapkg.reading.nodes.tables import Table


def convert(table: Table) -> duckdb.DuckDBPyRelation:
    """A relation of duckdb's own connection of this process."""
    return duckdb.from_arrow(table.arrow())
