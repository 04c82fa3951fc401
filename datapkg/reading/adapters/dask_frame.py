"""A table as a DataFrame of dask, a partition a block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dask
import dask.dataframe as dd
from dask.dataframe.utils import clear_known_categories

from datapkg.reading.adapters import blocks, files
from datapkg.reading.tables import arrow_reader, pandas_reader
from datapkg.tables.pandas_metadata import forgotten_categories

if TYPE_CHECKING:
    from datapkg.reading.protocols import TableLike

_TO_TEXT = "dataframe.convert-string"


def convert(table: TableLike, columns: Sequence[str] | None = None) -> Any:
    """Return a DataFrame whose partitions are read where they are computed; a worker needs the package installed."""
    chosen = None if columns is None else files.known(table, columns)
    numbers = list(range(len(table.__entry__.blocks)))
    # By default, dask would make text of all Python objects: dates, decimals, booleans beside nulls, bytes.
    with dask.config.set({_TO_TEXT: dask.config.get(_TO_TEXT, None) or False}):
        return dd.from_map(
            read_block,
            numbers,
            args=[table, chosen],
            meta=_meta(table, chosen),
            label="datapkg",
            enforce_metadata=False,
        )


def read_block(number: int, table: TableLike, chosen: list[str] | None, columns: list[Any] | None = None) -> Any:
    """Return one partition, with the labels of its rows in the whole table; dask passes the `columns` it needs."""
    if columns is None:
        return blocks.read_frame(table, number, chosen)
    if all(isinstance(label, str) for label in columns) and set(columns) <= set(table.columns):
        return blocks.read_frame(table, number, columns)
    return blocks.read_frame(table, number, chosen)[columns]


def _meta(table: TableLike, columns: list[str] | None) -> Any:
    """Return a frame without rows; categories are known if every block has the same."""
    kind = arrow_reader.schema(table.__stored__)
    empty = table.schema.empty_table()
    if columns is not None:
        empty = empty.select([*columns, *(name for name in arrow_reader.index_columns(kind) if name not in columns)])
    known = forgotten_categories(kind)
    frame = pandas_reader.to_pandas(empty)
    unknown = [
        label
        for label, dtype in zip(frame.columns, frame.dtypes, strict=True)
        if dtype == "category" and str(label) not in known
    ]
    return clear_known_categories(frame, cols=unknown) if unknown else frame
