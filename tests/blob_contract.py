"""The contract of `Blobs` as a test class: every home subclasses it."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from datapkg.errors import InvalidName, NotFound, QuotaExceeded, Refused
from datapkg.objects.blobs.base import Blobs
from tests.contracts import Failing

BODY = bytes(range(256)) * 1000
KEY = "packages/ada/iris/log/00000001.json"


class BlobsContract:
    """What every home of bytes under keys promises; `blobs` is empty."""

    @pytest.fixture
    def blobs(self) -> Iterator[Blobs]:
        raise NotImplementedError

    def test_bytes_come_back(self, blobs: Blobs) -> None:
        for number, body in enumerate([b"", b"a", BODY]):
            blobs.put(f"a/b{number}", io.BytesIO(body))
            assert blobs.read(f"a/b{number}", len(body)) == body
            assert blobs.size(f"a/b{number}") == len(body)

    def test_large_streams_come_back(self, blobs: Blobs) -> None:
        body = BODY * 50
        blobs.put("large", io.BufferedReader(io.BytesIO(body)))  # type: ignore[arg-type]
        with blobs.open("large") as stream:
            assert b"".join(iter(lambda: stream.read(1 << 20), b"")) == body

    def test_ranges(self, blobs: Blobs) -> None:
        blobs.put("body", io.BytesIO(BODY))
        for start, stop in [(0, 0), (0, 10), (5, 6), (100, 2000), (len(BODY) - 3, None), (10, len(BODY) + 50)]:
            with blobs.open("body", start, stop) as stream:
                assert b"".join(iter(lambda: stream.read(1000), b"")) == BODY[start:stop]

    def test_a_limit_holds(self, blobs: Blobs) -> None:
        blobs.put("body", io.BytesIO(BODY))
        assert blobs.read("body", len(BODY)) == BODY
        with pytest.raises(QuotaExceeded, match="body has more than"):
            blobs.read("body", len(BODY) - 1)

    def test_what_is_absent(self, blobs: Blobs) -> None:
        blobs.put("a/b", io.BytesIO(b"x"))
        for key in ("nothing", "a", "a/b/c"):
            assert blobs.size(key) is None
            with pytest.raises(NotFound, match=key):
                blobs.read(key, 10)
            with pytest.raises(NotFound, match=key):
                blobs.open(key, 1, 2).read()
            with pytest.raises(NotFound, match=key):
                blobs.copy(key, "copied")
        assert blobs.size("copied") is None

    @pytest.mark.parametrize("key", ["", "/etc", "a//b", "../a", "a/../b", "a/.", ".git", "a b", "a/", "ä", "a\\b"])
    def test_what_is_no_key(self, blobs: Blobs, key: str) -> None:
        with pytest.raises(InvalidName, match="is not a key"):
            blobs.put(key, io.BytesIO(b""))
        with pytest.raises(InvalidName, match="is not a key"):
            blobs.read(key, 10)

    def test_put_replaces(self, blobs: Blobs) -> None:
        blobs.put("heads.json", io.BytesIO(b"the first, which is longer"))
        blobs.put("heads.json", io.BytesIO(b"the second"))
        assert blobs.read("heads.json", 100) == b"the second"

    def test_a_broken_stream_changes_nothing(self, blobs: Blobs) -> None:
        blobs.put("old", io.BytesIO(b"old"))
        for key in ("old", "new"):
            with pytest.raises(OSError, match="broke"):
                blobs.put(key, io.BufferedReader(Failing(9 << 20)))
        assert blobs.read("old", 10) == b"old"
        assert blobs.size("new") is None
        assert [each.key for each in blobs.list()] == ["old"]

    def test_create(self, blobs: Blobs) -> None:
        if not blobs.can_create:
            with pytest.raises(Refused):
                blobs.create(KEY, b"first")
            assert blobs.size(KEY) is None
            return
        assert blobs.create(KEY, b"first")
        assert not blobs.create(KEY, b"second")
        assert blobs.read(KEY, 10) == b"first"

    def test_one_creator_wins(self, blobs: Blobs) -> None:
        if not blobs.can_create:
            pytest.skip("this home lets two creators win, and says so")
        start = threading.Barrier(8)

        def create(number: int) -> list[bool]:
            won = []
            for round in range(10):
                start.wait()
                won.append(blobs.create(f"log/{round}", b"%d" % number * 1000))
            return won

        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(create, range(8)))
        for round, won in enumerate(zip(*results, strict=True)):
            assert sum(won) == 1
            assert blobs.read(f"log/{round}", 1000) == b"%d" % won.index(True) * 1000

    def test_a_deleted_key_can_be_created_again(self, blobs: Blobs) -> None:
        blobs.put(KEY, io.BytesIO(b"one"))
        blobs.delete(KEY)
        blobs.delete(KEY)
        assert blobs.size(KEY) is None
        if blobs.can_create:
            assert blobs.create(KEY, b"two")
            assert blobs.read(KEY, 10) == b"two"

    def test_copy(self, blobs: Blobs) -> None:
        blobs.put("tmp2/upload", io.BytesIO(BODY))
        blobs.put("objects/ab/cd", io.BytesIO(b"older"))
        blobs.copy("tmp2/upload", "objects/ab/cd")
        assert blobs.read("objects/ab/cd", len(BODY)) == blobs.read("tmp2/upload", len(BODY)) == BODY

    def test_rename(self, blobs: Blobs) -> None:
        blobs.put("objects/ab/cd", io.BytesIO(BODY))
        blobs.put("trash/objects/ab/cd", io.BytesIO(b"older"))
        blobs.rename("objects/ab/cd", "trash/objects/ab/cd")
        assert blobs.read("trash/objects/ab/cd", len(BODY)) == BODY
        assert blobs.size("objects/ab/cd") is None
        with pytest.raises(NotFound, match="objects/ab/cd"):
            blobs.rename("objects/ab/cd", "other")

    def test_a_file_is_taken(self, blobs: Blobs, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(BODY)
        blobs.take("objects/ab/cd", path)
        assert blobs.read("objects/ab/cd", len(BODY)) == BODY
        assert not path.exists()

    def test_several_ranges(self, blobs: Blobs) -> None:
        blobs.put("pack", io.BytesIO(BODY))
        wanted = [(0, 0), (10, 20), (100_000, 100_001), (5, 7), (len(BODY) - 4, len(BODY))]
        assert blobs.read_ranges("pack", wanted) == [BODY[start:stop] for start, stop in wanted]
        assert blobs.read_ranges("pack", []) == []
        with pytest.raises(NotFound, match="nothing"):
            blobs.read_ranges("nothing", [(0, 1)])

    def test_list(self, blobs: Blobs) -> None:
        keys = ["a/1", "a/2", "a/b/3", "ab/4", "c"]
        for size, key in enumerate(keys):
            blobs.put(key, io.BytesIO(b"x" * size))
        for prefix in ("", "a/", "a/b/", "d/"):
            found = sorted(blobs.list(prefix))
            assert [each.key for each in found] == [key for key in keys if key.startswith(prefix)]
        assert {each.key: each.size for each in blobs.list()} == {key: size for size, key in enumerate(keys)}
        for each in blobs.list():
            assert abs(each.modified_at - datetime.now(UTC)) < timedelta(minutes=5)

    def test_list_of_many(self, blobs: Blobs) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: blobs.put(f"many/{number:04}", io.BytesIO(b"x")), range(1_010)))
        assert sorted(each.key for each in blobs.list("many/")) == [f"many/{number:04}" for number in range(1_010)]
