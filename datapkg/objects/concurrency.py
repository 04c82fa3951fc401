"""Run independent transfers in threads, as many at once as make them faster."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

# Long enough that a single large read or write does not look like a change of the rate.
INTERVAL_S = 0.25
# One thread can hash while another one waits for the network, whatever the latency.
FIRST = 2
GAIN = 1.1
"""Another thread is started as long as the last one made the whole faster by this factor."""
# A thread that is blocked in the network cannot be ended; the command may not hang because of it.
STOP_TIMEOUT_S = 5.0

Moved = Callable[[int], None]
"""Called with the number of bytes that arrived, from any thread."""
Task = Callable[[Moved], object]
"""A transfer, which reports its bytes while they move."""


class Stopped(BaseException):
    """Ends the tasks of other threads, at the next bytes that they report, after one has failed."""


def run_all(tasks: Iterable[Task], jobs: int, moved: Moved) -> None:
    """Run all tasks, at most `jobs` at once, and report their bytes; raise the first error, and start no more then.

    It begins with few threads and adds more while that raises the rate. One task, or one job, needs no thread.
    """
    waiting = deque(tasks)
    if min(jobs, len(waiting)) <= 1:
        for task in waiting:
            task(moved)
        return
    _Run(waiting, moved).run(min(jobs, len(waiting)))


class _Run:
    def __init__(self, waiting: deque[Task], moved: Moved) -> None:
        self._waiting, self._moved = waiting, moved
        self._changed = threading.Condition()
        self._bytes = self._busy = 0
        self._error: BaseException | None = None

    def run(self, jobs: int) -> None:
        started, best, since, before = 0, 0.0, time.monotonic(), 0
        try:
            while True:
                with self._changed:
                    if self._error or (started and not self._busy and not self._waiting):
                        break
                    elapsed = time.monotonic() - since
                    rate = (self._bytes - before) / elapsed if elapsed >= INTERVAL_S else 0.0
                    is_worth_it = started < min(FIRST, jobs) or rate > GAIN * best
                    if rate:
                        best, since, before = max(best, rate), time.monotonic(), self._bytes
                    if is_worth_it and started < jobs and self._waiting:
                        started, self._busy = started + 1, self._busy + 1
                        threading.Thread(target=self._work, name="datapkg-transfer", daemon=True).start()
                        continue
                    self._changed.wait(INTERVAL_S)
        except BaseException as error:  # noqa: BLE001 - Ctrl-C: the threads are stopped
            self._fail(error)
        # Threads write into the store of the caller, which must not close it under them.
        if self._error:
            with self._changed:
                self._changed.wait_for(lambda: not self._busy, STOP_TIMEOUT_S)
            raise self._error

    def _work(self) -> None:
        try:
            while not self._error and (task := self._next()):
                task(self._note)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            self._fail(error)
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def _next(self) -> Task | None:
        with self._changed:
            return self._waiting.popleft() if self._waiting else None

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def _note(self, size_bytes: int) -> None:
        # This is the only place that a busy thread passes often, so it is where it notices the error of
        # another.
        if self._error:
            raise Stopped
        with self._changed:
            self._bytes += size_bytes
        self._moved(size_bytes)
