"""Objects at rest as ranges of others: read alike, flat, small, verified before they replace what they describe."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from datapkg.errors import CorruptObject, ObjectNotFound
from datapkg.format.chunks import Step
from datapkg.format.hashing import hash_bytes
from datapkg.objects.base import Readable
from datapkg.objects.paced_read import pieces
from datapkg.objects.pack_file import JOINED_BYTES, MAX_OPEN_BASES
from datapkg.objects.packs import PackedObjects
from datapkg.objects.recipe_maker import check_recipe, recipe_of
from datapkg.objects.recipes import MAX_RANGES, worthwhile
from tests.contracts import BODIES, ReadableContract

BASE = Random(1).randbytes(1 << 20)


def replace_by_recipe(home: PackedObjects, hash: str, steps: list[Step]) -> list[Step]:
    ranges = recipe_of(home, home, hash, steps)
    if ranges:
        check_recipe(home, hash, ranges)
        home.recipes.keep(hash, ranges)
        home.loose.delete(hash)
    return ranges


class TestPackedObjectsWithRecipes(ReadableContract):
    """The contract holds for objects that are ranges of others."""

    @pytest.fixture
    def filled(self, tmp_path: Path) -> Iterator[Readable]:
        home = PackedObjects(tmp_path)
        home.put_many(BODIES[:3])
        for body in BODIES[3:]:
            half = len(body) // 2
            first, last = home.put_bytes(body[:half]), home.put_bytes(b"--" + body[half:])
            hash = home.put_bytes(body)
            steps = [Step(first, 0, half), Step(last, 2, len(body) - half)]
            assert replace_by_recipe(home, hash, steps) == steps
            assert not home.loose.path(hash).exists()
        yield home


def edited(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def steps_of(base: bytes, data: bytes, at: int, size: int) -> list[Step]:
    source = hash_bytes(base)
    return [Step(source, 0, at), Step(None, at, size), Step(source, at + size, len(data) - at - size)]


@pytest.fixture
def home(tmp_path: Path) -> PackedObjects:
    return PackedObjects(tmp_path)


def test_a_chain_of_versions_is_flat(home: PackedObjects) -> None:
    versions = [BASE]
    home.put_bytes(BASE)
    for number in range(20):
        data = edited(versions[-1], number * 50_000, b"%05d" % number)
        hash = home.put_bytes(data)
        assert replace_by_recipe(home, hash, steps_of(versions[-1], data, number * 50_000, 5))
        versions.append(data)
    for data in versions[1:]:
        hash = hash_bytes(data)
        assert home.read(hash) == data
        sources = {each.source for each in home.recipes.find(hash)}
        assert not sources & {hash_bytes(each) for each in versions[1:]}
    assert sum(path.stat().st_size for path in home.folder.rglob("*") if path.is_file()) < 1.05 * len(BASE)


def test_ranges_are_few_and_short_ones_are_copied() -> None:
    steps = [Step("a" * 64, 0, 1 << 20)]
    for number in range(200):
        steps += [Step(None, 0, 100), Step("b" * 64, number * 10_000, 500 if number < 180 else 5_000)]
    found = worthwhile(steps)
    assert len(found) <= MAX_RANGES
    assert sum(step.size for step in found) == sum(step.size for step in steps)
    assert sum(1 for step in found if step.source) == 21


def test_an_object_that_saves_little_stays_whole(home: PackedObjects) -> None:
    home.put_bytes(BASE)
    data = BASE[:100_000] + Random(2).randbytes(1 << 20)
    hash = home.put_bytes(data)
    steps = [Step(hash_bytes(BASE), 0, 100_000), Step(None, 100_000, 1 << 20)]
    assert recipe_of(home, home, hash, steps) == []


def test_wrong_steps_make_no_recipe(home: PackedObjects) -> None:
    home.put_bytes(BASE)
    hash = home.put_bytes(edited(BASE, 500, b"x"))
    with pytest.raises(CorruptObject, match="is not what its recipe gives"):
        replace_by_recipe(home, hash, [Step(hash_bytes(BASE), 0, len(BASE))])
    with pytest.raises(CorruptObject, match="a recipe uses 1,048,577 bytes"):
        replace_by_recipe(home, hash, [Step(hash_bytes(BASE), 1, len(BASE))])
    assert home.loose.path(hash).exists()


def test_without_its_base_an_object_is_missing(home: PackedObjects) -> None:
    home.put_bytes(BASE)
    data = edited(BASE, 7, b"x")
    hash = home.put_bytes(data)
    replace_by_recipe(home, hash, steps_of(BASE, data, 7, 1))
    assert home.missing([hash]) == set()
    home.loose.delete(hash_bytes(BASE))
    assert home.missing([hash]) == {hash}
    with pytest.raises(ObjectNotFound):
        home.open(hash)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: edited(data, 60, b"\xff"), lambda data: b""])
def test_a_damaged_recipe_is_an_error(home: PackedObjects, change: object) -> None:
    home.put_bytes(BASE)
    data = edited(BASE, 7, b"x")
    hash = home.put_bytes(data)
    replace_by_recipe(home, hash, steps_of(BASE, data, 7, 1))
    path = home.recipes.path(hash)
    recipe = path.read_bytes()
    path.unlink()
    path.write_bytes(change(recipe))  # type: ignore[operator]
    assert home.missing([hash]) == {hash}
    with pytest.raises(CorruptObject, match=r"recipe .* is damaged"):
        home.read(hash)
    home.put_bytes(data)
    assert home.read(hash) == data


def joined_object(home: PackedObjects, sources: int) -> tuple[str, bytes]:
    """Keep a recipe of 60 ranges, which alternate over the sources, and return its hash and bytes."""
    bodies = [Random(number).randbytes(400_001) for number in range(sources)]
    hashes = [home.put_bytes(each) for each in bodies]
    ranges = [(number % sources, number * 5_003, 50_021 + number) for number in range(60)]
    data = b"".join(bodies[at][start : start + size] for at, start, size in ranges)
    home.recipes.keep(hash_bytes(data), [Step(hashes[at], start, size) for at, start, size in ranges])
    return hash_bytes(data), data


@pytest.mark.parametrize("piece", [1_000, 64 << 10, 1 << 20])
@pytest.mark.parametrize("start", [0, 777_777])
def test_pieces_of_a_recipe_are_those_of_the_object(home: PackedObjects, start: int, piece: int) -> None:
    hash, data = joined_object(home, 2)
    found = list(pieces(home, hash, start, 2_500_000, lambda: piece))
    assert b"".join(found) == data[start:2_500_000]
    assert max(map(len, found)) <= piece
    assert sum(len(each) < min(piece, JOINED_BYTES) for each in found) <= 1
    with home.open(hash, start) as stream:
        assert stream.read(piece) == data[start : start + piece]
        assert stream.read() == data[start + piece :]


def test_few_files_of_a_recipe_are_open_at_a_time(home: PackedObjects) -> None:
    hash, data = joined_object(home, 12)
    before, most, got = len(os.listdir("/proc/self/fd")), 0, b""
    for piece in pieces(home, hash, 0, len(data), lambda: 70_000):
        most, got = max(most, len(os.listdir("/proc/self/fd"))), got + piece
    assert got == data
    assert before < most <= before + MAX_OPEN_BASES
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_pack_that_is_rewritten_during_a_read_is_found_again(home: PackedObjects) -> None:
    with home.batch():
        hash, data = joined_object(home, MAX_OPEN_BASES + 1)
        unused = home.put_bytes(b"unused")
    read = pieces(home, hash, 0, len(data), lambda: 50_000)
    got = next(read)
    home.rewrite(home.packs()[0], without={unused})
    assert got + b"".join(read) == data


def test_a_read_ends_where_a_base_disappears(home: PackedObjects) -> None:
    hash, data = joined_object(home, 2)
    read = pieces(home, hash, 0, len(data), lambda: 1_000)
    assert next(read) == data[:1_000]
    home.delete(str(home.recipes.find(hash)[1].source))
    with pytest.raises(ObjectNotFound):
        list(read)


def test_bases_that_were_read_before_are_looked_for_again(home: PackedObjects) -> None:
    hash, data = joined_object(home, 2)
    moved, cut = (str(each.source) for each in home.recipes.find(hash)[:2])
    assert home.read(hash) == data
    body = home.read(moved)
    home.loose.delete(moved)
    with pytest.raises(ObjectNotFound):
        home.size(hash)
    with home.batch():
        home.put_bytes(body)
    assert home.read(hash) == data
    assert home.size(hash) == len(data)
    os.truncate(home.loose.path(cut), 1)
    with pytest.raises(CorruptObject):
        home.size(hash)
