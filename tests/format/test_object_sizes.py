"""Very many objects: like a dict of them, asked in groups, and refused with two sizes."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapkg.errors import InvalidManifest
from datapkg.format import object_sizes
from datapkg.format.hashing import hash_bytes
from datapkg.format.object_sizes import ObjectSizes, SizesCollector, in_groups, in_order_of_hashes, lacking

# Few different bytes, so that digests share beginnings and have zeros at their ends.
DIGESTS = st.builds(lambda start, end: bytes([start]) * 8 + bytes(16) + bytes([end]) * 8, *[st.integers(0, 3)] * 2)


def many(sizes: dict[str, int]) -> ObjectSizes:
    return ObjectSizes(bytes.fromhex("".join(sizes)), array("Q", sizes.values()))


@given(st.lists(DIGESTS, max_size=30), st.sets(DIGESTS))
def test_it_is_like_a_dict(named: list[bytes], absent: set[bytes]) -> None:
    expected = {digest.hex(): digest[0] for digest in named}
    found = ObjectSizes(b"".join(named), array("Q", [digest[0] for digest in named]))
    assert list(found.items()) == list(expected.items())
    assert (list(found), list(found.values()), len(found)) == ([*expected], [*expected.values()], len(expected))
    assert found == expected
    assert {digest.hex() for digest in absent if digest.hex() in found} == {each.hex() for each in absent} & {*expected}
    wanted = {each.hex() for each in absent}
    assert list(found.lacking(lambda some: wanted).items()) == [each for each in expected.items() if each[0] in wanted]


def test_what_is_no_hash_is_not_in_it() -> None:
    found = many({hash_bytes(b"a"): 1})
    assert "x" not in found
    assert None not in found
    with pytest.raises(KeyError):
        found[hash_bytes(b"b")]


def test_an_object_has_one_size() -> None:
    hash = hash_bytes(b"a")
    with pytest.raises(InvalidManifest, match=f"object {hash} has two different sizes"):
        ObjectSizes(bytes.fromhex(2 * hash), array("Q", [1, 2]))


@given(st.lists(st.tuples(DIGESTS, st.integers(0, 2**53)), max_size=30))
def test_repeated_objects_are_found_alike_for_few_and_many(added: list[tuple[bytes, int]]) -> None:
    largest, times = dict[str, int](), Counter(digest.hex() for digest, _ in added)
    for digest, size in sorted(added):
        largest[digest.hex()] = size
    for limit in (0, 100):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(object_sizes, "MANY", limit)
            patch.setattr(object_sizes, "AT_ONCE", 4)
            collector = SizesCollector()
            collector.add_digests(*zip(*added[::2], strict=True)) if added else None
            collector.add((digest.hex() for digest, _ in added[1::2]), (size for _, size in added[1::2]))
            found, several = collector.with_repeated()
        assert found == largest
        assert several == {hash: largest[hash] for hash, count in times.items() if count > 1}


def test_few_are_asked_for_at_a_time_in_the_order_of_their_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_sizes, "AT_ONCE", 3)
    sizes = {hash_bytes(bytes([number])): number for number in range(10)}
    asked: list[list[str]] = []

    def missing(some: Sequence[str]) -> set[str]:
        asked.append(list(some))
        return {hash for hash in some if sizes[hash] % 2}

    assert dict(lacking(many(sizes), missing)) == {hash: size for hash, size in sizes.items() if size % 2}
    assert [len(some) for some in asked] == [3, 3, 3, 1]
    assert [hash for some in asked for hash in some] == sorted(sizes)
    assert lacking(sizes, missing) == {hash: size for hash, size in sizes.items() if size % 2}
    assert [len(some) for some in in_groups(sizes)] == [3, 3, 3, 1]
    for each in (sizes, many(sizes)):
        groups = [list(some.items()) for some in in_order_of_hashes(each)]
        assert [len(some) for some in groups] == [3, 3, 3, 1]
        assert list(chain.from_iterable(groups)) == sorted(sizes.items())
