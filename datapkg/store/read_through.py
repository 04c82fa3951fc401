"""Local objects, in front of remote ones that are fetched when they are read, and kept.

A whole object is checked against its hash before it gets its name. A range of one cannot be: it stays in a file of its
own (`partial_objects`) until the object is complete, and then the whole is checked. Until then ranges are checked
against the hashes of the object's chunks, which the registry sends (`chunk_verification`).
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, BinaryIO, cast
from weakref import WeakSet

from datapkg.errors import CorruptObject, HashMismatch, InvalidInput, Unreachable
from datapkg.format.hashing import hash_bytes
from datapkg.objects.base import Readable
from datapkg.objects.pack_file import PackLocation
from datapkg.objects.progress import Progress, silent
from datapkg.objects.transfer import TransferPlan, groups, transfer
from datapkg.store import chunk_verification
from datapkg.store.byte_ranges import ByteRanges, Stretch
from datapkg.store.partial_objects import NO_ROOM, PartialObject, PartialObjects, keeping
from datapkg.store.verified import VerifiedObjects

SMALL_BYTES = 256 << 10  # asked for whole: one request, and a hash that proves it
GAP_BYTES = 64 << 10  # fetched along rather than asked around
STEP_BYTES, MAX_STEP_BYTES = 256 << 10, 8 << 20
PIECE_BYTES = 1 << 20
GROUP_BYTES = 16 << 20
ASKED_AT_ONCE = 8


Explained = Callable[[], AbstractContextManager[Any]]


class ReadThrough(Readable):
    """`mine`, and behind them `theirs`, who are asked only for what is not here; safe for threads."""

    def __init__(self, mine: VerifiedObjects, theirs: Callable[[], Readable], parts: PartialObjects) -> None:
        self.mine = mine
        self.parts = parts
        self._make_theirs = theirs
        self._begin()
        _homes.add(self)

    def _begin(self) -> None:
        """Also in the child of a fork: neither a connection nor a lock of its parent may be used there."""
        self._lock = threading.RLock()
        self._theirs: Readable | None = None

    @property
    def theirs(self) -> Readable:
        with self._lock:
            if self._theirs is None:
                self._theirs = self._make_theirs()
            return self._theirs

    def missing(self, hashes: Iterable[str]) -> set[str]:
        absent = self.mine.missing(hashes)
        return self.theirs.missing(absent) if absent else absent

    def size(self, hash: str) -> int:
        return self.mine.size(hash) if self.has(hash) else self.theirs.size(hash)

    def has(self, hash: str) -> bool:
        """Return whether the object is on this machine, whole."""
        return not self.mine.packed.missing([hash])

    def trusted(self, hash: str) -> PackLocation:
        """Return where the object is on this machine, verified; fetch it first if it is missing."""
        if not self.has(hash):
            self.bring({hash: self.theirs.size(hash)})
        return self.mine.trusted(hash)

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        if self.has(hash):
            return self.mine.open(hash, start, stop)
        stream = self.stream(hash, self.theirs.size(hash))
        stream.seek(start)
        return stream if stop is None else io.BytesIO(stream.read(max(0, stop - start)))

    def stream(self, hash: str, size: int, explained: Explained = nullcontext) -> BinaryIO:
        """A seekable stream of an object of `size` bytes, which the caller closes; of a big one that is not here,
        only what is read is fetched, inside a context that may say more of what fails.
        """
        if not self.has(hash) and size <= SMALL_BYTES:
            self.bring({hash: size})
        if self.has(hash):
            return self.mine.open(hash)
        return cast(BinaryIO, io.BufferedReader(_Stretches(self, hash, size, explained), STEP_BYTES))

    def read_many(self, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        wanted = list(hashes)
        absent = self.mine.packed.missing(wanted)
        self.bring({hash: self.theirs.size(hash) for hash in absent})
        return self.mine.read_many(wanted)

    def bring(self, sizes: Mapping[str, int], progress: Progress = silent) -> int:
        """Fetch those of these objects (hash to size in bytes) that are not here, whole; return how many came."""
        absent = self.mine.packed.missing(sizes)
        needed = {hash: size for hash, size in sizes.items() if hash in absent}
        total, came, done = sum(needed.values()), 0, 0
        for some in groups(needed, GROUP_BYTES):
            # For a while only: who waits for one object does not wait for all.
            with keeping(self.parts.folder), self.parts.alone():
                here = self.mine.packed.missing(some)
                group = {hash: size for hash, size in some.items() if hash in here}
                transfer(self.theirs, self.mine, TransferPlan(group, 0), _after(progress, done, total))
                for hash, size in group.items():
                    self.parts.drop(hash, size)
            came, done = came + len(group), done + sum(some.values())
        return came

    def fetch(self, wanted: Iterable[tuple[str, PartialObject, list[Stretch]]]) -> None:
        """Sees to it that stretches of objects are here: hash, part, stretches; many at once, near ones together.

        Raise `HashMismatch` where an object became whole and is not what its hash says; its part is dropped.
        """
        work = [(hash, part, each) for hash, part, each in wanted if _lacking(part, each)]
        if len(work) == 1:
            self._fetch_one(*work[0])
        elif work:
            with ThreadPoolExecutor(min(ASKED_AT_ONCE, len(work)), "datapkg-fetch") as pool:
                for _ in pool.map(lambda each: self._fetch_one(*each), work):
                    pass  # what a thread raises is raised here

    def prove(self, hash: str, part: PartialObject, stretches: list[Stretch]) -> bool:
        """Sees to it that stretches are here, and that each chunk in which they lie is what its hash says.

        False where nobody tells the chunks: nothing was done then. Raise `CorruptObject` where one is wrong; what is
        here of the object is dropped.
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

    def _fetch_one(self, hash: str, part: PartialObject, stretches: list[Stretch]) -> None:
        with part.alone():
            lacking = _lacking(part, stretches)  # somebody else may have fetched them meanwhile
            for start, stop in lacking:
                self._fetch_stretch(hash, part, start, stop)
            if lacking and part.is_whole:
                self._promote(hash, part)

    def _fetch_stretch(self, hash: str, part: PartialObject, start: int, stop: int) -> None:
        with self.theirs.open(hash, start, stop) as stream:
            at = start
            while at < stop and (piece := stream.read(min(PIECE_BYTES, stop - at))):
                part.write(at, piece)
                at += len(piece)
        if at != stop:
            raise Unreachable(f"object {hash} broke off: {at - start:,} of {stop - start:,} bytes came")
        part.keep([(start, stop)])

    def _promote(self, hash: str, part: PartialObject) -> None:
        """An object that is whole now goes to the others, if it is what its hash says; without room it stays here."""
        with part.mapped() as data:
            try:
                self.mine.put(cast(BinaryIO, data), expected=hash)
            except HashMismatch as error:
                self.parts.drop(hash, part.size)
                raise _damaged(hash) from error
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                if hash_bytes(memoryview(data)) != hash:
                    self.parts.drop(hash, part.size)
                    raise _damaged(hash) from error
                return
        self.parts.drop(hash, part.size)


