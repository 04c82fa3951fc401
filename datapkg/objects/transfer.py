"""Transfer: objects from one home to another, each checked against its hash on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, cast

from datapkg.errors import IntegrityError
from datapkg.format.hashing import check_bytes
from datapkg.objects.base import Readable, Writable
from datapkg.objects.progress import TRANSFERRING, Progress, silent

SMALL_BYTES = 1 << 20
GROUP_BYTES = 64 << 20
GROUP_COUNT = 20_000


@dataclass(frozen=True)
class TransferPlan:
    """What a transfer will do: the objects to move (hash to size in bytes), and what is there already."""

    needed: dict[str, int]
    present: int

    @property
    def size_bytes(self) -> int:
        return sum(self.needed.values())


@dataclass(frozen=True)
class TransferResult:
    """What a transfer did: objects and their bytes."""

    objects: int
    size_bytes: int


def plan(wanted: Mapping[str, int], target: Writable) -> TransferPlan:
    """Decides which of the wanted objects (hash to size in bytes) the target lacks."""
    missing = target.missing(wanted)
    return TransferPlan({hash: size for hash, size in wanted.items() if hash in missing}, len(wanted) - len(missing))


def transfer(source: Readable, target: Writable, planned: TransferPlan, progress: Progress = silent) -> TransferResult:
    """Move the objects of a plan; those that arrived before a failure stay, so that the next try resumes there.

    Raise `HashMismatch` for bytes that are not their hash's, `IntegrityError` at the first byte beyond the size that
    the plan states, `ObjectNotFound` for what the source lacks.
    """
    total, done = planned.size_bytes, 0
    for group in groups(planned.needed):
        with target.batch():
            small = {hash: size for hash, size in group.items() if size < SMALL_BYTES}
            done = _move_small(source, target, small, (done, total), progress)
            for hash, size in group.items():
                if size >= SMALL_BYTES:
                    with source.open(hash) as stream:
                        stated = _Stated(stream, hash, size, after(progress, done, total))
                        target.put(cast(BinaryIO, stated), expected=hash)
                    done += size
                    progress(TRANSFERRING, done, total)
    return TransferResult(len(planned.needed), total)


def _move_small(
    source: Readable, target: Writable, sizes: Mapping[str, int], sofar: tuple[int, int], progress: Progress
) -> int:
    done, total = sofar

    def checked() -> Iterator[bytes]:
        nonlocal done
        for hash, data in source.read_many(sizes):
            check_bytes(data, hash)
            if len(data) != sizes[hash]:
                raise _not_as_stated(hash, sizes[hash], "longer" if len(data) > sizes[hash] else "shorter")
            done += len(data)
            progress(TRANSFERRING, done, total)
            yield data

    if sizes:
        target.put_many(checked())
    return done


class _Stated:
    """A stream of which no byte beyond the stated size is given; seekable where the other is."""

    def __init__(self, stream: BinaryIO, hash: str, size: int, progress: Progress) -> None:
        self._stream, self._hash, self.size, self._progress = stream, hash, size, progress
        self._start = stream.tell() if stream.seekable() else 0
        self._left = size

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(self._left + 1 if size < 0 else min(size, self._left + 1))
        if len(piece) > self._left:
            raise _not_as_stated(self._hash, self.size, "longer")
        if size and not piece and self._left:
            raise _not_as_stated(self._hash, self.size, "shorter")
        self._left -= len(piece)
        self._progress(TRANSFERRING, self.size - self._left, self.size)
        return piece

    def seekable(self) -> bool:
        return self._stream.seekable()

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int) -> int:
        """Go to a position from which a push that broke off goes on."""
        self._left = self.size - (offset - self._start)
        return self._stream.seek(offset)


def after(progress: Progress, before: int, total: int) -> Progress:
    """Return the progress of a part of work: `before` bytes of `total` were done when it began."""
    return lambda what, done, _: progress(what, before + done, total)


def _not_as_stated(hash: str, size: int, how: str) -> IntegrityError:
    return IntegrityError(
        f"object {hash} is {how} than the {size:,} bytes that its manifest states; it was not used",
        hint="ask whoever published the package to publish it anew",
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
