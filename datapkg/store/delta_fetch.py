"""Fetch objects into the store: chunks that earlier objects here have are copied, only the others travel."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from datapkg.errors import CorruptObject, DatapkgError, IntegrityError, InvalidInput
from datapkg.format.chunks import ENTRY_BYTES, LONG_BYTES, Chunk, Step
from datapkg.format.manifest.earlier import Replacement
from datapkg.objects.base import Readable
from datapkg.objects.concurrency import Moved
from datapkg.objects.deltas import (
    CHEAP_BYTES,
    SAMPLE_BYTES,
    Digests,
    Guesses,
    KnownChunks,
    first_chunks,
    known_chunks,
    long_ones,
    sample,
    steps_from,
    without_gaps,
)
from datapkg.objects.free_space import explaining_full_disk
from datapkg.objects.progress import Counter, Progress
from datapkg.objects.transfer import GROUP_BYTES, TransferPlan, after, groups, plan, transfer, twice
from datapkg.store import chunk_verification
from datapkg.store.byte_ranges import Stretch
from datapkg.store.partial_objects import PartialObject
from datapkg.store.read_through import ReadThrough, unnoticed

COPY_BYTES = 1 << 20
RESUMED_BYTES = 64 << 20
"""Larger objects are fetched into partial objects, so that an interrupted fetch continues where it stopped."""

GAP_BYTES = 16 << 10
"""Shorter known ranges between new ones are fetched along: a request has about 1 KB of headers, and takes its time."""

Replaced = Iterable[Replacement]


def receive(objects: ReadThrough, planned: TransferPlan, progress: Progress, replaced: Replaced = ()) -> None:
    """Fetch the objects of a plan; each is checked against its hash as a whole before it is stored.

    What arrived before a failure is kept, large objects in part. Raise `DiskFull`, and the errors of `transfer`.
    """
    mine = objects.mine
    with explaining_full_disk(mine.packed.folder, lambda: plan(planned.needed, mine).size_bytes):
        _receive(objects, planned, progress, replaced)


def _receive(objects: ReadThrough, planned: TransferPlan, progress: Progress, replaced: Replaced) -> None:
    counter = Counter(progress, planned.size_bytes)
    needed = planned.needed
    receive_changed(objects, needed, replaced, counter.add)
    for hash, size in needed.items():
        # Of an object that was guessed to be a copy, the beginning is here.
        if (size > RESUMED_BYTES or objects.parts.has(hash, size)) and not objects.has(hash):
            twice(partial(_fetch, objects, {hash: size}, {}, counter.add))
    left = plan(needed, objects.mine)
    report = after(progress, planned.size_bytes - left.size_bytes, planned.size_bytes)
    transfer(objects.theirs, objects.mine.downloads, left, report)


def receive_changed(
    objects: ReadThrough, needed: Mapping[str, int], replaced: Replaced, moved: Moved = unnoticed
) -> None:
    """Fetch those of the needed objects (hash to size in bytes) that have chunks of objects here; leave the others."""
    for wanted, known in _with_chunks(objects, needed, replaced, partial(_fetched_sample, objects)):
        for group in groups(wanted, GROUP_BYTES):
            # A registry may know no chunks or wrong ones: the partial object is dropped, and fetched whole later.
            with contextlib.suppress(IntegrityError):
                _fetch(objects, group, known, moved)


@dataclass(frozen=True)
class DeltaPlan:
    """The steps that `receive` would build objects by, by hash, and the size of the chunk maps that they are from."""

    steps: Mapping[str, list[Step]]
    map_bytes: int


def plan_deltas(objects: ReadThrough, planned: TransferPlan, replaced: Replaced) -> DeltaPlan:
    """Return by what steps `receive` would build objects; the registry is asked for their chunks."""
    deltas: dict[str, list[Step]] = {}
    asked = _AskedChunks(objects.theirs)
    for wanted, known in _with_chunks(objects, planned.needed, replaced, asked.sample):
        for hash, size in wanted.items():
            if hash in deltas:
                continue
            with contextlib.suppress(InvalidInput, CorruptObject):
                if steps := _steps(asked.chunks(hash, size), known):
                    deltas[hash] = steps
    return DeltaPlan(deltas, asked.bytes(deltas))


class _AskedChunks:
    """The chunk maps of objects that a plan asks for, once each, and how many bytes came for that."""

    def __init__(self, theirs: Readable) -> None:
        self._theirs = theirs
        self._maps: dict[str, list[Chunk]] = {}
        self._samples: dict[str, Digests] = {}

    def chunks(self, hash: str, size: int) -> list[Chunk]:
        if hash not in self._maps:
            self._maps[hash] = self._theirs.chunks(hash, size) or []
        return self._maps[hash]

    def sample(self, hash: str, size: int) -> Digests:
        if size <= CHEAP_BYTES:
            return {chunk.digest for chunk in self.chunks(hash, size)}
        if hash not in self._samples:
            self._samples[hash] = sample(self._theirs, hash, size)
        return self._samples[hash]

    def bytes(self, deltas: Collection[str]) -> int:
        """Return the bytes of the maps, and of the samples of objects that are not fetched as a whole."""
        sampled = sum(SAMPLE_BYTES for hash in self._samples if hash in deltas)
        return ENTRY_BYTES * sum(map(len, self._maps.values())) + sampled


def _steps(chunks: Sequence[Chunk], known: KnownChunks) -> list[Step]:
    return without_gaps(steps_from(chunks, known), GAP_BYTES)


def arrived(objects: ReadThrough, planned: TransferPlan, deltas: Mapping[str, list[Step]]) -> dict[str, int]:
    """Return, by hash, how many of the bytes that `receive` would fetch came in an interrupted fetch."""
    found: dict[str, int] = {}
    for hash, size in planned.needed.items():
        if (hash in deltas or size > RESUMED_BYTES) and objects.parts.has(hash, size):
            with objects.parts.part(hash, size) as part:
                found[hash] = sum(
                    stop - start - sum(to - at for at, to in part.lacking(start, stop))
                    for start, stop in _fetched(deltas.get(hash) or [Step(None, 0, size)])
                )
    return found


def _fetched(steps: Iterable[Step]) -> Iterator[Stretch]:
    """Yield the ranges of an object that no earlier object has."""
    at = 0
    for step in steps:
        if step.source is None:
            yield at, at + step.size
        at += step.size


def _with_chunks(
    objects: ReadThrough, needed: Mapping[str, int], replaced: Replaced, sample_of: Callable[[str, int], Digests]
) -> Iterator[tuple[dict[str, int], KnownChunks]]:
    """Yield objects to fetch (hash to size in bytes) with the chunks of the earlier ones that they replace."""
    guesses = Guesses(objects.mine, sample_of)
    for removed, added, is_guess in replaced:
        wanted = {hash: size for hash, size in long_ones(added).items() if hash in needed and not objects.has(hash)}
        bases = _here(objects, removed) if wanted else {}
        if is_guess and not guesses.is_likely(bases, wanted):
            continue
        if bases and (known := known_chunks(objects.mine, bases)):
            yield wanted, known


def _fetched_sample(objects: ReadThrough, hash: str, size: int) -> Digests:
    """Return a sample of an object; what was fetched for that is kept, and not fetched again with the rest."""
    with objects.parts.part(hash, size) as part:
        if size <= CHEAP_BYTES:
            return {chunk.digest for chunk in _chunks(objects, hash, part)}
        objects.fetch([(hash, part, [(0, SAMPLE_BYTES)])])
        return first_chunks(io.BytesIO(part.read(0, SAMPLE_BYTES)))


def _chunks(objects: ReadThrough, hash: str, part: PartialObject) -> list[Chunk]:
    """Return the chunk map of an object, kept beside what is here of it; `[]` if its origin has none."""
    kept = chunk_verification.kept_chunks(part)
    return kept or chunk_verification.asked_chunks(part, lambda: objects.theirs.chunks(hash, part.size)) or []


def _here(objects: ReadThrough, hashes: Mapping[str, int]) -> dict[str, int]:
    return {hash: size for hash, size in hashes.items() if size >= LONG_BYTES and objects.has(hash)}


def _fetch(objects: ReadThrough, wanted: Mapping[str, int], known: KnownChunks, moved: Moved) -> None:
    with ExitStack() as stack:
        work: list[tuple[str, PartialObject, list[Stretch]]] = []
        for hash, size in wanted.items():
            part = stack.enter_context(objects.parts.part(hash, size))
            lacking = _lacking_bytes(part)
            if not known or _copy_known(objects, hash, part, known):
                moved(lacking - _lacking_bytes(part))
                work.append((hash, part, [(0, size)]))
        # Known ranges that are too short to leave out were not copied.
        objects.fetch(work, moved, gap=0)
        for hash, part, _ in work:
            if part.is_whole and not objects.has(hash):  # nothing of it had to be fetched
                objects.promote(hash, part)


def _lacking_bytes(part: PartialObject) -> int:
    return sum(stop - start for start, stop in part.lacking(0, part.size))


def _copy_known(objects: ReadThrough, hash: str, part: PartialObject, known: KnownChunks) -> bool:
    """Copy the chunks of an object that earlier objects have; return False if they are too few."""
    try:
        chunks = _chunks(objects, hash, part)
    except (InvalidInput, CorruptObject):
        return False
    steps = _steps(chunks, known)
    at = 0
    copied: list[Stretch] = []
    with part.alone():
        for step in steps:
            if step.source is not None and part.lacking(at, at + step.size):
                with contextlib.suppress(DatapkgError):  # an earlier object that is damaged: these bytes are fetched
                    _copy(objects, step.source, step.offset, part, at, step.size)
                    copied.append((at, at + step.size))
            at += step.size
        # Not synced: the whole object is hashed before it gets its name.
        part.keep(copied, durable=False)
    return bool(steps)


def _copy(objects: ReadThrough, source: str, offset: int, part: PartialObject, at: int, size: int) -> None:
    with objects.mine.open(source, offset, offset + size) as stream:
        while size:
            piece = stream.read(min(COPY_BYTES, size))
            if not piece:
                raise CorruptObject(f"object {source} ends too early", hash=source)
            part.write(at, piece)
            at, size = at + len(piece), size - len(piece)
