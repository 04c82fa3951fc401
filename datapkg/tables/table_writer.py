"""Write a table as Parquet objects, one a block, with a hash of its values; blocks are written in parallel.

A few blocks are in memory at any time, however long the table is. A block whose values, or whose text, an earlier state
of the table has is not written again: its object is reused.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from datapkg.errors import DatapkgError, InvalidInput
from datapkg.format.canonical import encode
from datapkg.format.manifest.parsed import Block
from datapkg.objects.base import Objects
from datapkg.objects.progress import AGAIN, Share, ignore_share
from datapkg.objects.threads import PendingCall, ThreadPool
from datapkg.tables import block_metadata
from datapkg.tables.block_boundaries import WIDE_COLUMNS, Cutter
from datapkg.tables.block_reader import open_block
from datapkg.tables.block_writer import Choices, choose, chosen, write_block
from datapkg.tables.content_hash import block_digests, column_texts, content_hash
from datapkg.tables.derived_objects import put_made
from datapkg.tables.pandas_metadata import remember_categories
from datapkg.tables.storage_types import to_storage_types
from datapkg.tables.table_stream import RestartRead, TablePart, TableStream, TextStream
from datapkg.tables.text_block_cache import KnownBlock, NewBlock, TextBlockCache

# A node is one line of a manifest, of at most 1 MiB; the remainder is for objects and metadata.
MAX_COLUMNS_BYTES = 640 << 10
WORKERS = max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)

# With the types of an earlier build, without them, with types that only the whole text shows, and with the engine that
# remains if another one fails.
_ATTEMPTS = 4

Digests = list[bytes]
# The mark of a table's schema and the joined digests of a block that is stored already, mapped to its object.
Stored = Mapping[bytes, Block]


@dataclass(frozen=True)
class WrittenTable:
    """A table that is stored: what the manifest records of it, and what speeds up the next build.

    `digests` has those of each block, joined, `mark` the hash of its schema; `own` is true if this build alone decided
    how every object was written; `put` are the objects that it wrote.
    """

    columns: list[tuple[str, str]]
    content: str
    rows: int
    blocks: list[Block]
    digests: list[bytes]
    mark: bytes
    own: bool
    put: list[str]
    writer: dict[str, Any] = field(default_factory=dict)
    memo: TextBlockCache | None = None


@dataclass(frozen=True)
class Head:
    """The stored blocks at the beginning of a table, and how the blocks that follow are cut and written."""

    blocks: list[Block]
    digests: list[Digests]
    key: list[int]
    choices: Choices


def write_table(
    source: pa.Table | TableStream,
    objects: Objects,
    *,
    stored: Stored | None = None,
    memo: TextBlockCache | None = None,
    head: Head | None = None,
    share: Share = ignore_share,
) -> WrittenTable:
    """Store a table; `stored` are blocks of its earlier state, `memo` is what is known of its source's text.

    With a `head`, the source is what follows it in the same table. `share` is called with how much of it was read, as
    far as that is known. Raise `InvalidInput` or pyarrow's errors for what
    Parquet cannot hold, and whatever reading the source raises.
    """
    stream: TableStream = _WholeTable(source) if isinstance(source, pa.Table) else source
    text = stream if isinstance(stream, TextStream) else None
    memo = memo if text is not None else None
    for _ in range(_ATTEMPTS):
        known = text is not None and memo is not None and memo.of(text)
        writer = _TableWriter(objects, stored or {}, head, share)
        try:
            return writer.write(stream, text, memo)
        except RestartRead:
            objects.discard(writer.put)
            share(AGAIN)
        if known and text is not None and memo is not None:
            text.assume(())
            memo = memo.forgetting()
    raise RuntimeError("a source restarts without end")


@dataclass(frozen=True)
class _WholeTable:
    """A table in memory as a stream of one part."""

    table: pa.Table

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    def parts(self) -> Iterator[TablePart]:
        yield TablePart(self.table)


@dataclass(frozen=True)
class _Done:
    """A block that is stored."""

    block: Block
    digests: Digests
    known: KnownBlock | None = None
    read: bool = True
    taken_over: bool = False


class _TableWriter:
    """Writes one table; `put` are the hashes of the objects that were stored for it."""

    def __init__(self, objects: Objects, stored: Stored, head: Head | None, share: Share) -> None:
        self.put: list[str] = []
        self._share = share
        self._objects, self._stored, self._head = objects, stored, head
        self._schema: pa.Schema | None = None
        self._no_rows: pa.Table | None = None
        self._mark = b""
        self._choices = head.choices if head else None
        self._first: Block | None = None

    def write(self, stream: TableStream, text: TextStream | None, memo: TextBlockCache | None) -> WrittenTable:
        """Store the table; raise `RestartRead` if types were assumed and the text does not confirm them.

        That all blocks were parsed confirms nothing: an assumed type may be wider than their text requires.
        """
        walk = None
        steps: Iterator[NewBlock | KnownBlock] = iter(())
        is_assumed = text is not None and memo is not None and memo.of(text)
        if text is not None and memo is not None:
            if is_assumed:
                text.assume(memo.needs)
            walk = memo.walk(text, self._as_stored)
            steps = self._followed(walk.steps(), text)
        else:
            steps = self._steps(stream)
        done = list(self._store(steps, text if walk else None))
        if not done:
            empty = self._as_stored(stream.schema.empty_table()) if self._no_rows is None else self._no_rows
            done = [self._write(NewBlock(empty), None)]
        if self._schema is None:  # every block was reused
            self._as_stored(stream.schema.empty_table())
        after = None
        if text is not None and memo is not None and walk is not None:
            after = memo.after(text, walk.key, [each.known for each in done])
            if after is None and is_assumed:
                raise RestartRead
            after = after or memo.forgetting()  # types that the text did not confirm are not assumed again
        return self._written(done, after)

    def _written(self, done: list[_Done], memo: TextBlockCache | None) -> WrittenTable:
        assert self._schema is not None
        head = [_Done(*each) for each in zip(self._head.blocks, self._head.digests, strict=True)] if self._head else []
        done = head + done
        rows = [each.block.rows for each in done]
        digests = [each.digests for each in done]
        return WrittenTable(
            columns=column_texts(self._schema),
            content=content_hash(self._schema, rows, digests),
            rows=sum(rows),
            blocks=[each.block for each in done],
            digests=[b"".join(each) for each in digests],
            mark=self._mark,
            own=all(each.read and not each.taken_over for each in done),
            put=self.put,
            writer=(self._choices or Choices()).record(len(self._schema)),
            memo=memo,
        )

    def _steps(self, stream: TableStream) -> Iterator[NewBlock]:
        cutter = Cutter(self._head.key if self._head else None)
        for part in stream.parts():
            self._share(part.share)
            for cut in cutter.add(self._as_stored(part.table)):
                yield NewBlock(cut.rows)
        for cut in cutter.finish():
            yield NewBlock(cut.rows)

    def _followed(self, steps: Iterator[NewBlock | KnownBlock], text: TextStream) -> Iterator[NewBlock | KnownBlock]:
        """Yield the steps of a walk through a text, and report how much of it they cover."""
        at, size = text.first, text.size
        for step in steps:
            at = at + step.length if isinstance(step, KnownBlock) else max(at, step.stop)
            self._share(at / size if size else 1.0)
            yield step

    def _as_stored(self, table: pa.Table) -> pa.Table:
        """Return a part in the types that are stored; the first part decides the schema of all."""
        if not table.num_columns:
            raise InvalidInput("it has no columns")
        table = to_storage_types(table)
        if self._schema is None:
            columns = column_texts(table.schema)
            if len(encode(columns)) > MAX_COLUMNS_BYTES:
                limit = f"{MAX_COLUMNS_BYTES >> 10} KiB"
                raise InvalidInput(f"{len(columns):,} columns have names and types that take more than {limit}")
            table = remember_categories(table)
            self._schema = table.schema
            self._mark = hashlib.sha256(table.schema.serialize()).digest()
            self._no_rows = table.slice(0, 0)
            # Raises for types that Parquet does not have, before the first block is stored.
            write_block(self._no_rows, Choices())
        return table.replace_schema_metadata(self._schema.metadata)

    def _store(self, steps: Iterator[NewBlock | KnownBlock], text: TextStream | None) -> Iterator[_Done]:
        """Store blocks in order: a single one in this thread, more of them in threads, a few at a time."""
        jobs: deque[PendingCall[_Done] | _Done] = deque()
        with ThreadPool(WORKERS) as pool:
            for step, last in _with_last(steps):
                if isinstance(step, KnownBlock):
                    self._first = self._first or step.block
                    jobs.append(_Done(step.block, step.digests, step, read=False))
                elif last and not jobs:
                    jobs.append(self._write(step, text))
                else:
                    self._settle(step)
                    jobs.append(pool.submit(self._write, _apart(step), text))
                while len(jobs) > WORKERS:
                    yield _result(jobs.popleft())
            while jobs:
                yield _result(jobs.popleft())

    def _settle(self, fresh: NewBlock) -> None:
        """Decide by the first block how all of them are written, also if only later ones are.

        Otherwise a change in the middle of a table might store, and send, whole columns of a block in another encoding.
        """
        if self._choices is None and self._first is not None:
            # Any choice is valid; pyarrow's errors are `ValueError` or `OSError`.
            with (
                contextlib.suppress(DatapkgError, OSError, ValueError),
                self._objects.open(self._first.hash) as stream,
            ):
                self._choices = chosen(open_block(stream).metadata)
        if self._choices is None:
            self._choices = choose(fresh.rows)

    def _write(self, fresh: NewBlock, text: TextStream | None) -> _Done:
        self._settle(fresh)
        rows = fresh.rows.combine_chunks()
        digests = block_digests(rows)
        block = self._stored.get(self._mark + b"".join(digests))
        taken_over = block is not None and block.rows == len(rows)
        if block is None or not taken_over:
            data = write_block(rows, self._choices or Choices(), block_metadata.metadata(rows, digests))
            block = Block(put_made(self._objects, pa.BufferReader(data)), len(rows), data.size)
            self.put.append(block.hash)
        if _is_wide(rows):
            pa.default_memory_pool().release_unused()  # else freed memory of thousands of columns stays with threads
        known = fresh.known(text, block, digests) if text is not None else None
        return _Done(block, digests, known, taken_over=taken_over)


def _is_wide(rows: pa.Table) -> bool:
    return bool(rows.num_columns > WIDE_COLUMNS)


def _apart(step: NewBlock) -> NewBlock:
    """Return a block of a wide table with memory of its own, so that the pieces it was cut from can be freed."""
    return replace(step, rows=step.rows.combine_chunks()) if _is_wide(step.rows) else step


def _result(job: PendingCall[_Done] | _Done) -> _Done:
    return job.result() if isinstance(job, PendingCall) else job


def _with_last(steps: Iterator[NewBlock | KnownBlock]) -> Iterator[tuple[NewBlock | KnownBlock, bool]]:
    """Yield each step, and whether it is the last one, by reading one step ahead."""
    try:
        before = next(steps)
    except StopIteration:
        return
    for step in steps:
        yield before, False
        before = step
    yield before, True
