"""One pack: many small objects in one file.

A pack is: magic, the bodies one after the other, an index sorted by hash (32 bytes of hash, 8 of offset, 8 of size,
little-endian), the number of entries (8 bytes) and the magic again. It is named by the sha256 of itself and never
changes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path, PurePath
from typing import BinaryIO, Self, cast

from datapkg.errors import CorruptObject
from datapkg.format.hashing import hash_stream
from datapkg.objects.base import not_found
from datapkg.objects.directory import READ_BUFFER_BYTES, Window
from datapkg.objects.files import NamedFile, name_file, naming
from datapkg.objects.progress import CountedReader, Share, ignore_share

MAGIC = b"datapkg1"
ENTRY_BYTES = 48
_ROW = struct.Struct("<32sQQ")
TAIL_BYTES = 16
# Far below the 256 files that macOS allows a process by default, since readers run in several threads.
MAX_OPEN = 64
MAX_ENTRIES = 1 << 22
"""The most entries that the index of a remote pack may have (200 MB), as its writer states it; ours have far fewer."""
FEW_LOOKUPS = 64
"""For more hashes, one pass over an index takes less time than a binary search for each."""
# A recipe is mostly ranges of one or two objects and a remainder; each of many open replies may hold so many files.
MAX_OPEN_BASES = 3
# Shorter pieces are joined; longer ones are not, since copying them takes as long as reading them from the page cache.
JOINED_BYTES = 64 << 10


@dataclass(frozen=True)
class PackLocation:
    """Where an object's bytes are: `size` bytes from `offset` of a file.

    `pack` is the hash of the pack, "" while it is being written, and None for a file that holds this object alone.
    """

    path: Path
    offset: int
    size: int
    pack: str | None = None

    def part(self, start: int, stop: int | None) -> PackLocation:
        """Return where the bytes from `start` up to `stop` (to the end for None) are."""
        if start == 0 and stop is None:
            return self
        first, last = min(start, self.size), self.size if stop is None else min(stop, self.size)
        return PackLocation(self.path, self.offset + first, max(0, last - first), self.pack)


class Pack:
    """A pack's index, in memory; no file stays open, however many packs there are."""

    def __init__(self, path: Path) -> None:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size < len(MAGIC) + TAIL_BYTES or file.read(len(MAGIC)) != MAGIC:
                raise _damaged(path)
            self._read(path, size, lambda start, stop: os.pread(file.fileno(), stop - start, start))

    @classmethod
    def elsewhere(cls, path: PurePath, size: int, read: Callable[[int, int], bytes]) -> Self:
        """Return the index of a pack of `size` bytes of which `read` returns the bytes from start up to stop."""
        pack = cls.__new__(cls)
        if size < len(MAGIC) + TAIL_BYTES:
            raise _damaged(path)
        pack._read(path, size, read, MAX_ENTRIES)
        return pack

    def _read(
        self, path: PurePath, size: int, read: Callable[[int, int], bytes], max_entries: int | None = None
    ) -> None:
        self.path = cast(Path, path)
        self.hash = path.stem
        self.size = size
        tail = read(size - TAIL_BYTES, size)
        self.count = int.from_bytes(tail[:8], "little")
        self._bodies_end = size - TAIL_BYTES - self.count * ENTRY_BYTES
        if tail[8:] != MAGIC or self._bodies_end < len(MAGIC):
            raise _damaged(path)
        if max_entries is not None and self.count > max_entries:
            raise CorruptObject(
                f"pack {path.name} would have {self.count:,} entries in its index; the limit is {max_entries:,}",
                pack=path.stem,
            )
        self._index = read(self._bodies_end, size - TAIL_BYTES)
        if len(self._index) != self.count * ENTRY_BYTES:
            raise _damaged(path)

    def renamed(self, path: PurePath) -> Self:
        """Return the same index for the place that the pack has now."""
        self.path = cast(Path, path)
        self.hash = path.stem
        return self

    def hashes(self) -> Iterator[bytes]:
        """Yield the 32-byte hashes in order."""
        return self._hashes(0, self.count)

    def _hashes(self, first: int, end: int) -> Iterator[bytes]:
        for at in range(first * ENTRY_BYTES, end * ENTRY_BYTES, ENTRY_BYTES):
            yield self._index[at : at + 32]

    def among(self, digests: set[bytes]) -> set[bytes]:
        """Return those of these 32-byte hashes that the pack has."""
        if len(digests) <= FEW_LOOKUPS:
            return {digest for digest in digests if self.find(digest)}
        # Of very many, those that are asked for at a time are near each other (`format.object_sizes`).
        return digests.intersection(self._hashes(self._first(min(digests)), self._first(max(digests)) + 1))

    def entries(self) -> Iterator[tuple[bytes, PackLocation | None]]:
        """Yield each hash with the place of its object, None for one that would be outside."""
        for at in range(0, len(self._index), ENTRY_BYTES):
            yield self._index[at : at + 32], self._place(at)

    def sizes(self) -> Iterator[tuple[bytes, int]]:
        """Yield each hash with the size of its object, without those that would be outside."""
        for digest, offset, size in _ROW.iter_unpack(self._index):
            if offset + size <= self._bodies_end:
                yield digest, size

    def _place(self, at: int) -> PackLocation | None:
        offset = int.from_bytes(self._index[at + 32 : at + 40], "little")
        size = int.from_bytes(self._index[at + 40 : at + 48], "little")
        return PackLocation(self.path, offset, size, self.hash) if offset + size <= self._bodies_end else None

    def find(self, digest: bytes) -> PackLocation | None:
        """Return the place of the object with this 32-byte hash, or None."""
        at = self._first(digest) * ENTRY_BYTES
        return self._place(at) if self._index[at : at + 32] == digest else None

    def _first(self, digest: bytes) -> int:
        """Return the number of the first hash that is not before this one."""
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            at = middle * ENTRY_BYTES
            low, high = (middle + 1, high) if self._index[at : at + 32] < digest else (low, middle)
        return low


