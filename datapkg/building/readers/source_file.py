"""Open the files of sources: how far they were read is the progress of the node that is built of them.

Readers are functions of libraries that open a path, decompress it, or take a stream. All of them get their bytes here,
so that none has to count. Readers of formats whose libraries open the file themselves call `report`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from datapkg.objects.progress import Share, between, ignore_share

_BUFFER_BYTES = 128 << 10
_share: ContextVar[Share] = ContextVar("share", default=ignore_share)


@contextmanager
def reporting_to(share: Share) -> Iterator[None]:
    """Inside, report how much of a source was read; for files that are opened in this thread."""
    token = _share.set(share)
    try:
        yield
    finally:
        _share.reset(token)


@contextmanager
def part(start: float, stop: float) -> Iterator[None]:
    """Inside, what is read is a part of the work."""
    with reporting_to(between(_share.get(), start, stop)):
        yield


@contextmanager
def first_pass(until: float) -> Iterator[None]:
    """Inside, all of a source is read for the first time, as a part of the work; what follows is the rest."""
    share = _share.get()
    with part(0, until):
        yield
    _share.set(between(share, until, 1))


def report(share: float) -> None:
    """Report how much of the source was read."""
    _share.get()(share)


def open_source_file(path: Path) -> io.BufferedReader:
    """Open a file of a source; the furthest position that is read is reported."""
    return io.BufferedReader(_SourceFile(path), _BUFFER_BYTES)


class _SourceFile(io.RawIOBase):
    """A file that reports its position, and is closed when nobody uses it any more.

    Decompressing streams do not close the stream below them, and a `FileIO` would warn when it is collected.
    """

    def __init__(self, path: Path) -> None:
        self._file = io.FileIO(path)
        self._size = self._file.seek(0, io.SEEK_END)
        self._file.seek(0)
        self._share = _share.get()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._file.fileno()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position and return it."""
        return self._file.seek(offset, whence)

    def readinto(self, buffer: object) -> int:
        """Read into a buffer and report the position; return the number of bytes."""
        count = self._file.readinto(buffer) or 0  # type: ignore[arg-type]
        if self._size:
            self._share(self._file.tell() / self._size)
        return count

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._file.close()
        super().close()
