"""A stream of bytes that come in pieces, of which one is held in memory."""

from __future__ import annotations

import io
from abc import abstractmethod
from typing import Any


class PieceStream(io.RawIOBase):
    """The bytes from `start` up to `end`, as `next_piece` brings them."""

    def __init__(self, start: int, end: int) -> None:
        self._at, self._end = start, end
        self._left = memoryview(b"")

    @abstractmethod
    def next_piece(self) -> Any:
        """Return the bytes that follow, at least one; those behind the end are left out."""

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read at most one piece into a buffer; return how many bytes, 0 at the end."""
        view = memoryview(buffer)
        if not self._left and self._at < self._end:
            piece = memoryview(self.next_piece())
            self._left = piece[: self._end - self._at]
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        self._at += count
        return count
