"""Shared stores: the second user downloads nothing, and what is wrong or gone there is noticed and fetched again."""

from __future__ import annotations

import os
import pickle
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from datapkg.api import install
from datapkg.api.build import build_package
from datapkg.api.cache import share_store
from datapkg.api.gc import free_shared
from datapkg.api.install import InstallOptions, fetch_packages, install_one, install_packages
from datapkg.api.maintenance import remove
from datapkg.api.push import push_package
from datapkg.api.results import GcResult
from datapkg.api.verify import verify
from datapkg.errors import Conflict, InvalidInput, NotFound, ObjectNotFound
from datapkg.format.hashing import hash_bytes
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.reading import source as sources
from datapkg.reading.load import load
from datapkg.store import deletion, gc, shared_uses
from datapkg.store.gc import Policy
from datapkg.store.index import Index
from datapkg.store.verified import VerifiedObjects
from tests.conftest import Person

BIG = bytes(range(256)) * 8192
Member = Callable[[str], Home]


@pytest.fixture(autouse=True)
def strict_umask() -> Iterator[None]:
    """Take all rights from others: a shared store must not depend on the umask of those who write to it."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return share_store(tmp_path / "shared")


@pytest.fixture
def member(person: Person, shared: Path) -> Member:
    return lambda name: Home({**person.environ(name), "DATAPKG_PATH": str(shared)})


@pytest.fixture
def pushed(person: Person, tmp_path: Path) -> Ref:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "big").write_bytes(BIG)
    (folder / "small").write_bytes(b"small")
    build_package(person.home(), person.ref("p"), folder)
    push_package(person.home(), person.ref("p"))
    return person.ref("p")


def objects_received(home: Home, ref: Ref) -> int:
    return install_one(home, ref, InstallOptions()).objects_received


def big_file(folder: Path) -> Path:
    (found,) = [each for each in folder.rglob("*") if each.is_file() and each.stat().st_size == len(BIG)]
    return found


def test_the_second_user_downloads_nothing(member: Member, shared: Path, pushed: Ref) -> None:
    first, second = member("first"), member("second")
    assert objects_received(first, pushed) == 2
    manifest = first.store.refs.current(pushed)
    assert manifest is not None
    assert second.store.has(manifest.hash), "the manifest is shared too"
    assert objects_received(second, pushed) == 0
    assert load(str(pushed), second)["big"]().read_bytes() == BIG  # type: ignore[operator,index]
    assert load(str(pushed), second)["small"]().read_bytes() == b"small"  # type: ignore[operator,index]
    own = [each for each in second.store.folder.rglob("*") if each.is_file() and each.stat().st_size == len(BIG)]
    assert [each for each in own if not each.is_symlink()] == [], "the object is read where it is"
    assert verify(second).damaged == []
    assert verify(second, pushed).checked == 3


def test_everything_in_it_is_open_to_the_group(member: Member, shared: Path, pushed: Ref) -> None:
    install_packages(member("first"), [pushed])
    for each in [shared, *shared.rglob("*")]:
        mode = stat.S_IMODE(each.stat().st_mode)
        assert mode == (0o2770 if each.is_dir() else 0o444), each
        assert each.stat().st_gid == shared.stat().st_gid
    assert list((shared / "tmp").iterdir()) == []
    assert not (shared / "packages").exists(), "what is installed is each user's own"


def test_builds_stay_private(member: Member, shared: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(BIG)
    build_package(member("first"), Ref("me", "p"), tmp_path / "secret")
    assert [each.name for each in shared.rglob("*") if each.is_file()] == ["format"]


def test_a_build_of_files_that_only_it_has_is_kept_and_remembered(
    member: Member, shared: Path, pushed: Ref, tmp_path: Path
) -> None:
    home, ref = member("second"), Ref("me", "x")
    build_package(home, ref, tmp_path / "source")
    install_packages(member("first"), [pushed])
    remove(home, ref, now=True)
    for reused in (2, 2):
        built = build_package(home, ref, tmp_path / "source")
        assert (built.built, built.reused) == (0, reused)
    assert home.store.objects.packed.missing([hash_bytes(BIG)]), "it is read where it is"
    assert verify(home, ref).damaged == []


def test_a_corrupt_object_is_not_used_and_is_replaced(member: Member, shared: Path, pushed: Ref) -> None:
    install_packages(member("first"), [pushed])
    path = big_file(shared)
    path.chmod(0o644)
    path.write_bytes(b"x" * len(BIG))
    second = member("second")
    assert objects_received(second, pushed) == 1
    assert big_file(shared).read_bytes() == BIG
    assert load(str(pushed), second)["big"]().read_bytes() == BIG  # type: ignore[operator,index]


def test_verify_reads_it_and_repairs_it(member: Member, shared: Path, pushed: Ref) -> None:
    first, second = member("first"), member("second")
    for home in (first, second):
        install_packages(home, [pushed])
    path = big_file(shared)
    path.chmod(0o644)
    path.write_bytes(b"x" * len(BIG))
    assert [each.path for each in verify(second).damaged] == ["big"]
    assert [each.path for each in verify(first, pushed).damaged] == ["big"]
    repaired = verify(second, repair=True)
    assert (repaired.damaged, repaired.repaired) == ([], 1)
    assert verify(first).damaged == []
    assert big_file(shared / "objects").read_bytes() == BIG


def test_what_has_gone_from_it_is_an_error_with_the_line_to_type(member: Member, shared: Path, pushed: Ref) -> None:
    first, second = member("first"), member("second")
    for home in (first, second):
        install_packages(home, [pushed])
    shutil.rmtree(shared)
    package = load(str(pushed), second)
    with pytest.raises(ObjectNotFound, match=rf"type: datapkg fetch {pushed.package}/big@sha256:"):
        package["big"]()  # type: ignore[operator,index]
    (outcome,) = fetch_packages(member("second"), [pushed])
    assert outcome.installed is not None
    assert outcome.installed.objects_received == 2
    assert package["big"]().read_bytes() == BIG  # type: ignore[operator,index]


def test_a_store_that_may_not_be_written_is_read(member: Member, shared: Path, pushed: Ref) -> None:
    install_packages(member("first"), [pushed])
    before = sorted(shared.rglob("*"))
    for each in [shared, *before]:
        if each.is_dir():
            each.chmod(0o555)
    second = member("second")
    assert objects_received(second, pushed) == 0
    build_package(second, Ref("me", "other"), {"n": big_file(shared)})
    assert sorted(shared.rglob("*")) == before


def test_another_process_reads_from_it_too(member: Member, pushed: Ref, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second"):
        install_packages(member(name), [pushed])
    pickled = pickle.dumps(load(f"{pushed.package}/big", member("second")))
    monkeypatch.setattr(sources, "_stores", {})
    assert pickle.loads(pickled)().read_bytes() == BIG


def test_a_lazy_read_fills_it(member: Member, shared: Path, pushed: Ref) -> None:
    first = member("first")
    assert load(str(pushed), first, lazy=True)["big"]().read_bytes() == BIG  # type: ignore[operator,index]
    assert big_file(shared)
    assert load(str(pushed), member("second"), lazy=True)["big"]().read_bytes() == BIG  # type: ignore[operator,index]


def test_making_one_is_refused_where_something_else_is(tmp_path: Path, shared: Path) -> None:
    assert share_store(shared) == shared
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(Conflict, match="exists and is not a shared store"):
        share_store(tmp_path / "full")
    with pytest.raises(InvalidInput, match="there is no group 'nobodys'"):
        share_store(tmp_path / "new", "nobodys")
    with pytest.raises(NotFound, match="there is no folder"):
        share_store(tmp_path / "absent" / "new")


def freed(home: Home, shared: Path, **policy: Any) -> GcResult:
    return free_shared(home, shared, Policy(**policy))


def kept(shared: Path) -> set[bytes]:
    """Return the contents in a shared store that are not manifests."""
    objects = VerifiedObjects(shared, Index(shared.parent / "looking.db")).packed
    return {data for hash in objects if not (data := objects.read(hash)).startswith(b'{"datapkg"')}


@pytest.fixture
def aged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever is in a store count as a day old, and as not used within the hour."""
    monkeypatch.setattr(gc, "UNUSED_S", -60)
    monkeypatch.setattr(deletion, "GRACE_S", -60)


