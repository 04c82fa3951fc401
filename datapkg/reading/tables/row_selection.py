"""Find the blocks, and the rows in them, that a selection of rows needs, before anything is opened."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from datapkg.errors import InvalidInput
from datapkg.format.manifest.parsed import TableNode

Picks: TypeAlias = Sequence[int]
"""Positions of rows in a table, each once, ascending."""


class BlockRows(NamedTuple):
    """A block of a table by its number, and the positions of the wanted rows in it, ascending; None for all."""

    number: int
    rows: Sequence[int] | None = None


def chosen(table: TableNode, rows: slice | None) -> tuple[Picks | None, bool]:
    """Return the rows that a slice selects, as of a list, and whether they are reversed; None for all of them.

    Raise `InvalidInput` for what is not a slice.
    """
    if rows is None:
        return None, False
    try:
        if not isinstance(rows, slice):
            raise TypeError(f"got {rows!r:.80}")
        picks = range(table.rows)[rows]
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"rows is a slice of whole numbers, as in rows=slice(0, 100): {error}") from error
    is_reverse = picks.step < 0
    picks = picks[::-1] if is_reverse else picks
    return (None if picks == range(table.rows) else picks), is_reverse


def parts(table: TableNode, picks: Picks | None) -> list[BlockRows]:
    """Return the blocks that contain these rows (None: all blocks); other blocks need not be opened."""
    if picks is None:
        return [BlockRows(number) for number in range(len(table.blocks))]
    found, start = [], 0
    for number, block in enumerate(table.blocks):
        local = within(picks, start, block.rows)
        if len(local):
            found.append(BlockRows(number, None if len(local) == block.rows else local))
        start += block.rows
    return found


def count(table: TableNode, part: BlockRows) -> int:
    """Return how many rows of a block are wanted."""
    return table.blocks[part.number].rows if part.rows is None else len(part.rows)


def read(file: pq.ParquetFile, rows: Picks | None, columns: list[str] | None, use_threads: bool = True) -> pa.Table:
    """Return these rows of a Parquet file: only the row groups that have some, and of a long one not more than needed.

    Columns come in the order of the file; one whose name begins with that of another and a dot may come with it.
    """
    if rows is None:
        return file.read(columns, use_threads=use_threads)
    groups, places, start, before = [], [], 0, 0
    for number in range(file.num_row_groups):
        length = file.metadata.row_group(number).num_rows
        local = within(rows, start, length)
        if len(local):
            groups.append(number)
            places.append(_moved(local, before))
            before += length
        start += length
    if not groups:
        return file.schema_arrow.empty_table() if columns is None else file.read_row_groups([], columns)
    stop = places[-1][-1] + 1
    if stop > before // 2:
        found = file.read_row_groups(groups, columns, use_threads=use_threads)
    else:
        found = _first(file, groups, columns, stop, use_threads)
    first, last = places[0][0], places[-1][-1]
    wanted = [place for each in places for place in each]
    return taken(found, range(first, last + 1) if len(wanted) == last + 1 - first else wanted)


def _first(file: pq.ParquetFile, groups: list[int], columns: list[str] | None, stop: int, threads: bool) -> pa.Table:
    batches, missing = [], stop
    for batch in file.iter_batches(max(stop, 1), groups, columns, use_threads=threads):
        batches.append(batch)
        missing -= len(batch)
        if missing <= 0:
            break
    return pa.Table.from_batches(batches)


def taken(found: pa.Table, picks: Picks, is_mapped: bool = False) -> pa.Table:
    """Return these rows of a table; a copy if a slice would keep much more memory than they need."""
    if isinstance(picks, range) and picks.step == 1 and (is_mapped or 2 * len(picks) > len(found)):
        return found.slice(picks.start, len(picks))
    return found.take(pa.array(picks, pa.int64()))


def within(picks: Picks, start: int, length: int) -> Picks:
    """Return the positions in a range, counted from its start."""
    return _moved(picks[bisect_left(picks, start) : bisect_left(picks, start + length)], -start)


def _moved(picks: Picks, by: int) -> Picks:
    if isinstance(picks, range):
        return range(picks.start + by, picks.stop + by, picks.step)
    return [each + by for each in picks]
