"""Run independent transfers in threads, as many at once as make them faster."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from datapkg.objects.threads import PATIENCE_S, PendingCall, ThreadPool

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
        self._bytes = self._ended = 0
        self._workers: list[PendingCall[None]] = []
        self._error: BaseException | None = None

    def run(self, jobs: int) -> None:
        pool = ThreadPool(jobs)
        try:
            self._start_and_wait(pool, jobs)
        except BaseException as error:  # noqa: BLE001 - Ctrl-C: the threads are stopped
            self._error = self._error or error
        # Threads write into the store of the caller, which must not close it under them.
        pool.close(STOP_TIMEOUT_S if self._error else None)
        if self._error:
            raise self._error

    def _start_and_wait(self, pool: ThreadPool, jobs: int) -> None:
        """Start workers until no more is worth it, and wait until nothing is left to do."""
        best, since, before, idle_since = 0.0, time.monotonic(), 0, 0.0
        while True:
            with self._changed:
                is_busy, now = self._is_busy(), time.monotonic()
                if self._error or (self._workers and not is_busy and not self._waiting):
                    return
                rate = (self._bytes - before) / (now - since) if now - since >= INTERVAL_S else 0.0
                is_worth_it = len(self._workers) < min(FIRST, jobs) or rate > GAIN * best
                if rate:
                    best, since, before = max(best, rate), now, self._bytes
                if is_worth_it and len(self._workers) < jobs and self._waiting:
                    self._workers.append(pool.submit(self._work_and_tell))
                    continue
                idle_since = 0.0 if is_busy else idle_since or now
                if is_busy or now - idle_since < PATIENCE_S:
                    self._changed.wait(INTERVAL_S)
                    continue
            self._work()  # no worker has begun, or all have ended for lack of memory

    def _is_busy(self) -> bool:
        # A worker reports its end a moment before its call ends; for lack of memory it may not report it.
        begun = sum(each.is_begun for each in self._workers)
        return begun > self._ended and any(each.is_running for each in self._workers)

    def _work_and_tell(self) -> None:
        self._work()
        with self._changed:
            self._ended += 1
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            while not self._error and (task := self._next()):
                task(self._note)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            self._error = self._error or error

    def _next(self) -> Task | None:
        with self._changed:
            return self._waiting.popleft() if self._waiting else None

    def _note(self, size_bytes: int) -> None:
        # This is the only place that a busy thread passes often, so it is where it notices the error of
        # another.
        if self._error:
            raise Stopped
        with self._changed:
            self._bytes += size_bytes
        self._moved(size_bytes)
