"""Read the blocks of a table one at a time, so that at most one of them is in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

if TYPE_CHECKING:
    from datapkg.reading.protocols import TableLike


# A longer object, which datapkg did not write as a block, is streamed by its row groups.
_LONG, _BATCH = 1_048_576, 262_144


def starts(table: TableLike) -> list[int]:
    """Return the number of the first row of each block, and the number of all rows."""
    return [0, *accumulate(block.rows for block in table.__entry__.blocks)]


def read(table: TableLike, number: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of one block as Arrow."""
    return table.arrow(columns, rows=_rows(table, number))


def read_frame(table: TableLike, number: int, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the rows of one block as a DataFrame, with the labels that they have in the whole table."""
    return table(columns, rows=_rows(table, number))


def stream(table: TableLike) -> pa.RecordBatchReader:
    """Return all rows, block by block; raise errors of the first block now, of others when they are reached."""
    if len(table.__entry__.blocks) == 1 and table.rows > _LONG:
        return pa.RecordBatchReader.from_batches(table.schema, table.iter_batches(_BATCH, arrow=True))
    first = read(table, 0)
    return pa.RecordBatchReader.from_batches(first.schema, _batches(table, [first]))


def _batches(table: TableLike, first: list[pa.Table]) -> Iterator[pa.RecordBatch]:
    yield from first.pop().to_batches()  # so that its memory is freed
    for number in range(1, len(table.__entry__.blocks)):
        yield from read(table, number).to_batches()


def _rows(table: TableLike, number: int) -> slice:
    begins = starts(table)
    return slice(begins[number], begins[number + 1])
