"""Shared stores: the second user downloads nothing, and what is wrong or gone there is noticed and fetched again."""

from __future__ import annotations

import os
import pickle
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datapkg.api.build import build_package
from datapkg.api.cache import share_store
from datapkg.api.install import InstallOptions, fetch_packages, install_one, install_packages
from datapkg.api.push import push_package
from datapkg.api.verify import verify
from datapkg.errors import Conflict, InvalidInput, NotFound, ObjectNotFound
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.reading import source as sources
from datapkg.reading.load import load
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
        assert mode == (0o2775 if each.is_dir() else 0o444), each
        assert each.stat().st_gid == shared.stat().st_gid
    assert list((shared / "tmp").iterdir()) == []
    assert not (shared / "packages").exists(), "what is installed is each user's own"


def test_builds_stay_private(member: Member, shared: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(BIG)
    build_package(member("first"), Ref("me", "p"), tmp_path / "secret")
    assert [each.name for each in shared.rglob("*") if each.is_file()] == ["format"]


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
