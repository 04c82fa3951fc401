"""Long manifests by their index in the cache: made once, believed while it is what was written, missed otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from datapkg.errors import CorruptObject, InvalidManifest
from datapkg.format.manifest import index
from datapkg.format.manifest.indexed import IndexedManifest
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import FileNode, Manifest
from datapkg.home import Home
from datapkg.store import manifests


@pytest.fixture(autouse=True)
def _long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "LONG_BYTES", 1)
    monkeypatch.setattr(index, "LONG", 3)


def saved(home: Home, count: int = 20) -> Manifest:
    home.store.prepare()
    manifest = Manifest.make([FileNode(path=f"g/{n}.txt", hash=f"{n:064x}", size=n) for n in range(count)], {"a": 1})
    home.store.save(manifest)
    return manifest


def index_file(home: Home) -> Path:
    (path,) = (home.cache / "manifests").glob("*.*")
    return path


def opened(home: Home, hash: str) -> Manifest:
    """As another process opens it."""
    return Home().store.open_manifest(hash)


def test_an_index_is_made_once_and_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home()
    manifest = saved(home)
    first = opened(home, manifest.hash)
    monkeypatch.setattr(index, "make_index", lambda *_: pytest.fail("made again"))
    second = opened(home, manifest.hash)
    for each in (first, second):
        assert isinstance(each, IndexedManifest)
        assert (each.nodes, each.meta, each.children("g")) == (manifest.nodes, {"a": 1}, manifest.children("g"))


@pytest.mark.parametrize("damage", [b"", b"garbage", None, 0, 1000], ids=str)
def test_a_damaged_index_is_a_miss(damage: bytes | int | None) -> None:
    home = Home()
    manifest = saved(home)
    opened(home, manifest.hash)
    path = index_file(home)
    right = path.read_bytes()
    path.unlink()
    if damage is not None:
        path.write_bytes(right[:damage] if isinstance(damage, int) else damage)
    assert opened(home, manifest.hash).nodes == manifest.nodes
    assert path.read_bytes() == right


def test_an_index_cut_short_is_a_miss_even_where_its_stat_is_believed() -> None:
    home = Home()
    manifest = saved(home)
    opened(home, manifest.hash)
    path = index_file(home)
    right = path.read_bytes()
    for wrong in (right[:-1], b"", right[:100]):
        path.unlink()
        path.write_bytes(wrong)
        os.utime(path, ns=(0, 0))
        home.index.mark_verified([path])
        assert home.index.is_verified(path)
        assert opened(home, manifest.hash).nodes == manifest.nodes
        assert path.read_bytes() == right


def test_without_a_cache_the_manifest_is_read_all_the_same() -> None:
    home = Home()
    manifest = saved(home)
    home.cache.joinpath("manifests").write_bytes(b"no folder")
    assert opened(home, manifest.hash).children("g") == manifest.children("g")


def test_old_indexes_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "KEPT", 2)
    home = Home()
    hashes = [saved(home, count).hash for count in (1, 2, 3)]
    for hash in hashes:
        opened(home, hash)
    assert {path.stem for path in (home.cache / "manifests").glob("*.*")} == set(hashes[1:])


def test_a_long_manifest_that_is_wrong_is_refused() -> None:
    home = Home()
    home.store.prepare()
    hash = home.store.objects.put_bytes(b'{"datapkg":1}\n{"kind":"file","path":"a"}\n')
    with pytest.raises(InvalidManifest, match="line 2"):
        opened(home, hash)
    path = home.store.objects.trusted(saved(home).hash).path
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"txt", b"tx!"))
    with pytest.raises(CorruptObject):
        opened(home, path.parent.name + path.name)
    assert not (home.cache / "manifests").exists()


@pytest.fixture
def lined(monkeypatch: pytest.MonkeyPatch) -> MappedManifest:
    """A manifest in the store that is long enough not to be parsed, as another process reads it."""
    monkeypatch.setattr("datapkg.format.chunks.LONG_BYTES", 1)
    home = Home()
    found = home.store.manifest(saved(home).hash)
    assert isinstance(found, MappedManifest)
    home.store.save(found)
    return found


def test_a_long_manifest_is_written_once(lined: MappedManifest) -> None:
    home = Home()
    path = home.store.objects.trusted(lined.hash).path
    before, whole = path.stat(), MappedManifest(lined.data, lined.hash)
    home.store.save(lined)
    assert path.stat() == before
    path.chmod(0o600)
    path.write_bytes(b"damaged")
    home.store.save(whole)
    assert Home().store.manifest(lined.hash) == lined


@pytest.mark.parametrize("kept", [None, b"", b"x", b"x" * 36, b"x" * 72])
def test_a_chunk_map_is_kept_and_one_that_does_not_fit_is_a_miss(lined: MappedManifest, kept: bytes | None) -> None:
    if kept is not None:
        Home().index.put_many({f"chunks:1:{lined.hash}": kept})
    found = Home().store.manifest(lined.hash)
    assert isinstance(found, MappedManifest)
    assert ("chunks" in vars(found)) == (kept is None)
    assert found.chunks == lined.chunks
