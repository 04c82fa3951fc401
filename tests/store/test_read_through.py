"""Objects that are fetched when read: the contract of every home, and the partial objects kept meanwhile."""

from __future__ import annotations

import io
import os
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from datapkg.errors import CorruptObject, HashMismatch, QuotaExceeded, Unreachable
from datapkg.format.chunks import MAX_BYTES, Chunk
from datapkg.format.hashing import hash_bytes
from datapkg.objects.base import Readable
from datapkg.objects.chunking import chunks_of_object
from datapkg.objects.memory import MemoryObjects
from datapkg.store.index import Index
from datapkg.store.partial_objects import PartialObjects
from datapkg.store.read_through import STEP_BYTES, ReadThrough
from datapkg.store.verified import VerifiedObjects
from tests.contracts import BODIES, ReadableContract

BIG = bytes(os.urandom(3 << 20))
HASH = hash_bytes(BIG)


class CountingObjects(MemoryObjects):
    """A remote home that counts the bytes it sent; `broken` cuts streams short, `corrupts` changes a byte."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0
        self.broken = self.corrupts = False

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        data = bytearray(super().open(hash, start, stop).read())
        if self.corrupts:
            data[-1] ^= 1
        data = data[: len(data) // 2] if self.broken else data
        self.sent += len(data)
        return io.BytesIO(bytes(data))


@pytest.fixture
def theirs() -> CountingObjects:
    theirs = CountingObjects()
    for body in [*BODIES, BIG]:
        theirs.put_bytes(body)
    return theirs


@pytest.fixture
def mine(tmp_path: Path) -> VerifiedObjects:
    return VerifiedObjects(tmp_path / "store", Index(tmp_path / "index.db"))


@pytest.fixture
def through(tmp_path: Path, mine: VerifiedObjects, theirs: CountingObjects) -> ReadThrough:
    return ReadThrough(mine, lambda: theirs, PartialObjects(tmp_path / "store" / "partial", "https://one.example"))


class TestContract(ReadableContract):
    @pytest.fixture
    def filled(self, through: ReadThrough) -> Iterator[Readable]:
        yield through


def test_fetched_objects_are_stored(through: ReadThrough, theirs: CountingObjects, mine: VerifiedObjects) -> None:
    hashes = {hash_bytes(body): len(body) for body in BODIES}
    assert through.bring(hashes) == len(hashes)
    sent = theirs.sent
    assert through.bring(hashes) == 0
    assert through.read(hash_bytes(BODIES[3])) == BODIES[3]
    assert (theirs.sent, mine.missing(hashes)) == (sent, set())


def test_only_the_read_range_of_a_big_object_is_fetched(through: ReadThrough, theirs: CountingObjects) -> None:
    with through.stream(HASH, len(BIG)) as stream:
        stream.seek(1_000_000)
        assert stream.read(100) == BIG[1_000_000:1_000_100]
        assert theirs.sent < 1 << 20
        sent = theirs.sent
        stream.seek(1_000_000)
        assert stream.read(50) == BIG[1_000_000:1_000_050]
        assert stream.seek(-5, io.SEEK_END) == len(BIG) - 5
        assert (stream.read(), stream.read()) == (BIG[-5:], b"")
    with through.stream(HASH, len(BIG)) as again:
        again.seek(1_000_000)
        assert again.read(50) == BIG[1_000_000:1_000_050]
    assert theirs.sent < sent + (1 << 20)
    assert not through.has(HASH)


def test_completed_object_is_verified_and_stored(through: ReadThrough, mine: VerifiedObjects) -> None:
    with through.stream(HASH, len(BIG)) as stream:
        assert stream.read() == BIG
    assert mine.read(HASH) == BIG
    assert list(through.parts) == []


def test_corrupt_byte_is_detected_when_an_object_is_completed(through: ReadThrough, theirs: CountingObjects) -> None:
    theirs.corrupts = True
    with pytest.raises(HashMismatch) as caught, through.stream(HASH, len(BIG)) as stream:
        stream.read()
    assert caught.value.detail["expected"] == HASH
    assert not through.has(HASH)
    theirs.corrupts = False
    assert through.read(HASH) == BIG


class ChunkedObjects(CountingObjects):
    """A remote home that also returns chunks; `wrong_chunks` selects how they are falsified."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.wrong_chunks = ""

    def chunks(self, hash: str, size: int) -> list[Chunk] | None:
        self.asked += 1
        unmodified = MemoryObjects()
        unmodified.put_bytes(b"".join(MemoryObjects.open(self, hash)))
        first, *chunks = chunks_of_object(unmodified, hash)
        if self.wrong_chunks == "short":
            return [first, *chunks[:-1]]
        return [first._replace(digest=bytes(32)) if self.wrong_chunks else first, *chunks]


