"""Find the blocks, and the rows in them, that a selection of rows needs, before anything is opened."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datapkg.errors import InvalidInput
from datapkg.format.manifest.parsed import TableNode
from datapkg.reading.tables.nan_rows import nan_cases, together

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


class GroupRows(NamedTuple):
    """What is read of a file: row groups, and of their rows the first `stop` (None: all).

    `places` are the positions of the wanted rows among these.
    """

    groups: list[int]
    stop: int | None
    places: Picks


def needed(footer: pq.FileMetaData, rows: Picks | None, may_have: Collection[int] | None = None) -> GroupRows:
    """Return what has to be read of a file for these rows (None: all), if only some of its row groups may have any."""
    groups, places, start, before = [], [], 0, 0
    everything = range(sum(footer.row_group(number).num_rows for number in range(footer.num_row_groups)))
    for number in range(footer.num_row_groups):
        length = footer.row_group(number).num_rows
        local = within(everything if rows is None else rows, start, length)
        if len(local) and (may_have is None or number in may_have):
            groups.append(number)
            places.append(_moved(local, before))
            before += length
        start += length
    if not groups:
        return GroupRows([], None, range(0))
    first, last = places[0][0], places[-1][-1]
    is_range = sum(map(len, places)) == last + 1 - first
    wanted = range(first, last + 1) if is_range else [place for each in places for place in each]
    return GroupRows(groups, None if last + 1 > before // 2 else last + 1, wanted)


def read(
    file: pq.ParquetFile,
    rows: Picks | None,
    columns: list[str] | None,
    use_threads: bool = True,
    may_have: Collection[int] | None = None,
) -> pa.Table:
    """Return these rows of a Parquet file: only the row groups that have some, and of a long one not more than needed.

    Columns come in the order of the file; one whose name begins with that of another and a dot may come with it. Rows
    of groups that are not in `may_have` (None: all) are left out.
    """
    if rows is None and may_have is None:
        return file.read(columns, use_threads=use_threads)
    groups, stop, places = needed(file.metadata, rows, may_have)
    if not groups:
        return file.schema_arrow.empty_table() if columns is None else file.read_row_groups([], columns)
    if stop is None:
        found = file.read_row_groups(groups, columns, use_threads=use_threads)
    else:
        found = _first(file, groups, columns, stop, use_threads)
    return taken(found, places)


def groups_with(buffer: pa.Buffer, condition: pc.Expression | None, schema: pa.Schema) -> list[int] | None:
    """Return the row groups of an object whose statistics do not exclude a condition; None for all of them.

    Only the footer is read. `schema` is that of all columns.
    """
    if condition is None or len(set(schema.names)) < len(schema.names):
        return None
    import pyarrow.dataset as ds

    form, found = ds.ParquetFileFormat(), set()
    try:
        cases = nan_cases(condition, schema)
        if cases is None:
            return None
        for case in ({}, *cases):
            fragment = form.make_fragment(buffer, partition_expression=together(case.values()))
            found |= {group.id for group in fragment.subset(condition).row_groups}
    except (pa.ArrowException, OSError):
        return None  # the reader will raise the error
    return sorted(found)


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
