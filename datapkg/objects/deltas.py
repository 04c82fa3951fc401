"""Build new objects from chunks of earlier ones, so that only new bytes travel.

Manifests decide which objects are compared (`replaced_objects`); there is no index of all chunks.
"""

from __future__ import annotations

import hashlib
import io
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import BinaryIO, TypeAlias

from datapkg.errors import DatapkgError
from datapkg.format.chunks import LONG_BYTES, Chunk, Step
from datapkg.format.frames import FRAME_HEAD_BYTES
from datapkg.format.manifest.delta import MAX_STEPS
from datapkg.format.mapped_pages import give_back
from datapkg.objects.base import Readable
from datapkg.objects.transfer import SMALL_BYTES, TransferPlan

SAMPLE_BYTES = 256 << 10
CHEAP_BYTES = 16 << 20
"""Of longer objects only the first `SAMPLE_BYTES` are cut to see whether one may be a copy of another."""
MOST_MISSES = 8
_SAMPLED = 3
KnownChunks = Mapping[bytes, tuple[str, int]]
"""The sha256 of a chunk → an object that contains it, and the offset there."""
MIN_SAVED = 0.1
"""An object of which a delta saves a smaller share is sent whole."""


@dataclass(frozen=True)
class PlannedTransfer:
    """What a command would move: objects, bytes in all bodies, and the bytes that the other side has already.

    Chunks that the other side has of a changed object count as saved too.
    """

    objects: int
    bytes_moved: int
    bytes_saved: int


def known_chunks(objects: Readable, bases: Mapping[str, int]) -> KnownChunks:
    """Return the chunks of earlier objects (hash to size in bytes); objects that cannot be read are skipped."""
    known: dict[bytes, tuple[str, int]] = {}
    for hash, size in bases.items():
        try:
            chunks = objects.chunks(hash, size) or []
        # An earlier object is only a source of known chunks: without it, more is sent, and nothing is wrong.
        except DatapkgError:
            continue
        for chunk in chunks:
            known.setdefault(chunk.digest, (hash, chunk.start))
    return known


def steps_from(chunks: Sequence[Chunk], known: KnownChunks) -> list[Step]:
    """Return the steps that build an object with these chunks; `[]` if too few chunks are known to be worth it."""
    steps: list[Step] = []
    for chunk in chunks:
        source, offset = known.get(chunk.digest, (None, chunk.start))
        size = chunk.stop - chunk.start
        if steps and steps[-1].source == source and steps[-1].offset + steps[-1].size == offset:
            steps[-1] = steps[-1]._replace(size=steps[-1].size + size)
        else:
            steps.append(Step(source, offset, size))
    total = sum(step.size for step in steps)
    is_worth_it = new_bytes(steps) <= (1 - MIN_SAVED) * total and len(steps) <= MAX_STEPS
    return steps if is_worth_it else []


def without_gaps(steps: Sequence[Step], gap: int) -> list[Step]:
    """Return the steps with known ranges shorter than `gap` bytes between new ones as new: a request costs more."""
    found: list[Step] = []
    at = 0
    for number, step in enumerate(steps):
        is_between = bool(found) and found[-1].source is None and number + 1 < len(steps)
        if step.source and is_between and step.size < gap and steps[number + 1].source is None:
            step = Step(None, at, step.size)
        if step.source is None and found and found[-1].source is None:
            found[-1] = found[-1]._replace(size=found[-1].size + step.size)
        else:
            found.append(step)
        at += step.size
    return found


def new_bytes(steps: Iterable[Step]) -> int:
    """Return how many bytes of a delta no earlier object has."""
    return sum(step.size for step in steps if step.source is None)


class NewBytes(io.RawIOBase):
    """The new bytes of a delta, one range after the other, as a seekable file; `new` is the whole object."""

    def __init__(self, new: memoryview, steps: Iterable[Step]) -> None:
        self._new = new
        self._ranges = [(step.offset, step.size) for step in steps if step.source is None]
        self._starts = [*accumulate((size for _, size in self._ranges), initial=0)]
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        return self._at

    def readinto(self, buffer: object) -> int:
        if self._at >= self._starts[-1]:
            return 0
        number = bisect_right(self._starts, self._at) - 1
        start = self._ranges[number][0] + self._at - self._starts[number]
        view = memoryview(buffer)  # type: ignore[arg-type]
        size = min(len(view), self._starts[number + 1] - self._at)
        view[:size] = self._new[start : start + size]
        give_back(self._new, start, start + size)  # else mapped pages of all that was sent count as memory
        self._at += size
        return size


Digests: TypeAlias = set[bytes]
"""The digests of some chunks of an object."""


def sample(objects: Readable, hash: str, size: int) -> Digests:
    """Return the digests of the chunks of an object, of a long one only of those at its beginning."""
    if size <= CHEAP_BYTES:
        return {chunk.digest for chunk in objects.chunks(hash, size) or ()}
    with objects.open(hash, 0, SAMPLE_BYTES) as stream:
        return first_chunks(stream)


def first_chunks(stream: BinaryIO) -> Digests:
    """Return the digests of the chunks of a stream."""
    from datapkg.objects.chunking import cut

    return {hashlib.sha256(piece).digest() for piece in cut(stream)}


class Guesses:
    """Decide which guesses about copies are worth a comparison: those where samples have chunks in common.

    After `MOST_MISSES` in a row that had none, no other one is, so that many new objects cost no more than a few.
    """

    def __init__(self, objects: Readable, sample_of: Callable[[str, int], Digests]) -> None:
        """Take where earlier objects are, and what samples a new one, by hash and size in bytes."""
        self._objects, self._sample_of = objects, sample_of
        self._misses = 0

    def is_likely(self, bases: Mapping[str, int], wanted: Mapping[str, int]) -> bool:
        """Return whether the first of the wanted objects is like one of the first bases (hash to size in bytes)."""
        if self._misses >= MOST_MISSES or not wanted or not bases:
            return False
        try:
            new = self._sample_of(*next(iter(wanted.items())))
            some = islice(bases.items(), _SAMPLED)
            is_likely = any(not new.isdisjoint(sample(self._objects, *each)) for each in some)
        except DatapkgError:  # more is sent, and nothing is wrong
            is_likely = False
        self._misses = 0 if is_likely else self._misses + 1
        return is_likely


def planned_transfer(
    planned: TransferPlan,
    deltas: Mapping[str, list[Step]],
    bytes_wanted: int,
    arrived: Mapping[str, int] = {},
    derived: int = 0,
) -> PlannedTransfer:
    """Return what a transfer moves, objects with a delta only by what is new in them, of the bytes of all objects.

    `arrived` is what an interrupted transfer has moved already: hash to bytes. `derived` are the bytes that move
    besides objects: a manifest that is fetched, chunk maps, the steps of deltas.
    """
    whole = sum(size for hash, size in planned.needed.items() if hash not in deltas)
    small = sum(size < SMALL_BYTES and hash not in deltas for hash, size in planned.needed.items())
    moved = whole + sum(map(new_bytes, deltas.values())) - sum(arrived.values()) + small * FRAME_HEAD_BYTES + derived
    return PlannedTransfer(len(planned.needed), moved, max(0, bytes_wanted - moved))


def long_ones(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the objects (hash to size in bytes) that are long enough for a chunk map."""
    return {hash: size for hash, size in sizes.items() if size >= LONG_BYTES}
