"""How long work tells how far it is: a function that the caller gives."""

from __future__ import annotations

import threading
from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is done ("sending", "building"), how many bytes or nodes of it are done, and how many in all."""


TRANSFERRING = "transferring"
DOWNLOADING = "downloading"
VERIFYING = "verifying"
IN_BYTES = frozenset({TRANSFERRING, DOWNLOADING, VERIFYING})
"""Work that is counted in bytes; all other work is counted in nodes, tables or files."""


class Counter:
    """A progress of bytes that arrive in several threads."""

    def __init__(self, progress: Progress, total: int, what: str = TRANSFERRING) -> None:
        self._progress, self._total, self._what, self._done = progress, total, what, 0
        self._lock = threading.Lock()

    def add(self, size_bytes: int) -> None:
        """Report that so many bytes more are done."""
        with self._lock:
            self._done += size_bytes
            self._progress(self._what, self._done, self._total)


def silent(what: str, done: int, total: int) -> None:
    """The progress that tells nobody."""
