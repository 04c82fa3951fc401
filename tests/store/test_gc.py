"""Removing a package frees exactly what only it needs, also with other content, concurrent processes and kills."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from datapkg.errors import ObjectNotFound
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.parsed import FileNode, Manifest
from datapkg.format.names import Ref
from datapkg.store import gc, writer_lock
from datapkg.store.index import Index
from datapkg.store.refs import Current, LogEvent
from datapkg.store.store import Store
from tests.examples import examples, seeds

pytestmark = pytest.mark.usefixtures("few_and_many")
LOOSE = b"L" * 10_000
AT = "2026-01-01T00:00:00+00:00"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store", Index(tmp_path / "cache" / "index.db"))
    store.prepare()
    return store


def again(store: Store) -> Store:
    """Return the same store as another process sees it."""
    return Store(store.folder, Index(store.index_path.with_name("other.db")))


def manifest_of(*contents: bytes) -> Manifest:
    return Manifest.make(
        [FileNode(path=f"n{at}", hash=hash_bytes(data), size=len(data)) for at, data in enumerate(contents)]
    )


def keep(store: Store, name: str, *contents: bytes, is_current: bool = True) -> str:
    """Put contents, the short ones in a pack, save a state of them as `u/NAME`, and return its hash."""
    manifest = manifest_of(*contents)
    store.objects.put_many(each for each in contents if len(each) < len(LOOSE))
    for each in contents:
        if len(each) >= len(LOOSE):
            store.objects.put_bytes(each)
    store.save(manifest)
    if is_current:
        store.refs.append_log(Ref("u", name), LogEvent("build", manifest.hash, AT))
        store.refs.set_current(Ref("u", name), Current(manifest.hash, "local"))
    return manifest.hash


def remove(store: Store, name: str, **options: bool) -> gc.Freed:
    assert store.refs.remove(Ref("u", name))
    return gc.free(store, **options)


def record_of(count: int) -> dict[str, Any]:
    """Return a record whose sources are too many for the log."""
    return {"origin": "directory", "sources": [{"path": f"a/{number:06}", "size": number} for number in range(count)]}


def test_lists_of_records_are_removed_with_the_log_that_names_them(store: Store) -> None:
    hash = keep(store, "one", b"one")
    for name, count in (("one", 2_000), ("one", 2_001), ("two", 2_001)):
        store.append_log(Ref("u", name), LogEvent("build", hash, AT, record=record_of(count)))
    only, both = sorted(
        store.refs.record_objects(Ref("u", "one")), key=store.refs.record_objects(Ref("u", "two")).__contains__
    )
    make_old(store)
    freed = remove(store, "one", now=True)
    assert (store.objects.packed.missing([only]), store.objects.packed.missing([both])) == ({only}, set())
    assert freed.size_bytes > 0
    assert store.record(Ref("u", "two"), hash) == record_of(2_001)
    remove(store, "two", now=True)
    assert files(store) == set()


def files(store: Store) -> set[str]:
    """Return the files in the store, without locks and the folders of packages."""
    found = {str(path.relative_to(store.folder)) for path in store.folder.rglob("*") if path.is_file()}
    return {each for each in found if not each.endswith("lock") and not each.startswith("packages/")} - {"format"}


def make_old(store: Store) -> None:
    """Set the last use of everything in the store to two hours ago."""
    for path in [*store.folder.glob("objects/*/*"), *store.folder.glob("packs/*")]:
        os.utime(path, ns=(time.time_ns() - 7200 * 10**9, path.stat().st_mtime_ns))


@contextmanager
def other_writer(store: Store) -> Iterator[Store]:
    """Return another store object that is writing."""
    other = again(store)
    with other.writing():
        yield other


def test_all_objects_of_a_package_are_deleted(store: Store) -> None:
    hash = keep(store, "p", b"small", LOOSE)
    node = store.manifest(hash).nodes[0]
    assert isinstance(node, FileNode)
    store.links.path(hash, node)
    (store.folder / "partial/0").mkdir(parents=True)
    (store.folder / f"partial/0/{hash_bytes(LOOSE)}-{len(LOOSE)}").write_bytes(b"a part")
    expected = gc.estimate(store, Ref("u", "p"))
    freed = remove(store, "p")
    assert files(store) == set()
    assert freed.size_bytes > expected.size_bytes > len(LOOSE)
    assert not gc.has_removed(store)


def test_objects_of_other_states_are_kept(store: Store) -> None:
    keep(store, "q", b"in its log", b"of both")
    keep(store, "q", b"current")
    keep(store, "p", b"of both", LOOSE, b"mine")
    freed = remove(store, "p")
    assert freed.shared_bytes == len(b"of both")
    assert freed.size_bytes > len(LOOSE)
    assert not store.objects.missing(map(hash_bytes, (b"in its log", b"of both", b"current")))
    assert store.objects.missing(map(hash_bytes, (LOOSE, b"mine"))) == {hash_bytes(LOOSE), hash_bytes(b"mine")}


def test_pack_is_rewritten_without_deleted_objects(store: Store) -> None:
    keep(store, "p", b"mine", b"of both", b"more", b"and more")
    keep(store, "q", b"of both", is_current=True)
    before = {path.name for path in (store.folder / "packs").iterdir()}
    remove(store, "p")
    assert again(store).objects.read(hash_bytes(b"of both")) == b"of both"
    with pytest.raises(ObjectNotFound):
        again(store).objects.read(hash_bytes(b"mine"))
    after = {path.name for path in (store.folder / "packs").iterdir()}
    assert len(after - before) <= 1
    for name in after:
        assert hash_bytes((store.folder / "packs" / name).read_bytes()) == name.removesuffix(".pack")


def test_state_without_a_pointer_keeps_its_objects(store: Store) -> None:
    keep(store, "", b"of a lock", is_current=False)
    keep(store, "p", b"of a lock", b"mine")
    remove(store, "p")
    assert store.objects.read(hash_bytes(b"of a lock")) == b"of a lock"
    assert store.objects.missing([hash_bytes(b"mine")])


@pytest.mark.parametrize("damaged", ["pointer", "manifest"])
def test_nothing_is_deleted_if_a_manifest_or_pointer_is_unreadable(store: Store, damaged: str) -> None:
    other = keep(store, "q", b"theirs")
    keep(store, "p", b"theirs", b"mine")
    path = store.folder / "packages/u/q/current"
    if damaged == "manifest":
        path = store.objects.packed.loose.path(other)
        path.chmod(0o600)
    whole = path.read_bytes()
    path.write_bytes(b"{}")
    freed = remove(again(store), "p")
    assert freed.problem
    assert not freed.size_bytes
    assert store.objects.read(hash_bytes(b"theirs")) == b"theirs"
    path.write_bytes(whole)
    assert gc.free(again(store)).size_bytes
    assert again(store).objects.missing([hash_bytes(b"mine")])


def test_recently_used_objects_are_kept_during_other_writes(store: Store) -> None:
    keep(store, "p", b"mine", LOOSE)
    with other_writer(store):
        freed = remove(store, "p")
        assert not freed.size_bytes
        assert freed.left_bytes == len(b"mine") + len(LOOSE)
        assert 3000 < freed.until - time.time() <= gc.GRACE_S
        assert gc.free(store).left_bytes
        make_old(store)
        assert gc.free(store).size_bytes > len(LOOSE)
    gc.free(store)
    assert files(store) == set()


def test_objects_used_by_a_long_running_process_are_kept(store: Store) -> None:
    """The process may have run for days, slept, or had its clock set: it checked for the object long ago."""
    keep(store, "p", b"mine", LOOSE)
    with other_writer(store) as other:
        began = time.time() - 3 * gc.GRACE_S
        os.utime(other.work_lock, (began, began))
        make_old(store)  # two hours ago
        with again(store).writing():  # the first writer began earlier
            freed = remove(store, "p")
        assert (freed.size_bytes, freed.left_bytes, freed.until) == (0, len(b"mine") + len(LOOSE), 0)
        other.save(manifest_of(b"mine", LOOSE))
        other.refs.set_current(Ref("u", "q"), Current(manifest_of(b"mine", LOOSE).hash, "local"))
    gc.free(store)
    assert store.objects.read(hash_bytes(b"mine")) == b"mine"
    assert store.objects.read(hash_bytes(LOOSE)) == LOOSE


def test_possibly_used_objects_are_kept_after_the_clock_was_set_back(store: Store) -> None:
    keep(store, "p", b"mine", LOOSE)
    make_old(store)
    with other_writer(store) as other:
        os.utime(other.work_lock, (time.time() + gc.GRACE_S,) * 2)
        assert remove(store, "p").left_bytes == len(b"mine") + len(LOOSE)
    with again(store).writing():
        assert files(store) == set()


def test_first_writer_records_when_overlapping_writes_began(store: Store) -> None:
    lock = store.work_lock
    assert writer_lock.busy_since(lock) is None
    os.utime(lock, (1, 1))
    with writer_lock.shared(lock):
        first = writer_lock.busy_since(lock)
        assert first is not None
        assert abs(time.time() - first) < gc.GRACE_S
        with writer_lock.shared(lock):
            assert writer_lock.busy_since(lock) == first
    assert writer_lock.busy_since(lock) is None


@pytest.mark.parametrize("set_s", [-7200, 7200])
def test_everything_is_in_use_after_the_clock_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_s: float
) -> None:
    """A writer that began at ten, and again at nine by the new clock, may rely on a file that was used at half past."""
    lock, true_time, true_clock = tmp_path / "lock", time.time, time.clock_gettime
    with writer_lock.shared(lock):
        monkeypatch.setattr(time, "clock_gettime", lambda kind: true_clock(kind) + 10_800)
        monkeypatch.setattr(time, "time", lambda: true_time() + 10_800)
        assert writer_lock.busy_since(lock)  # time has passed
        monkeypatch.setattr(time, "time", lambda: true_time() + 10_800 + set_s)
        assert writer_lock.busy_since(lock) == 0.0
        lock.write_bytes(b"what an older version wrote")
        assert writer_lock.busy_since(lock)


def test_next_writer_frees_what_was_left(store: Store) -> None:
    keep(store, "p", b"mine", LOOSE)
    with other_writer(store):
        assert remove(store, "p").left_bytes
    with again(store).writing():
        assert files(store) == set()


def test_now_option_ignores_other_writers(store: Store) -> None:
    keep(store, "p", b"mine", LOOSE)
    with other_writer(store):
        assert remove(store, "p", now=True).left_bytes == 0
    assert files(store) == set()


@pytest.mark.parametrize("ended", [True, False])
def test_objects_counted_on_between_two_checks_are_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    """Another process installs the package while its objects are being deleted."""
    hash = keep(store, "p", b"mine", LOOSE)
    make_old(store)
    other, busy_since = again(store), writer_lock.busy_since
    working = other.writing()

    def look(path: Path) -> float | None:
        found = busy_since(path)
        if not looked:
            working.__enter__()
            assert not other.absent(manifest_of(b"mine", LOOSE))
            assert other.has(hash)
        elif ended:
            other.save(manifest_of(b"mine", LOOSE))
            other.refs.set_current(Ref("u", "p"), Current(hash, "local"))
            working.__exit__(None, None, None)
            found = busy_since(path)
        looked.append(found)
        return found

    looked: list[float | None] = []
    monkeypatch.setattr(writer_lock, "busy_since", look)
    freed = remove(store, "p")
    assert [each is None for each in looked] == [True, ended]
    assert not freed.size_bytes
    assert again(store).objects.read(hash_bytes(LOOSE)) == LOOSE
    assert not again(store).absent(store.manifest(hash))
    if not ended:
        working.__exit__(None, None, None)


def test_counting_on_an_object_renews_it_and_keeps_it_verified(store: Store) -> None:
    hash = keep(store, "p", b"mine", LOOSE)
    make_old(store)
    paths = store.objects.files([hash, hash_bytes(b"mine"), hash_bytes(LOOSE)])
    store.objects.index.mark_verified(paths)
    assert not again(store).objects.packed.missing([hash])
    assert not store.objects.missing([hash_bytes(LOOSE)])
    assert all(time.time() - path.stat().st_atime > 3600 for path in paths), "nothing was written"
    with store.writing():
        store.absent(store.manifest(hash))
        assert store.has(hash)
    assert all(time.time() - path.stat().st_atime < 60 for path in paths)
    assert all(store.objects.index.is_verified(path) for path in paths)


class _Killed(BaseException):
    pass


def test_run_after_a_kill_at_any_step_completes_the_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in range(0, 100, examples(4, 1)):
        folder = tmp_path / str(step)
        store = Store(folder / "store", Index(folder / "index.db"))
        store.prepare()
        kept = [keep(store, "q", b"of both", b"theirs"), keep(store, "r", LOOSE + b"theirs")]
        keep(store, "p", b"mine", b"of both", LOOSE, LOOSE + b"more")
        left = step

        def killing(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **named: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise _Killed
                return real(*args, **named)

            return call

        with monkeypatch.context() as patch:
            for name in ("replace", "unlink", "mkdir", "rmdir"):
                patch.setattr(os, name, killing(getattr(os, name)))
            with contextlib.suppress(_Killed):
                remove(store, "p")
        is_done = left >= 0
        now = again(store)
        for hash in kept:
            assert not now.absent(now.manifest(hash))
        if now.refs.current(Ref("u", "p")):
            now.refs.remove(Ref("u", "p"))
        with now.writing():
            left_over = {hash_bytes(each) for each in (b"mine", LOOSE, LOOSE + b"more")}
            assert now.objects.missing(left_over) == left_over
        assert not [each for each in files(now) if each.startswith("trash")]
        for hash in kept:
            assert not now.absent(now.manifest(hash))
        if is_done:
            assert step > 10
            return
    raise AssertionError("it has no end")


def test_what_a_killed_run_moved_is_found_by_whoever_needs_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = (b"small", LOOSE)
    hash = keep(store, "p", *contents)
    with monkeypatch.context() as patch:
        patch.setattr(gc, "_needed_again", lambda *_: (_ for _ in ()).throw(_Killed))
        with contextlib.suppress(_Killed):
            remove(store, "p")
    assert {each.split("/")[1] for each in files(store) if each.startswith("trash/")} == {"objects", "packs", "removed"}
    assert not again(store).objects.absent({hash, *map(hash_bytes, contents)})
    for each in contents:
        assert again(store).objects.read(hash_bytes(each)) == each


def test_objects_that_are_read_while_a_run_looks_again_stay(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(store, "p", b"small", LOOSE)
    reader, true_look = again(store), gc._needed_again

    def read_first(*args: Any) -> Any:
        assert reader.objects.read(hash_bytes(LOOSE)) == LOOSE
        return true_look(*args)

    monkeypatch.setattr(gc, "_needed_again", read_first)
    freed = remove(store, "p")
    assert reader.objects.read(hash_bytes(LOOSE)) == LOOSE
    assert freed.left_bytes == len(LOOSE)
    assert gc.has_removed(store)
    monkeypatch.undo()
    gc.free(store, now=True)
    assert reader.objects.absent({hash_bytes(LOOSE)})


@pytest.mark.parametrize("seed", seeds(3, 60))
def test_random_installs_and_removals(store: Store, seed: int) -> None:
    """Packages share random objects; each is complete while installed, and nothing is left once all are removed."""
    chance = random.Random(seed)
    pool = [bytes([n]) * chance.choice([3, 40, 2 * len(LOOSE)]) for n in range(20)]
    states: dict[str, set[str]] = {}
    for _ in range(25):
        name = chance.choice("abcd")
        if name in states and chance.random() < 0.5:
            with other_writer(store) if chance.random() < 0.3 else contextlib.nullcontext():
                if chance.random() < 0.5:
                    make_old(store)
                remove(store, name)
            del states[name]
        else:
            contents = chance.sample(pool, chance.randrange(1, 8))
            with again(store).writing():
                states.setdefault(name, set()).add(keep(again(store), name, *contents))
        for hash in {hash for some in states.values() for hash in some}:
            assert not again(store).absent(again(store).manifest(hash)), "an installed state lacks an object"
    for name in states:
        remove(store, name)
    gc.free(store)
    assert files(store) == set()
