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


class SumOfProgress:
    """One progress of several pieces of work at once, whose sizes become known while they run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._parts: list[tuple[int, int]] = []
        self._lock = threading.Lock()

    def part(self, moved: Callable[[int], None]) -> Progress:
        """Return the progress of one more piece of work; `moved` is told what each report adds."""
        with self._lock:
            number = len(self._parts)
            self._parts.append((0, 0))

        def report(what: str, done: int, total: int) -> None:
            with self._lock:
                before, _ = self._parts[number]
                self._parts[number] = (done, total)
                self._progress(what, *map(sum, zip(*self._parts, strict=True)))
            moved(done - before)

        return report


def silent(what: str, done: int, total: int) -> None:
    """The progress that tells nobody."""
