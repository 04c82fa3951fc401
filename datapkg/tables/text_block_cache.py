"""What is known of a text from which a table was built: which range of it became which block.

A range of text that is unchanged is not parsed again. Where a block ends depends on the row after it, so a known block
counts only if the next row begins a block whatever precedes it: if it is a boundary by its own hash
(`tables/block_boundaries`), or the text ends there. The key of the table is reused only if the first known block has
all the rows that the key depends on. Types depend on all of the text: those of the earlier build are assumed, and what
each range requires is kept. All requirements together must give the assumed types in the end; otherwise nothing is
assumed and everything is read again, whether or not any block was reused.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from datapkg.format.manifest.parsed import Block
from datapkg.tables.block_boundaries import Cutter, first_rows, min_rows
from datapkg.tables.table_stream import Needs, TablePart, TextStream

_HEAD_BYTES = 64
"""Known blocks are looked up by their first bytes; only where these match is a range of text hashed."""
_READ_BYTES = 1 << 20
AsStored = Callable[[Any], Any]


class KnownBlock(msgspec.Struct, frozen=True):
    """A range of text and the block that it became; `hit` tells whether its first row is a boundary."""

    length: int
    head: bytes
    sha256: bytes
    hit: bool
    needs: Needs
    block: Block
    digests: list[bytes]


@dataclass(frozen=True)
class NewBlock:
    """A block that was read from the source, and the range of its text there (in bytes; -1 if not known)."""

    rows: Any
    hit: bool = True
    start: int = -1
    stop: int = -1
    source: Path | None = None

    def known(self, text: TextStream, block: Block, digests: list[bytes]) -> KnownBlock | None:
        """Return what to remember of it."""
        if self.start < 0 or self.stop < 0 or self.source is None:
            return None
        sha256, head = _hash_stretch(self.source, self.start, self.stop)
        needs = text.needs(self.rows, self.start, self.stop)
        return KnownBlock(self.stop - self.start, head, sha256, self.hit, needs, block, digests)


class _Kept(msgspec.Struct):
    """A cache as it is stored."""

    choices: str
    key: list[int]
    needs: Needs
    blocks: list[KnownBlock]


@dataclass
class TextBlockCache:
    """What is known of the text of one source; empty at first."""

    source: Path
    choices: str = ""
    key: list[int] | None = None
    needs: Needs = ()
    blocks: list[KnownBlock] = field(default_factory=list)

    @classmethod
    def decode(cls, source: Path, data: bytes) -> TextBlockCache:
        """Return a stored cache; an empty one if it cannot be read."""
        try:
            kept = msgspec.msgpack.decode(data, type=_Kept)
        except msgspec.MsgspecError:
            return cls(source)
        return cls(source, kept.choices, kept.key, kept.needs, kept.blocks)

    def encode(self) -> bytes:
        """Return the cache as bytes to store."""
        return msgspec.msgpack.encode(_Kept(self.choices, self.key or [], self.needs, self.blocks))

    def forgetting(self) -> TextBlockCache:
        """Return an empty cache for the same source."""
        return TextBlockCache(self.source)

    def objects(self) -> set[str]:
        """Return the hashes of the objects that may be reused."""
        return {known.block.hash for known in self.blocks}

    def without(self, absent: set[str]) -> TextBlockCache:
        """Return the cache without blocks whose objects are missing."""
        kept = [known for known in self.blocks if known.block.hash not in absent]
        return TextBlockCache(self.source, self.choices, self.key, self.needs, kept)

    def after(self, text: TextStream, key: list[int] | None, blocks: list[KnownBlock | None]) -> TextBlockCache | None:
        """Return what is known after a build; None if the text may not require the types that were decided."""
        known = [each for each in blocks if each is not None]
        if not known or len(known) < len(blocks) or key is None:
            return None
        needs = known[0].needs
        for each in known[1:]:
            needs = text.joined(needs, each.needs)
        return TextBlockCache(self.source, text.choices, key, needs, known) if text.fits(needs) else None

    def walk(self, text: TextStream, as_stored: AsStored) -> Walk:
        """Return a walk through the text that reads only what is not known."""
        return Walk(self, text, as_stored)

    def of(self, text: TextStream) -> bool:
        """Return whether anything that is known holds for this text."""
        return bool(self.blocks) and self.choices == text.choices


class Walk:
    """One pass through a text; `key` is that of its table, known when the first block is."""

    def __init__(self, memo: TextBlockCache, text: TextStream, as_stored: AsStored) -> None:
        self.key: list[int] | None = None
        self._text, self._as_stored = text, as_stored
        columns = len(text.schema)
        self._first_rows, self._min_rows = first_rows(columns), min_rows(columns)
        self._source, self._old_key = memo.source, memo.key
        self._by_head: dict[bytes, list[KnownBlock]] = {}
        self._looked: tuple[int, KnownBlock | None] = (-1, None)
        if memo.of(text):
            for known in memo.blocks:
                self._by_head.setdefault(known.head, []).append(known)

    def steps(self) -> Iterator[NewBlock | KnownBlock]:
        """Yield the blocks in order: those that are known, and those that have to be read."""
        at = self._text.first
        held: KnownBlock | None = None  # known, if only the next row is a hit
        self.key = self._old_key if self._settles_key(at) else None
        while at < self._text.size:
            known = self._known(at) if self.key is not None else None
            if known and (held is None or self._ends_before(held, known.hit)):
                if held:
                    yield held
                held, at = known, at + known.length
                continue
            parts = iter(self._text.parts(at))
            if held:
                part = next((each for each in parts if len(each.table)), None)
                if part is None:  # only blank lines follow
                    break
                if self._ends_before(held, self._is_hit(part)):
                    yield held
                    parts = _then(part, parts)
                else:
                    _close(parts)
                    at -= held.length
                    parts = iter(self._text.parts(at))
                held = None
            at = yield from self._read(parts)
        if held:
            yield held

    def _read(self, parts: Iterator[TablePart]) -> Generator[NewBlock, None, int]:
        """Yield blocks from the source, up to one after which the text is known; return where that is."""
        cutter = Cutter(self.key)
        places = _Places()
        try:
            for part in parts:
                places.add(part)
                for cut in cutter.add(self._as_stored(part.table)):
                    self.key = cutter.key
                    start, stop = places.next(len(cut.rows))
                    yield NewBlock(cut.rows, cut.hit, start, stop, self._source)
                    if stop >= 0 and self.key == self._old_key and self._known(stop):
                        return stop
        finally:
            _close(parts)
        for cut in cutter.finish():
            self.key = cutter.key
            yield NewBlock(cut.rows, cut.hit, *places.next(len(cut.rows)), self._source)
        return self._text.size

    def _settles_key(self, at: int) -> bool:
        """Return whether the block at the beginning is known and has all the rows on which the table's key depends."""
        known = self._known(at)
        return known is not None and (known.block.rows >= self._first_rows or at + known.length == self._text.size)

    def _ends_before(self, known: KnownBlock, hit: bool) -> bool:
        """Return whether a known block ends before a row, given whether that row is a boundary."""
        return hit and known.block.rows >= self._min_rows

    def _is_hit(self, part: TablePart) -> bool:
        return Cutter(self.key).is_hit(self._as_stored(part.table.slice(0, 1)))

    def _known(self, at: int) -> KnownBlock | None:
        """Return the block whose text begins here, if it is known."""
        if self._looked[0] != at:
            self._looked = (at, self._look(at))
        return self._looked[1]

    def _look(self, at: int) -> KnownBlock | None:
        size = self._text.size
        if not self._by_head or at >= size:
            return None
        with open(self._source, "rb", buffering=0) as file:
            head = os.pread(file.fileno(), _HEAD_BYTES, at)
            for known in self._by_head.get(head, ()):
                stop = at + known.length
                # A range that was the end of a text without a final newline may now end within a record.
                is_whole = stop == size or (stop < size and os.pread(file.fileno(), 1, stop - 1) == b"\n")
                if is_whole and _hash_stretch(self._source, at, stop)[0] == known.sha256:
                    return known
        return None


