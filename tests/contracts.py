"""The contract of `Readable` and `Objects` as test classes: every home subclasses them."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator

import pytest

from datapkg.errors import HashMismatch, ObjectNotFound
from datapkg.format.hashing import hash_bytes
from datapkg.objects import packs
from datapkg.objects.base import Objects, Readable, Writable
from datapkg.objects.packs import PACK_BYTES

BODIES = [b"", b"a", b"hello\n" * 100, bytes(range(256)) * 8192, b"z" * (1 << 20)]
ABSENT = hash_bytes(b"never stored")


class Failing(io.RawIOBase):
    """A stream that breaks after `size` bytes."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        if self.left <= 0:
            raise OSError("the stream broke")
        view = memoryview(buffer)[: self.left]  # type: ignore[arg-type]
        view[:] = b"x" * len(view)
        self.left -= len(view)
        return len(view)


class ReadableContract:
    """What every home that can be read promises; `filled` holds BODIES."""

    @pytest.fixture
    def filled(self) -> Iterator[Readable]:
        raise NotImplementedError

    def test_missing_are_those_not_here(self, filled: Readable) -> None:
        hashes = [hash_bytes(body) for body in BODIES]
        assert filled.missing([*hashes, ABSENT]) == {ABSENT}
        assert filled.missing([]) == set()

    def test_bytes_come_back(self, filled: Readable) -> None:
        for body in BODIES:
            assert filled.size(hash_bytes(body)) == len(body)
            assert filled.read(hash_bytes(body)) == body

    def test_ranges(self, filled: Readable) -> None:
        body = BODIES[3]
        for start, stop in [
            (0, 0),
            (0, 10),
            (5, 6),
            (100, 2000),
            (len(body) - 3, None),
            (7, None),
            (10, len(body) + 50),
        ]:
            with filled.open(hash_bytes(body), start, stop) as stream:
                assert stream.read() == body[start:stop]

    def test_reading_in_pieces(self, filled: Readable) -> None:
        with filled.open(hash_bytes(BODIES[3])) as stream:
            pieces = list(iter(lambda: stream.read(1000), b""))
        assert b"".join(pieces) == BODIES[3]

    def test_read_many(self, filled: Readable) -> None:
        wanted = {hash_bytes(body): body for body in BODIES[:3]}
        assert dict(filled.read_many(wanted)) == wanted

    def test_absent_is_object_not_found(self, filled: Readable) -> None:
        with pytest.raises(ObjectNotFound):
            filled.size(ABSENT)
        with pytest.raises(ObjectNotFound):
            filled.open(ABSENT).read()
        with pytest.raises(ObjectNotFound):
            list(filled.read_many([ABSENT]))


class PutContract:
    """What every home that can be put into promises; `target` is empty."""

    @pytest.fixture
    def target(self) -> Iterator[Writable]:
        raise NotImplementedError

    def test_put_gives_the_hash(self, target: Writable) -> None:
        for body in BODIES:
            assert target.put(io.BytesIO(body)) == hash_bytes(body)
        assert target.missing(map(hash_bytes, BODIES)) == set()

    def test_put_again_is_harmless(self, target: Writable) -> None:
        assert target.put_bytes(b"same") == target.put_bytes(b"same")
        assert target.missing([hash_bytes(b"same")]) == set()

    def test_put_of_wrong_bytes_keeps_nothing(self, target: Writable) -> None:
        with pytest.raises(HashMismatch) as caught:
            target.put(io.BytesIO(b"wrong"), expected=ABSENT)
        assert caught.value.detail["expected"] == ABSENT
        assert caught.value.detail["actual"] == hash_bytes(b"wrong")
        assert target.missing([ABSENT, hash_bytes(b"wrong")]) == {ABSENT, hash_bytes(b"wrong")}

    @pytest.mark.parametrize("size", [10, 3 << 20])
    def test_a_broken_stream_keeps_nothing(self, target: Writable, size: int) -> None:
        with pytest.raises(OSError, match="broke"):
            target.put(io.BufferedReader(Failing(size)))
        assert target.missing([hash_bytes(b"x" * size)]) == {hash_bytes(b"x" * size)}

    def test_put_many_keeps_order(self, target: Writable) -> None:
        assert target.put_many(iter([b"one", b"two", b"one"])) == [hash_bytes(b) for b in (b"one", b"two", b"one")]
        assert target.missing([hash_bytes(b"one"), hash_bytes(b"two")]) == set()

    def test_batch(self, target: Writable) -> None:
        with target.batch():
            hashes = [target.put_bytes(body) for body in BODIES]
        assert target.missing(hashes) == set()

    def test_a_broken_batch_leaves_whole_objects_or_none(self, target: Writable) -> None:
        with contextlib.suppress(RuntimeError), target.batch():
            target.put_bytes(b"small")
            target.put_bytes(BODIES[4])
            raise RuntimeError
        absent = target.missing([hash_bytes(b"small"), hash_bytes(BODIES[4])])
        for body in (b"small", BODIES[4]):
            if hash_bytes(body) not in absent and isinstance(target, Objects):
                assert target.read(hash_bytes(body)) == body

    def test_threads_in_one_batch(self, target: Writable) -> None:
        bodies = [str(i).encode() * 1000 for i in range(60)]
        with target.batch():
            threads = [threading.Thread(target=target.put_many, args=(bodies[i::3] + bodies[:5],)) for i in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert target.missing(map(hash_bytes, bodies)) == set()


class ObjectsContract(ReadableContract, PutContract):
    """What every home that can be written, listed and emptied promises."""

    @pytest.fixture
    def filled(self, target: Objects) -> Objects:
        for body in BODIES[:2]:
            target.put_bytes(body)
        target.put_many(BODIES[2:])
        return target

    def test_iteration_gives_each_once(self, filled: Objects) -> None:
        filled.put_many([BODIES[0], BODIES[2]])
        filled.put_bytes(BODIES[2])
        assert sorted(filled) == sorted(hash_bytes(body) for body in BODIES)

    def test_delete(self, filled: Objects) -> None:
        for body in BODIES[1:4]:
            filled.delete(hash_bytes(body))
        filled.delete(ABSENT)
        assert sorted(filled) == sorted([hash_bytes(BODIES[0]), hash_bytes(BODIES[4])])
        assert filled.read(hash_bytes(BODIES[0])) == BODIES[0]
        with pytest.raises(ObjectNotFound):
            filled.size(hash_bytes(BODIES[2]))

    @pytest.mark.parametrize("pack_bytes", [1, PACK_BYTES])
    def test_delete_inside_a_batch(self, target: Objects, monkeypatch: pytest.MonkeyPatch, pack_bytes: int) -> None:
        monkeypatch.setattr(packs, "PACK_BYTES", pack_bytes)
        with target.batch():
            target.put_verified((hash_bytes(body), body) for body in BODIES)
            target.delete(hash_bytes(BODIES[2]))
            assert target.missing(map(hash_bytes, BODIES)) == {hash_bytes(BODIES[2])}
        assert sorted(target) == sorted(hash_bytes(body) for body in BODIES if body != BODIES[2])
        assert all(hash_bytes(target.read(hash)) == hash for hash in target)

    def test_put_inside_a_batch_can_be_read_inside_it(self, target: Objects) -> None:
        with target.batch():
            for body in BODIES:
                assert target.read(target.put_bytes(body)) == body
