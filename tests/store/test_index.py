"""The index is a cache: it returns what was stored, and any damage to it is a miss."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from datapkg.store import index as module
from datapkg.store.index import Index, stamp

STAMP = (1, 2, 3, 4, 5)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "cache" / "index.db")


def test_only_sources_below_the_folder_are_returned(index: Index) -> None:
    index.remember_sources((path, STAMP, 9, "ab") for path in ("/a/b/c", "/a/b/d/e", "/a/bc", "/a/b"))
    assert list(index.sources("/a/b")) == [("/a/b/c", STAMP, 9, "ab"), ("/a/b/d/e", STAMP, 9, "ab")]
    assert list(index.sources("/a/b/")) == list(index.sources("/a/b"))
    assert len(list(index.sources("/"))) == 4


def test_many_sources_are_read_some_at_a_time(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [f"/a/{number}" for number in range(10)]
    index.remember_sources((path, STAMP, 9, "ab") for path in paths)
    monkeypatch.setattr(module, "_AT_ONCE", 3)
    assert [path for path, *_ in index.sources("/a")] == paths


def test_newer_entry_of_a_source_replaces_the_older(index: Index) -> None:
    index.remember_sources([("/a/b", STAMP, 9, "old")])
    index.remember_sources([("/a/b", STAMP, 10, "new")])
    assert list(index.sources("/a")) == [("/a/b", STAMP, 10, "new")]


def test_stored_values_are_returned(index: Index) -> None:
    values = {f"key {number}": bytes([number % 256]) for number in range(1_200)}
    index.put_many(values)
    assert index.get_many([*values, "another"]) == values
    assert index.get_many([]) == {}


def test_old_values_are_evicted(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.put_many({"old": b"x" * 100_000})
    index._write("UPDATE found SET day = 0", [()])
    monkeypatch.setattr(module, "_MAX_FOUND_BYTES", 50_000)
    index.put_many({"new": b"y"})
    assert index.get_many(["old", "new"]) == {"new": b"y"}


def test_older_format_is_recreated(index: Index) -> None:
    index.put_many({"a": b"1"})
    index._write("PRAGMA user_version = 1", [()])
    assert Index(index.path).get_many(["a"]) == {}


@pytest.mark.parametrize("damage", ["garbage", "folder", "empty"])
def test_corrupt_index_is_a_miss(index: Index, damage: str) -> None:
    index.path.parent.mkdir(parents=True, exist_ok=True)
    if damage == "folder":
        index.path.mkdir()
    else:
        index.path.write_bytes(os.urandom(5_000) if damage == "garbage" else b"")
    index.put_many({"a": b"1"})
    index.remember_sources([("/a/b", STAMP, 9, "ab")])
    found = {} if damage == "folder" else {"a": b"1"}
    assert index.get_many(["a"]) == found
    assert bool(list(index.sources("/a"))) == bool(found)


@pytest.mark.parametrize("value", ["NULL", "'text'", "x'00ff'", "1.5", "-1", "x''"])
@pytest.mark.parametrize("column", ["value", "hash", "checked_ns", "mtime_ns"])
def test_corrupt_values_are_misses(index: Index, tmp_path: Path, column: str, value: str) -> None:
    (tmp_path / "a").write_text("a")
    os.utime(tmp_path / "a", ns=(0, 0))
    index.mark_verified([tmp_path / "a"])
    index.put_many({"a": b"one"})
    index.remember_sources([("/a/b", STAMP, 9, "ab")])
    tables = {"value": ["found"], "hash": ["sources"]}.get(column, ["believed", "sources"])
    for table in tables:
        index._write(f"UPDATE {table} SET {column} = {value}", [()])
    assert index.get_many(["a"]) == ({} if column == "value" else {"a": b"one"})
    found = {path: (stamp, at, hash) for path, stamp, at, hash in index.sources("/a")}.get("/a/b")
    assert found is None if column == "hash" else found is not None and found[2] == "ab" and isinstance(found[1], int)
    assert index.is_verified(tmp_path / "a") is (column in ("value", "hash"))


def test_index_with_a_corrupt_page_is_made_anew(index: Index) -> None:
    index.put_many({str(number): os.urandom(500) for number in range(500)})
    index.__del__()
    data = bytearray(index.path.read_bytes())
    data[8192:] = os.urandom(len(data) - 8192)
    index.path.write_bytes(data)
    for _ in range(2):
        again = Index(index.path)
        again.get_many(map(str, range(500)))
        again.put_many({"a": b"1"})
        again.__del__()
    assert Index(index.path).get_many(["a"]) == {"a": b"1"}


def test_stamp_changes_with_any_write(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    before = stamp(path.stat())
    path.write_text("two")
    os.utime(path, ns=(path.stat().st_atime_ns, before[1]))
    assert stamp(path.stat()) != before


def test_locked_index_does_not_block(index: Index) -> None:
    index.put_many({"a": b"1"})
    with closing(sqlite3.connect(index.path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        for number in range(20):
            index.put_many({f"b{number}": b"2"})
        assert time.monotonic() - started < 10
        other.rollback()


def test_read_only_index_is_readable(index: Index, tmp_path: Path) -> None:
    index.put_many({"a": b"1"})
    index._open().execute("PRAGMA journal_mode = DELETE")
    again = Index(index.path)
    refused = sqlite3.OperationalError("attempt to write a readonly database")
    connect = sqlite3.connect

    class ReadOnly(sqlite3.Connection):
        def execute(self, statement: str, *values: Any) -> Any:
            if "journal_mode" in statement:
                raise refused
            return super().execute(statement, *values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *given, **named: connect(*given, **named, factory=ReadOnly))
        assert again.get_many(["a"]) == {"a": b"1"}
        again.put_many({"b": b"2"})
        assert again.get_many(["a", "b"]) == {"a": b"1"}


def test_connection_is_closed_with_its_index(index: Index) -> None:
    index.put_many({"a": b"b"})
    connection = index._connection
    assert connection is not None
    index.__del__()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_index_beside_which_no_file_can_be_made_is_read(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full or read-only disk SQLite says that it cannot open the database, as it makes a file beside it."""
    index.put_many({"a": b"1"})
    index.__del__()
    connect = sqlite3.connect

    def refuse(database: Any, **options: Any) -> sqlite3.Connection:
        if not options.get("uri"):
            raise sqlite3.OperationalError("unable to open database file")
        return connect(database, **options)

    monkeypatch.setattr(sqlite3, "connect", refuse)
    assert Index(index.path).get_many(["a"]) == {"a": b"1"}
    log = Path(f"{index.path}-wal")
    log.write_bytes(b"what another process writes")
    assert Index(index.path).get_many(["a"]) == {}
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert Index(index.path).get_many(["a"]) == {"a": b"1"}
