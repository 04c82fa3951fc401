"""Bytes that are mapped from a file: what reads them from end to end gives back the pages behind it.

Mapped pages that were read count as memory of the process until the system needs them for something else. Of a manifest
of a million nodes that would be 180 MB, for bytes each of which is read once.
"""

from __future__ import annotations

import contextlib
import io
import mmap
from collections.abc import Iterator

PIECE_BYTES = 4 << 20
AROUND_BYTES = 1 << 20
"""The system maps pages around the one that is read, so also again some of those that were given back before it."""
_ADVICE = getattr(mmap, "MADV_DONTNEED", None)  # not on Windows


def give_back(data: bytes | bytearray | mmap.mmap | memoryview, start: int, stop: int) -> None:
    """Give back the pages of a range of mapped bytes, and some before it, which are read from the file again if needed.

    A view has to begin where its bytes do. Bytes that are not mapped stay as they are.
    """
    mapped = data.obj if isinstance(data, memoryview) else data
    first = max(0, start - AROUND_BYTES) // mmap.PAGESIZE * mmap.PAGESIZE
    if isinstance(mapped, mmap.mmap) and _ADVICE is not None and first < stop:
        with contextlib.suppress(OSError):
            mapped.madvise(_ADVICE, first, stop - first)


def in_pieces(data: bytes | bytearray | mmap.mmap | memoryview, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield the ranges of the bytes from `start` on, in order; when the next one is asked for, the last is given back.

    What was written to mapped bytes would be lost: they must be of a file that nobody changes.
    """
    for first in range(start, len(data), PIECE_BYTES):
        stop = min(first + PIECE_BYTES, len(data))
        yield first, stop
        give_back(data, first, stop)


class MappedStream(io.RawIOBase):
    """Bytes as a stream that gives back the pages behind it; the bytes stay open when it is closed."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self._view = memoryview(data)
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        stop = min(self._at + len(view), len(self._view))
        size = stop - self._at
        view[:size] = self._view[self._at : stop]
        give_back(self._view, self._at, stop)
        self._at = stop
        return size
