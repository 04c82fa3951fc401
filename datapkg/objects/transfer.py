"""Transfer: objects from one home to another, each checked against its hash on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from datapkg.format.hashing import check_bytes
from datapkg.objects.base import Readable, Writable
from datapkg.objects.progress import Progress, silent

SMALL_BYTES = 1 << 20
GROUP_BYTES = 64 << 20
GROUP_COUNT = 20_000


@dataclass(frozen=True)
class Plan:
    """What a transfer will do: the objects to move (hash to size in bytes), and what is there already."""

    needed: dict[str, int]
    present: int

    @property
    def size_bytes(self) -> int:
        return sum(self.needed.values())


@dataclass(frozen=True)
class Moved:
    """What a transfer did: objects and their bytes."""

    objects: int
    size_bytes: int


def plan(wanted: Mapping[str, int], target: Writable) -> Plan:
    """Decides which of the wanted objects (hash to size in bytes) the target lacks."""
    missing = target.missing(wanted)
    return Plan({hash: size for hash, size in wanted.items() if hash in missing}, len(wanted) - len(missing))


def transfer(source: Readable, target: Writable, planned: Plan, progress: Progress = silent) -> Moved:
    """Moves what a plan says; what arrived before a failure stays, so that the next try goes on from there.

    Raises `HashMismatch` for bytes that are not their hash's, `ObjectNotFound` for what the source lacks.
    """
    total, done = planned.size_bytes, 0
    for group in groups(planned.needed):
        with target.batch():
            small = [hash for hash, size in group.items() if size < SMALL_BYTES]
            done = _move_small(source, target, small, (done, total), progress)
            for hash, size in group.items():
                if size >= SMALL_BYTES:
                    with source.open(hash) as stream:
                        target.put(stream, expected=hash)
                    done += size
                    progress("objects", done, total)
    return Moved(len(planned.needed), total)


def _move_small(
    source: Readable, target: Writable, hashes: list[str], sofar: tuple[int, int], progress: Progress
) -> int:
    done, total = sofar

    def checked() -> Iterator[bytes]:
        nonlocal done
        for hash, data in source.read_many(hashes):
            check_bytes(data, hash)
            done += len(data)
            progress("objects", done, total)
            yield data

    if hashes:
        target.put_many(checked())
    return done


def groups(needed: Mapping[str, int], group_bytes: int = GROUP_BYTES) -> Iterable[dict[str, int]]:
    """Cuts the work into parts small enough that little is lost when one breaks off."""
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
