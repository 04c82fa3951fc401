"""Cached indexes of long manifests: created once, used while unchanged since they were written, otherwise a miss."""

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
    """Open the manifest as another process does."""
    return Home().store.open_manifest(hash)


def test_index_is_created_once_and_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home()
    manifest = saved(home)
    first = opened(home, manifest.hash)
    monkeypatch.setattr(index, "make_index", lambda *_: pytest.fail("made again"))
    second = opened(home, manifest.hash)
    for each in (first, second):
        assert isinstance(each, IndexedManifest)
        assert (each.nodes, each.meta, each.children("g")) == (manifest.nodes, {"a": 1}, manifest.children("g"))


@pytest.mark.parametrize("damage", [b"", b"garbage", None, 0, 1000], ids=str)
def test_corrupt_index_is_a_miss(damage: bytes | int | None) -> None:
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


def test_truncated_index_is_a_miss_even_if_marked_verified() -> None:
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


def test_manifest_is_read_without_a_cache() -> None:
    home = Home()
    manifest = saved(home)
    home.cache.joinpath("manifests").write_bytes(b"no folder")
    assert opened(home, manifest.hash).children("g") == manifest.children("g")


def test_old_indexes_are_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "KEPT", 2)
    home = Home()
    hashes = [saved(home, count).hash for count in (1, 2, 3)]
    for hash in hashes:
        opened(home, hash)
    assert {path.stem for path in (home.cache / "manifests").glob("*.*")} == set(hashes[1:])


def test_invalid_long_manifest_is_rejected() -> None:
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
def mapped(monkeypatch: pytest.MonkeyPatch) -> MappedManifest:
    """Return a stored manifest long enough to be mapped instead of parsed, as another process reads it."""
    monkeypatch.setattr("datapkg.format.chunks.LONG_BYTES", 1)
    home = Home()
    found = home.store.manifest(saved(home).hash)
    assert isinstance(found, MappedManifest)
    home.store.save(found)
    return found


def test_long_manifest_is_written_once(mapped: MappedManifest) -> None:
    home = Home()
    path = home.store.objects.trusted(mapped.hash).path
    before, whole = path.stat(), MappedManifest(mapped.data, mapped.hash)
    home.store.save(mapped)
    assert path.stat() == before
    path.chmod(0o600)
    path.write_bytes(b"damaged")
    home.store.save(whole)
    assert Home().store.manifest(mapped.hash) == mapped


@pytest.mark.parametrize("kept", [None, b"", b"x", b"x" * 36, b"x" * 72])
def test_chunk_map_is_cached_and_a_mismatched_one_is_a_miss(mapped: MappedManifest, kept: bytes | None) -> None:
    if kept is not None:
        Home().index.put_many({f"chunks:1:{mapped.hash}": kept})
    found = Home().store.manifest(mapped.hash)
    assert isinstance(found, MappedManifest)
    assert "chunks" not in vars(found)
    assert found.chunks == mapped.chunks
    again = Home().store.manifest(mapped.hash)
    assert vars(again)["chunks"] == mapped.chunks
