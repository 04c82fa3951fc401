"""Objects of older states become recipes: fewer bytes, the same data, restored when they are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from datapkg.errors import CorruptObject, ObjectNotFound
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.parsed import FileNode, Manifest
from datapkg.format.names import Ref
from datapkg.store import gc
from datapkg.store.compaction import compact, sources_of
from datapkg.store.deletion import Garbage, delete
from datapkg.store.gc import Policy
from datapkg.store.index import Index
from datapkg.store.refs import Current, LogEvent
from datapkg.store.store import Store

SIZE = 2 << 20
REF = Ref("u", "p")


def versions(count: int) -> Iterator[bytes]:
    """Yield versions of a file that differ in a few bytes each, at distant places."""
    random = Random(5)
    data = random.randbytes(SIZE)
    for number in range(count):
        at = number * (SIZE // count)
        data = data[:at] + random.randbytes(50) + data[at + 50 :]
        yield data


VERSIONS = list(versions(12))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store", Index(tmp_path / "cache" / "index.db"))
    store.prepare()
    return store


def keep(store: Store, data: bytes) -> str:
    store.objects.put_bytes(data)
    node = FileNode(path="a.bin", file_name="a.bin", hash=hash_bytes(data), size=len(data))
    return store.save(Manifest.make([node]))


def disk_bytes(store: Store) -> int:
    folders = ("objects", "packs", "recipes")
    return sum(p.stat().st_size for name in folders for p in (store.folder / name).rglob("*") if p.is_file())


def compacted(store: Store, data: list[bytes] = VERSIONS) -> list[str]:
    states = [keep(store, each) for each in data]
    compact(store, reversed(states), {hash_bytes(data[-1])})
    return states


def is_whole(store: Store, data: bytes) -> bool:
    return store.objects.packed.loose.path(hash_bytes(data)).exists()


def test_many_versions_take_little_more_than_one(store: Store) -> None:
    states = [keep(store, each) for each in VERSIONS]
    before = disk_bytes(store)
    freed = compact(store, reversed(states), {hash_bytes(VERSIONS[-1])})
    assert disk_bytes(store) < 1.8 * SIZE  # each version has a chunk of up to 256 KiB of its own
    assert freed <= before - disk_bytes(store) + 12 * 4096
    assert [is_whole(store, each) for each in VERSIONS] == [False] * 11 + [True]
    assert store.objects.missing(map(hash_bytes, VERSIONS)) == set()
    assert compact(store, reversed(states), {hash_bytes(VERSIONS[-1])}) == 0


def test_reading_restores_the_object(store: Store) -> None:
    compacted(store)
    data = VERSIONS[3]
    with store.objects.open(hash_bytes(data), 100, 200) as stream:
        assert stream.read() == data[100:200]
    assert is_whole(store, data)
    assert dict(store.objects.read_many([hash_bytes(VERSIONS[4])])) == {hash_bytes(VERSIONS[4]): VERSIONS[4]}


def test_later_versions_leave_bases_whole(store: Store) -> None:
    compacted(store, VERSIONS[:4])
    states = [keep(store, each) for each in VERSIONS]
    compact(store, reversed(states), {hash_bytes(VERSIONS[-1])})
    again = Store(store.folder, Index(store.index_path.with_name("other.db")))
    bases = sources_of(again, again.objects.packed.recipes)
    assert again.objects.packed.missing_whole(bases) == set()
    assert again.objects.missing(map(hash_bytes, VERSIONS)) == set()
    assert [again.objects.read(hash_bytes(each)) for each in VERSIONS] == VERSIONS


def test_with_a_corrupt_base_an_object_is_missing_and_comes_back(store: Store) -> None:
    compacted(store)
    path = store.objects.packed.loose.path(hash_bytes(VERSIONS[-1]))
    path.chmod(0o600)
    path.write_bytes(VERSIONS[-1][:-1] + b"?")
    assert store.objects.missing([hash_bytes(VERSIONS[0])]) == {hash_bytes(VERSIONS[0])}
    with pytest.raises(ObjectNotFound):
        store.objects.trusted(hash_bytes(VERSIONS[0]))
    store.objects.put_bytes(VERSIONS[-1])
    assert store.objects.missing([hash_bytes(VERSIONS[0])]) == set()
    assert store.objects.read(hash_bytes(VERSIONS[0])) == VERSIONS[0]


def test_a_corrupt_recipe_is_quarantined(store: Store) -> None:
    compacted(store)
    hash = hash_bytes(VERSIONS[0])
    recipe, other = (store.objects.packed.recipes.path(hash_bytes(each)) for each in VERSIONS[:2])
    os.replace(other, recipe)
    with pytest.raises(CorruptObject, match="is damaged"):
        store.objects.trusted(hash)
    assert store.objects.missing([hash]) == {hash}
    assert not recipe.exists()
    assert store.objects.quarantined() == {hash}


def test_a_store_that_cannot_be_written_restores_into_the_cache(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    compacted(store)

    def read_only(*args: object, **options: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store.objects.packed.loose, "put", read_only)
    place = store.objects.trusted(hash_bytes(VERSIONS[2]))
    assert place.path.read_bytes() == VERSIONS[2]
    assert place.path.is_relative_to(store.index_path.parent)


def history(store: Store, versions: list[bytes] = VERSIONS, day: int = 1) -> list[str]:
    """Install states of these contents, the last one current; return their hashes."""
    states = [keep(store, each) for each in versions]
    for number, hash in enumerate(states):
        at = f"2026-01-{day:02}T00:00:{number:02}+00:00"
        store.refs.append_log(REF, LogEvent("install", hash, at, "https://data.example.org"))
    store.refs.set_current(REF, Current(states[-1], "https://data.example.org"))
    return states


def test_gc_makes_recipes_and_declares_the_newer_format(store: Store) -> None:
    history(store)
    assert (store.folder / "format").read_text() == "1\n"
    before = disk_bytes(store)
    _, done = gc.collect(store, Policy())
    assert done.compacted_bytes == done.size_bytes
    assert disk_bytes(store) < 1.8 * SIZE < before / 6
    assert (store.folder / "format").read_text() == "2\n"
    assert [is_whole(store, each) for each in VERSIONS] == [False] * 11 + [True]
    assert gc.collect(store, Policy())[1].size_bytes == 0
    assert store.objects.missing(map(hash_bytes, VERSIONS)) == set()


def test_bases_of_recipes_stay_when_their_states_go(store: Store) -> None:
    states = history(store)
    store.refs.keep(REF, states[0])
    store.objects.read(hash_bytes(VERSIONS[-1]))
    gc.collect(store, Policy())
    store.refs.unkeep(REF, states[0])
    history(store, [*VERSIONS[:3], b"small"], day=2)
    plan, done = gc.collect(store, Policy(keep=4, now=True))
    assert len(plan.states) == 9
    assert done.size_bytes > 0
    again = Store(store.folder, Index(store.index_path.with_name("other.db")))
    assert [again.objects.read(hash_bytes(each)) for each in VERSIONS[:3]] == VERSIONS[:3]
    gc.collect(store, Policy(keep=1, now=True))
    assert disk_bytes(store) < 1000
    assert not list((store.folder / "recipes").glob("*/*"))


def test_object_that_is_current_again_loses_its_recipe(store: Store) -> None:
    states = history(store)
    gc.collect(store, Policy())
    store.objects.read(hash_bytes(VERSIONS[2]))
    store.refs.set_current(REF, Current(states[2], "https://data.example.org"))
    gc.collect(store, Policy())
    assert not store.objects.packed.recipes.find(hash_bytes(VERSIONS[2]))
    assert is_whole(store, VERSIONS[2])
    assert store.objects.missing(map(hash_bytes, VERSIONS)) == set()


def test_bases_come_back_with_a_recipe_that_is_needed_again(store: Store) -> None:
    compacted(store)
    hashes = {hash: store.objects.size(hash) for hash in store.objects}
    wanted = hash_bytes(VERSIONS[5])
    done = delete(store, Garbage(hashes), lambda: {wanted})
    assert done.size_bytes > 0
    assert store.objects.missing([wanted]) == set()
    assert store.objects.read(wanted) == VERSIONS[5]
    assert store.objects.missing([hash_bytes(VERSIONS[6])]) == {hash_bytes(VERSIONS[6])}


def test_gc_beside_a_process_that_writes_makes_no_recipe(store: Store) -> None:
    history(store)
    other = Store(store.folder, Index(store.index_path.with_name("other.db")))
    with other.writing():
        assert gc.collect(store, Policy())[1].compacted_bytes == 0
    assert is_whole(store, VERSIONS[0])
    assert gc.collect(store, Policy())[1].compacted_bytes > 0


@pytest.mark.parametrize("policy", [Policy(), Policy(keep=4)])
def test_plan_frees_what_the_collection_frees(store: Store, policy: Policy) -> None:
    history(store)
    planned = gc.plan(store, policy)
    assert [is_whole(store, each) for each in VERSIONS] == [True] * 12
    assert (store.folder / "format").read_text() == "1\n"
    assert not (store.folder / "recipes").exists()
    _, done = gc.collect(store, policy)
    assert (planned.compacted_bytes, planned.size_bytes) == (done.compacted_bytes, done.size_bytes)
    assert done.compacted_bytes > 0
    assert gc.plan(store, policy).size_bytes == 0


def test_plan_beside_a_process_that_writes_counts_no_recipe(store: Store) -> None:
    history(store)
    other = Store(store.folder, Index(store.index_path.with_name("other.db")))
    with other.writing():
        assert gc.plan(store, Policy()).compacted_bytes == 0
