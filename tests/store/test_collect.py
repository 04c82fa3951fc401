"""Collecting a whole store: which older states go, what always stays, and what is left of interrupted work."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from datapkg.errors import CorruptObject
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.parsed import FileNode, Manifest
from datapkg.format.names import Ref
from datapkg.objects.files import temp_path
from datapkg.store import gc
from datapkg.store.gc import Policy
from datapkg.store.index import Index
from datapkg.store.refs import Current, LogEvent
from datapkg.store.roots import all_states, mark
from datapkg.store.store import Store

pytestmark = pytest.mark.usefixtures("few_and_many")
P, Q = Ref("u", "p"), Ref("u", "q")
REGISTRY = "https://data.example.org"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store", Index(tmp_path / "cache" / "index.db"))
    store.prepare()
    return store


def add(store: Store, ref: Ref, *contents: bytes, days_ago: int = 0, event: str = "install") -> str:
    """Save a state of these contents, make it current, and return its hash."""
    nodes = [FileNode(path=f"n{at}", hash=hash_bytes(each), size=len(each)) for at, each in enumerate(contents)]
    manifest = Manifest.make(nodes)
    store.objects.put_many(contents)
    store.save(manifest)
    at = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() - days_ago * 86_400))
    origin = "local" if event == "build" else REGISTRY
    store.refs.append_log(ref, LogEvent(event, manifest.hash, at, origin))  # type: ignore[arg-type]
    store.refs.set_current(ref, Current(manifest.hash, origin))
    return manifest.hash


def history(store: Store, ref: Ref, count: int, event: str = "install") -> list[str]:
    """Add states of one shared object and one of their own each, the oldest first; return their hashes."""
    contents = [(b"shared", b"%s %d " % (ref.name.encode(), at) * 100) for at in range(count)]
    return [add(store, ref, *each, days_ago=10 * (count - at), event=event) for at, each in enumerate(contents)]


def here(store: Store, hashes: list[str]) -> list[bool]:
    """Return of each state whether it is complete."""
    fresh = Store(store.folder, Index(store.index_path.with_name("fresh.db")))
    return [fresh.holds(each) and not fresh.absent(fresh.manifest(each)) for each in hashes]


def pass_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 90_000)


def test_no_state_goes_unless_asked(store: Store) -> None:
    states = history(store, P, 4)
    plan, done = gc.collect(store, Policy(now=True))
    assert plan.is_empty
    assert done.size_bytes == 0
    assert all(here(store, states))


@pytest.mark.parametrize(("keep", "stay"), [(0, 1), (1, 1), (3, 3), (9, 5)])
def test_newest_states_of_each_package_are_kept(store: Store, keep: int, stay: int) -> None:
    states, others = history(store, P, 5), history(store, Q, 2)
    plan, done = gc.collect(store, Policy(keep=keep))
    assert here(store, states) == [False] * (5 - stay) + [True] * stay
    assert here(store, others)[-1]
    assert [each.hash for each in plan.states if "u/p" in each.packages] == states[: 5 - stay]
    assert plan.size_bytes <= done.size_bytes + plan.live.whole[states[-1]]


def test_states_older_than_an_age_go(store: Store) -> None:
    states = history(store, P, 5)  # 50, 40, 30, 20 and 10 days old
    gc.collect(store, Policy(older_than_s=35 * 86_400))
    assert here(store, states) == [False, False, True, True, True]
    gc.collect(store, Policy(older_than_s=86_400, keep=2))
    assert here(store, states) == [False, False, False, True, True]


def test_oldest_states_go_until_the_store_is_small_enough(store: Store) -> None:
    states = history(store, P, 5)
    before = gc.plan(store, Policy()).store_bytes
    gc.collect(store, Policy(max_bytes=before - 1000))
    assert here(store, states) == [False, False, True, True, True]
    after = gc.plan(store, Policy()).store_bytes
    assert before - 2000 < after <= before - 1000
    gc.collect(store, Policy(max_bytes=0))
    assert here(store, states) == [False] * 4 + [True]


def test_size_limit_spares_what_was_never_pushed(store: Store) -> None:
    states = history(store, P, 4, event="build")
    assert gc.plan(store, Policy(max_bytes=0)).states == []
    plan = gc.plan(store, Policy(keep=1))
    assert [(each.hash, each.is_pushed) for each in plan.states] == [(each, False) for each in states[:2]]


def test_pinned_states_stay_whole(store: Store, tmp_path: Path) -> None:
    built, states = history(store, P, 4, event="build"), history(store, Q, 4)
    store.refs.keep(Q, states[0])
    lock = tmp_path / "project" / "datapkg.lock"
    lock.parent.mkdir()
    lock.write_text(f"<<<<<<< a conflict\n{states[1]}\n")
    store.known_locks.note(lock)
    gc.collect(store, Policy(keep=0))
    assert here(store, built) == [False, False, True, True]
    assert here(store, states) == [True, True, False, True]
    lock.unlink()
    store.refs.unkeep(Q, states[0])
    gc.collect(store, Policy(keep=0))
    assert here(store, states) == [False, False, False, True]
    assert list(store.known_locks.paths()) == []


def test_lock_on_a_disk_that_is_not_mounted_stays_known(store: Store, tmp_path: Path) -> None:
    store.known_locks.note(tmp_path / "away" / "datapkg.lock")
    gc.collect(store, Policy())
    assert list(store.known_locks.paths().values()) == [tmp_path / "away" / "datapkg.lock"]


def test_marking_tells_what_must_stay_whole(store: Store) -> None:
    old, new = history(store, P, 2)
    live = mark(store, all_states(store).values())
    assert set(live.whole) == {new, hash_bytes(b"shared"), hash_bytes(b"p 1 " * 100)}
    assert set(live.older) == {old, hash_bytes(b"p 0 " * 100)}


def test_unneeded_objects_go_after_a_day(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    history(store, P, 1)
    store.objects.put_bytes(b"of an install that was interrupted")
    store.objects.put_many([b"packed", b"too"])
    looked_at = Manifest.make([FileNode(path="n", hash=hash_bytes(b"packed"), size=6)])
    store.save(looked_at)
    plan = gc.plan(store, Policy())
    assert plan.is_empty
    assert plan.recent_bytes == len(b"of an install that was interrupted") + len(b"too")
    pass_a_day(monkeypatch)
    plan, done = gc.collect(store, Policy())
    assert plan.garbage.objects.keys() == {
        hash_bytes(each) for each in (b"of an install that was interrupted", b"packed", b"too")
    }
    assert plan.garbage.manifests.keys() == {looked_at.hash}
    assert done.is_all
    assert not gc.plan(store, Policy()).garbage


def test_objects_that_are_here_twice_are_kept_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    states = history(store, P, 1)
    store.objects.put_many([b"shared", b"x"])
    pass_a_day(monkeypatch)
    gc.collect(store, Policy())
    assert here(store, states) == [True]
    assert store.objects.packed.missing([hash_bytes(b"x")])


def test_leftovers_are_removed(store: Store) -> None:
    (state,) = history(store, P, 1)
    abandoned = temp_path(store.tmp)
    name = abandoned.name.split("-")
    abandoned = abandoned.with_name("-".join([*name[:2], "4194305", name[3]]))  # beyond every process id of Linux
    abandoned.write_bytes(b"x" * 5000)
    own = temp_path(store.tmp)
    own.write_bytes(b"x")
    part = store.folder / "partial/0" / f"{hash_bytes(b'shared')}-6"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x")
    coming = part.with_name(f"{hash_bytes(b'coming')}-6")
    coming.write_bytes(b"x")
    store.objects.keep_aside(hash_bytes(b"shared"), b"wrong")
    unlinked = store.links_folder / hash_bytes(b"gone") / ("0" * 16) / "a.csv"
    unlinked.parent.mkdir(parents=True)
    unlinked.write_bytes(b"x")
    linked = store.links.path(state, store.manifest(state).nodes[0])  # type: ignore[arg-type]
    plan = gc.plan(store, Policy())
    assert abandoned.exists(), "a plan deletes nothing"
    assert plan.recent_bytes == coming.stat().st_blocks * 512
    _, done = gc.collect(store, Policy())
    assert done.size_bytes == sum(plan.leftovers.values()) >= 5000
    assert [each.exists() for each in (abandoned, own, part, coming, unlinked, linked)] == [
        *(False, True, False, True, False, True)
    ]
    assert not unlinked.parent.parent.exists()
    assert not list(store.objects.quarantine_folder.iterdir())


def test_next_writer_sweeps_what_killed_processes_left(store: Store) -> None:
    name = temp_path(store.tmp).name.split("-")
    abandoned = store.tmp / "-".join([*name[:2], "4194305", name[3]])
    elsewhere = store.tmp / "-".join([name[0], "00000000", "4194305", name[3]])
    abandoned.touch()
    elsewhere.touch()
    with store.writing():
        assert not abandoned.exists()
        assert elsewhere.exists(), "the process of another machine may be at work"


@pytest.mark.parametrize("lost", ["manifest", "pointer"])
def test_nothing_is_deleted_while_it_is_unknown_what_is_needed(store: Store, lost: str) -> None:
    states = history(store, P, 3)
    path = store.folder / "packages/u/p/current"
    if lost == "manifest":
        path = store.objects.packed.loose.path(states[-1])
    os.chmod(path, 0o600)
    whole = path.read_bytes()
    path.write_bytes(b"{}") if lost == "pointer" else path.unlink()
    with pytest.raises(CorruptObject) as caught:
        gc.collect(store, Policy(keep=0, now=True))
    assert caught.value.hint == ("datapkg verify" if lost == "pointer" else "datapkg install u/p")
    path.write_bytes(whole)
    assert here(store, states) == [True] * 3


def test_state_that_came_back_meanwhile_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    states = history(store, P, 3)
    real = gc.delete

    def delete(*args: object, **named: object) -> object:
        store.refs.append_log(P, LogEvent("install", states[0], "2999-01-01T00:00:00+00:00", REGISTRY))
        return real(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(gc, "delete", delete)
    gc.collect(store, Policy(keep=1))
    assert here(store, states)[0]


def test_old_states_stay_in_the_log_and_say_how_to_get_them(store: Store) -> None:
    states = history(store, P, 3)
    gc.collect(store, Policy(keep=1))
    assert [each.hash for each in store.refs.log(P)] == states[::-1]
    error = store.freed(P, states[0])
    assert error
    assert error.hint == f"datapkg install u/p@sha256:{states[0]}"
    assert store.freed(P, states[-1]) is None
    assert store.freed(P, "0" * 64) is None


def test_a_known_lock_that_became_a_pipe_is_not_waited_for(store: Store, tmp_path: Path) -> None:
    lock = tmp_path / "datapkg.lock"
    lock.write_text("0" * 64)
    store.known_locks.note(lock)
    assert store.known_locks.pinned() == {"0" * 64}
    lock.unlink()
    os.mkfifo(lock)
    assert store.known_locks.pinned() == set()
