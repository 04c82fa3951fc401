"""What no state needs is deleted after a while, and what a state needs never, whoever pushes meanwhile."""

from __future__ import annotations

import os
import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from datapkg.api.build import build_package
from datapkg.api.gc import free_registry
from datapkg.api.maintenance import delete
from datapkg.api.push import push_package
from datapkg.api.verify import verify_registry
from datapkg.errors import CorruptObject, IntegrityError
from datapkg.format.locations import RECIPE, WHOLE, decode_locations, encode_locations
from datapkg.format.names import Ref
from datapkg.format.static_registry import locations_key
from datapkg.remote.static import publish
from datapkg.remote.static.collection import GRACE, collect
from tests.static_registry import Static

REF = Ref("ada", "iris")
BIG = random.Random(0).randbytes(2 << 20)


def later(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def kept(static: Static) -> set[str]:
    """Return the keys of all objects and what belongs to them."""
    starts = ("objects/", "packs/", "recipes/", "maps/", "trash/")
    return {key for key in static.files() if key.startswith(starts) or key.endswith(".loc")}


@pytest.fixture
def leftovers(static: Static, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry with two states of a package, and what a push of another one has left; return the file of that."""
    for text in ("1", "2"):
        static.push(REF, text)

    def killed(*given: Any) -> None:
        raise KeyboardInterrupt

    big = tmp_path / "big.bin"
    big.write_bytes(BIG)
    build_package(static.home(), Ref("ada", "big"), big)
    with monkeypatch.context() as patch:
        patch.setattr(publish, "_check_sent", killed)
        with pytest.raises(KeyboardInterrupt):
            push_package(static.home(), Ref("ada", "big"))
    return big


def test_leftovers_of_a_push_go_after_a_while(static: Static, leftovers: Path) -> None:
    before = kept(static)
    assert free_registry(static.home(), static.url).files == 0
    assert collect(static.client(), later(2), dry_run=True).waiting
    assert kept(static) == before
    done = collect(static.client(), later(2))
    assert len(done.deleted) == 3, "a large object, its map, and the pack of the manifest"
    assert len(kept(static)) == len(before) - 3
    assert verify_registry(static.home(), static.url).damaged == []
    assert push_package(static.home(), Ref("ada", "big")).changed
    assert verify_registry(static.home(), static.url).damaged == []


def test_now_frees_at_once(static: Static, leftovers: Path) -> None:
    done = free_registry(static.home(), static.url, now=True)
    assert (done.files, done.files_waiting) == (3, 0)
    assert done.bytes_freed > len(BIG)
    assert verify_registry(static.home(), static.url).damaged == []


def test_a_deleted_package_is_freed_and_what_others_share_stays(static: Static, leftovers: Path) -> None:
    for name in ("big", "other"):
        build_package(static.home(), Ref("ada", name), leftovers)
        push_package(static.home(), Ref("ada", name))
    delete(static.home(), Ref("ada", "big"))
    collect(static.client(), later(2))
    assert sum(key.startswith("objects/") for key in kept(static)) == 1
    delete(static.home(), Ref("ada", "other"))
    collect(static.client(), later(2))
    assert not any(key.startswith("objects/") for key in kept(static))
    assert verify_registry(static.home(), static.url).damaged == []


def test_a_push_that_relies_on_what_is_taken_away(
    static: Static, leftovers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It moves to the trash after the push has asked for it, and before the push is in the log."""
    since = datetime.now(UTC)
    time.sleep(0.05)
    check = publish._check_sent

    def checked(*given: Any) -> None:
        check(*given)
        assert len(collect(static.client("other"), since + GRACE).waiting) == 2, "the object and its map"

    monkeypatch.setattr(publish, "_check_sent", checked)
    assert push_package(static.home(), Ref("ada", "big")).objects_sent == 1
    assert verify_registry(static.home("reader"), static.url).damaged == []


def test_what_was_pushed_while_it_was_moved_comes_back(
    static: Static, leftovers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datapkg.objects.blobs.folder import FolderBlobs

    rename, pushed = FolderBlobs.rename, list[str]()

    def renamed(blobs: FolderBlobs, key: str, target: str) -> None:
        if not pushed and target.startswith("trash/"):
            pushed.append(key)
            assert push_package(static.home(), Ref("ada", "big")).changed
        rename(blobs, key, target)

    monkeypatch.setattr(FolderBlobs, "rename", renamed)
    since = datetime.now(UTC)
    time.sleep(0.05)
    assert collect(static.client("other"), since + GRACE).restored
    assert verify_registry(static.home("reader"), static.url).damaged == []


def test_nothing_is_removed_beside_a_damaged_log(static: Static, leftovers: Path) -> None:
    before = kept(static)
    (static.folder / "packages/ada/iris/log/00000001.json").unlink()
    with pytest.raises(IntegrityError, match=r"entry 1 .* is missing"):
        collect(static.client(), later(2))
    assert kept(static) == before


def test_nothing_is_removed_where_the_places_of_a_state_are_lost(static: Static, leftovers: Path) -> None:
    for path in (static.folder / "packages/ada/iris/states").iterdir():
        os.unlink(path)
    before = kept(static)
    with pytest.raises(CorruptObject, match="it is not known where the objects of ada/iris"):
        collect(static.client(), later(2))
    assert kept(static) == before


def test_a_package_behind_a_link_is_not_freed(static: Static, leftovers: Path, tmp_path: Path) -> None:
    (static.folder / "packages/ada").rename(tmp_path / "disk")
    (static.folder / "packages/ada").symlink_to(tmp_path / "disk")
    (static.folder / "packages/ada/up").symlink_to(static.folder)
    free_registry(static.home(), static.url, now=True)
    assert verify_registry(static.home("other"), static.url).damaged == []
    assert verify_registry(static.home("other"), static.url).checked >= 4


def test_what_others_put_there_stays(static: Static, leftovers: Path) -> None:
    foreign = ["objects/.DS_Store", "packs/x (copy).pack", "packs/mine.doc", "packages/Ada/Iris/log/00000001.json"]
    foreign += ["packages/ada/iris/log/00000001 (1).json", "trash/mine.doc", "index/ada/iris/\u00b2"]
    for key in foreign:
        (static.folder / key).parent.mkdir(parents=True, exist_ok=True)
        (static.folder / key).write_text("mine")
    assert free_registry(static.home(), static.url, now=True).files > 0
    assert set(foreign) <= set(static.files())
    assert verify_registry(static.home(), static.url).damaged == []
    assert [each.package for each in static.client().packages("iris")] == ["ada/iris"]


@pytest.mark.parametrize("wrong", ["another state", "another pack", "no base"])
def test_nothing_is_removed_where_the_places_of_a_state_are_wrong(static: Static, leftovers: Path, wrong: str) -> None:
    static.push(Ref("ada", "zoo"), "3")
    zoo = next(path for path in static.files() if path.startswith("packages/ada/zoo/states/"))
    latest = static.folder / locations_key(REF, static.client().resolve(REF).hash)
    mine, other = decode_locations(latest.read_bytes()), decode_locations((static.folder / zoo).read_bytes())
    moved = {hash: place._replace(pack=other.packs[0]) for hash, place in mine}
    data = {
        "another state": (static.folder / zoo).read_bytes(),
        "another pack": encode_locations(moved, bases=mine.bases),
        "no base": encode_locations({}, bases=["f" * 64]),
    }[wrong]
    latest.unlink()
    latest.write_bytes(data)
    before = kept(static)
    with pytest.raises(CorruptObject, match="it is not known where the objects of ada/iris") as error:
        collect(static.client(), later(2))
    assert error.value.hint == f"datapkg verify --registry {static.url}"
    assert kept(static) == before


def test_nothing_is_removed_beside_a_gap_of_a_log(static: Static, leftovers: Path) -> None:
    old = (static.folder / "packages/ada/iris/heads.json").read_bytes()
    for text in ("3", "4"):
        static.push(REF, text)
    heads = static.folder / "packages/ada/iris/heads.json"
    heads.unlink()
    heads.write_bytes(old)
    (static.folder / "packages/ada/iris/log/00000003.json").unlink()
    before = kept(static)
    with pytest.raises(IntegrityError, match=r"entry 3 .* is missing"):
        collect(static.client("other"), later(2))
    assert kept(static) == before


def test_temporary_files_of_killed_pushers_go_after_a_while(static: Static, leftovers: Path) -> None:
    temp = static.folder / "tmp" / "blob-of-a-killed-pusher"
    temp.write_bytes(b"half")
    assert free_registry(static.home(), static.url).files == 0
    assert temp.exists(), "its pusher may still run"
    collect(static.client(), later(2), dry_run=True)
    assert temp.exists()
    assert temp.relative_to(static.folder).as_posix() in {
        each.key for each in collect(static.client(), later(2)).deleted
    }
    assert not temp.exists()


@pytest.mark.parametrize("wrong", ["recipes", "files", "another pack", "a manifest alone"])
def test_nothing_is_lost_where_places_lead_to_files_that_are_not_there(
    static: Static, leftovers: Path, wrong: str
) -> None:
    latest = static.folder / locations_key(REF, static.client().resolve(REF).hash)
    right = latest.read_bytes()
    mine = decode_locations(right)
    pack = {"files": WHOLE, "another pack": "e" * 64}.get(wrong, RECIPE)
    moved = {hash: place._replace(pack=pack) for hash, place in mine}
    if wrong == "a manifest alone":
        moved = {latest.stem: moved[latest.stem]}
    latest.unlink()
    latest.write_bytes(encode_locations(moved))
    for days in (2, 4):
        collect(static.client(), later(days))
    assert all((static.folder / f"packs/{each}.pack").exists() for each in mine.packs)
    latest.write_bytes(right)
    assert verify_registry(static.home("another"), static.url).damaged == []
