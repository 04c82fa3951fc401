"""Packs in a bucket: their indexes in memory, and the bytes at places in them."""

from __future__ import annotations

import contextlib
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath, PurePosixPath
from typing import BinaryIO, cast

from datapkg.errors import CorruptObject, NotFound
from datapkg.format.hashing import is_hash
from datapkg.objects.base import not_found
from datapkg.objects.blobs.base import Blobs
from datapkg.objects.pack_file import JoinedPlaces, Pack, PackLocation, open_places

FIRST_TAIL_BYTES = 64 << 10
"""The index of a pack is at its end; most are shorter than this, so that one request is enough."""


class PackIndexes:
    """The indexes of the packs of a bucket, the newest first; safe for threads."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._packs: dict[str, Pack] = {}
        self._is_listed = False
        self._lock = threading.Lock()

    def look_again(self) -> None:
        """List the packs anew at the next question."""
        self._is_listed = False

    def add(self, pack: Pack) -> None:
        """Add a pack that was just written."""
        with self._lock:
            self._packs = {pack.hash: pack, **self._packs}

    def packs(self) -> list[Pack]:
        """Return all packs; one that cannot be read is skipped, and costs its objects alone."""
        with self._lock:
            if not self._is_listed:
                # Set before listing: `look_again`, called meanwhile, resets it, which must not be overwritten
                # afterwards.
                self._is_listed = True
                try:
                    self._list()
                except BaseException:
                    self._is_listed = False
                    raise
            return list(self._packs.values())

    def _list(self) -> None:
        listed = sorted(self._blobs.list("packs/"), key=lambda each: each.modified_at, reverse=True)
        found: dict[str, Pack] = {}
        known = {name: number for number, name in enumerate(self._packs)}
        for each in listed:
            path = PurePosixPath(each.key)
            if not is_hash(path.stem) or path.suffix != ".pack":
                continue
            pack = self._packs.get(path.stem)
            with contextlib.suppress(CorruptObject, NotFound):
                found[path.stem] = pack or read_index(self._blobs, each.key, each.size)
        # Times in a listing are whole seconds, too coarse to sort by: packs that were known before keep their order.
        new = [name for name in found if name not in known]
        self._packs = {name: found[name] for name in [*new, *(name for name in known if name in found)]}


def read_index(blobs: Blobs, key: str, size: int) -> Pack:
    """Return the index of a pack, mostly from one request; raise `CorruptObject`, `NotFound`."""
    start = max(0, size - FIRST_TAIL_BYTES)
    (tail,) = blobs.read_ranges(key, [(start, size)])

    def read(first: int, last: int) -> bytes:
        if first >= start:
            return tail[first - start : last - start]
        return blobs.read_ranges(key, [(first, last)])[0]

    return Pack.elsewhere(PurePosixPath(key), size, read)


class JoinedRanges(JoinedPlaces):
    """The bytes of several places of a bucket as one file, by one request at a time."""

    def __init__(self, blobs: Blobs, places: Sequence[PackLocation]) -> None:
        super().__init__(places)
        self._blobs = blobs
        self._stream: BinaryIO | None = None
        self._stream_at = -1
        if self.size:
            self._connect()

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        piece = self.read(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            return self.readall()
        if self._at >= self.size or not size:
            return b""
        if self._stream is None or self._stream_at != self._at:
            self._connect()
        end = self._ends[bisect_right(self._ends, self._at)]
        piece = cast(BinaryIO, self._stream).read(min(size, end - self._at))
        self._at += len(piece)
        # At the end of a place, the next byte is in another one, which needs a new connection.
        self._stream_at = self._at if self._at < end else -1
        return piece

    def _connect(self) -> None:
        self._release()
        number = bisect_right(self._ends, self._at)
        place, left = self._places[number], self._ends[number] - self._at
        start, stop = place.offset + place.size - left, place.offset + place.size
        with object_errors(place.path.name):
            if is_local(place):
                self._stream = open_places([PackLocation(place.path, start, left)])
            else:
                self._stream = self._blobs.open(place.path.as_posix(), start, stop)
        self._stream_at = self._at

    def _release(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = None

    def close(self) -> None:
        self._release()
        super().close()


@contextmanager
def object_errors(name: str) -> Iterator[None]:
    """Inside, a key that is absent is an object that is not there."""
    try:
        yield
    except NotFound:
        raise not_found(name) from None


def is_local(place: PackLocation) -> bool:
    """Return whether a place is in a file of this machine, not yet in the bucket."""
    return isinstance(cast(PurePath, place.path), Path)
