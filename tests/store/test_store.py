"""The store keeps its content, rejects any changed byte, and is consistent after a kill."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from datapkg.errors import CorruptObject, DamagedFile, InvalidName, NewerFormat, ObjectNotFound
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.parsed import Block, FileNode, Manifest, TableNode
from datapkg.format.names import Ref
from datapkg.objects import files, pack_merging, packs
from datapkg.objects.pack_file import hash_file
from datapkg.objects.packs import PackedObjects
from datapkg.store import format_version
from datapkg.store.index import Index
from datapkg.store.maintenance import check
from datapkg.store.refs import Current, LogEvent
from datapkg.store.store import Store

SMALL, BIG = b"small", b"big" * (1 << 19)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store", Index(tmp_path / "cache" / "index.db"))
    store.prepare()
    return store


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    overwrite(path, bytes(data))


def test_folder_is_private(store: Store) -> None:
    assert os.stat(store.folder).st_mode & 0o777 == 0o700


def test_unchanged_object_is_hashed_once(store: Store) -> None:
    hash = store.objects.put_bytes(BIG)
    path = store.objects.packed.loose.path(hash)
    assert store.objects.index.is_verified(path)
    os.utime(path)
    assert not store.objects.index.is_verified(path)
    assert store.objects.read(hash) == BIG, "its time changed, its bytes did not"


def test_corrupt_object_is_rejected(store: Store) -> None:
    hash = store.objects.put_bytes(BIG)
    flip(store.objects.packed.loose.path(hash), 100)
    with pytest.raises(CorruptObject, match="damaged"):
        store.objects.open(hash)
    assert store.objects.missing([hash]) == {hash}
    assert store.objects.quarantined() == {hash}
    assert store.objects.put_bytes(BIG) == hash
    assert store.objects.quarantined() == set()
    assert store.objects.read(hash) == BIG


def test_change_within_the_same_timestamp_is_detected(store: Store) -> None:
    for number in range(20):
        data = BIG + str(number).encode()
        hash = store.objects.put_bytes(data)
        path = store.objects.packed.loose.path(hash)
        with open(path, "r+b") as file:
            file.write(b"X")
        with pytest.raises(CorruptObject):
            store.objects.read(hash)


@pytest.mark.parametrize("module", ["verified", "maintenance"])
def test_change_while_an_object_is_hashed_is_detected(
    store: Store, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    """Hashing a large file takes a while; only what it was before that is known to be right."""
    hash = store.objects.put_bytes(BIG)
    path = store.objects.packed.loose.path(hash)
    os.utime(path)

    def changed_meanwhile(path: Path, *share: Any) -> str:
        found = hash_file(path, *share)
        flip(path, 100)
        os.utime(path, ns=(0, time.time_ns() - 10**9))
        return found

    with monkeypatch.context() as patched:
        patched.setattr(f"datapkg.store.{module}.hash_file", changed_meanwhile)
        store.objects.missing([hash]) if module == "verified" else check(store)
    assert not store.objects.index.is_verified(path)
    assert store.objects.missing([hash]) == {hash}


def test_corrupt_byte_in_a_pack_affects_only_that_object(store: Store) -> None:
    one, two = store.objects.put_many([b"one", b"two"])
    (pack,) = store.objects.packed.packs()
    flip(pack.path, store.objects.packed.locate(one).offset)
    again = Store(store.folder, store.objects.index)
    with pytest.raises(CorruptObject):
        again.objects.read(one)
    assert again.objects.read(two) == b"two"
    assert again.objects.missing([one, two]) == {one}
    assert again.objects.read(two) == b"two"


@pytest.mark.parametrize("size", [3, 1 << 21])
def test_verify_reports_corrupt_objects_and_keeps_the_rest(store: Store, size: int) -> None:
    with store.objects.batch():
        hashes = [store.objects.put_bytes(os.urandom(size)) for _ in range(5)]
    place = store.objects.packed.locate(hashes[2])
    flip(place.path, place.offset + 1)
    assert check(store) == {hashes[2]}
    assert store.objects.quarantined() == {hashes[2]}
    assert store.objects.missing(hashes) == {hashes[2]}


@pytest.mark.parametrize("at", [0, 31, 33])
def test_pack_with_a_corrupt_index_keeps_its_valid_objects(store: Store, at: int) -> None:
    hashes = store.objects.put_many(str(i).encode() for i in range(50))
    (pack,) = store.objects.packed.packs()
    flip(pack.path, pack.path.stat().st_size - 16 - 48 * 20 + at)
    again = Store(store.folder, store.objects.index)
    assert len(check(again)) == 1
    assert len(again.objects.missing(hashes)) == 1
    assert check(again) == set()


@pytest.mark.parametrize("at", [0, -1, -9])
def test_unreadable_pack_is_quarantined(store: Store, at: int) -> None:
    hashes = store.objects.put_many([b"a", b"b"])
    (pack,) = store.objects.packed.packs()
    flip(pack.path, at)
    again = Store(store.folder, store.objects.index)
    check(again)
    assert again.objects.missing(hashes) == set(hashes)
    assert len(list(again.objects.quarantine_folder.iterdir())) == 1


def test_deleted_or_corrupt_index_does_no_harm(store: Store) -> None:
    hash = store.objects.put_bytes(BIG)
    for garbage in (None, b"", b"garbage" * 1000):
        for suffix in ("", "-wal", "-shm"):
            Path(f"{store.objects.index.path}{suffix}").unlink(missing_ok=True)
        if garbage is not None:
            store.objects.index.path.write_bytes(garbage)
        again = Store(store.folder, Index(store.objects.index.path))
        assert again.objects.read(hash) == BIG
        assert again.objects.read(hash) == BIG


def test_manifest_round_trips(store: Store) -> None:
    manifest = Manifest.make([], {"title": "x"})
    assert store.save(manifest) == manifest.hash
    assert store.manifest(manifest.hash) == manifest
    with pytest.raises(ObjectNotFound):
        store.manifest("0" * 64)


def test_newer_store_format_is_rejected(store: Store) -> None:
    (store.folder / "format").write_text("3\n")
    with pytest.raises(NewerFormat, match="has format 3; this datapkg reads formats up to 2") as caught:
        Store(store.folder, store.objects.index)
    assert caught.value.hint.startswith("upgrade datapkg")


def test_older_store_is_read_as_it_is_and_migrated_before_it_is_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash = store.objects.put_bytes(BIG)
    done: list[str] = []
    steps = {version: lambda folder, version=version: done.append(f"{version} {folder.name}") for version in (2, 3)}
    monkeypatch.setattr(format_version, "MIGRATIONS", steps)
    monkeypatch.setattr(format_version, "NEWEST", 3)
    monkeypatch.setattr(format_version, "OLDEST_WRITTEN", 3)
    old = Store(store.folder, store.objects.index)
    assert old.objects.read(hash) == BIG
    assert done == []
    for _ in range(2):
        with old.writing():
            assert done == ["2 store", "3 store"]
    assert (store.folder / "format").read_text() == "3\n"


def test_migration_that_was_killed_is_run_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(format_version, "OLDEST_WRITTEN", 2)
    monkeypatch.setattr(format_version, "MIGRATIONS", {2: killed})
    with pytest.raises(KeyboardInterrupt), store.writing():
        raise AssertionError("it was written")
    assert (store.folder / "format").read_text() == "1\n"
    monkeypatch.setattr(format_version, "MIGRATIONS", {})
    with store.writing():
        assert (store.folder / "format").read_text() == "2\n"


def test_links_in_an_open_batch_have_the_bytes_of_one_object_and_outlive_it(store: Store) -> None:
    with store.objects.batch():
        hashes = [store.objects.put_bytes(data) for data in (b"another", SMALL, BIG)]
        nodes = [FileNode(path=f"n{at}", hash=hash, size=1, file_name="f") for at, hash in enumerate(hashes)]
        paths = [store.links.path("d" * 64, node) for node in nodes]
        assert [path.read_bytes() for path in paths] == [b"another", SMALL, BIG]
    assert [path.read_bytes() for path in paths] == [b"another", SMALL, BIG]
    assert [store.links.path("d" * 64, node).read_bytes() for node in nodes] == [b"another", SMALL, BIG]


def test_links_have_the_suffix_and_are_read_only(store: Store) -> None:
    with store.objects.batch():
        small, big = store.objects.put_bytes(SMALL), store.objects.put_bytes(BIG)
    hash = "d" * 64
    file = FileNode(path="raw/a.jpg", hash=small, size=len(SMALL), file_name="a.jpg")
    for node, data in ((file, SMALL), (FileNode(path="x", hash=big, size=len(BIG), file_name="x.bin"), BIG)):
        path = store.links.path(hash, node)
        assert path.name == node.file_name
        assert path.read_bytes() == data
        assert os.stat(path).st_mode & 0o222 == 0
        assert store.links.path(hash, node) == path
    blocks = [Block(small, 1, len(SMALL)), Block(big, 1, len(BIG))]
    table = TableNode(path="t", columns=[], content="c1:" + hash, blocks=blocks, rows=2, file_name="t.csv")
    assert sorted(each.name for each in store.links.path(hash, table).iterdir()) == [
        "t-00000.parquet",
        "t-00001.parquet",
    ]


def test_changed_link_is_recreated(store: Store) -> None:
    (hash,) = store.objects.put_many([SMALL])
    node = FileNode(path="a", hash=hash, size=len(SMALL), file_name="a.txt")
    path = store.links.path("d" * 64, node)
    overwrite(path, b"other")
    assert store.links.path("d" * 64, node).read_bytes() == SMALL


def test_number_of_packs_does_not_grow_with_that_of_batches(store: Store) -> None:
    data = [f"{number}".encode() for number in range(60)]
    for each in data:
        with store.writing(), store.objects.batch():
            store.objects.put_bytes(each)
    assert len(list((store.folder / "packs").iterdir())) < 16
    assert dict(store.objects.read_many([hash_bytes(each) for each in data])) == {
        hash_bytes(each): each for each in data
    }
    assert (check(store), list(store.tmp.iterdir())) == (set(), [])


def test_many_are_read_right_where_a_damaged_pack_has_one_that_was_repaired(store: Store) -> None:
    data = [b"%d" % number * 10 for number in range(20)]
    with store.writing(), store.objects.batch():
        hashes = [store.objects.put_bytes(each) for each in data]
    assert dict(store.objects.read_many(hashes)) == dict(zip(hashes, data, strict=True))
    place = store.objects.locate(hashes[7])
    flip(place.path, place.offset)
    store.objects.packed.loose.put_bytes(data[7])
    assert dict(store.objects.read_many(hashes)) == dict(zip(hashes, data, strict=True))


def test_a_pack_has_so_many_objects_at_most(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "PACK_OBJECTS", 3)
    data = [b"%d" % number for number in range(10)]
    with store.writing(), store.objects.batch():
        hashes = [store.objects.put_bytes(each) for each in data]
        assert store.objects.missing(hashes) == set()
        assert [store.objects.read(hash) for hash in hashes] == data, "those of finished packs are found too"
        assert [store.objects.put_bytes(each) for each in data] == hashes
    assert sum(pack.count for pack in store.objects.packed.packs()) >= 10
    assert all(pack.count <= 3 for pack in store.objects.packed.packs())
    assert dict(store.objects.read_many(hashes)) == dict(zip(hashes, data, strict=True))


def test_packs_of_many_objects_are_not_merged(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_merging, "PACK_OBJECTS", 4)
    monkeypatch.setattr(pack_merging, "MERGED_OBJECTS", 3)
    for number in range(40):
        with store.writing(), store.objects.batch():
            store.objects.put_bytes(b"%d" % number)
    counts = [pack.count for pack in store.objects.packed.packs()]
    assert sum(counts) == 40
    assert max(counts) == 4
    assert len(counts) < 16 + 40 // 3


def test_pack_with_a_wrong_byte_is_not_merged(store: Store) -> None:
    for number in range(15):
        with store.writing(), store.objects.batch():
            store.objects.put_bytes(f"{number}".encode())
    pack = next(each for each in store.objects.packed.packs() if each.find(bytes.fromhex(hash_bytes(b"7"))))
    overwrite(pack.path, pack.path.read_bytes().replace(b"datapkg17", b"datapkg1x", 1))
    with store.writing(), store.objects.batch():
        store.objects.put_bytes(b"15")
    assert len(store.objects.packed.packs()) == 2
    assert pack.path.exists()
    assert check(store) == {hash_bytes(b"7")}


def test_reader_finds_an_object_whose_pack_was_merged_by_another_process(store: Store, tmp_path: Path) -> None:
    for number in range(15):
        with store.writing(), store.objects.batch():
            store.objects.put_bytes(f"{number}".encode())
    other = Store(store.folder, Index(tmp_path / "other.db"))
    place = other.objects.packed.locate(hash_bytes(b"3"))
    with store.writing(), store.objects.batch():
        store.objects.put_bytes(b"15")
    assert not place.path.exists()
    assert list(other.objects.read_many([hash_bytes(b"3")])) == [(hash_bytes(b"3"), b"3")]


def test_newest_event_is_the_last_appended_whatever_the_clock_says(store: Store) -> None:
    ref, hours = Ref("u", "p"), [10, 12, 11, 9]
    for hour in hours:
        store.refs.append_log(ref, LogEvent("build", f"{hour:02}" * 32, f"2026-11-21T{hour:02}:00:00+00:00"))
    assert [each.hash[:2] for each in store.refs.log(ref)] == ["09", "11", "12", "10"]


def test_log_keeps_long_lists_of_records_as_objects(store: Store) -> None:
    ref, sources = Ref("u", "p"), [{"path": f"{number:06}", "kwargs": {"b": 1, "a": 2}} for number in range(2_000)]
    record = {"origin": "directory", "sources": sources, "left_out": [{"path": "x", "reason": "y"}]}
    store.append_log(ref, LogEvent("build", "a" * 64, "2026-11-21T10:00:00+00:00", record=record))
    (file,) = (store.folder / "packages/u/p/log").iterdir()
    assert file.stat().st_size < 1_000
    event = next(store.refs.log(ref))
    assert event.record == {"origin": "directory", "left_out": record["left_out"], "lists": {"sources": 2_000}}
    found = store.record(ref, "a" * 64)
    assert found is not None
    assert (dict(found), list(found["sources"][0]["kwargs"])) == (record, ["b", "a"])
    store.objects.delete(event.record_object)
    found = store.record_of(event)
    assert found["left_out"] == record["left_out"]
    with pytest.warns(DamagedFile, match="the record of the build of aaaaaaaaaaaa… lost its lists"):
        assert found["sources"] == []


def test_pointers(store: Store) -> None:
    refs, ref = store.refs, Ref("u", "p")
    assert (refs.current(ref), refs.packages(), list(refs.log(ref))) == (None, [], [])
    refs.set_current(ref, Current("a" * 64, "local"))
    refs.append_log(ref, LogEvent("build", "a" * 64, "2026-11-21T10:00:00+00:00"))
    refs.append_log(ref, LogEvent("push", "b" * 64, "2026-11-21T11:00:00+00:00"))
    refs.set_pointers(ref, "tags", {"latest": "c" * 64, "old": "d" * 64})
    refs.set_pointers(ref, "tags", {"latest": "e" * 64})
    assert [event.event for event in refs.log(ref)] == ["push", "build"]
    assert refs.tags(ref) == {"latest": "e" * 64}
    assert refs.known_hashes(ref) == {"a" * 64, "b" * 64, "e" * 64}
    assert (refs.packages(), refs.knows(ref)) == ([ref], True)
    assert refs.remove(ref)
    assert not refs.remove(ref)
    assert (refs.packages(), refs.knows(ref)) == ([], False)


@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"[]", b'{"hash": 3}', b'{"hash": "x"}', b'{"hash": "' + b"a" * 64 + b'", "origin": 3}']
)
def test_corrupt_pointer_is_reported(store: Store, garbage: bytes) -> None:
    store.refs.set_current(Ref("u", "p"), Current("a" * 64, "local"))
    (store.folder / "packages/u/p/current").write_bytes(garbage)
    with pytest.warns(DamagedFile, match="current is damaged.*type: datapkg install u/p"):
        assert store.refs.current(Ref("u", "p")) is None
    store.refs.append_log(Ref("u", "p"), LogEvent("install", "b" * 64, "2024-01-01T00:00:00", "https://a.example"))
    with pytest.warns(DamagedFile, match="it is bbbbbbbbbbbb… by the log"):
        assert store.refs.current(Ref("u", "p")) == Current("b" * 64, "https://a.example", partial=True)


WRITER = """
import os, sys
from pathlib import Path
from datapkg.store.index import Index
from datapkg.store.store import Store
store = Store(Path(sys.argv[1]), Index(Path(sys.argv[1]).parent / "index.db"))
store.prepare()
print("ready", flush=True)
for number in range(int(sys.argv[2])):
    with store.objects.batch():
        for size in (10, 5000, 1 << 20, 3 << 20):
            store.objects.put_bytes(os.urandom(8) + bytes(size))
