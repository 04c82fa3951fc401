"""A table as a DataFrame of polars, or as a LazyFrame that reads what a query needs of its Parquet objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from datapkg.errors import InvalidInput, WrongType
from datapkg.reading.adapters import files

if TYPE_CHECKING:
    from datapkg.reading.protocols import TableLike


def convert(
    table: TableLike, columns: Sequence[str] | None = None, filters: Any = None, lazy: bool = False
) -> pl.DataFrame | pl.LazyFrame:
    """Return a DataFrame that shares Arrow's memory; if `lazy`, a LazyFrame of equal values."""
    if not lazy:
        return _frame(table, table.arrow(columns, filters))
    if filters is not None:
        raise InvalidInput("a LazyFrame has filters of its own: node.polars(lazy=True).filter(…)")
    frame = _scan(table)
    if frame is None:
        return _frame(table, table.arrow(columns)).lazy()
    return frame if columns is None else frame.select(files.known(table, columns))


def _frame(table: TableLike, found: pa.Table) -> pl.DataFrame:
    try:
        return pl.DataFrame(found)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise WrongType(
            f"{table.__stored__.place}: polars does not support all of its types, so choose other columns: {error}"
        ) from error


def _scan(table: TableLike) -> pl.LazyFrame | None:
    """Return a scan of the objects; None if polars would read other types or names there than from Arrow."""
    kind = table.schema
    if len(set(kind.names)) < len(kind.names):
        return None
    wanted = _frame(table, kind.empty_table()).schema
    # Names of nodes may look like patterns, or like `year=2020`.
    scan = pl.scan_parquet(files.paths(table), glob=False, hive_partitioning=False)
    try:
        found = scan.collect_schema()
    except pl.exceptions.PolarsError:
        return None
    if found == wanted:
        return scan
    if list(found) != list(wanted) or any(not _may_cast(found[name], wanted[name]) for name in wanted):
        return None
    return scan.with_columns(pl.col(name).cast(wanted[name]) for name in wanted if found[name] != wanted[name])


def _may_cast(found: pl.DataType, wanted: pl.DataType) -> bool:
    """Return whether a cast keeps all values: only of text to categories."""
    return found == wanted or (found == pl.String and wanted in (pl.Categorical, pl.Enum))