@pytest.fixture
def chunked() -> ChunkedObjects:
    chunked = ChunkedObjects()
    chunked.put_bytes(BIG)
    return chunked


@pytest.fixture
def verified(tmp_path: Path, mine: VerifiedObjects, chunked: ChunkedObjects) -> ReadThrough:
    return ReadThrough(mine, lambda: chunked, PartialObjects(tmp_path / "store" / "partial", "https://one.example"))


def test_read_ranges_are_verified_by_chunks(verified: ReadThrough, chunked: ChunkedObjects) -> None:
    chunked.corrupts = True
    with verified.stream(HASH, len(BIG)) as stream:
        stream.seek(1_000_000)
        with pytest.raises(CorruptObject, match="a part of object"):
            stream.read(10)
    assert list(verified.parts) == []
    chunked.corrupts = False
    with verified.stream(HASH, len(BIG)) as stream:
        stream.seek(1_000_000)
        assert stream.read(10) == BIG[1_000_000:1_000_010]
    assert chunked.sent < 3 * (STEP_BYTES + 2 * MAX_BYTES)  # twice what is wrong, then what is right


def test_chunks_are_stored_beside_the_partial_object(
    verified: ReadThrough, chunked: ChunkedObjects, mine: VerifiedObjects
) -> None:
    with verified.stream(HASH, len(BIG)) as stream:
        assert stream.read(10) == BIG[:10]
    chunked.broken = True
    asked = chunked.asked
    again = ReadThrough(mine, lambda: chunked, verified.parts)
    with again.stream(HASH, len(BIG)) as stream:
        assert stream.read(10) == BIG[:10]
    assert chunked.asked == asked == 1
    with verified.parts.part(HASH, len(BIG)) as part:
        part.write(5, b"wrong")
    with again.stream(HASH, len(BIG)) as stream, pytest.raises(Unreachable):  # it is fetched again
        stream.read(10)
    chunked.broken = False
    with again.stream(HASH, len(BIG)) as stream:
        assert stream.read() == BIG
    assert again.has(HASH)
    assert os.listdir(verified.parts.folder) == []


@pytest.mark.parametrize("kind", ["short", "wrong"])
def test_chunks_of_another_object_are_rejected(verified: ReadThrough, chunked: ChunkedObjects, kind: str) -> None:
    chunked.wrong_chunks = kind
    with verified.stream(HASH, len(BIG)) as stream, pytest.raises(CorruptObject):
        stream.read(10)
    chunked.wrong_chunks = ""
    with verified.stream(HASH, len(BIG)) as stream:
        assert stream.read(10) == BIG[:10]


def test_interrupted_stream_leaves_no_recorded_range(through: ReadThrough, theirs: CountingObjects) -> None:
    theirs.broken = True
    with pytest.raises(Unreachable, match="broke off"), through.stream(HASH, len(BIG)) as stream:
        stream.read(10)
    theirs.broken = False
    with through.stream(HASH, len(BIG)) as stream:
        assert stream.read(10) == BIG[:10]


def test_ranges_are_recorded_in_order_and_merged(tmp_path: Path) -> None:
    parts = PartialObjects(tmp_path, "https://one.example")
    with parts.part(HASH, 1000) as part:
        for start, stop in [(500, 600), (100, 200), (200, 300), (550, 700)]:
            part.write(start, BIG[start:stop])
            part.keep([(start, stop)])
        assert part.lacking(0, 1000) == [(0, 100), (300, 500), (700, 1000)]
        assert part.lacking(150, 250) == []
        assert part.lacking(250, 550) == [(300, 500)]
    with parts.part(HASH, 1000) as part:
        assert part.lacking(0, 1000) == [(0, 100), (300, 500), (700, 1000)]
        assert not part.is_whole
        assert part.read(100, 300) == BIG[100:300]


def test_truncated_record_is_ignored(tmp_path: Path) -> None:
    parts = PartialObjects(tmp_path, "https://one.example")
    with parts.part(HASH, 1000) as part:
        part.write(0, BIG[:100])
        part.keep([(0, 100)])
    (place,) = parts.folder.iterdir()
    with place.open("ab") as file:
        file.write(b"\x01" * 9)
    with parts.part(HASH, 1000) as part:
        assert part.lacking(0, 200) == [(0, 200)]
        part.write(0, BIG[:50])
        part.keep([(0, 50)])
    with parts.part(HASH, 1000) as part:
        assert part.lacking(0, 200) == [(50, 200)]