def pushed_again(person: Person, tmp_path: Path, ref: Ref) -> Ref:
    """Push another state without the big file; return what the first is called."""
    current = person.home().store.refs.current(ref)
    assert current is not None
    (tmp_path / "source" / "big").write_bytes(BIG[::-1])
    build_package(person.home(), ref, tmp_path / "source")
    push_package(person.home(), ref)
    return Ref.parse(f"{ref.package}@sha256:{current.hash}")


def test_gc_keeps_what_any_user_has_installed(
    member: Member, shared: Path, pushed: Ref, person: Person, tmp_path: Path, aged: None
) -> None:
    first, second = member("first"), member("second")
    for home in (first, second):
        install_packages(home, [pushed])
    old = pushed_again(person, tmp_path, pushed)
    install_packages(first, [pushed])
    assert freed(first, shared).objects == 0
    remove(first, pushed)
    remaining = {BIG, b"small"}
    assert freed(first, shared).objects == 2, "the new manifest, and the object that only the new state has"
    assert kept(shared) == remaining
    assert load(str(old), second)["big"]().read_bytes() == BIG  # type: ignore[operator,index]
    remove(second, pushed)
    assert freed(second, shared).bytes_freed > len(BIG)
    assert kept(shared) == set()
    assert objects_received(second, pushed) == 2, "it can be installed again"


