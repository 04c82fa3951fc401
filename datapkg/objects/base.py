"""The contract of everything that keeps objects: a folder, memory, packs, a registry."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from datapkg.errors import ObjectNotFound
from datapkg.format.hashing import hash_bytes

if TYPE_CHECKING:
    from datapkg.format.chunks import Chunk


class Readable(ABC):
    """Immutable bytes, each known by the hash of its content.

    `jobs` is how many requests at once it may be sent: one where nothing has to be waited for.
    """

    jobs: int = 1

    def address(self, hash: str) -> str:
        """Return the URL of an object, "" for one of this machine."""
        return ""

    @abstractmethod
    def missing(self, hashes: Iterable[str]) -> set[str]:
        """Return the hashes whose bytes are missing, in one query."""

    @abstractmethod
    def size(self, hash: str) -> int:
        """Return the object's size in bytes; raise `ObjectNotFound`."""

    @abstractmethod
    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        """Return a stream of the bytes from `start` up to `stop` (to the end for None); the caller closes it.

        Raise `ObjectNotFound`. The bytes are not verified: whoever relies on them checks their hash.
        """

    def read(self, hash: str) -> bytes:
        """Return the whole object in memory; for small ones."""
        with self.open(hash) as stream:
            return stream.read()

    def chunks(self, hash: str, size: int) -> list[Chunk] | None:
        """Return the chunks of an object of `size` bytes in order, by which parts of it are verified; None if unknown.

        Raise `ObjectNotFound`, `InvalidInput` for what is not a chunk map.
        """
        return None

    def read_many(self, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (hash, bytes) of many small objects from few requests, in any order; raise `ObjectNotFound`."""
        for hash in hashes:
            yield hash, self.read(hash)


class Writable(Readable):
    """A home that can be written: what is put is whole under its hash, or not there at all."""

    @abstractmethod
    def put(self, stream: BinaryIO, expected: str | None = None) -> str:
        """Store a stream in one pass, hashing while it is written; return the hash.

        Raise `HashMismatch`, and keep nothing, if it is not `expected`. A second call is harmless.
        """

    def put_bytes(self, data: bytes, expected: str | None = None) -> str:
        """Store these bytes; return the hash."""
        return self.put(io.BytesIO(data), expected)

    def take(self, path: Path, expected: str, size: int) -> None:
        """Store the first `size` bytes of a file, which becomes the object itself where the home can do so.

        Raise `HashMismatch`, and leave the file as it is, if their hash is not `expected`.
        """
        # A map ends after `size` bytes, while the file may go on.
        with open(path, "rb") as file, mmap(file.fileno(), size, access=ACCESS_READ) as data:
            self.put(cast(BinaryIO, data), expected)

    def put_many(self, items: Iterable[bytes]) -> list[str]:
        """Store many small objects; return their hashes in the same order."""
        hashes: list[str] = []

        def named() -> Iterator[tuple[str, bytes]]:
            for item in items:
                hashes.append(hash_bytes(item))
                yield hashes[-1], item

        self.put_verified(named())
        return hashes

    def put_verified(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Store many small objects whose hashes the caller has just computed from these bytes."""
        with self.batch():
            for hash, data in items:
                self.put_bytes(data, hash)

    def check_room(self, size: int, what: str) -> None:
        """Raise `DiskFull` if there is no room for so many bytes more of `what`, where that is known."""

    def batch(self) -> AbstractContextManager[None]:
        """Make what is put inside durable, and certain to be found, with one sync at the end.

        Leaving by an exception may keep whole objects of it or none, never a part of one.
        """
        return nullcontext()

    def discard(self, hashes: Iterable[str]) -> None:
        """Drop what was put in the open batch and turned out not to be needed, once for each put.

        What has its name already, or was put by somebody else too, stays. A home may keep all the same what it cannot
        take back.
        """


class Objects(Writable):
    """A home that is ours whole: it can be listed, and objects can be taken out."""

    @abstractmethod
    def delete(self, hash: str) -> None:
        """Delete the object; a missing one is not an error."""

    @abstractmethod
    def __iter__(self) -> Iterator[str]:
        """Return the hashes of all objects here, each once, in any order."""


def not_found(hash: str, where: str = "here") -> ObjectNotFound:
    """Return the error for an object that is not there."""
    return ObjectNotFound(f"object {hash} is not {where}", hash=hash)


def cut(data: bytes, start: int, stop: int | None) -> BinaryIO:
    """Return a stream of a part of bytes in memory."""
    return io.BytesIO(data if start == 0 and stop is None else data[start:stop])