def test_ranges_are_not_shared_between_registries_or_sizes(tmp_path: Path) -> None:
    parts = PartialObjects(tmp_path, "https://one.example")
    with parts.part(HASH, 1000) as part:
        part.write(0, BIG[:100])
        part.keep([(0, 100)])
    with PartialObjects(tmp_path, "https://two.example").part(HASH, 1000) as part:
        assert part.lacking(0, 100) == [(0, 100)]
    with parts.part(HASH, 500) as part:
        assert part.lacking(0, 100) == [(0, 100)]


def test_dropped_part_stays_readable_for_its_open_handle(tmp_path: Path) -> None:
    parts = PartialObjects(tmp_path, "https://one.example")
    with parts.part(HASH, 1000) as part:
        part.write(0, BIG[:10])
        parts.drop(HASH, 1000)
        part.keep([(0, 10)])
        assert part.lacking(0, 10) == []
    assert list(parts) == []


def test_concurrent_writers_share_ranges_and_dropped_parts_do_no_harm(tmp_path: Path) -> None:
    parts = PartialObjects(tmp_path, "https://one.example")
    with parts.part(HASH, 1000) as one, parts.part(HASH, 1000) as two:
        one.write(0, BIG[:100])
        one.keep([(0, 100)])
        assert two.lacking(0, 100) == []
        parts.drop(HASH, 1000)
        with parts.part(HASH, 1000) as new:
            two.write(100, BIG[100:200])
            two.keep([(100, 200)])
            assert new.lacking(0, 200) == [(0, 200)]
        assert two.lacking(0, 200) == []


def test_many_threads_fetch_an_object_once(through: ReadThrough, theirs: CountingObjects) -> None:
    hash = hash_bytes(BODIES[2])
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(through.read(hash))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [BODIES[2]] * 8
    assert theirs.sent == len(BODIES[2])


@pytest.fixture
def bound() -> Iterator[Callable[[int], None]]:
    """Limit the file size with the operating system, which has the effect of a full disk on a writer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_is_reported_and_leaves_the_partial_object_valid(
    through: ReadThrough, bound: Callable[[int], None]
) -> None:
    with through.stream(HASH, len(BIG)) as stream:
        assert stream.read(10) == BIG[:10]
        bound(1 << 20)
        stream.seek(2 << 20)
        with pytest.raises(QuotaExceeded, match="cannot be kept in") as caught:
            stream.read(10)
        assert "make room" in caught.value.hint
        stream.seek(5)
        assert stream.read(5) == BIG[5:10]
    with pytest.raises(QuotaExceeded):
        through.bring({HASH: len(BIG)})
    bound(resource.RLIM_INFINITY)
    assert through.mine.missing([HASH]) == {HASH}
    assert list(through.mine) == []
    with through.stream(HASH, len(BIG)) as stream:
        assert stream.read() == BIG


def test_ranges_stay_readable_if_a_full_disk_prevents_recording_them(
    tmp_path: Path, bound: Callable[[int], None]
) -> None:
    parts = PartialObjects(tmp_path, "https://one.example")
    with parts.part(HASH, 1000) as part:
        for number in range(2):
            part.write(number * 100, BIG[:100])
            bound(1000 + number * 30)  # a record has 20 bytes: no room for the first, then for half of the second
            part.keep([(number * 100, number * 100 + 100)])
            part.keep([(500 + number, 600 + number)])
        bound(resource.RLIM_INFINITY)
        assert part.lacking(0, 200) == []
    with parts.part(HASH, 1000) as part:
        assert part.lacking(0, 200) == [(0, 100)]


def test_complete_partial_object_becomes_an_object_without_a_copy(through: ReadThrough, mine: VerifiedObjects) -> None:
    with through.parts.part(HASH, len(BIG)) as part, through.parts.part(HASH, len(BIG)) as other:
        inode = part.path.stat().st_ino
        through.fetch([(HASH, part, [(0, len(BIG))])])
        status = mine.packed.locate(HASH).path.stat()
        assert (status.st_ino, status.st_size) == (inode, len(BIG))
        # Who has it open sees that it is whole, and never writes to it again.
        assert other.lacking(0, len(BIG)) == []
    assert list(through.parts) == []
    assert mine.read(HASH) == BIG


def test_verified_partial_object_of_a_killed_process_is_begun_anew(through: ReadThrough) -> None:
    with through.parts.part(HASH, len(BIG)) as part:
        part.path.chmod(0o444)
    assert through.read(HASH) == BIG
