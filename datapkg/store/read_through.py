"""Read local objects, and behind them remote ones, which are fetched when they are read, and stored.

A whole object is verified by its hash before it gets its name. A range cannot be: it stays in a file of its own
(`partial_objects`) until the object is complete, and then the whole is verified. Until then ranges are verified by the
hashes of the object's chunks, which the registry sends (`chunk_verification`).
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, BinaryIO, cast
from weakref import WeakSet

from datapkg.errors import CorruptObject, HashMismatch, IntegrityError, InvalidInput, Unreachable
from datapkg.objects.base import Readable
from datapkg.objects.concurrency import Moved, run_all
from datapkg.objects.pack_file import PackLocation
from datapkg.objects.progress import Progress, silent
from datapkg.objects.transfer import TransferPlan, after, groups, transfer, twice
from datapkg.store import chunk_verification
from datapkg.store.byte_ranges import ByteRanges, Stretch
from datapkg.store.partial_objects import PartialObject, PartialObjects, keeping
from datapkg.store.verified import VerifiedObjects

SMALL_BYTES = 256 << 10  # fetched whole: one request, and a hash that verifies it
GAP_BYTES = 64 << 10  # smaller gaps are fetched along instead of starting another request
STEP_BYTES, MAX_STEP_BYTES = 256 << 10, 8 << 20
PIECE_BYTES = 1 << 20
GROUP_BYTES = 16 << 20
REQUEST_BYTES = 8 << 20  # longer ranges are fetched by several requests, over all connections


Explained = Callable[[], AbstractContextManager[Any]]


def unnoticed(size_bytes: int) -> None:
    """Report nothing."""


class ReadThrough(Readable):
    """The objects `mine`, and behind them `theirs`, which are used only for missing ones; safe for threads."""

    def __init__(self, mine: VerifiedObjects, theirs: Callable[[], Readable], parts: PartialObjects) -> None:
        self.mine = mine
        self.parts = parts
        self._make_theirs = theirs
        self._begin()
        _homes.add(self)

    def _begin(self) -> None:
        """Initialize, also in a forked child, which must not use a connection or lock of its parent."""
        self._lock = threading.RLock()
        self._theirs: Readable | None = None

    @property
    def theirs(self) -> Readable:
        """Return the remote objects, connecting at the first use."""
        with self._lock:
            if self._theirs is None:
                self._theirs = self._make_theirs()
            return self._theirs

    def missing(self, hashes: Iterable[str]) -> set[str]:
        """Return the hashes of objects that are neither here nor remote."""
        absent = self.mine.missing(hashes)
        return self.theirs.missing(absent) if absent else absent

    def size(self, hash: str) -> int:
        """Return the size of an object in bytes."""
        return self.mine.size(hash) if self.has(hash) else self.theirs.size(hash)

    def has(self, hash: str) -> bool:
        """Return whether the complete object is on this machine."""
        return not self.mine.absent([hash])

    def trusted(self, hash: str) -> PackLocation:
        """Return the verified location of the object on this machine; fetch it first if it is missing."""
        if not self.has(hash):
            self.bring({hash: self.theirs.size(hash)})
        return self.mine.trusted(hash)

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        """Open an object, or a range of it; of a big remote object, only what is read is fetched."""
        if self.has(hash):
            return self.mine.open(hash, start, stop)
        stream = self.stream(hash, self.theirs.size(hash))
        stream.seek(start)
        return stream if stop is None else io.BytesIO(stream.read(max(0, stop - start)))

    def stream(self, hash: str, size: int, explained: Explained = nullcontext) -> BinaryIO:
        """Return a seekable stream of an object of `size` bytes, which the caller closes.

        Of a big object that is not here, only what is read is fetched, inside a context that may explain failures.
        """
        if not self.has(hash) and size <= SMALL_BYTES:
            self.bring({hash: size})
        if self.has(hash):
            return self.mine.open(hash)
        return cast(BinaryIO, io.BufferedReader(_Stretches(self, hash, size, explained), STEP_BYTES))

    def read_many(self, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield hash and bytes of each object, after fetching the missing ones."""
        wanted = list(hashes)
        absent = self.mine.absent(wanted)
        self.bring({hash: self.theirs.size(hash) for hash in absent})
        return self.mine.read_many(wanted)

    def bring(self, sizes: Mapping[str, int], progress: Progress = silent) -> int:
        """Fetch those of these objects (hash to size in bytes) that are missing; return how many were fetched."""
        absent = self.mine.absent(sizes)
        needed = {hash: size for hash, size in sizes.items() if hash in absent}
        total, came, done = sum(needed.values()), 0, 0
        for some in groups(needed, GROUP_BYTES):
            # The lock is held for one group only: a process that waits for one object does not wait for all.
            with keeping(self.parts.folder), self.parts.alone():
                # Again under the lock: another process may have fetched some of them meanwhile.
                here = self.mine.absent(some)
                group = {hash: size for hash, size in some.items() if hash in here}
                transfer(self.theirs, self.mine.downloads, TransferPlan(group, 0), after(progress, done, total))
                for hash, size in group.items():
                    self.parts.drop(hash, size)
            came, done = came + len(group), done + sum(some.values())
        return came

    def fetch(
        self,
        wanted: Iterable[tuple[str, PartialObject, list[Stretch]]],
        moved: Moved = unnoticed,
        gap: int = GAP_BYTES,
    ) -> None:
        """Fetch missing ranges of objects (hash, partial object, ranges): many at once.

        Ranges that are at most `gap` bytes apart are fetched together with what is between them. Raise `HashMismatch`
        if an object became complete and its hash does not match; its partial file is deleted.
        """
        work = [(hash, part, each) for hash, part, each in wanted if _lacking(part, each, gap)]
        if work:
            jobs = self.theirs.jobs
            # Several objects or several ranges of one at once, not both, which would multiply the connections.
            inner = jobs if len(work) == 1 else 1
            run_all([partial(self._fetch_one, *each, inner, gap=gap) for each in work], jobs, moved)

    def prove(self, hash: str, part: PartialObject, stretches: list[Stretch]) -> bool:
        """Fetch ranges if missing, and verify every chunk that they overlap; return False if there is no chunk map.

        Without a chunk map, nothing is done. Raise `CorruptObject` if a chunk is corrupt; the partial file is deleted.
        """
        chunks = chunk_verification.kept_chunks(part)
        if chunks is None:
            try:
                chunks = chunk_verification.asked_chunks(part, lambda: self.theirs.chunks(hash, part.size))
            except InvalidInput as error:
                raise CorruptObject(f"object {hash}: {error.message}", hash=hash) from error
        if chunks is None:
            return False
        touched = chunk_verification.touched(chunks, stretches)
        self.fetch([(hash, part, [(chunk.start, chunk.stop) for chunk in touched])])
        if not all(chunk_verification.is_right(part, chunk) for chunk in touched):
            self.parts.drop(hash, part.size)
            raise CorruptObject(f"a part of object {hash} is not what its hash says; it was not used", hash=hash)
        return True

    def _fetch_one(
        self, hash: str, part: PartialObject, stretches: list[Stretch], jobs: int, moved: Moved, *, gap: int
    ) -> None:
        with part.alone():
            lacking = _lacking(part, stretches, gap)  # another process may have fetched them meanwhile
            left = part.lacking(0, part.size)
            # An object that becomes whole is hashed, so records that were not synced can do no harm.
            durable = left != [each for stretch in stretches for each in part.lacking(*stretch)]
            pieces = [
                (at, min(at + REQUEST_BYTES, stop))
                for start, stop in lacking
                for at in range(start, stop, REQUEST_BYTES)
            ]
            run_all([partial(self._fetch_stretch, hash, part, each, durable) for each in pieces], jobs, moved)
            if lacking and part.is_whole:
                self.promote(hash, part)

    def _fetch_stretch(self, hash: str, part: PartialObject, stretch: Stretch, durable: bool, moved: Moved) -> None:
        """Fetch a range and record it; an interrupted fetch continues behind the last record."""
        start, stop = stretch
        at = start
        with self.theirs.open(hash, start, stop) as stream:
            while at < stop and (piece := stream.read(min(PIECE_BYTES, stop - at))):
                part.write(at, piece)
                if not durable:  # else recorded once, since that syncs
                    part.keep([(at, at + len(piece))], durable=False)
                at += len(piece)
                moved(len(piece))
        if at != stop:
            raise Unreachable(f"object {hash} broke off: {at - start:,} of {stop - start:,} bytes came")
        if durable:
            part.keep([stretch])

    def promote(self, hash: str, part: PartialObject) -> None:
        """Make a complete partial object an object; raise `HashMismatch`, and delete it, if its hash is another."""
        with keeping(self.parts.folder):
            try:
                self.mine.downloads.take(part.path, hash, part.size)
            except HashMismatch as error:
                self.parts.drop(hash, part.size)
                error.explain(self.theirs.address(hash))
                raise
        self.parts.drop(hash, part.size)


