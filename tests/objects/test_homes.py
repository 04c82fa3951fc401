"""Memory, folders and packs fulfil the contract of object homes."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import resource
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from datapkg.errors import Conflict, HashMismatch, QuotaExceeded
from datapkg.format.hashing import hash_bytes
from datapkg.objects import directory
from datapkg.objects.base import Objects
from datapkg.objects.blobs.folder import FolderBlobs
from datapkg.objects.cloud import CloudObjects
from datapkg.objects.copy_on_write import CopyOnWriteObjects
from datapkg.objects.directory import DirectoryObjects
from datapkg.objects.files import rename
from datapkg.objects.memory import MemoryObjects
from datapkg.objects.packs import PackedObjects
from tests.contracts import BODIES, ObjectsContract


class TestMemory(ObjectsContract):
    @pytest.fixture
    def target(self) -> Iterator[Objects]:
        yield MemoryObjects()


class TestDirectory(ObjectsContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[Objects]:
        yield DirectoryObjects(tmp_path / "objects")
        assert list((tmp_path / "tmp").iterdir()) == [], "temporary files were left"

    def test_files_are_read_only(self, filled: DirectoryObjects) -> None:
        assert os.stat(filled.path(hash_bytes(BODIES[2]))).st_mode & 0o777 == 0o444

    def test_putting_again_repairs_a_corrupt_file(self, filled: DirectoryObjects) -> None:
        path = filled.path(hash_bytes(BODIES[2]))
        path.chmod(0o600)
        path.write_bytes(b"damaged")
        filled.put_bytes(BODIES[2])
        assert path.read_bytes() == BODIES[2]

    def test_invalid_hash_never_becomes_a_path(self, filled: DirectoryObjects) -> None:
        for evil in ("../../etc/passwd", "ab/../" + "0" * 58, "A" * 64, "0" * 64 + "\n"):
            with pytest.raises(ValueError, match="64 lower-case hex"):
                filled.open(evil)

    def test_an_interrupted_upload_goes_on(self, target: DirectoryObjects, tmp_path: Path) -> None:
        data = b"0123456789" * 1000
        hash, begun = hash_bytes(data), tmp_path / "tmp" / "begun"
        with pytest.raises(ConnectionError):
            target.put_rest(broken(data[:4000]), hash, begun, 0)
        assert target.missing([hash]) == {hash}
        assert begun.read_bytes() == data[:4000]
        with pytest.raises(Conflict, match="has 4,000 bytes here, not 5,000"):
            target.put_rest(io.BytesIO(data[5000:]), hash, begun, 5000)
        assert target.put_rest(io.BytesIO(data[3000:]), hash, begun, 3000) == hash
        assert (target.read(hash), begun.exists()) == (data, False)

    def test_upload_of_which_all_bytes_arrived_is_completed(self, target: DirectoryObjects, tmp_path: Path) -> None:
        data = b"0123456789"
        hash, begun = hash_bytes(data), tmp_path / "tmp" / "begun"
        begun.parent.mkdir(exist_ok=True)
        begun.write_bytes(data)
        assert target.put_rest(io.BytesIO(), hash, begun, len(data)) == hash
        assert (target.read(hash), begun.exists()) == (data, False)

    def test_upload_that_was_killed_before_it_got_its_name_goes_on(
        self, target: DirectoryObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its file is read-only by then, and only root may write to such a one."""
        data = b"0123456789"
        hash, begun = hash_bytes(data), tmp_path / "tmp" / "begun"
        with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
            patched.setattr("datapkg.objects.directory.sync_file", _fails)
            target.put_rest(io.BytesIO(data), hash, begun, 0)
        opened = os.open

        def for_users(path: Any, flags: int, *mode: int, **options: Any) -> int:
            if flags & os.O_RDWR and os.path.exists(path) and not os.stat(path).st_mode & 0o200:
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return opened(path, flags, *mode, **options)

        monkeypatch.setattr(os, "open", for_users)
        assert target.put_rest(io.BytesIO(), hash, begun, len(data)) == hash
        assert (target.read(hash), begun.exists()) == (data, False)
        assert not target.path(hash).stat().st_mode & 0o222

    def test_first_new_byte_is_taken_before_the_earlier_ones_are_read(
        self, target: DirectoryObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """To read these takes longer, for a large object, than anybody waits who sends."""
        data = b"0123456789" * 1000
        hash, begun = hash_bytes(data), tmp_path / "tmp" / "begun"
        begun.parent.mkdir(exist_ok=True)
        begun.write_bytes(data[:5000])
        monkeypatch.setattr("datapkg.objects.directory.hashlib.file_digest", _fails)
        with pytest.raises(ZeroDivisionError):
            target.put_rest(io.BytesIO(data[5000:]), hash, begun, 5000)
        assert begun.read_bytes() == data
        begun.unlink()

    def test_upload_that_is_hashed_is_waited_for(
        self, target: DirectoryObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("datapkg.objects.directory.LOCK_WAIT_S", 0.1)
        monkeypatch.setattr("datapkg.objects.directory.WORK_BYTES_PER_S", 1)
        data = b"0123456789"
        begun = tmp_path / "tmp" / "begun"
        begun.parent.mkdir(exist_ok=True)
        begun.write_bytes(data)
        with begun.open("rb") as held, ThreadPoolExecutor() as pool:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(Conflict, match="being written by another process"):
                target.put_rest(io.BytesIO(data[5:]), hash_bytes(data), begun, 5)
            waiting = pool.submit(target.put_rest, io.BytesIO(), hash_bytes(data), begun, len(data))
            time.sleep(0.5)
            fcntl.flock(held, fcntl.LOCK_UN)
            assert waiting.result() == hash_bytes(data)

    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), QuotaExceeded("too long")])
    def test_upload_without_space_keeps_nothing(
        self, target: DirectoryObjects, tmp_path: Path, error: Exception
    ) -> None:
        begun = tmp_path / "tmp" / "begun"
        with pytest.raises(type(error)):
            target.put_rest(broken(b"0123", error), "0" * 64, begun, 0)
        assert not begun.exists()

    def test_an_upload_that_goes_on_with_other_bytes_is_dropped(self, target: DirectoryObjects, tmp_path: Path) -> None:
        data = b"0123456789"
        hash, begun = hash_bytes(data), tmp_path / "tmp" / "begun"
        begun.parent.mkdir(exist_ok=True)
        begun.write_bytes(b"x1234")
        with pytest.raises(HashMismatch):
            target.put_rest(io.BytesIO(data[5:]), hash, begun, 5)
        assert (target.missing([hash]), begun.exists()) == ({hash}, False)
        assert target.put_rest(io.BytesIO(data), hash, begun, 0) == hash

    def test_upload_that_waits_for_another_of_the_same_object_does_not_write_into_the_object(
        self, target: DirectoryObjects, tmp_path: Path
    ) -> None:
        """The first one completes, so the file that the second one has open becomes the object."""
        data = b"0123456789" * 1000
        hash, begun, arrived, go_on = hash_bytes(data), tmp_path / "tmp" / "begun", threading.Event(), threading.Event()

        def slowly() -> Iterator[bytes]:
            yield data[:6000]
            arrived.set()
            assert go_on.wait(10)
            yield data[6000:]

        with ThreadPoolExecutor() as pool:
            first = pool.submit(target.put_rest, pieces(slowly()), hash, begun, 0)
            assert arrived.wait(10)
            second = pool.submit(target.put_rest, broken(data[4000:5000]), hash, begun, 4000)
            time.sleep(0.3)
            go_on.set()
            assert first.result() == hash
            with pytest.raises(Conflict, match="has 0 bytes here, not 4,000"):
                second.result()
        assert target.read(hash) == data
        begun.unlink()

    def test_files_that_take_few_bytes_at_once_get_all(
        self, target: DirectoryObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Reluctant(io.FileIO):
            def write(self, data: Any) -> int:
                return super().write(memoryview(data)[:1000])

        data = b"0123456789" * 1000
        monkeypatch.setattr(os, "fdopen", lambda fd, mode, buffering: Reluctant(fd, mode.replace("b", "")))
        assert target.put_rest(io.BytesIO(data), hash_bytes(data), tmp_path / "tmp" / "begun", 0) == hash_bytes(data)
        monkeypatch.undo()
        assert target.read(hash_bytes(data)) == data


def _fails(*_: Any) -> None:
    raise ZeroDivisionError


def pieces(items: Iterator[bytes]) -> BinaryIO:
    """A stream of which each read returns the next of these."""

    class Pieces(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return next(items, b"")

    return Pieces()


def broken(data: bytes, error: Exception = ConnectionError()) -> BinaryIO:  # noqa: B008
    """A stream that breaks off behind these bytes."""

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if piece := super().read(size):
                return piece
            raise error

    return Broken(data)


class TestCopyOnWrite(ObjectsContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[Objects]:
        yield CopyOnWriteObjects(MemoryObjects(), tmp_path)
        assert list((tmp_path / "tmp").iterdir()) == [], "temporary files were left"

    def test_objects_of_the_base_are_readable_and_never_deleted(self, tmp_path: Path) -> None:
        base = MemoryObjects()
        hash = base.put_bytes(b"below")
        scratch = CopyOnWriteObjects(base, tmp_path)
        own = scratch.put_bytes(b"above")
        assert scratch.missing([hash, own, "0" * 64]) == {"0" * 64}
        assert (scratch.read(hash), scratch.size(hash), scratch.read(own)) == (b"below", 5, b"above")
        scratch.delete(hash)
        assert base.missing([hash, own]) == {own}


class TestDiscard:
    """Discard objects that were put in a batch and are not needed."""

    BIG = b"x" * (1 << 20)

    @pytest.fixture(params=[DirectoryObjects, PackedObjects])
    def target(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Objects]:
        yield request.param(tmp_path / "objects")
        assert list(tmp_path.rglob("tmp/*")) == [], "temporary files were left"

    def test_discarded_object_is_not_stored(self, target: Objects) -> None:
        with target.batch():
            hash = target.put_bytes(self.BIG)
            kept = target.put_bytes(b"y" + self.BIG)
            target.discard([hash])
            assert target.missing([hash, kept]) == {hash}
        assert set(target) == {kept}

    def test_object_put_by_another_writer_is_kept(self, target: Objects) -> None:
        with target.batch():
            hash = target.put_bytes(self.BIG)
            target.put_bytes(self.BIG)
            target.discard([hash])
        assert target.read(hash) == self.BIG

    def test_existing_object_is_kept(self, target: Objects) -> None:
        hash = target.put_bytes(self.BIG)
        with target.batch():
            target.put_bytes(self.BIG)
            target.discard([hash])
        assert target.read(hash) == self.BIG


class TestPacks(ObjectsContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[Objects]:
        yield PackedObjects(tmp_path)
        assert list((tmp_path / "tmp").iterdir()) == [], "temporary files were left"

    def test_small_objects_of_a_batch_share_a_file(self, target: PackedObjects) -> None:
        target.put_many(str(i).encode() for i in range(1000))
        assert len(target.packs()) == 1
        assert len(list(target)) == 1000
        assert not target.loose.folder.exists()

    def test_another_process_sees_a_new_pack(self, target: PackedObjects) -> None:
        other = PackedObjects(target.folder)
        assert other.missing([hash_bytes(b"new")]) == {hash_bytes(b"new")}
        target.put_many([b"new"])
        assert other.read(hash_bytes(b"new")) == b"new"

    def test_objects_before_a_broken_stream_are_kept_in_order(self, target: PackedObjects) -> None:
        bodies = [bytes([65 + number]) * 200_000 for number in range(12)]

        def broken() -> Iterator[tuple[str, bytes]]:
            yield from ((hash_bytes(body), body) for body in bodies)
            raise OSError("broke")

        with pytest.raises(OSError, match="broke"):
            target.put_verified(broken())
        assert target.missing(map(hash_bytes, bodies)) == set()
        (pack,) = target.packs()
        assert b"".join(bodies) in pack.path.read_bytes()

    def test_whole_file_takes_precedence_when_many_are_read(self, target: PackedObjects) -> None:
        bodies = [b"one", b"two", b"three"]
        hashes = target.put_many(bodies)
        (pack,) = target.packs()
        pack.path.chmod(0o600)
        pack.path.write_bytes(pack.path.read_bytes().replace(b"two", b"bad"))
        target.loose.put_bytes(b"two")  # sent again because the pack is damaged
        assert list(target.read_many(hashes)) == list(zip(hashes, bodies, strict=True))

    def test_pack_that_is_replaced_while_many_are_read(self, target: PackedObjects) -> None:
        bodies = [b"one", b"two", b"three"]
        hashes = target.put_many(bodies)
        reading = target.read_many(hashes)
        assert next(reading) == (hashes[0], b"one")
        PackedObjects(target.folder).delete(hashes[0])
        assert list(reading) == list(zip(hashes[1:], bodies[1:], strict=True))

    def test_pack_is_named_by_its_own_hash(self, target: PackedObjects) -> None:
        target.put_many([b"a", b"b"])
        (pack,) = target.packs()
        assert hash_bytes(pack.path.read_bytes()) == pack.hash

    @pytest.mark.parametrize("room", [4, 50])
    def test_full_disk_corrupts_no_pack(self, target: PackedObjects, room: int) -> None:
        """A limit on the file size has the effect of a full disk on a writer."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        with target.batch():
            try:
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
                if room > 4:
                    target.put_bytes(b"first")
                with pytest.raises(OSError, match="large"):
                    target.put_bytes(b"x" * 100)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            target.put_bytes(b"last")
        found = [b"first", b"last"] if room > 4 else [b"last"]
        assert sorted(target) == sorted(map(hash_bytes, found))
        assert [target.read(hash_bytes(each)) for each in found] == found
        assert [hash_bytes(pack.path.read_bytes()) for pack in target.packs()] == [target.packs()[0].hash]

    def test_pack_with_a_corrupt_index_is_skipped(self, target: PackedObjects) -> None:
        target.put_many([b"a", b"b"])
        (pack,) = target.packs()
        pack.path.chmod(0o600)
        pack.path.write_bytes(pack.path.read_bytes()[:-3])
        again = PackedObjects(target.folder)
        assert again.missing([hash_bytes(b"a")]) == {hash_bytes(b"a")}


class TestWhileObjectsGetTheirNames:
    """A thread whose batch is over finds what it put, while the batch of another one ends."""

    LARGE = b"x" * (1 << 20)

    @pytest.fixture(params=["directory", "packed", "cloud"])
    def target(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Objects]:
        if request.param == "cloud":
            yield CloudObjects(FolderBlobs(tmp_path / "bucket"), tmp_path)
        else:
            yield {"directory": DirectoryObjects, "packed": PackedObjects}[request.param](tmp_path / "objects")
        assert [path for path in tmp_path.rglob("tmp/*") if path.is_file()] == [], "temporary files were left"

    @pytest.fixture
    def seen(self, target: Objects, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
        """What another thread finds at each step of giving names: before it, and after it."""
        seen: list[Any] = []
        bodies = {hash_bytes(body): body for body in (b"small", self.LARGE)}

        def look() -> list[Any]:
            absent = target.missing(bodies)
            sizes = {hash: target.size(hash) for hash in bodies}
            return [absent, sizes, {hash: target.read(hash) for hash in bodies} == bodies]

        def watched(step: Any) -> Any:
            def watching(*arguments: Any) -> Any:
                with ThreadPoolExecutor(1) as pool:
                    seen.append(pool.submit(look).result(10))
                    result = step(*arguments)
                    seen.append(pool.submit(look).result(10))
                return result

            return watching

        for place in ("directory.sync_all", "directory.rename"):
            step = getattr(directory, place.partition(".")[2])
            monkeypatch.setattr(f"datapkg.objects.{place}", watched(step))
        monkeypatch.setattr(FolderBlobs, "take", lambda *a, take=FolderBlobs.take: watched(take)(*a))
        yield seen
        sizes = {hash: len(body) for hash, body in bodies.items()}
        assert seen
        assert seen == [[set(), sizes, True]] * len(seen)

    def test_they_are_found(self, target: Objects, seen: list[Any]) -> None:
        with target.batch():
            target.put_bytes(b"small")
            with target.batch():
                target.put_bytes(self.LARGE)

    def test_pack_is_found_by_who_listed_the_packs_before(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = PackedObjects(tmp_path)
        before = home.packs()
        sizes = []

        def watched(temp: Path, path: Path) -> None:
            rename(temp, path)
            with monkeypatch.context() as patch:
                patch.setattr(home, "packs", lambda: before)
                sizes.append(home.size(hash_bytes(b"small")))

        monkeypatch.setattr("datapkg.objects.packs.rename", watched)
        home.put_many([b"small"])
        assert sizes == [5]

    def test_what_gets_no_name_is_not_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        home = DirectoryObjects(tmp_path / "objects")
        monkeypatch.setattr(directory, "sync_all", lambda folder: os.close(1 << 20))
        with pytest.raises(OSError, match="descriptor"), home.batch():
            home.put_bytes(b"small")
        assert home.missing([hash_bytes(b"small")]) == {hash_bytes(b"small")}
        assert list(home.tmp.iterdir()) == []
