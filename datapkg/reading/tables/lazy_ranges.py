"""Fetch tables that are not on this machine by ranges: of each object only the footer and the columns that are read.

Pages carry Parquet's checksums, which the reader verifies. Without checksums, ranges are verified by the hashes of the
chunks that they are in, and an object whose chunks are unknown is fetched whole. So is a small one. A footer is
compared with the manifest: its rows, and names of columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from datapkg.errors import CorruptObject, exhausted
from datapkg.format.manifest.parsed import Block, TableNode
from datapkg.objects.parquet_pages import page_at
from datapkg.reading.source import Source
from datapkg.reading.tables import page_selection
from datapkg.reading.tables.row_selection import BlockRows, groups_with, needed
from datapkg.reading.tables.stored_table import StoredTable
from datapkg.store.byte_ranges import Stretch
from datapkg.store.partial_objects import PartialObject as Stored
from datapkg.store.read_through import SMALL_BYTES
from datapkg.tables.block_reader import read_footer

_MAGIC, _TAIL = b"PAR1", 8
_FIRST_GUESS = 16 << 10
"""How much of the end of an object is fetched before the length of its footer is known."""
# Only in a long column chunk, the pages of the first rows are searched; each page costs a request.
_LONG_CHUNK, _PAGE_GUESS, _MOST_PAGES = 1 << 20, 64 << 10, 8
_MOST = 0.8  # if more of an object is read, it is fetched whole
_NEXT_INTEGER = 0x15  # the header of a 32-bit field with the next id, in Thrift's compact protocol


class _LazyBlock(NamedTuple):
    """A block that is fetched by ranges."""

    part: BlockRows
    block: Block
    stored: Stored

    def fetches(self, stretches: list[Stretch]) -> tuple[str, Stored, list[Stretch]]:
        return self.block.hash, self.stored, stretches


class Wanted(NamedTuple):
    """The columns that are read (None: all), the condition on rows, and whether pages are read by a plan."""

    columns: list[str] | None
    condition: Any
    by_page: bool


def bring(table: StoredTable, parts: Sequence[BlockRows], wanted: Wanted) -> None:
    """Fetch what is missing for reading these blocks.

    Of blocks that the condition excludes by their footers, only the footers are fetched.
    """
    through = table.source.through
    absent = [(part, table.node.blocks[part.number]) for part in parts]
    absent = [(part, block) for part, block in absent if not through.has(block.hash)]
    if not absent:
        return
    is_all = wanted.columns is None and wanted.condition is None
    whole = {
        block.hash: block.size
        for part, block in absent
        if (is_all and part.rows is None) or block.size <= SMALL_BYTES or _has_odd_names(table.node)
    }
    with table.source.explained(table.node.path), ExitStack() as stack:
        if whole:
            table.source.bring_objects(table.node, whole)
        opened = [
            _LazyBlock(part, block, stack.enter_context(through.parts.part(block.hash, block.size)))
            for part, block in absent
            if block.hash not in whole
        ]
        if opened:
            _bring_stretches(table, opened, wanted)


def _bring_stretches(table: StoredTable, opened: list[_LazyBlock], asked: Wanted) -> None:
    source, through = table.source, table.source.through
    footers = _footers(source, opened)
    wanted = [
        (each, _stretches(source, each, footer, asked), _end(each, footer.serialized_size + _TAIL))
        for each, footer in zip(opened, footers, strict=True)
    ]
    # One request for an object of which most is read; its hash verifies it then.
    most = {
        each.block.hash: each.block.size
        for each, chunks, _ in wanted
        if sum(stop - start for start, stop in chunks) > _MOST * each.block.size
    }
    source.bring_objects(table.node, most)
    wanted = [each for each in wanted if each[0].block.hash not in most]
    through.fetch([each.fetches(chunks) for each, chunks, _ in wanted])
    for each, chunks, end in wanted:
        is_proved = all(_has_checksum(each.stored, start) for start, _ in chunks)
        if not is_proved and not through.prove(*each.fetches([*chunks, end])):
            through.bring({each.block.hash: each.block.size})


def _has_odd_names(table: TableNode) -> bool:
    """Return whether names alone do not identify the columns of the file."""
    names = [name for name, _ in table.columns]
    return len(set(names)) < len(names) or any("." in name for name in names)


def _footers(source: Source, opened: list[_LazyBlock]) -> list[pq.FileMetaData]:
    """Return the footers of these objects.

    Those of one table have similar lengths, so the length of the first is the guess for the others.
    """
    lengths: list[int] = []
    guess = _FIRST_GUESS
    for some in (opened[:1], opened[1:]):
        source.through.fetch([each.fetches([_end(each, guess)]) for each in some])
        found = [_footer_bytes(each) for each in some]
        source.through.fetch([each.fetches([_end(each, size)]) for each, size in zip(some, found, strict=True)])
        lengths += found
        # An eighth more: the footer of a later block may be a little longer.
        guess = max(lengths) + max(lengths) // 8
    return [_footer(each, length) for each, length in zip(opened, lengths, strict=True)]


def _end(each: _LazyBlock, size: int) -> Stretch:
    return max(0, each.block.size - size), each.block.size


def _footer_bytes(each: _LazyBlock) -> int:
    """Return how many bytes the footer takes, with its length and the magic bytes at the end."""
    tail = each.stored.read(*_end(each, _TAIL))
    size = int.from_bytes(tail[:4], "little") + _TAIL
    if tail[4:] != _MAGIC or size > each.block.size:
        raise CorruptObject(f"object {each.block.hash} does not end like a Parquet file", hash=each.block.hash)
    return size


def _footer(each: _LazyBlock, size: int) -> pq.FileMetaData:
    try:
        return read_footer(each.stored.read(*_end(each, size)))
    except (pa.ArrowException, OSError) as error:
        raise exhausted(error) or CorruptObject(f"object {each.block.hash}: {error}", hash=each.block.hash) from error


def _stretches(source: Source, each: _LazyBlock, footer: pq.FileMetaData, asked: Wanted) -> list[Stretch]:
    """Return where the values are that will be read.

    They are those of a plan of pages, or all of the row groups that have wanted rows; of the last row group only as
    many pages as are decoded.
    """
    buffer, condition = pa.py_buffer(each.stored.mapped()), asked.condition
    names = None if asked.columns is None else set(asked.columns)
    if asked.by_page:
        plan = page_selection.plan(buffer, each.part.rows, names, condition, _bringing(source, each))
        if plan is not None:
            return plan.stretches()
    groups = groups_with(buffer, condition, footer.schema.to_arrow_schema())
    numbers, stop, _ = needed(footer, each.part.rows, groups)
    whole: list[Stretch] = []
    beginnings: list[_Beginning] = []
    for number in numbers:
        group = footer.row_group(number)
        is_last = number == numbers[-1] and stop is not None
        for at in range(group.num_columns):
            chunk = group.column(at)
            if names is not None and chunk.path_in_schema.split(".")[0] not in names:
                continue
            start, end = _place(chunk)
            if not 0 <= start <= end <= each.block.size:
                raise CorruptObject(f"object {each.block.hash} has columns beyond its end", hash=each.block.hash)
            is_flat = footer.schema.column(at).max_repetition_level == 0
            if is_last and stop is not None and is_flat and end - start > _LONG_CHUNK:
                beginnings.append(_Beginning(start, start, end, stop))
            else:
                whole.append((start, end))
        stop = None if stop is None else stop - group.num_rows * (not is_last)
    return whole + _beginnings(source, each, beginnings)


def _bringing(source: Source, each: _LazyBlock) -> page_selection.Bring:
    return lambda stretches: source.through.fetch([each.fetches(stretches)])


@dataclass
class _Beginning:
    """The pages of a column chunk, from `start` up to `at`, that are known to be needed; `rows` are still lacking."""

    start: int
    at: int
    end: int
    rows: int


def _beginnings(source: Source, each: _LazyBlock, found: list[_Beginning]) -> list[Stretch]:
    """Return where the pages with the first rows of some column chunks are.

    The header of each page says where the next one is. A chunk that has more than `_MOST_PAGES` of them, or none that
    can be read, is fetched as a whole.
    """
    searched = list(found)
    for _ in range(_MOST_PAGES):
        heads = [(one.at, min(one.at + _PAGE_GUESS, one.end)) for one in searched]
        source.through.fetch([each.fetches(heads)])
        for one, head in zip(searched, heads, strict=True):
            page = page_at(each.stored.read(*head))
            size = page.size if page else one.end
            one.at = min(one.at + size, one.end)
            one.rows -= page.values if page else 0
        searched = [one for one in searched if one.rows > 0 and one.at < one.end]
    for one in searched:
        one.at = one.end
    return [(one.start, one.at) for one in found]


def _place(chunk: pq.ColumnChunkMetaData) -> Stretch:
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        start = min(start, chunk.dictionary_page_offset)
    return start, start + chunk.total_compressed_size


def _has_checksum(stored: Stored, start: int) -> bool:
    """Return whether the page that begins here has a checksum: the fourth field, after its type and two sizes."""
    head = stored.read(start, start + 64)
    at = 0
    for _ in range(3):
        if head[at : at + 1] != bytes([_NEXT_INTEGER]):
            return False
        at += 1
        while head[at : at + 1] >= b"\x80":
            at += 1
        at += 1
    return head[at : at + 1] == bytes([_NEXT_INTEGER])
