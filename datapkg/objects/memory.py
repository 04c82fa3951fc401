"""Objects kept in memory: for tests, and for what need not outlive the process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from datapkg.format.hashing import hash_bytes, mismatch
from datapkg.objects.base import Objects, cut, not_found


class MemoryObjects(Objects):
    """A dictionary of objects."""

    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}

    def missing(self, hashes: Iterable[str]) -> set[str]:
        return set(hashes).difference(self._bodies)

    def size(self, hash: str) -> int:
        return len(self._body(hash))

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        return cut(self._body(hash), start, stop)

    def _body(self, hash: str) -> bytes:
        if hash not in self._bodies:
            raise not_found(hash)
        return self._bodies[hash]

    def put(self, stream: BinaryIO, expected: str | None = None) -> str:
        body = stream.read()
        hash = hash_bytes(body)
        if expected not in (None, hash):
            raise mismatch(str(expected), hash)
        self._bodies[hash] = body
        return hash

    def delete(self, hash: str) -> None:
        self._bodies.pop(hash, None)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._bodies))
