"""Tables whose objects are not on this machine: of each only the footer, and the columns that are read, are fetched.

Pages prove themselves by the checksums that Parquet has for them, which the reader checks; without these, stretches are
held against the hashes of the chunks that they lie in, and an object of which nobody tells the chunks comes whole. So
does a small one. A footer is held against the manifest: its rows, and names of columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from datapkg.errors import CorruptObject
from datapkg.format.manifest.parsed import Block, TableNode
from datapkg.reading.source import Source
from datapkg.reading.tables.row_selection import BlockRows, within
from datapkg.reading.tables.stored_table import StoredTable
from datapkg.store.byte_ranges import Stretch
from datapkg.store.partial_objects import PartialObject as Stored
from datapkg.store.read_through import SMALL_BYTES
from datapkg.tables.block_reader import read_footer

_MAGIC, _TAIL = b"PAR1", 8
_FIRST_GUESS = 16 << 10
_NEXT_INTEGER = 0x15  # how Thrift's compact protocol begins a field of 32 bits that follows the one before


class _Open(NamedTuple):
    """A block that is fetched in stretches."""

    part: BlockRows
    block: Block
    stored: Stored

    def fetches(self, stretches: list[Stretch]) -> tuple[str, Stored, list[Stretch]]:
        return self.block.hash, self.stored, stretches


def bring(table: StoredTable, parts: Sequence[BlockRows], columns: list[str] | None, condition: Any) -> None:
    """Fetches what reading these columns (None: all) of these blocks needs, and is not here; blocks that the condition
    rules out by their footers need no more than these.
    """
    through = table.source.through
    absent = [(part, table.node.blocks[part.number]) for part in parts]
    absent = [(part, block) for part, block in absent if not through.has(block.hash)]
    if not absent:
        return
    is_all = (columns is None and condition is None) or _has_odd_names(table.node)
    whole = {block.hash: block.size for _, block in absent if is_all or block.size <= SMALL_BYTES}
    with table.source.explained(table.node.path), ExitStack() as stack:
        if whole:
            through.bring(whole)
        opened = [
            _Open(part, block, stack.enter_context(through.parts.part(block.hash, block.size)))
            for part, block in absent
            if block.hash not in whole
        ]
        if opened:
            _bring_stretches(table.source, opened, columns, condition)


def _bring_stretches(source: Source, opened: list[_Open], columns: list[str] | None, condition: Any) -> None:
    through = source.through
    footers = _footers(source, opened)
    wanted = [
        (each, _chunks(footer, each, columns), _end(each, footer.serialized_size + _TAIL))
        for each, footer in zip(opened, footers, strict=True)
        if condition is None or _may_have(each, condition)
    ]
    through.fetch([each.fetches(chunks) for each, chunks, _ in wanted])
    for each, chunks, end in wanted:
        is_proved = all(_has_checksum(each.stored, start) for start, _ in chunks)
        if not is_proved and not through.prove(*each.fetches([*chunks, end])):
            through.bring({each.block.hash: each.block.size})


def _has_odd_names(table: TableNode) -> bool:
    """Whether names alone do not say which columns of the file are meant."""
    names = [name for name, _ in table.columns]
    return len(set(names)) < len(names) or any("." in name for name in names)


def _footers(source: Source, opened: list[_Open]) -> list[pq.FileMetaData]:
    """The footers of these objects; those of one table are of about one length."""
    lengths: list[int] = []
    guess = _FIRST_GUESS
    for some in (opened[:1], opened[1:]):
        source.through.fetch([each.fetches([_end(each, guess)]) for each in some])
        found = [_footer_bytes(each) for each in some]
        source.through.fetch([each.fetches([_end(each, size)]) for each, size in zip(some, found, strict=True)])
        lengths += found
        guess = max(lengths) + max(lengths) // 8
    return [_footer(each, length) for each, length in zip(opened, lengths, strict=True)]


def _end(each: _Open, size: int) -> Stretch:
    return max(0, each.block.size - size), each.block.size


def _footer_bytes(each: _Open) -> int:
    """How many bytes the footer takes, with its length and the magic at the very end."""
    tail = each.stored.read(*_end(each, _TAIL))
    size = int.from_bytes(tail[:4], "little") + _TAIL
    if tail[4:] != _MAGIC or size > each.block.size:
        raise CorruptObject(f"object {each.block.hash} does not end as Parquet does", hash=each.block.hash)
    return size


def _footer(each: _Open, size: int) -> pq.FileMetaData:
    try:
        return read_footer(each.stored.read(*_end(each, size)))
    except (pa.ArrowException, OSError) as error:
        raise CorruptObject(f"object {each.block.hash}: {error}", hash=each.block.hash) from error


def _chunks(footer: pq.FileMetaData, each: _Open, columns: list[str] | None) -> list[Stretch]:
    """Where the values of the columns lie, in the row groups that are hit."""
    names = None if columns is None else set(columns)
    found, start = [], 0
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        if each.part.rows is None or len(within(each.part.rows, start, group.num_rows)):
            chunks = (group.column(at) for at in range(group.num_columns))
            found += [_place(one) for one in chunks if names is None or one.path_in_schema.split(".")[0] in names]
        start += group.num_rows
    if any(not 0 <= begin <= end <= each.block.size for begin, end in found):
        raise CorruptObject(f"object {each.block.hash} has columns outside of itself", hash=each.block.hash)
    return found


def _place(chunk: pq.ColumnChunkMetaData) -> Stretch:
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        start = min(start, chunk.dictionary_page_offset)
    return start, start + chunk.total_compressed_size


def _may_have(each: _Open, condition: Any) -> bool:
    """Whether a row of the block may meet a condition, as far as its footer tells: the dataset asks the same."""
    import pyarrow.dataset as ds

    try:
        fragment = ds.ParquetFileFormat().make_fragment(pa.py_buffer(each.stored.mapped()))
        return bool(fragment.subset(condition).row_groups)
    except (pa.ArrowException, OSError):
        return True  # what is wrong is said by whoever reads


def _has_checksum(stored: Stored, start: int) -> bool:
    """Whether the page that begins here has a checksum: after its type and two sizes, the fourth field is there."""
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
