"""A table as a DataFrame of dask, a partition a block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dask
import dask.dataframe as dd
import numpy as np
import pyarrow.types as types
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
    with_nulls = _dtypes_with_nulls(table, chosen)
    # By default, dask would make text of all Python objects: dates, decimals, booleans beside nulls, bytes.
    with dask.config.set({_TO_TEXT: dask.config.get(_TO_TEXT, None) or False}):
        return dd.from_map(
            read_block,
            numbers,
            args=[table, chosen, with_nulls],
            meta=_typed(_meta(table, chosen), with_nulls),
            label="datapkg",
            enforce_metadata=False,
        )


def read_block(
    number: int,
    table: TableLike,
    chosen: list[str] | None,
    with_nulls: dict[Any, Any],
    columns: list[Any] | None = None,
) -> Any:
    """Return one partition, with the labels of its rows in the whole table; dask passes the `columns` it needs.

    Columns in `with_nulls` get these dtypes, whether or not this partition has nulls.
    """
    if columns is None:
        found = blocks.read_frame(table, number, chosen)
    elif all(isinstance(label, str) for label in columns) and set(columns) <= set(table.columns):
        found = blocks.read_frame(table, number, columns)
    else:
        found = blocks.read_frame(table, number, chosen)[columns]
    return _typed(found, with_nulls)


def _dtypes_with_nulls(table: TableLike, columns: list[str] | None) -> dict[Any, Any]:
    """Return the dtypes of integers and booleans with nulls in any block, by label; labels that repeat are left out."""
    if not any(types.is_integer(field.type) or types.is_boolean(field.type) for field in table.schema):
        return {}
    whole, plain = table(columns, rows=slice(0, 0)), _meta(table, columns)
    return {
        label: dtype
        for label, dtype, other in zip(whole.columns, whole.dtypes, plain.dtypes, strict=True)
        if isinstance(other, np.dtype) and other.kind in "iub" and dtype != other and whole.columns.is_unique
    }


def _typed(frame: Any, dtypes: dict[Any, Any]) -> Any:
    """Return the frame with these dtypes, by label."""
    return frame.astype({label: dtype for label, dtype in dtypes.items() if label in frame.columns})


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
