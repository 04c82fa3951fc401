"""Map a function over items in threads, ahead of the consumer, and yield the results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from datapkg.objects.threads import PendingCall, ThreadPool

Item = TypeVar("Item")
Result = TypeVar("Result")


_MOST_WORKERS = 8


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result, None, None]:
    """Yield the result of each item in order, with a thread a core and one item more than threads at a time."""
    workers = min(_MOST_WORKERS, cores())
    return ordered_map(work, items, workers, workers + 1)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int, count: int
) -> Generator[Result, None, None]:
    """Yield the result of each item in order, with up to `count` items running or queued.

    Closing the iterator stops the workers.
    """
    with ThreadPool(workers) as pool:
        waiting: deque[PendingCall[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
