"""The blocks of a table one at a time, so that no more than one of them need be in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import pandas as pd
import pyarrow as pa

from datapkg.errors import CorruptObject
from datapkg.reading.nodes.interchange import Exchanged


def starts(table: Exchanged) -> list[int]:
    """The number of the row that each block begins with, and the number of all rows."""
    return [0, *accumulate(block.rows for block in table.__entry__.objects_)]


def read(table: Exchanged, number: int, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one block as Arrow keeps them."""
    return table.arrow(columns, rows=_rows_of(table, number))


def read_frame(table: Exchanged, number: int, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The rows of one block as a DataFrame, with the labels that they have in the whole table."""
    return table(columns, rows=_rows_of(table, number))


def _rows_of(table: Exchanged, number: int) -> slice:
    found = starts(table)
    return slice(found[number], found[number + 1])


def stream(table: Exchanged) -> pa.RecordBatchReader:
    """All rows, block by block; what is wrong with the first block is found here, with others when they are reached."""
    first = read(table, 0)
    return pa.RecordBatchReader.from_batches(first.schema, _batches(table, first))


def _batches(table: Exchanged, first: pa.Table) -> Iterator[pa.RecordBatch]:
    kind = first.schema
    yield from first.to_batches()
    del first
    for number in range(1, len(table.__entry__.objects_)):
        block = read(table, number)
        if not block.schema.equals(kind):
            place = f"{table.__source__.ref.package}/{table.__at__}"
            raise CorruptObject(f"{place}: its objects differ in the types of their columns")
        yield from block.to_batches()
