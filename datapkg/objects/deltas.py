"""Build new objects from chunks of earlier ones, so that only new bytes travel.

Manifests decide which objects are compared (`replaced_objects`); there is no index of all chunks.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from datapkg.errors import DatapkgError
from datapkg.format.chunks import LONG_BYTES, Chunk, Step
from datapkg.format.manifest.delta import MAX_STEPS
from datapkg.objects.base import Readable
from datapkg.objects.transfer import TransferPlan

KnownChunks = Mapping[bytes, tuple[str, int]]
"""The sha256 of a chunk → an object that contains it, and the offset there."""
MIN_SAVED = 0.1
"""An object of which a delta saves a smaller share is sent whole."""


@dataclass(frozen=True)
class PlannedTransfer:
    """What a command would move: objects, their bytes, and the bytes that the other side has already.

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
        self._at += size
        return size


def planned_transfer(
    planned: TransferPlan, deltas: Mapping[str, list[Step]], bytes_wanted: int, arrived: Mapping[str, int] = {}
) -> PlannedTransfer:
    """Return what a transfer moves, objects with a delta only by what is new in them, of the bytes of all objects.

    `arrived` is what an interrupted transfer has moved already: hash to bytes.
    """
    whole = sum(size for hash, size in planned.needed.items() if hash not in deltas)
    moved = whole + sum(map(new_bytes, deltas.values())) - sum(arrived.values())
    return PlannedTransfer(len(planned.needed), moved, max(0, bytes_wanted - moved))


def long_ones(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the objects (hash to size in bytes) that are long enough for a chunk map."""
    return {hash: size for hash, size in sizes.items() if size >= LONG_BYTES}
