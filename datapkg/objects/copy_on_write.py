"""Objects for dry runs: what is put goes into a temporary folder, in front of objects that are only read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from datapkg.format.chunks import Chunk
from datapkg.objects.base import Objects, Readable
from datapkg.objects.chunking import chunks_of_object
from datapkg.objects.directory import DirectoryObjects


class CopyOnWriteObjects(Objects):
    """What `base` has and what was put here, into a folder that its owner removes."""

    def __init__(self, base: Readable, folder: Path) -> None:
        self._base = base
        self._own = DirectoryObjects(folder / "objects", folder / "tmp")

    def missing(self, hashes: Iterable[str]) -> set[str]:
        absent = self._own.missing(hashes)
        return self._base.missing(absent) if absent else absent

    def _home(self, hash: str) -> Readable:
        return self._base if self._own.missing([hash]) else self._own

    def size(self, hash: str) -> int:
        return self._home(hash).size(hash)

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        return self._home(hash).open(hash, start, stop)

    def chunks(self, hash: str, size: int) -> list[Chunk] | None:
        home = self._home(hash)
        return chunks_of_object(home, hash) if home is self._own else home.chunks(hash, size)

    def check_room(self, size: int, what: str) -> None:
        self._own.check_room(size, what)

    def put(self, stream: BinaryIO, expected: str | None = None) -> str:
        return self._own.put(stream, expected)

    def batch(self) -> AbstractContextManager[None]:
        return self._own.batch()

    def discard(self, hashes: Iterable[str]) -> None:
        self._own.discard(hashes)

    def delete(self, hash: str) -> None:
        self._own.delete(hash)

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)