class _Places:
    """The offsets of rows in the text, recorded part by part and looked up block by block."""

    def __init__(self) -> None:
        self._parts: deque[tuple[int, TablePart]] = deque()
        self._rows = self._taken = 0
        self._at = -1

    def add(self, part: TablePart) -> None:
        if not self._rows:
            self._at = part.start
        if len(part.table):
            self._parts.append((self._rows, part))
            self._rows += len(part.table)

    def next(self, rows: int) -> tuple[int, int]:
        """Return where the text of the next rows begins and ends; -1 if that is not known."""
        start, self._taken = self._at, self._taken + rows
        stop = -1
        while self._parts:
            first, part = self._parts[0]
            if self._taken < first + len(part.table):
                offset = part.offset(self._taken - first)
                stop = -1 if offset is None else offset
                break
            stop = part.stop
            self._parts.popleft()
        self._at = stop
        return start, stop


def _then(part: TablePart, parts: Iterator[TablePart]) -> Iterator[TablePart]:
    try:
        yield part
        yield from parts
    finally:
        _close(parts)


def _close(parts: Iterator[TablePart]) -> None:
    if isinstance(parts, Generator):
        parts.close()


def _hash_stretch(source: Path, start: int, stop: int) -> tuple[bytes, bytes]:
    """Return the sha256 of a range of a file, and its first bytes."""
    sha256 = hashlib.sha256()
    head = b""
    buffer = bytearray(min(_READ_BYTES, stop - start))
    view = memoryview(buffer)
    with open(source, "rb", buffering=0) as file:
        file.seek(start)
        while start < stop and (count := file.readinto(view[: stop - start])):
            sha256.update(view[:count])
            head = head or bytes(view[: min(count, _HEAD_BYTES)])
            start += count
    return sha256.digest() if start == stop else b"", head
