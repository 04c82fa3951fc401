"""What a worker does with a task, run in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from datapkg.building import node_builder
from datapkg.building.cache import TransformResult
from datapkg.building.cluster import allocator
from datapkg.building.cluster.exchange import Exchange, marked
from datapkg.building.cluster.tasks import ReadResult, ReadTask, StageTask
from datapkg.building.sources.file import stamp_of
from datapkg.building.spec.model import FileSource, NodeSpec, Stage
from datapkg.errors import BuildFailed
from datapkg.format.hashing import hash_bytes
from datapkg.home import Home
from datapkg.store.store import Store

TEXT = b"a,b\n" + b"1,2\n" * 10_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Home({"DATAPKG_HOME": str(tmp_path / "home")}).store
    store.prepare()
    return store


@pytest.fixture
def exchange(store: Store) -> Iterator[Exchange]:
    with marked(store, "build") as mark:
        yield Exchange("build", folder=str(store.folder), mark=mark)


@pytest.fixture
def task(exchange: Exchange, tmp_path: Path) -> ReadTask:
    path = tmp_path / "rows.csv"
    path.write_bytes(TEXT)
    spec = NodeSpec("rows", FileSource(path, "rows.csv"), "csv")
    return ReadTask(spec, "me/data", exchange, stamp=stamp_of(os.stat(path)))


def path_of(task: ReadTask) -> Path:
    assert isinstance(task.spec.source, FileSource)
    return task.spec.source.path


def test_who_reads_a_file_hashes_it(task: ReadTask, store: Store, tmp_path: Path) -> None:
    found: ReadResult = task.run(tmp_path / "local")
    assert found.hash == hash_bytes(TEXT)
    (table,) = msgspec.json.decode(found.result, type=TransformResult).nodes
    assert not store.objects.missing([hash for hash, _ in table.objects()])


def test_a_known_hash_is_not_computed_again(task: ReadTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_builder, "hash_file", lambda source: pytest.fail("it was hashed"))
    known = ReadTask(task.spec, task.package, task.exchange, hash=hash_bytes(TEXT), stamp=task.stamp)
    assert known.run(tmp_path / "local").hash == hash_bytes(TEXT)


def replaced(path: Path, status: os.stat_result) -> None:
    """Put a file of the same size and time in the place of another one."""
    other = path.with_name("other")
    other.write_bytes(TEXT.replace(b"1", b"3"))
    os.utime(other, ns=(status.st_mtime_ns, status.st_mtime_ns))
    other.rename(path)


def test_another_file_is_not_read(task: ReadTask, tmp_path: Path) -> None:
    replaced(path_of(task), os.stat(path_of(task)))
    with pytest.raises(BuildFailed, match=r"'rows\.csv' is another file, or has changed, where a worker reads it"):
        task.run(tmp_path / "local")


@pytest.mark.parametrize("change", [replaced, lambda path, _: path.write_bytes(TEXT + b"5,6\n")])
def test_a_change_while_it_is_read_is_noticed(
    task: ReadTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    read = node_builder.read_source

    def changing(*args: Any) -> Any:
        found = read(*args)
        change(path_of(task), os.stat(path_of(task)))
        return found

    monkeypatch.setattr(node_builder, "read_source", changing)
    with pytest.raises(BuildFailed, match="changed while it was read"):
        task.run(tmp_path / "local")


def test_memory_is_kept_while_a_table_is_read(task: ReadTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(allocator.VARIABLE, "65536")
    read, held = node_builder.read_source, []
    monkeypatch.setattr(node_builder, "read_source", lambda *args: (held.append(allocator._holders), read(*args))[1])
    task.run(tmp_path / "local")
    assert held == ([1] if allocator._glibc() else [0])
    assert allocator._holders == 0


def test_what_a_stage_is_warned_of_comes_back(exchange: Exchange, tmp_path: Path) -> None:
    run = ("/bin/sh", "-c", "touch $(dirname {out})/beside && echo a > {out}")
    task = StageTask(Stage("s", run, outputs={"out": "o"}), exchange, {}, tmp_path, tmp_path / "log", {})
    facts = task.run(tmp_path / "local")
    assert [each[:19] for each in facts.warnings] == ["stage 's': 'beside'"]
