"""The objects of a table where they are opened: the one way to their bytes, and each checked against the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from datapkg.errors import CorruptObject, InvalidInput
from datapkg.format.texts import quoted
from datapkg.reading.tables.row_selection import BlockRows
from datapkg.reading.tables.stored_table import StoredTable
from datapkg.tables.block_reader import open_block
from datapkg.tables.content_hash import column_texts
from datapkg.tables.pandas_metadata import forgotten_categories, restore_categories

if TYPE_CHECKING:
    import pyarrow.dataset as ds


FIRST = [BlockRows(0, ())]
"""The first block, of which no row is wanted: its footer."""


def buffers(
    table: StoredTable,
    parts: Sequence[BlockRows],
    columns: Sequence[str] | None = None,
    condition: Any = None,
) -> list[pa.Buffer]:
    """The objects of these blocks mapped into memory, their bytes being right as far as they will be read.

    Everything that is read of a table comes through here, and all of one question is said at once: `columns` are those
    that will be read, with those of filters and of an index (None: all of them; empty: the footer alone), `condition`
    an expression that the rows must meet, for a dataset that will skip what it rules out. Of an object that is not on
    this machine only these columns need be there then. Raises `ObjectNotFound`, `CorruptObject`; `Unreachable`.
    """
    if table.source.is_lazy:
        from datapkg.reading.tables import lazy_ranges  # what is on this machine need not know how to fetch

        lazy_ranges.bring(table, parts, None if columns is None else list(columns), condition)
    return [_mapped(table, part.number) for part in parts]


def _mapped(table: StoredTable, number: int) -> pa.Buffer:
    block = table.node.blocks[number]
    if (part := table.source.part(block.hash, block.size)) is not None:
        with part:
            return pa.py_buffer(part.mapped())
    for is_last in (False, True):
        with table.source.explained(table.node.path):
            place = table.source.store.objects.trusted(block.hash)
        try:
            with pa.memory_map(str(place.path)) as mapped:
                mapped.seek(place.offset)
                return mapped.read_buffer(place.size)
        except FileNotFoundError:  # another process has just written its pack anew
            if is_last:
                raise
    raise AssertionError


def opened(table: StoredTable, number: int, buffer: pa.Buffer, long_text: bool = False) -> pq.ParquetFile:
    """A block's object as a Parquet file; raises `CorruptObject` if it is not the one that the manifest describes."""
    try:
        file = open_block(buffer, checked=table.source.is_lazy, long_text=long_text)
        rows, names = file.metadata.num_rows, file.schema_arrow.names
    except (pa.ArrowException, OSError) as error:
        raise unreadable(table, error) from error
    _check(table, number, rows, names)
    return file


def dataset(table: StoredTable, parts: Sequence[BlockRows], buffers: Sequence[pa.Buffer]) -> ds.FileSystemDataset:
    """The objects of these blocks as one dataset of pyarrow, which skips what filters rule out."""
    import pyarrow.dataset as ds

    options = ds.ParquetFragmentScanOptions(page_checksum_verification=table.source.is_lazy)
    form = ds.ParquetFileFormat(default_fragment_scan_options=options)
    fragments = [form.make_fragment(buffer) for buffer in buffers]
    first = fragments[0].physical_schema
    for part, fragment in zip(parts, fragments, strict=True):
        _check(table, part.number, fragment.metadata.num_rows, fragment.physical_schema.names)
        check_types(table, fragment.physical_schema, first)
    return ds.FileSystemDataset(fragments, first, form)


def check_types(table: StoredTable, found: pa.Schema, first: pa.Schema) -> None:
    """Raises `CorruptObject` where a block has other types than the first."""
    if not found.equals(first):
        raise CorruptObject(f"{table.place}: its objects differ in the types of their columns")


def check_columns(table: StoredTable, stored: pa.Schema) -> None:
    """Raise `CorruptObject` where an object has other types than the manifest says: its columns are what lists show.

    `stored` is the schema of the first block, which the others share.
    """
    try:
        read = restore_categories(stored.empty_table()).schema if forgotten_categories(stored) else stored
        found = column_texts(read)
    except (InvalidInput, pa.ArrowException) as error:
        raise unreadable(table, error) from error
    wrong = [(*said, kind) for said, (_, kind) in zip(table.node.columns, found, strict=True) if said[1] != kind]
    if wrong:
        name, said, kind = wrong[0]
        raise CorruptObject(
            f"{table.place}: column {quoted(name)} of its object is {quoted(kind)}, but the "
            f"manifest says {quoted(said)}",
            hash=table.node.blocks[0].hash,
        )


def unreadable(table: StoredTable, error: Exception) -> CorruptObject:
    """The error for an object that is not Parquet, or not all of it; what came of it in stretches is forgotten."""
    table.source.give_up(table.node)
    if table.source.is_lazy and any(not table.source.through.has(hash) for hash, _ in table.node.objects()):
        line = table.source.fetch_line(table.node.path)
        then = f"what came of it was forgotten; read it again, or type: {line}"
    else:
        line = "datapkg verify"
        then = f"type: {line}"
    message = f"{table.place} cannot be read as Parquet: {error}; {then}"
    return CorruptObject(message, hint=line, path=table.node.path)


def _check(table: StoredTable, number: int, rows: int, names: list[str]) -> None:
    block, said = table.node.blocks[number], [name for name, _ in table.node.columns]
    if rows != block.rows or names != said:
        place = f"{table.place}: object sha256:{block.hash[:12]}…"
        raise CorruptObject(
            f"{place} has {rows:,} rows of {quoted(names)}; the manifest says {block.rows:,} rows of {quoted(said)}",
            hash=block.hash,
        )
