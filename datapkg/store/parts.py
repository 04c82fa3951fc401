"""Objects of which some bytes are here: a sparse file each, with a list of the stretches that it has at its end.

One file, so that what is there and what is said of it are never of two different moments; bytes are written, and on the
disk, before they are said to be there. Losing the list, or a part of it, only means fetching again.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from datapkg.format.hashing import check_hash

Stretch = tuple[int, int]
"""From this byte up to, and without, that one."""

_RECORD = struct.Struct("<QQ")


class Parts:
    """A folder of objects that are partly here; many processes read and write at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def part(self, hash: str, size: int) -> Part:
        """What is here of an object of `size` bytes; the caller closes it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Part(self.folder / check_hash(hash), size)

    def drop(self, hash: str) -> None:
        """Forgets what is here of an object; whoever has it open goes on."""
        (self.folder / check_hash(hash)).unlink(missing_ok=True)

    def __iter__(self) -> Iterator[str]:
        """The hashes of objects of which something is here."""
        with contextlib.suppress(FileNotFoundError):
            yield from sorted(os.listdir(self.folder))


class Part:
    """An object of which some stretches are here."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._fd).st_size < size:
            os.ftruncate(self._fd, size)
        self._read_to = size
        self._stretches: list[Stretch] = []

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """What was mapped into memory stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def lacking(self, start: int, stop: int) -> list[Stretch]:
        """What of a stretch is not here."""
        self._read_records()
        lacking, at = [], start
        first = bisect_right(self._stretches, (start, self.size + 1)) - 1
        for begin, end in self._stretches[max(first, 0) :]:
            if begin >= stop:
                break
            if begin > at:
                lacking.append((at, begin))
            at = max(at, end)
        return [*lacking, (at, stop)] if at < stop else lacking

    def write(self, start: int, data: bytes) -> None:
        """Keeps bytes from `start` on, without saying yet that they are here."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, start)
            start, view = start + written, view[written:]

    def keep(self, stretches: list[Stretch]) -> None:
        """Says that these stretches, which were written, are here."""
        os.fdatasync(self._fd) if hasattr(os, "fdatasync") else os.fsync(self._fd)
        records = b"".join(_RECORD.pack(*each) for each in stretches)
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            if os.path.samestat(os.fstat(fd), os.fstat(self._fd)):  # else it was dropped, and begun anew, meanwhile
                os.write(fd, records)
        except FileNotFoundError:
            pass
        finally:
            os.close(fd)
        self._add(stretches)

    def read(self, start: int, stop: int) -> bytes:
        """The bytes of a stretch that is here."""
        return os.pread(self._fd, stop - start, start)

    def mapped(self) -> mmap.mmap:
        """All bytes, mapped into memory; those that are not here are zeros."""
        return mmap.mmap(self._fd, self.size, access=mmap.ACCESS_READ)

    @property
    def is_whole(self) -> bool:
        return not self.lacking(0, self.size)

    @property
    def held_bytes(self) -> int:
        """How many bytes are here."""
        self._read_records()
        return sum(stop - start for start, stop in self._stretches)

    def _read_records(self) -> None:
        end = os.fstat(self._fd).st_size
        whole = (end - self._read_to) // _RECORD.size * _RECORD.size
        if whole <= 0:
            return
        found = [_RECORD.unpack_from(each) for each in _pieces(os.pread(self._fd, whole, self._read_to))]
        self._read_to += whole
        self._add([(start, stop) for start, stop in found if start < stop <= self.size])

    def _add(self, stretches: list[Stretch]) -> None:
        joined: list[Stretch] = []
        for start, stop in sorted([*self._stretches, *stretches]):
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
            else:
                joined.append((start, stop))
        self._stretches = joined


def _pieces(records: bytes) -> Iterator[bytes]:
    for at in range(0, len(records), _RECORD.size):
        yield records[at : at + _RECORD.size]
