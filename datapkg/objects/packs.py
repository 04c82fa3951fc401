"""Objects kept in a folder where small ones of one batch share one file, a pack.

A pack is: magic, the bodies one after the other, an index sorted by hash (32 bytes of hash, 8 of offset, 8 of size,
little-endian), the number of entries (8 bytes) and the magic again. It is named by the sha256 of itself and never
changes. Creating a file is the dear thing on most file systems; a batch of 10,000 small objects creates one.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast
from weakref import WeakSet

from datapkg.errors import CorruptObject
from datapkg.format.hashing import hash_bytes, mismatch
from datapkg.objects.base import Objects, not_found
from datapkg.objects.directory import READ_BUFFER_BYTES, DirectoryObjects, Named, Window, no_notice
from datapkg.objects.files import naming, new_file, rename, seal, sync_all, sync_file, sync_folder, temp_path

MAGIC = b"datapkg1"
ENTRY_BYTES = 48
TAIL_BYTES = 16
SMALL_BYTES = 1 << 20
PACK_BYTES = 256 << 20
FEW_LOOKUPS = 64
MAX_OPEN = 64
TICK_NS = 50_000_000  # two changes of a folder within this time may leave it the same modification time


@dataclass(frozen=True)
class Place:
    """Where an object's bytes lie: `size` bytes from `offset` of a file; `pack` is the pack's hash or None."""

    path: Path
    offset: int
    size: int
    pack: str | None = None


class Pack:
    """A pack's index, in memory; no file stays open, however many packs there are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hash = path.stem
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size < len(MAGIC) + TAIL_BYTES or file.read(len(MAGIC)) != MAGIC:
                raise _damaged(path)
            tail = os.pread(file.fileno(), TAIL_BYTES, size - TAIL_BYTES)
            self.count = int.from_bytes(tail[:8], "little")
            self._bodies_end = size - TAIL_BYTES - self.count * ENTRY_BYTES
            if tail[8:] != MAGIC or self._bodies_end < len(MAGIC):
                raise _damaged(path)
            self._index = os.pread(file.fileno(), self.count * ENTRY_BYTES, self._bodies_end)
        if len(self._index) != self.count * ENTRY_BYTES:
            raise _damaged(path)

    def hashes(self) -> Iterator[bytes]:
        """The 32-byte hashes in order."""
        for at in range(0, len(self._index), ENTRY_BYTES):
            yield self._index[at : at + 32]

    def entries(self) -> Iterator[tuple[bytes, Place | None]]:
        """Each hash with the place of its object, None for one that would lie outside."""
        for at in range(0, len(self._index), ENTRY_BYTES):
            yield self._index[at : at + 32], self._place(at)

    def _place(self, at: int) -> Place | None:
        offset = int.from_bytes(self._index[at + 32 : at + 40], "little")
        size = int.from_bytes(self._index[at + 40 : at + 48], "little")
        return Place(self.path, offset, size, self.hash) if offset + size <= self._bodies_end else None

    def find(self, digest: bytes) -> Place | None:
        """Where the object with this 32-byte hash lies, or None."""
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            at = middle * ENTRY_BYTES
            here = self._index[at : at + 32]
            if here == digest:
                return self._place(at)
            low, high = (middle + 1, high) if here < digest else (low, middle)
        return None


def _damaged(path: Path) -> CorruptObject:
    return CorruptObject(
        f"pack {path.name} is damaged: its index cannot be read", hint="datapkg verify", pack=path.stem
    )


class _PackWriter:
    """A pack that is being written, in a temporary file."""

    def __init__(self, temp: Path) -> None:
        self.temp = temp
        self.file: IO[bytes] = new_file(temp, buffering=0)
        self.entries: dict[bytes, tuple[int, int]] = {}
        self.size = 0
        self._sha256 = hashlib.sha256()
        self._write(MAGIC)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        with naming(self.temp):
            while view:
                view = view[self.file.write(view) :]
        self._sha256.update(data)
        self.size += len(data)

    def discard(self) -> None:
        """Gives the pack up."""
        self.file.close()
        self.temp.unlink(missing_ok=True)

    def add(self, digest: bytes, data: bytes) -> None:
        self.entries[digest] = (self.size, len(data))
        self._write(data)

    def finish(self) -> str:
        """Writes the index and closes the file; gives the pack's hash."""
        rows = (
            digest + offset.to_bytes(8, "little") + size.to_bytes(8, "little")
            for digest, (offset, size) in sorted(self.entries.items())
        )
        self._write(b"".join(rows) + len(self.entries).to_bytes(8, "little") + MAGIC)
        seal(self.file)
        self.file.close()
        return self._sha256.hexdigest()


