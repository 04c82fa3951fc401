"""Limits on concurrent work: slots shared fairly by users, and one maker per key."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread
from fastapi import Request

from datapkg.errors import Unreachable

T = TypeVar("T")
PER_USER = 4  # one user can hold one in this many of all slots


def busy(what: str) -> Unreachable:
    """Return the error for a request that got no slot in time; it is sent as 503 with Retry-After."""
    return Unreachable(f"the registry is busy: {what}", hint="try again in a few seconds")


class Slots:
    """At most `total` slots at once, and at most a quarter of them for one user."""

    def __init__(self, total: int, wait_s: float) -> None:
        self._all = asyncio.Semaphore(total)
        # Weak, so that a user without requests is forgotten.
        self._own: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._per_user = max(1, total // PER_USER)
        self._wait_s = wait_s

    @asynccontextmanager
    async def hold(self, user: str) -> AsyncIterator[None]:
        """Hold a slot inside the block; raise `Unreachable` if none is free within `wait_s`."""
        own = self._own.setdefault(user, asyncio.Semaphore(self._per_user))
        # The user's own first: a request that waits for it holds none of the slots that others wait for.
        async with (
            _waiting(own, self._wait_s, f"{user} has {self._per_user} uploads in progress"),
            _waiting(self._all, self._wait_s, "all slots for uploads are taken"),
        ):
            yield


class Makers(Generic[T]):
    """Values that take a while to make: each is made once, few at a time, and the last `keep` are cached."""

    def __init__(self, at_once: int, wait_s: float, turn_wait_s: float, keep: int = 0) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._kept: OrderedDict[str, T] = OrderedDict()
        self._wait_s = wait_s
        self._turn_wait_s = turn_wait_s
        self._keep = keep

    async def get(self, key: str, make: Callable[[], T]) -> T:
        """Return the value of a key, made by `make` in a thread if it is not cached.

        Waiting requests hold no thread. Raise `Unreachable` if making the value cannot start within `wait_s`, or if
        another request makes it and is not done within `turn_wait_s`.
        """
        if key not in self._kept:
            turn = self._turns.setdefault(key, asyncio.Lock())
            async with _waiting(turn, self._turn_wait_s, "the response is still being prepared"):
                if key not in self._kept:  # nobody has made it meanwhile
                    async with _waiting(self._slots, self._wait_s, "too many requests at once"):
                        # Not in the common thread pool, where it would hold up other requests.
                        made = await anyio.to_thread.run_sync(make, limiter=anyio.CapacityLimiter(1))
                    if not self._keep:
                        return made
                    self._kept[key] = made
                    while len(self._kept) > self._keep:
                        self._kept.popitem(last=False)
                    return made
        self._kept.move_to_end(key)
        return self._kept[key]


async def search(request: Request, query: str, find: Callable[[], T]) -> T:
    """Run `find` in a thread; searches with a query, which read the texts of all packages, run a few at a time.

    Equal queries wait for each other, so that one that many clients send leaves the other slots free.
    """
    if not query:
        return await anyio.to_thread.run_sync(find)
    searches: Makers[T] = request.app.state.searches
    return await searches.get(query, find)


@asynccontextmanager
async def _waiting(lock: asyncio.Semaphore | asyncio.Lock, wait_s: float, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(wait_s):
            await lock.acquire()
    except TimeoutError:
        raise busy(what) from None
    try:
        yield
    finally:
        lock.release()
