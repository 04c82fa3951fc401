"""How large the pieces of replies may be, so that readers that do not read hold little memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

FAST_BYTES, SLOW_BYTES = 1 << 20, 64 << 10
FAST_REPLIES = 32


class OpenReplies:
    """Counts the replies under way. Two pieces of each are in memory; large ones take a fifth of the CPU time.

    So pieces are large while few replies are under way, whoever reads them, and small beyond that.
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
        """How large the next piece may be."""
        return FAST_BYTES if self._open <= FAST_REPLIES else SLOW_BYTES