class PackedObjects(Objects):
    """A folder `objects/` of single objects and a folder `packs/` beside it; many processes read and write at once.

    `named` is told of the files that have just got their names.
    """

    def __init__(self, folder: Path, named: Named = no_notice) -> None:
        self.folder = Path(folder)
        self.tmp = self.folder / "tmp"
        self.loose = DirectoryObjects(self.folder / "objects", self.tmp, named)
        self._named = named
        self.packs_folder = self.folder / "packs"
        self._packs: dict[str, Pack] = {}
        self._listed_at: int | None = None
        self._lock = threading.RLock()
        _homes.add(self)
        self._depth = 0
        self._writer: _PackWriter | None = None
        self._finished: list[tuple[str, Path, set[bytes]]] = []

    def packs(self) -> list[Pack]:
        """All packs here now; one whose index is unreadable is passed over (verify finds it)."""
        with self._lock:
            try:
                stamp = os.stat(self.packs_folder).st_mtime_ns
            except FileNotFoundError:
                return []
            if stamp != self._listed_at or abs(time.time_ns() - stamp) < TICK_NS:
                names = {name for name in os.listdir(self.packs_folder) if name.endswith(".pack")}
                for name in self._packs.keys() - names:
                    del self._packs[name]
                for name in names - self._packs.keys():
                    with contextlib.suppress(CorruptObject, FileNotFoundError):
                        self._packs[name] = Pack(self.packs_folder / name)
                self._listed_at = stamp
            return list(self._packs.values())

    def locate(self, hash: str) -> Place:
        """Where the object's bytes lie now; raises `ObjectNotFound`."""
        path = self.loose._place(hash)
        try:
            return Place(path, 0, os.stat(path).st_size)
        except FileNotFoundError:
            pass
        digest = bytes.fromhex(hash)
        if (writer := self._writer) and digest in writer.entries:
            return Place(writer.temp, *writer.entries[digest])
        for pack in self.packs():
            if place := pack.find(digest):
                return place
        for name, temp, digests in self._finished:
            if digest in digests and (place := Pack(temp).find(digest)):
                return Place(temp, place.offset, place.size, name)
        raise not_found(hash)

    def missing(self, hashes: Iterable[str]) -> set[str]:
        absent = self.loose.missing(hashes)
        if not absent:
            return absent
        digests = {bytes.fromhex(hash) for hash in absent}
        for pack in self.packs():
            if len(digests) <= FEW_LOOKUPS:
                digests -= {digest for digest in digests if pack.find(digest)}
            else:
                digests.difference_update(pack.hashes())
        with self._lock:
            digests.difference_update(*(digests_ for _, _, digests_ in self._finished))
            if self._writer:
                digests.difference_update(self._writer.entries)
        return {digest.hex() for digest in digests}

    def size(self, hash: str) -> int:
        return self.locate(hash).size

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        return open_place(self.locate(hash), start, stop)

    def read_many(self, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        with contextlib.closing(OpenFiles()) as files:
            for hash in hashes:
                yield hash, files.read(self.locate(hash))

    def put(self, stream: BinaryIO, expected: str | None = None) -> str:
        if not self._depth:
            return self.loose.put(stream, expected)
        head = _read_up_to(stream, SMALL_BYTES)
        if len(head) < SMALL_BYTES:
            return self._pack(head, expected)
        return self.loose.put(cast(BinaryIO, _Chained(head, stream)), expected)

    def _pack(self, data: bytes, expected: str | None) -> str:
        hash = hash_bytes(data)
        if expected not in (None, hash):
            raise mismatch(str(expected), hash)
        digest = bytes.fromhex(hash)
        with self._lock:
            if self._writer is None:
                self._writer = _PackWriter(temp_path(self.tmp, "pack"))
            if digest not in self._writer.entries:
                self._writer.add(digest, data)
                if self._writer.size >= PACK_BYTES:
                    self._finish_writer()
        return hash

    def _finish_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer:
            self._finished.append((writer.finish(), writer.temp, set(writer.entries)))

    @contextmanager
    def batch(self) -> Iterator[None]:
        with self._lock:
            self._depth += 1
        try:
            with self.loose.batch():
                yield
        finally:
            with self._lock:
                self._depth -= 1
                if not self._depth:
                    self._name_packs()

    def _name_packs(self) -> None:
        unfinished = self._writer
        try:
            self._finish_writer()
            if self._finished:
                sync_all(self.tmp)
            for hash, temp, _ in self._finished:
                rename(temp, self.packs_folder / f"{hash}.pack")
            if self._finished:
                sync_folder(self.packs_folder)
                self._listed_at = None
                self._named([self.packs_folder / f"{hash}.pack" for hash, _, _ in self._finished])
        except BaseException:
            if unfinished:
                unfinished.discard()
            for _, temp, _ in self._finished:
                temp.unlink(missing_ok=True)
            raise
        finally:
            self._finished = []

    def delete(self, hash: str) -> None:
        self.loose.delete(hash)
        digest = bytes.fromhex(hash)
        with self._lock:
            if self._writer:
                self._writer.entries.pop(digest, None)
            for pack in self.packs():
                if pack.find(digest):
                    self.rewrite(pack, without={hash})

    def rewrite(self, pack: Pack, without: set[str]) -> None:
        """Replaces a pack by one that lacks these objects; the bytes of the others are checked on the way.

        An object whose bytes are wrong is left out too.
        """
        writer = _PackWriter(temp_path(self.tmp, "pack"))
        for digest, place in pack.entries():
            if place and digest.hex() not in without:
                data = read_place(place)
                if hashlib.sha256(data).digest() == digest:
                    writer.add(digest, data)
        if writer.entries:
            name = writer.finish()
            with open(writer.temp, "rb") as file:
                sync_file(file)
            rename(writer.temp, self.packs_folder / f"{name}.pack")
            sync_folder(self.packs_folder)
        else:
            writer.discard()
        pack.path.unlink(missing_ok=True)
        with self._lock:
            self._listed_at = None

    def __iter__(self) -> Iterator[str]:
        seen = set()
        for hash in self.loose:
            seen.add(hash)
            yield hash
        for pack in self.packs():
            for digest in pack.hashes():
                if (hash := digest.hex()) not in seen:
                    seen.add(hash)
                    yield hash


_homes: WeakSet[PackedObjects] = WeakSet()


def _free_locks() -> None:
    """In the child of a fork: a lock that another thread held there would be held for ever."""
    for home in _homes:
        home._lock = threading.RLock()


os.register_at_fork(after_in_child=_free_locks)


def open_place(place: Place, start: int = 0, stop: int | None = None) -> BinaryIO:
    """A stream of the object at this place, from `start` up to `stop`; the caller closes it."""
    raw = _open(place)
    end = place.size if stop is None else min(stop, place.size)
    raw.seek(place.offset + min(start, place.size))
    return cast(BinaryIO, io.BufferedReader(Window(raw, end - start), min(READ_BUFFER_BYTES, max(place.size, 1))))


def _open(place: Place) -> io.FileIO:
    try:
        return open(place.path, "rb", buffering=0)
    except FileNotFoundError:
        raise not_found(place.path.name) from None


class OpenFiles:
    """Reads whole objects from many places, opening each pack once; to be closed."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._packs: dict[Path, io.FileIO] = {}

    def read(self, place: Place) -> bytes:
        """The whole object at this place, in memory."""
        if place.pack is None:
            return read_place(place)
        if place.path not in self._packs:
            if len(self._packs) >= MAX_OPEN:
                self.close()
            self._packs[place.path] = self._stack.enter_context(_open(place))
        return os.pread(self._packs[place.path].fileno(), place.size, place.offset)

    def close(self) -> None:
        self._packs.clear()
        self._stack.close()


def read_place(place: Place) -> bytes:
    """The whole object at this place, in memory."""
    with open_place(place) as stream:
        return stream.read()


def _read_up_to(stream: BinaryIO, size: int) -> bytes:
    pieces = []
    while size and (piece := stream.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


class _Chained:
    """Bytes already read, then the rest of their stream."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = head
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        return self._stream.read(size)
