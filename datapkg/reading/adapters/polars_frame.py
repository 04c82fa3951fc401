"""A table as a DataFrame of polars."""

from __future__ import annotations

import polars as pl

from datapkg.reading.nodes.tables import Table


def convert(table: Table) -> pl.DataFrame:
    """A DataFrame of polars, which shares the memory of Arrow."""
    return pl.DataFrame(table.arrow())