class PackEntries(Mapping[bytes, tuple[int, int]]):
    """Offset and size of each object in a pack, by its 32-byte hash: those of a `PackWriter`, in its index's form."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack

    def __len__(self) -> int:
        return self._pack.count

    def __iter__(self) -> Iterator[bytes]:
        return self._pack.hashes()

    def __getitem__(self, digest: bytes) -> tuple[int, int]:
        if place := self._pack.find(digest):
            return place.offset, place.size
        raise KeyError(digest)


def _damaged(path: PurePath) -> CorruptObject:
    return CorruptObject(
        f"pack {path.name} is damaged: its index cannot be read", hint="datapkg verify", pack=path.stem
    )


def open_place(place: PackLocation, start: int = 0, stop: int | None = None) -> BinaryIO:
    """Return a stream of the object at this place, from `start` up to `stop`; the caller closes it."""
    raw = _open(place)
    end = place.size if stop is None else min(stop, place.size)
    raw.seek(place.offset + min(start, place.size))
    # BufferedReader takes no buffer of 0 bytes.
    return cast(BinaryIO, io.BufferedReader(Window(raw, end - start), min(READ_BUFFER_BYTES, max(place.size, 1))))


def open_places(places: Sequence[PackLocation]) -> BinaryIO:
    """Return a stream of the bytes at several places, one after the other; the caller closes it."""
    if len(places) == 1:
        return open_place(places[0])
    stream = JoinedPlaces(places)
    return io.BufferedReader(stream, min(READ_BUFFER_BYTES, max(stream.size, 1)))


class JoinedPlaces(io.RawIOBase):
    """The bytes of several places as one file, of which at most `MAX_OPEN_BASES` files are open at a time."""

    def __init__(self, places: Sequence[PackLocation]) -> None:
        self._places = places
        self._ends = list(accumulate(place.size for place in places)) or [0]
        self.size = self._ends[-1]
        self._files: dict[Path, io.FileIO] = {}
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: object) -> int:
        """Fill the buffer across the ends of places: a short read would make `BufferedReader` copy all that follows."""
        view, done = memoryview(buffer), 0  # type: ignore[arg-type]
        for fd, offset, size in self._next(len(view)):
            done += (count := os.preadv(fd, [view[done : done + size]], offset))
            self._at += count
            if count < size:
                break
        return done

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes: at the end of a place fewer, unless these are less than `JOINED_BYTES`."""
        if size is None or size < 0:
            return self.readall()
        pieces, done = [], 0
        for fd, offset, wanted in self._next(size):
            pieces.append(os.pread(fd, wanted, offset))
            self._at += len(pieces[-1])
            done += len(pieces[-1])
            if done >= JOINED_BYTES or len(pieces[-1]) < wanted:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(READ_BUFFER_BYTES), b""))

    def _next(self, size: int) -> Iterator[tuple[int, int, int]]:
        """Yield the file descriptor, offset and size of each place of the next bytes."""
        stop = min(self._at + size, self.size)
        for number in range(bisect_right(self._ends, self._at), len(self._places)):
            place, left = self._places[number], self._ends[number] - self._at
            if self._at >= stop:
                break
            with naming(place.path):
                yield self._file(place).fileno(), place.offset + place.size - left, min(left, stop - self._at)

    def _file(self, place: PackLocation) -> io.FileIO:
        file = self._files.pop(place.path, None)
        if file is None:
            if len(self._files) >= MAX_OPEN_BASES:
                self._files.pop(next(iter(self._files))).close()  # the one not used for longest
            file = _open(place)
        self._files[place.path] = file
        return file

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        super().close()


