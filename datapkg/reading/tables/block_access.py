"""Access to the objects of a table: the only way to their bytes, each compared with the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from datapkg.errors import CorruptObject, DatapkgError, InvalidInput, exhausted
from datapkg.format.texts import quoted
from datapkg.reading.tables.row_selection import BlockRows
from datapkg.reading.tables.stored_table import StoredTable
from datapkg.tables.block_reader import open_block
from datapkg.tables.content_hash import column_texts
from datapkg.tables.pandas_metadata import forgotten_categories, restore_categories

if TYPE_CHECKING:
    import pyarrow.dataset as ds


FIRST = [BlockRows(0, ())]
"""The footer of the first block: none of its rows."""


def buffers(
    table: StoredTable,
    parts: Sequence[BlockRows],
    columns: Sequence[str] | None = None,
    condition: Any = None,
    *,
    by_page: bool = False,
) -> list[pa.Buffer]:
    """Return the objects of these blocks mapped into memory, correct as far as they will be read.

    Every read of a table passes here and names all it needs at once: `columns` are those that will be read, including
    those of filters and of an index (None: all of them; empty: only the footer), `condition` an expression that the
    rows must meet: of row groups that it excludes nothing is read. Of an object that is not on this machine, only these
    columns are fetched; with `by_page`, only the pages in a plan of `page_selection`. Raise `ObjectNotFound`,
    `CorruptObject`; `Unreachable`.
    """
    if table.source.is_lazy:
        from datapkg.reading.tables import lazy_ranges  # local tables need nothing that fetches

        wanted = lazy_ranges.Wanted(None if columns is None else list(columns), condition, by_page)
        lazy_ranges.bring(table, parts, wanted)
    return [_mapped(table, part.number) for part in parts]


def _mapped(table: StoredTable, number: int) -> pa.Buffer:
    block = table.node.blocks[number]
    if (part := table.source.part(block.hash, block.size)) is not None:
        with part:
            # The map stays valid after the file is closed.
            return pa.py_buffer(part.mapped())
    for is_last in (False, True):
        with table.source.explained(table.node.path):
            place = table.source.store.objects.trusted(block.hash)
        try:
            with pa.memory_map(str(place.path)) as mapped:
                mapped.seek(place.offset)
                return mapped.read_buffer(place.size)
        except FileNotFoundError:  # another process has just rewritten its pack
            if is_last:
                raise
    raise AssertionError


def opened(table: StoredTable, number: int, buffer: pa.Buffer, long_text: bool = False) -> pq.ParquetFile:
    """Return a block's object as a Parquet file; raise `CorruptObject` if the manifest describes another one."""
    try:
        file = open_block(buffer, checked=table.source.is_lazy, long_text=long_text)
        rows, names = file.metadata.num_rows, file.schema_arrow.names
    except (pa.ArrowException, OSError) as error:
        raise unreadable(table, error) from error
    _check(table, number, rows, names)
    return file


def dataset(table: StoredTable, parts: Sequence[BlockRows], buffers: Sequence[pa.Buffer]) -> ds.FileSystemDataset:
    """Return the objects of these blocks as one dataset of pyarrow, which skips what filters exclude."""
    import pyarrow.dataset as ds

    # Ranges that were fetched are verified by the checksums of their pages, whole objects by their hash.
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=table.source.is_lazy)
    form = ds.ParquetFileFormat(default_fragment_scan_options=options)
    fragments = [form.make_fragment(buffer) for buffer in buffers]
    first = fragments[0].physical_schema
    for part, fragment in zip(parts, fragments, strict=True):
        _check(table, part.number, fragment.metadata.num_rows, fragment.physical_schema.names)
        check_types(table, fragment.physical_schema, first)
    return ds.FileSystemDataset(fragments, first, form)


def check_types(table: StoredTable, found: pa.Schema, first: pa.Schema) -> None:
    """Raise `CorruptObject` if a block has other types than the first."""
    if not found.equals(first):
        raise CorruptObject(f"{table.place}: its objects differ in the types of their columns")


def check_columns(table: StoredTable, stored: pa.Schema) -> None:
    """Raise `CorruptObject` if an object has other types than the manifest states, since listings show those.

    `stored` is the schema of the first block, which the others share.
    """
    try:
        read = restore_categories(stored.empty_table()).schema if forgotten_categories(stored) else stored
        found = column_texts(read)
    except (InvalidInput, pa.ArrowException) as error:
        raise unreadable(table, error) from error
    wrong = [(*stated, kind) for stated, (_, kind) in zip(table.node.columns, found, strict=True) if stated[1] != kind]
    if wrong:
        name, stated, kind = wrong[0]
        raise CorruptObject(
            f"{table.place}: column {quoted(name)} of its object is {quoted(kind)}, but the "
            f"manifest says {quoted(stated)}",
            hash=table.node.blocks[0].hash,
        )


def unreadable(table: StoredTable, error: Exception) -> DatapkgError:
    """Return the error for an object that is not complete Parquet; discard the ranges of it that were fetched.

    If a resource ran out while it was read, return that error, and keep them.
    """
    if (lack := exhausted(error, f"reading {table.place}")) is not None:
        return lack
    table.source.give_up(table.node)
    if table.source.is_lazy and any(not table.source.through.has(hash) for hash, _ in table.node.objects()):
        line = table.source.fetch_line(table.node.path)
        then = f"the partial download was discarded; read it again, or type: {line}"
    else:
        line = "datapkg verify"
        then = f"type: {line}"
    message = f"{table.place} cannot be read as Parquet: {error}; {then}"
    return CorruptObject(message, hint=line, path=table.node.path)


def _check(table: StoredTable, number: int, rows: int, names: list[str]) -> None:
    block, stated = table.node.blocks[number], [name for name, _ in table.node.columns]
    if rows != block.rows or names != stated:
        place = f"{table.place}: object sha256:{block.hash[:12]}…"
        raise CorruptObject(
            f"{place} has {rows:,} rows of {quoted(names)}; the manifest says {block.rows:,} rows of {quoted(stated)}",
            hash=block.hash,
        )
