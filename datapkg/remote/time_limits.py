"""How long a registry is waited for, and how fast it may be used.

Limits are on all tries of one request, on slow bodies, on all requests of a command, and on bytes a second.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from datapkg.errors import Unreachable

CONNECT_TIMEOUT_S = 10
SEND_TIMEOUT_S = 25
"""How long a registry may not read a body: it waits ten seconds for an upload of the same object that broke off."""
WORK_BYTES_PER_S = 20_000_000
"""How fast a registry with a slow disk reads, hashes and syncs what it was sent."""
PATIENCE_S = 30
MIN_BYTES_PER_S = 1024
RATE_PER_JOB = 100_000  # with a limited rate, each connection gets at least so much
_SHORTEST_S = 0.05
"""urllib3 refuses a timeout of 0."""


class RateLimit:
    """Slow all connections together down to so many bytes a second; 0 is no limit."""

    def __init__(self, bytes_per_s: int = 0) -> None:
        self.bytes_per_s = bytes_per_s
        self._free_at = 0.0
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Wait until these bytes, which have just moved, are within the limit."""
        if not self.bytes_per_s:
            return
        with self._lock:
            now = time.monotonic()
            # Never in the past: a pause does not allow a burst afterwards.
            self._free_at = max(now, self._free_at) + size / self.bytes_per_s
            wait = self._free_at - now
        # Outside of the lock, so that threads wait side by side and not one after the other.
        time.sleep(wait)


class CommandDeadline:
    """When a whole command, begun at a monotonic time, has to be done with its registries; 0 is no limit."""

    def __init__(self, limit_s: float = 0, begun_at: float = 0) -> None:
        self.limit_s = limit_s
        self._end = begun_at + limit_s if limit_s else None

    @property
    def left_s(self) -> float:
        """Seconds until the limit."""
        return math.inf if self._end is None else self._end - time.monotonic()

    def check(self, url: str) -> None:
        """Raise `Unreachable` after the limit."""
        if self.left_s <= 0:
            raise Unreachable(
                f"{url} was not done within {self.limit_s:g} s, the limit of the whole command (max_time_s)",
                hint="type it again: what arrived is kept",
            )


class RetryDeadline(threading.local):
    """The time that this thread still waits for one request, its retries and pauses included.

    Bytes that travel extend it, a second for each `MIN_BYTES_PER_S`, up to the whole limit again: so a transfer that
    makes progress is not limited, and a server that sends a byte now and then is.
    """

    def __init__(self, limit_s: float, command: CommandDeadline | None = None) -> None:
        self.limit_s = limit_s
        self.command = command or CommandDeadline()
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
        own = self.limit_s if self._deadline is None else self._deadline - time.monotonic()
        return min(own, self.command.left_s)

    def timeouts(self, share: float = 1, work: int = 0) -> tuple[float, float]:
        """Return the timeouts of the next try: to connect or send a piece, and between two reads.

        With a `share` of the limit, time is left for another try. Bytes that the registry has to `work` on before it
        answers extend the limit.
        """
        more = work / WORK_BYTES_PER_S
        if self._deadline is not None:
            self._deadline += more
        left = max(min(self.left_s, share * self.limit_s + more), _SHORTEST_S)
        return min(CONNECT_TIMEOUT_S if not work else SEND_TIMEOUT_S, left), left

    def moved(self, size: int) -> None:
        """Note bytes that were sent or received."""
        if self._deadline is not None:
            # Never beyond the whole limit from now: a fast start may not buy a long silence.
            self._deadline = min(time.monotonic() + self.limit_s, self._deadline + size / MIN_BYTES_PER_S)


class SlowTransferGuard:
    """Notices a server that sends so slowly that it would never end, from whichever moment on.

    A connection that is made again may be faster; a guard that goes on with it allows that once in a row.
    """

    def __init__(self, url: str, patience_s: float | None = None) -> None:
        self._url = url
        self._patience_s = PATIENCE_S if patience_s is None else min(patience_s, PATIENCE_S)
        self._was_slow = False
        self._start, self._size = time.monotonic(), 0

    def add(self, size: int) -> None:
        """Count bytes that came; raise `Unreachable` when they are too few for the time."""
        self._size += size
        waited = time.monotonic() - self._start
        if waited <= self._patience_s:
            return
        came, was_slow = self._size, self._was_slow
        self._start, self._size, self._was_slow = time.monotonic(), 0, came < waited * MIN_BYTES_PER_S
        if self._was_slow:
            raise Unreachable(f"{self._url} sends too slowly: {came:,} bytes in {waited:.0f} s", again=not was_slow)
