"""The sizes of the pieces of responses, chosen so that stalled readers hold little memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

FAST_BYTES, SLOW_BYTES = 1 << 20, 64 << 10
# So many replies hold 64 MiB with large pieces; beyond, memory would grow with every stalled reader.
FAST_REPLIES = 32


class OpenReplies:
    """Count the open responses. Two pieces of each are in memory, but large pieces take a fifth of the CPU time.

    So pieces are large while few responses are open, and small beyond that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0

    @contextmanager
    def one(self) -> Iterator[OpenReplies]:
        """Count a reply inside the block."""
        with self._lock:
            self._open += 1
        try:
            yield self
        finally:
            with self._lock:
                self._open -= 1

    @property
    def piece_bytes(self) -> int:
        """The maximum size of the next piece."""
        return FAST_BYTES if self._open <= FAST_REPLIES else SLOW_BYTES