_homes: WeakSet[ReadThrough] = WeakSet()


def _begin_again() -> None:
    for home in _homes:
        home._begin()


os.register_at_fork(after_in_child=_begin_again)


class _Stretches(io.RawIOBase):
    """A remote object as a file; each read fetches what it needs, and more ahead while reading is sequential."""

    def __init__(self, objects: ReadThrough, hash: str, size: int, explained: Explained) -> None:
        self._objects, self._hash, self._size, self._explained = objects, hash, size, explained
        self._part = objects.parts.part(hash, size)
        self._at = self._fetched_to = 0
        self._proved = ByteRanges()
        self._step = STEP_BYTES

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position; raise `InvalidInput` before the first byte."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise InvalidInput(f"a file has no byte {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: object) -> int:
        """Read into a buffer, fetching and verifying missing ranges; return the number of bytes."""
        view = memoryview(buffer)  # type: ignore[arg-type]
        stop = min(self._at + len(view), self._size)
        if stop <= self._at:
            return 0
        if self._proved.lacking(self._at, stop):
            # Sequential reads double the amount that is fetched ahead; a jump resets it.
            self._step = min(2 * self._step, MAX_STEP_BYTES) if self._at == self._fetched_to else STEP_BYTES
            ahead = min(self._size, max(stop, self._at + self._step))
            with self._explained():
                # Of a wrong chunk nothing was returned yet, unlike of an object that is known to be wrong at its end.
                twice(partial(self._bring, ahead), self._objects.theirs.address(self._hash), CorruptObject)
            self._proved.add([(self._at, ahead)])
            self._fetched_to = ahead
        data = self._part.read(self._at, stop)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _bring(self, ahead: int) -> None:
        """Fetch and verify the range up to `ahead`; begin with another partial file after an error."""
        wanted = [(self._at, ahead)]
        if self._part.is_closed:
            self._part, self._proved = self._objects.parts.part(self._hash, self._size), ByteRanges()
        try:
            if not self._objects.prove(self._hash, self._part, wanted):
                self._objects.fetch([(self._hash, self._part, wanted)])
        except IntegrityError:
            self._part.close()
            raise

    def close(self) -> None:
        """Close the stream and its partial file."""
        if not self.closed:
            self._part.close()
        super().close()


def _lacking(part: PartialObject, stretches: list[Stretch], gap: int) -> list[Stretch]:
    """Return the missing parts of these ranges, with near ones joined."""
    joined: list[Stretch] = []
    for start, stop in sorted(each for stretch in stretches for each in part.lacking(*stretch)):
        if joined and start - joined[-1][1] <= gap:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined
