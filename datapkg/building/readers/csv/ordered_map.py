"""Map a function over items in threads, ahead of the consumer, and yield the results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(work: Callable[[Item], Result], items: Iterable[Item], workers: int, count: int) -> Iterator[Result]:
    """Yield the result of each item in order, with up to `count` items running or queued.

    Closing the iterator stops the workers.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="delimited")
    try:
        waiting: deque = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
