"""A bounded sample of a table: its first rows, and what the footers of its objects hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from datapkg.reading.reprs.availability import is_here
from datapkg.reading.tables import block_access
from datapkg.reading.tables.statistics import ColumnStatistics, footer_statistics
from datapkg.reading.tables.stored_table import StoredTable

LOOK_ROWS = 65_536
LOOK_BYTES = 16 << 20  # of values in memory
CHUNKS = 20_000  # columns times objects: that many footers are read in a tenth of a second
_BATCH = 1_024
_FEW_COLUMNS = 100


class TableSample(NamedTuple):
    """The first rows of some columns, and the statistics of more columns, possibly of none."""

    rows: pa.Table
    statistics: dict[str, ColumnStatistics]


def take_sample(
    table: StoredTable, columns: Sequence[str], rows: int = LOOK_ROWS, explained: Sequence[str] = ()
) -> TableSample:
    """Return the first rows of some columns, up to the limits, and the statistics of the `explained` columns.

    Columns are the first ones of the table, in order. The caller has checked that the first block is on this machine:
    nothing is fetched. Raise `ObjectNotFound`, `CorruptObject`.
    """
    parts = _parts(table, min(rows, table.node.rows))
    buffers = block_access.buffers(table, parts, columns)
    files = [block_access.opened(table, part.number, at) for part, at in zip(parts, buffers, strict=True)]
    try:
        found = _first_rows(files, list(columns), len(table.node.columns), min(rows, table.node.rows))
    except (pa.ArrowException, OSError) as error:
        raise block_access.unreadable(table, error) from error
    return TableSample(found, _statistics(table, files, explained) if explained else {})


def _parts(table: StoredTable, rows: int) -> list[block_access.BlockRows]:
    """Return the blocks with the first rows, as far as they are on this machine; the first of them is."""
    parts: list[block_access.BlockRows] = []
    missing = rows
    for number, block in enumerate(table.node.blocks):
        if parts and not is_here(table.source, [block.hash]):
            break
        parts.append(block_access.BlockRows(number, range(min(missing, block.rows))))
        missing -= block.rows
        if missing <= 0:
            break
    return parts


def _first_rows(files: list[pq.ParquetFile], columns: list[str], width: int, rows: int) -> pa.Table:
    """Return rows, read a few at a time until there are enough of them or they take too much memory."""
    chosen = columns if width > _FEW_COLUMNS else None
    schema = files[0].schema_arrow
    wanted = pa.schema([schema.field(at) for at in range(len(columns))])
    batches: list[pa.RecordBatch] = []
    done = size = 0
    for file in files:
        for batch in file.iter_batches(min(_BATCH, max(rows, 1)), columns=chosen):
            if batch.schema.names[: len(columns)] != columns:  # the name selects several columns
                return wanted.empty_table()
            batch = batch.select(range(len(columns))).slice(0, rows - done)
            batches.append(batch)
            done, size = done + len(batch), size + batch.get_total_buffer_size()
            if done >= rows or size > LOOK_BYTES:
                return pa.Table.from_batches(batches)
    return pa.Table.from_batches(batches) if batches else wanted.empty_table()


def _statistics(table: StoredTable, files: list[pq.ParquetFile], columns: Sequence[str]) -> dict[str, ColumnStatistics]:
    """Return the statistics of all objects; none if these are too many, or not on this machine."""
    names, blocks = [name for name, _ in table.node.columns], table.node.blocks
    if len(names) * len(blocks) > CHUNKS:
        return {}
    rest = blocks[len(files) :]
    if not is_here(table.source, (block.hash for block in rest)):
        return {}
    parts = [block_access.BlockRows(number, ()) for number in range(len(files), len(blocks))]
    more = zip(parts, block_access.buffers(table, parts, []), strict=True)
    opened = (block_access.opened(table, part.number, buffer).metadata for part, buffer in more)
    return footer_statistics([*(file.metadata for file in files), *opened], names, columns)
