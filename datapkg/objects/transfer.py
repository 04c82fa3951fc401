"""Transfer: objects from one home to another, each checked against its hash on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, TypeVar, cast

from datapkg.errors import DatapkgError, IntegrityError
from datapkg.format.hashing import hash_bytes
from datapkg.format.object_sizes import lacking
from datapkg.objects.base import Readable, Writable
from datapkg.objects.concurrency import Moved, Task, run_all
from datapkg.objects.progress import Counter, Progress, silent

SMALL_BYTES = 1 << 20
# A batch that breaks off is moved again as a whole, so it is small beside a group.
BATCH_BYTES = 8 << 20
REPORTED_BYTES = 128 << 10
"""Small objects are reported together, since each report takes as long as hashing some of them."""
# What is synced together: more would be lost by a kill, less would sync too often.
GROUP_BYTES = 64 << 20
GROUP_COUNT = 20_000
T = TypeVar("T")


@dataclass(frozen=True)
class TransferPlan:
    """What a transfer will do: the objects to move (hash to size in bytes), and what is there already."""

    needed: Mapping[str, int]
    present: int

    @property
    def size_bytes(self) -> int:
        """Return the bytes of the objects that have to move."""
        return sum(self.needed.values())


@dataclass(frozen=True)
class TransferResult:
    """What a transfer did: objects and their bytes."""

    objects: int
    size_bytes: int


def plan(wanted: Mapping[str, int], target: Writable) -> TransferPlan:
    """Decide which of the wanted objects (hash to size in bytes) the target lacks."""
    needed = lacking(wanted, target.missing)
    return TransferPlan(needed, len(wanted) - len(needed))


def transfer(source: Readable, target: Writable, planned: TransferPlan, progress: Progress = silent) -> TransferResult:
    """Move the objects of a plan; those that arrived before a failure stay, so that the next try resumes there.

    As many move at once as either side takes requests. An object with a wrong byte is moved once more; then raise
    `HashMismatch`, `IntegrityError` at the first byte beyond the size that the plan states, `ObjectNotFound` for what
    the source lacks.
    """
    counter = Counter(progress, planned.size_bytes)
    for group in groups(planned.needed):
        with target.batch():
            run_all(_tasks(source, target, group), max(source.jobs, target.jobs), counter.add)
    return TransferResult(len(planned.needed), planned.size_bytes)


def _tasks(source: Readable, target: Writable, group: Mapping[str, int]) -> Iterator[Task]:
    """Yield the large objects one by one, and the small ones in batches."""
    for hash, size in group.items():
        if size >= SMALL_BYTES:
            yield partial(_move_one, source, target, hash, size)
    small = {hash: size for hash, size in group.items() if size < SMALL_BYTES}
    for batch in groups(small, BATCH_BYTES):
        yield partial(_move_batch, source, target, batch)


def _move_one(source: Readable, target: Writable, hash: str, size: int, moved: Moved) -> None:
    def attempt() -> None:
        with source.open(hash) as stream:
            stated = _Stated(stream, hash, size, moved)
            try:
                target.put(cast(BinaryIO, stated), expected=hash)
            except DatapkgError:
                # The bytes are moved again by the next attempt, and progress must not count them
                # twice.
                stated.take_back()
                raise

    twice(attempt, source.address(hash) or target.address(hash))


def _move_batch(source: Readable, target: Writable, sizes: Mapping[str, int], moved: Moved) -> None:
    wrong: list[str] = []

    def right() -> Iterator[tuple[str, bytes]]:
        read = 0
        for hash, data in source.read_many(sizes):
            if hash_bytes(data) != hash:
                wrong.append(hash)
                continue
            if len(data) != sizes[hash]:
                raise _not_as_stated(hash, sizes[hash], "longer" if len(data) > sizes[hash] else "shorter")
            read += len(data)
            if read >= REPORTED_BYTES:
                moved(read)
                read = 0
            yield hash, data
        moved(read)

    target.put_verified(right())
    for hash in wrong:
        _move_one(source, target, hash, sizes[hash], moved)


def twice(attempt: Callable[[], T], address: str = "", wrong: type[DatapkgError] = IntegrityError) -> T:
    """Return what an attempt returns; a wrong byte may come from the way, so make it once more, then raise.

    The error of the second attempt names the address of the object.
    """
    try:
        return attempt()
    except wrong:
        try:
            return attempt()
        except wrong as error:
            error.explain(f"twice, {address}" if address else "twice")
            raise


class _Stated:
    """A stream of which no byte beyond the stated size is given; seekable where the other is."""

    def __init__(self, stream: BinaryIO, hash: str, size: int, moved: Moved) -> None:
        self._stream, self._hash, self.size, self._moved = stream, hash, size, moved
        self._start = stream.tell() if stream.seekable() else 0
        self._left = size

    def read(self, size: int = -1) -> bytes:
        # One byte more than stated, so that a longer stream is noticed and not silently cut off.
        piece = self._stream.read(self._left + 1 if size < 0 else min(size, self._left + 1))
        if len(piece) > self._left:
            raise _not_as_stated(self._hash, self.size, "longer")
        if size and not piece and self._left:
            raise _not_as_stated(self._hash, self.size, "shorter")
        self._left -= len(piece)
        self._moved(len(piece))
        return piece

    def take_back(self) -> None:
        """Report the bytes that were read as not moved."""
        self._moved(self._left - self.size)
        self._left = self.size

    def seekable(self) -> bool:
        return self._stream.seekable()

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int) -> int:
        """Go to a position from which a push that broke off goes on."""
        left = self.size - (offset - self._start)
        if left != self._left:
            self._moved(self._left - left)
            self._left = left
        return self._stream.seek(offset)


def after(progress: Progress, before: int, total: int) -> Progress:
    """Return the progress of a part of work: `before` bytes of `total` were done when it began."""
    return lambda what, done, _: progress(what, before + done, total)


def _not_as_stated(hash: str, size: int, how: str) -> IntegrityError:
    return IntegrityError(
        f"object {hash} is {how} than the {size:,} bytes that its manifest states; it was not used",
        hint="ask its publisher to publish the package again",
        hash=hash,
    )


def groups(needed: Mapping[str, int], group_bytes: int = GROUP_BYTES) -> Iterable[dict[str, int]]:
    """Cut the work into parts small enough that little is lost when one breaks off."""
    group: dict[str, int] = {}
    size_bytes = 0
    for hash, size in needed.items():
        group[hash] = size
        size_bytes += size
        if size_bytes >= group_bytes or len(group) >= GROUP_COUNT:
            yield group
            group, size_bytes = {}, 0
    if group:
        yield group
