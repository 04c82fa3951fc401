"""Transfers of small objects: what is reported of their bytes while they move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from datapkg.errors import HashMismatch
from datapkg.format.hashing import hash_bytes
from datapkg.objects.memory import MemoryObjects
from datapkg.objects.transfer import REPORTED_BYTES, plan, transfer

BODIES = [bytes([number]) * (REPORTED_BYTES // 10 + number) for number in range(100)]


class OnceWrong(MemoryObjects):
    """A home that gives one object with a wrong byte when it is read with others."""

    wrong = hash_bytes(BODIES[40])

    def read_many(self, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for hash, data in super().read_many(hashes):
            yield hash, b"?" + data[1:] if hash == self.wrong else data


@pytest.mark.parametrize("home", [MemoryObjects, OnceWrong])
def test_each_byte_is_reported_once(home: type[MemoryObjects]) -> None:
    source, target = home(), MemoryObjects()
    sizes = dict(zip(source.put_many(BODIES), map(len, BODIES), strict=True))
    reports: list[tuple[int, int]] = []
    transfer(source, target, plan(sizes, target), lambda _, done, total: reports.append((done, total)))
    assert dict(target.read_many(sizes)) == dict(zip(sizes, BODIES, strict=True))
    assert reports[-1] == (sum(sizes.values()), sum(sizes.values()))
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
    assert 5 < len(reports) < len(BODIES), "it is reported while they move, and not for each of them"


def test_an_object_that_is_always_wrong_is_not_taken() -> None:
    source, target = OnceWrong(), MemoryObjects()
    source.put_many(BODIES)
    sizes = {hash_bytes(b"absent"): 6}
    source._bodies[hash_bytes(b"absent")] = b"absenT"
    with pytest.raises(HashMismatch):
        transfer(source, target, plan(sizes, target))
    assert target.missing(sizes) == set(sizes)
