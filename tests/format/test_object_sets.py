"""Unions and differences of a few and of very many objects are those of dicts and sets."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapkg.errors import InvalidManifest
from datapkg.format import object_sets, object_sizes
from datapkg.format.hashing import hash_bytes
from datapkg.format.object_sets import Numbered, joined, merged, named, within, without
from datapkg.format.object_sizes import ObjectSizes, SizesCollector, lacking

# Few different bytes, so that digests share beginnings, as somebody could make them do, and have zeros at their ends.
HASHES = st.builds(
    lambda start, end: (bytes([start]) * 8 + bytes(16) + bytes([end]) * 8).hex(), *[st.integers(0, 3)] * 2
)
SIZES = st.dictionaries(HASHES, st.integers(0, 2**53))


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_sizes, "AT_ONCE", 3)


def many(sizes: dict[str, int]) -> ObjectSizes:
    return ObjectSizes(bytes.fromhex("".join(sizes)), array("Q", sizes.values()))


def forms(sizes: dict[str, int]) -> Iterator[Mapping[str, int]]:
    """Yield the same objects as few, as many, and as a few beside many."""
    yield sizes
    yield many(sizes)
    some = dict(list(sizes.items())[::3])
    yield joined(some, many({hash: size for hash, size in sizes.items() if hash not in some}))


def test_the_forms_differ() -> None:
    made = list(forms({hash_bytes(bytes([n])): n for n in range(5)}))
    assert len({type(each) for each in made}) == 3
    assert made[0] == made[1] == made[2]


@given(SIZES, SIZES, SIZES)
def test_they_are_like_dicts(one: dict[str, int], two: dict[str, int], three: dict[str, int]) -> None:
    kept = {hash: size for hash, size in one.items() if hash in two or hash in three}
    left = {hash: size for hash, size in one.items() if hash not in kept}
    for limit in (0, 4, 1000):
        with pytest.MonkeyPatch.context() as patch:
            for module in (object_sets, object_sizes):
                patch.setattr(module, "MANY", limit)
            for first in forms(one):
                for other in (*forms(two), set(two)):
                    assert within(first, other, set(three)) == kept
                    assert without(first, other, many(three)) == left
                    assert named(first, iter(other)) == {hash: size for hash, size in one.items() if hash in two}
                for other in forms(two):
                    check_merged(merged(first, other), two | one)


def check_merged(found: Mapping[str, int], expected: dict[str, int]) -> None:
    assert found == expected
    assert (len(found), sorted(found), sum(found.values())) == (len(expected), sorted(expected), sum(expected.values()))
    assert dict(found.items()) == expected
    wanted = set(list(expected)[::2])
    assert lacking(found, lambda some: wanted) == {hash: size for hash, size in expected.items() if hash in wanted}


@given(SIZES, st.lists(SIZES, max_size=4))
def test_objects_have_numbers(sizes: dict[str, int], others: list[dict[str, int]]) -> None:
    uses = Counter(hash for other in others for hash in other if hash in sizes)
    for objects in (sizes, many(sizes)):
        for form in range(3):
            numbers, counts = Numbered(objects), [0] * len(objects)
            for other in others:
                for at in numbers.of(list(forms(other))[form]):
                    counts[at] += 1
            assert dict(zip(objects, counts, strict=True)) == {hash: uses[hash] for hash in sizes}


def test_many_are_joined_in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = ({hash_bytes(bytes([n])): n for n in range(*ends)} for ends in ((0, 5), (3, 9)))
    assert joined(one, {}) is one
    assert joined(one, other) == one | other
    monkeypatch.setattr(object_sets, "MANY", 4)
    monkeypatch.setattr(object_sizes, "MANY", 4)
    found: Any = joined(one, many(other))
    assert isinstance(found, ObjectSizes)
    assert list(found.items()) == list((one | other).items())
    monkeypatch.setattr(object_sets, "MANY", 11)
    found = joined(one, kept := many(other))
    assert any(each is kept for each in found.parts)  # not copied
    assert list(found.items()) == list((one | other).items())
    assert without(kept, {hash_bytes(b"x")}) is kept
    with pytest.raises(InvalidManifest, match="two different sizes"):
        joined(dict.fromkeys(other, 99), kept)
    collector = SizesCollector()
    for sizes in (one, dict.fromkeys(one, 99)):
        collector.add_all(many(sizes))
    with pytest.raises(InvalidManifest, match="two different sizes"):
        collector.collected()