_homes: WeakSet[ReadThrough] = WeakSet()


def _begin_again() -> None:
    for home in _homes:
        home._begin()


os.register_at_fork(after_in_child=_begin_again)


class _Stretches(io.RawIOBase):
    """An object that is not here, as a file; each read fetches what it needs, and more where reading goes on."""

    def __init__(self, objects: ReadThrough, hash: str, size: int, explained: Explained) -> None:
        self._objects, self._hash, self._size, self._explained = objects, hash, size, explained
        self._part = objects.parts.part(hash, size)
        self._at = self._fetched_to = 0
        self._proved = ByteRanges()
        self._step = STEP_BYTES

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise InvalidInput(f"a file has no byte {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        stop = min(self._at + len(view), self._size)
        if stop <= self._at:
            return 0
        if self._proved.lacking(self._at, stop):
            self._step = min(2 * self._step, MAX_STEP_BYTES) if self._at == self._fetched_to else STEP_BYTES
            ahead = min(self._size, max(stop, self._at + self._step))
            with self._explained():
                if not self._objects.prove(self._hash, self._part, [(self._at, ahead)]):
                    self._objects.fetch([(self._hash, self._part, [(self._at, ahead)])])
            self._proved.add([(self._at, ahead)])
            self._fetched_to = ahead
        data = self._part.read(self._at, stop)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._part.close()
        super().close()


def _after(progress: Progress, before: int, total: int) -> Progress:
    """Return the progress of a part of the work."""
    return lambda what, done, _: progress(what, before + done, total)


def _lacking(part: PartialObject, stretches: list[Stretch]) -> list[Stretch]:
    """Return what of these is not in a part, near ones joined."""
    joined: list[Stretch] = []
    for start, stop in sorted(each for stretch in stretches for each in part.lacking(*stretch)):
        if joined and start - joined[-1][1] <= GAP_BYTES:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


def _damaged(hash: str) -> CorruptObject:
    return CorruptObject(f"object {hash} arrived whole, and is not what its hash says; it was not used", hash=hash)
