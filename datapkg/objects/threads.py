"""Make calls in threads, such that nothing waits forever for a thread that lack of memory has ended.

`threading.Thread.start` waits until the new thread has begun, and the futures of `concurrent.futures` wait for their
thread, also if that ended before it could report anything. Here, who waits makes a call that no thread has begun.
"""

from __future__ import annotations

import _thread
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, ParamSpec, TypeVar, cast

T = TypeVar("T")
P = ParamSpec("P")
PATIENCE_S = 1.0
"""Whoever waits for a call this long makes it, if no thread has begun it by then."""


class Patience:
    """How long the calls of a pool wait for a thread: no longer, once one of them was in vain."""

    seconds = PATIENCE_S


class PendingCall(Generic[T]):
    """A call that is made once: by a thread, or by whoever waits for its result.

    What follows the call allocates nothing, so that its end is known whatever has run out.
    """

    __slots__ = ("_claimed", "_done", "_error", "_function", "_patience", "_value")

    def __init__(self, function: Callable[[], T], patience: Patience) -> None:
        self._function: Callable[[], T] | None = function
        self._patience = patience
        self._claimed, self._done = threading.Lock(), threading.Lock()
        self._done.acquire()
        self._error: BaseException | None = None
        self._value: T | None = None

    @property
    def is_begun(self) -> bool:
        """Return whether the call has begun, or was cancelled."""
        return self._claimed.locked()

    @property
    def is_running(self) -> bool:
        """Return whether the call has begun and not ended."""
        return self._claimed.locked() and self._done.locked()

    @property
    def is_done(self) -> bool:
        """Return whether the call has ended, or was cancelled."""
        return not self._done.locked()

    def run(self) -> bool:
        """Make the call and return True, unless it has begun elsewhere; `result` raises its error."""
        if not self._claimed.acquire(blocking=False):
            return False
        try:
            self._value = cast(Callable[[], T], self._function)()
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            self._error = error
        finally:
            self._function = None
            self._done.release()
        return True

    def cancel(self) -> None:
        """Prevent the call, unless it has begun."""
        if self._claimed.acquire(blocking=False):
            self._function = None
            self._done.release()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the call has ended, at most `timeout_s`; return whether it has."""
        if not self._done.acquire(timeout=-1 if timeout_s is None else timeout_s):
            return False
        self._done.release()
        return True

    def result(self) -> T:
        """Return what the call returns or raise what it raises; make it here if no thread has begun it in time."""
        if not self.wait(self._patience.seconds):
            if self.run():
                self._patience.seconds = 0.0
            self.wait()
        if self._error is not None:
            raise self._error
        return cast(T, self._value)


def start(function: Callable[P, T], *args: P.args, **options: P.kwargs) -> PendingCall[T]:
    """Make a call in a new thread, which ends with the process; raise `RuntimeError` if none can be started."""
    call = PendingCall(partial(function, *args, **options), Patience())
    _thread.start_new_thread(_run, (call,))
    return call


def _run(call: PendingCall[T]) -> None:
    with contextlib.suppress(MemoryError):  # then whoever waits makes the call
        call.run()


class ThreadPool:
    """At most `size` threads, for the calls inside a `with`; leaving it cancels what no thread has begun."""

    def __init__(self, size: int) -> None:
        self._size, self._started, self._patience = size, 0, Patience()
        self._queue: SimpleQueue[PendingCall[Any] | None] = SimpleQueue()
        self._calls: deque[PendingCall[Any]] = deque()

    def __enter__(self) -> ThreadPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> PendingCall[T]:
        """Make a call in a thread, after those that were submitted before; raise `RuntimeError` without a thread."""
        while self._calls and self._calls[0].is_done:
            self._calls.popleft()
        call = PendingCall(partial(function, *args, **options), self._patience)
        self._calls.append(call)
        self._queue.put(call)
        if self._started < self._size:
            _thread.start_new_thread(_work, (self._queue,))
            self._started += 1
        return call

    def map(self, function: Callable[..., T], *values: Iterable[Any]) -> Iterator[T]:
        """Make a call for each value, or for each tuple of several, and yield the results in their order."""
        calls = [self.submit(function, *each) for each in zip(*values, strict=False)]
        return (call.result() for call in calls)

    def close(self, timeout_s: float | None = None) -> None:
        """Cancel what no thread has begun, and wait for the rest, for each call at most `timeout_s`."""
        for call in self._calls:
            call.cancel()
        for _ in range(self._started):
            self._queue.put(None)
        for call in self._calls:
            call.wait(timeout_s)
        self._calls.clear()


def _work(queue: SimpleQueue[PendingCall[Any] | None]) -> None:
    with contextlib.suppress(MemoryError):  # then whoever waits makes the calls that are left
        while (call := queue.get()) is not None:
            call.run()
            del call  # what it refers to may be large
