"""How long a registry is waited for: one limit over all tries of a request, and one on slow bodies."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from datapkg.errors import Unreachable

CONNECT_TIMEOUT_S = 10
PATIENCE_S = 60
MIN_BYTES_PER_S = 1024
_SHORTEST_S = 0.05


class RetryDeadline(threading.local):
    """The time that this thread still waits for one request, its retries and pauses included.

    Bytes that travel extend it, a second for each `MIN_BYTES_PER_S`, up to the whole limit again: so a transfer that
    makes progress is not limited, and a server that sends a byte now and then is.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._deadline: float | None = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside, one limit holds; a `waiting` inside another one keeps the limit of that."""
        if self._deadline is not None:
            yield
            return
        self._deadline = time.monotonic() + self.limit_s
        try:
            yield
        finally:
            self._deadline = None

    @property
    def left_s(self) -> float:
        """Seconds until the limit."""
        return self.limit_s if self._deadline is None else self._deadline - time.monotonic()

    @property
    def timeouts(self) -> tuple[float, float]:
        """The timeouts of the next try: to connect, and between two reads."""
        left = max(self.left_s, _SHORTEST_S)
        return min(CONNECT_TIMEOUT_S, left), left

    def moved(self, size: int) -> None:
        """Note bytes that were sent or received."""
        if self._deadline is not None:
            self._deadline = min(time.monotonic() + self.limit_s, self._deadline + size / MIN_BYTES_PER_S)


class SlowTransferGuard:
    """Notices a server that sends so slowly that it would never end."""

    def __init__(self, url: str, patience_s: float | None = None) -> None:
        self._url = url
        self._patience_s = PATIENCE_S if patience_s is None else min(patience_s, PATIENCE_S)
        self._start = time.monotonic()
        self._size = 0

    def add(self, size: int) -> None:
        """Count bytes that came; raise `Unreachable` when they are too few for the time."""
        self._size += size
        waited = time.monotonic() - self._start
        if waited > self._patience_s and self._size < waited * MIN_BYTES_PER_S:
            raise Unreachable(f"{self._url} sends too slowly: {self._size:,} bytes in {waited:.0f} s", again=True)