def _open(place: PackLocation) -> io.FileIO:
    try:
        return NamedFile(place.path)
    except FileNotFoundError:
        raise not_found(place.path.name) from None


class OpenFiles:
    """Reads whole objects from many places, opening each pack once; to be closed."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._packs: dict[Path, io.FileIO] = {}
        self.last_pack: Pack | None = None

    def find_near(self, hash: str) -> PackLocation | None:
        """Return where an object is in the pack that was read last, or None."""
        return self.last_pack.find(bytes.fromhex(hash)) if self.last_pack else None

    def read(self, place: PackLocation) -> bytes:
        """Return the whole object at this place, in memory."""
        if place.pack is None:
            return read_place(place)
        if place.path not in self._packs:
            if len(self._packs) >= MAX_OPEN:
                self.close()
            self._packs[place.path] = self._stack.enter_context(_open(place))
        try:
            return os.pread(self._packs[place.path].fileno(), place.size, place.offset)
        except OSError as error:  # as in `naming`, which would take longer than many of these reads
            name_file(error, place.path)
            raise

    def close(self) -> None:
        self._packs.clear()
        self.last_pack = None
        self._stack.close()


def read_place(place: PackLocation) -> bytes:
    """Return the whole object at this place, in memory."""
    with open_place(place) as stream:
        return stream.read()


def hash_place(place: PackLocation) -> str:
    """Return the sha256 of the bytes at this place, "" if the disk fails to read them."""
    return hash_opened(lambda: open_place(place))


def hash_opened(opened: Callable[[], BinaryIO]) -> str:
    """Return the sha256 of a stream, which is closed, "" if the disk fails to read it."""
    with _FailingDisk(), opened() as stream:
        return hash_stream(stream)[0]
    return ""


def hash_file(path: Path, share: Share = ignore_share) -> str:
    """Return the sha256 of a file, "" if the disk fails to read it; report which share of it was read."""
    with _FailingDisk(), NamedFile(path) as file:
        counted = CountedReader(cast(BinaryIO, file), os.fstat(file.fileno()).st_size, share)
        return hashlib.file_digest(counted, "sha256").hexdigest()  # type: ignore[arg-type]
    return ""


def readable_bytes(place: PackLocation) -> bytes:
    """Return the bytes at this place for inspection, none if the disk fails to read them."""
    with _FailingDisk():
        return read_place(place)
    return b""


class _FailingDisk:
    """Inside, end at an error of the disk: what cannot be read is damaged, like bytes that are wrong."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        return isinstance(error, OSError) and error.errno == errno.EIO