def test_gc_keeps_what_arrived_within_a_day(member: Member, shared: Path, pushed: Ref) -> None:
    first = member("first")
    install_packages(first, [pushed])
    remove(first, pushed)
    assert freed(first, shared).objects == 0
    assert kept(shared) == {BIG, b"small"}
    assert freed(first, shared, now=True).objects == 3
    assert kept(shared) == set()


def test_gc_gives_up_what_was_not_installed_for_long(member: Member, shared: Path, pushed: Ref, aged: None) -> None:
    first, second = member("first"), member("second")
    for home in (first, second):
        install_packages(home, [pushed])
    for each in (shared / "uses").glob("*/*"):
        os.utime(each, (0, 0))
    install_packages(second, [pushed])  # renews it for all
    assert freed(first, shared, older_than_s=3600).objects == 0
    for each in (shared / "uses").glob("*/*"):
        os.utime(each, (0, 0))
    planned = free_shared(first, shared, Policy(older_than_s=3600), dry_run=True)
    assert (len(planned.states), planned.objects) == (1, 3)
    assert freed(first, shared, older_than_s=3600).objects == 3
    with pytest.raises(ObjectNotFound, match="type: datapkg fetch"):
        load(str(pushed), second)["big"]()  # type: ignore[operator,index]


@pytest.mark.parametrize("moment", ["before it looks", "between moving and looking again", "when all is counted"])
def test_gc_during_an_install_takes_nothing_that_it_needs(
    member: Member, shared: Path, pushed: Ref, aged: None, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    first, second = member("first"), member("second")
    install_packages(first, [pushed])
    remove(first, pushed)
    if moment == "when all is counted":
        finish = install.finish

        def finish_after_gc(*args: Any) -> Any:
            freed(first, shared)
            return finish(*args)

        monkeypatch.setattr(install, "finish", finish_after_gc)
        install_packages(second, [pushed])
    else:
        name = "all_states" if moment == "before it looks" else "_needed_again"
        inner, calls = getattr(gc, name), []

        def install_before(*args: Any) -> Any:
            if not calls:
                calls.append(1)
                install_packages(second, [pushed])
            return inner(*args)

        monkeypatch.setattr(gc, name, install_before)
        freed(first, shared)
        assert calls
    assert load(str(pushed), member("second"))["big"]().read_bytes() == BIG  # type: ignore[operator,index]
    assert verify(member("second"), pushed).damaged == []
    assert not list((shared / "trash").rglob("objects/*"))


def test_lock_that_is_a_link_changes_no_rights(member: Member, shared: Path, pushed: Ref, tmp_path: Path) -> None:
    """Whoever may write a shared store could make others change the rights of files that only they may change."""
    first, own = member("first"), tmp_path / "own"
    install_packages(first, [pushed])
    own.touch(mode=0o600)
    (shared / "trash").mkdir(exist_ok=True)
    (shared / "trash" / "lock").unlink(missing_ok=True)
    (shared / "trash" / "lock").symlink_to(own)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        freed(first, shared)
    assert stat.S_IMODE(own.stat().st_mode) == 0o600


def test_first_notes_of_two_processes_have_one_name(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is noted under a name that the other one replaces would never be taken back."""
    store, threads = tmp_path / "store", list[threading.Thread]()
    store.mkdir()
    write = shared_uses.write_atomic

    def slow(*args: Any) -> None:
        if not threads:
            threads.append(threading.Thread(target=shared_uses.note, args=(shared, store, "1" * 64)))
            threads[0].start()
            threads[0].join(0.3)
        write(*args)

    monkeypatch.setattr(shared_uses, "write_atomic", slow)
    shared_uses.note(shared, store, "0" * 64)
    threads[0].join()
    assert [hash for hash, _ in sorted(shared_uses.used(shared))] == ["0" * 64, "1" * 64]
    shared_uses.forget(shared, store, ())
    assert list(shared_uses.used(shared)) == []


def test_gc_leaves_all_open_to_the_group(member: Member, shared: Path, pushed: Ref, aged: None) -> None:
    first = member("first")
    install_packages(first, [pushed])
    remove(first, pushed)
    freed(first, shared)
    for each in shared.rglob("*"):
        assert stat.S_IMODE(each.stat().st_mode) in ((0o2770,) if each.is_dir() else (0o444, 0o664)), each
    assert not list(shared.glob("recipes/*"))


def test_gc_is_for_shared_stores(member: Member, shared: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a shared store"):
        free_shared(member("first"), tmp_path, Policy())
    with pytest.raises(InvalidInput, match="is not a shared store"):
        free_shared(member("first"), member("first").store.folder, Policy())