"""


def test_store_is_consistent_after_a_kill_at_any_moment(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    for seed in range(6):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder), "1000"], stdout=subprocess.PIPE)
        assert process.stdout
        process.stdout.readline()
        time.sleep(random.Random(seed).random() * 0.3)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    store = Store(folder, Index(tmp_path / "other.db"))
    hashes = list(store.objects)
    assert check(store) == set()
    assert check(store, hashes) == set()
    assert all(hash_bytes(data) == hash for hash, data in PackedObjects(folder).read_many(hashes))


def test_many_concurrent_writers_of_the_same_object(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    code = WRITER.replace("os.urandom(8) + bytes(size)", "str(number % 3).encode() + bytes(size)")
    writers = [subprocess.Popen([sys.executable, "-c", code, str(folder), "6"]) for _ in range(6)]
    assert [writer.wait(60) for writer in writers] == [0] * 6
    store = Store(folder, Index(tmp_path / "index.db"))
    assert check(store) == set()
    assert len(list(store.objects)) == 12
    assert list(store.tmp.iterdir()) == []


@pytest.mark.parametrize("name", ["../../../evil", "..", "a/b", "", "A", "x\0"])
@pytest.mark.parametrize("kind", ["tags", "versions"])
def test_names_from_a_registry_cannot_escape_their_folder(store: Store, name: str, kind: Any) -> None:
    with pytest.raises(InvalidName):
        store.refs.set_pointers(Ref("u", "p"), kind, {name: "a" * 64})
    with pytest.raises(InvalidName):
        store.refs.set_pointers(Ref("u", "p"), kind, {"1.0" if kind == "versions" else "x": "../" + "a" * 61})
    assert list(store.folder.rglob("*evil*")) == []
    assert not (store.folder / "packages").exists()


def test_file_of_a_running_process_is_kept_when_the_clock_jumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have slept with its machine, or somebody has set the clock; other machines' files are judged by age."""
    mine, ended = files.temp_path(tmp_path), tmp_path / f"put-{files.this_boot()}-{2**22 + 1}-0"
    other = tmp_path / "put-12345678-1-0"
    for path in (mine, ended, other):
        path.write_bytes(b"")
    assert list(files.stale_temps(tmp_path)) == [ended]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2 * files.STALE_TEMP_S)
    assert sorted(files.stale_temps(tmp_path)) == sorted([ended, other])


def test_temporary_folder_of_a_killed_process_is_stale(tmp_path: Path) -> None:
    with files.temp_folder(tmp_path, "dry") as folder:
        (folder / "inside").write_bytes(b"")
        assert list(files.stale_temps(tmp_path)) == []
        kind, boot, pid, rest = folder.name.split("-")
        assert (kind, boot, pid) == ("dry", files.this_boot(), str(os.getpid()))
        killed = folder.rename(tmp_path / f"{kind}-{boot}-{2**22 + 1}-{rest}")
        assert list(files.stale_temps(tmp_path)) == [killed]
    assert files.sweep_temp(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def test_temporary_folder_that_may_not_be_listed_any_more_ends_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Any, *_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    with files.temp_folder(tmp_path, "dry") as folder:
        (folder / "inside").write_bytes(b"")
        monkeypatch.setattr(os, "open", refuse)
        monkeypatch.setattr(os, "unlink", refuse)
        monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.undo()
    assert folder.exists()
