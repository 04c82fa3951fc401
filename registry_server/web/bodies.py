"""Request bodies of any size, read by a worker thread while they arrive."""

from __future__ import annotations

import asyncio
import queue
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import BinaryIO, TypeVar, cast

import anyio
import anyio.to_thread
from fastapi import Request

from registry_server.web.concurrency_limits import Slots

GROUP_BYTES = 1 << 20
GROUPS_WAITING = 4
COUNTED_BYTES = 1 << 10
"""What a shorter piece counts for: each is an object in memory, and a client may send a byte at a time."""
T = TypeVar("T")


async def read_in_thread(request: Request, user: str, work: Callable[[BinaryIO], T]) -> T:
    """Run `work` on the request's body in a thread, in one of this user's slots; only a few MiB are in memory.

    Raise `Unreachable` if no slot is free in time.
    """
    slots: Slots = request.app.state.uploads
    async with slots.hold(user):
        body = _RequestBody(asyncio.get_running_loop())
        pump = asyncio.create_task(body.pump(request))
        try:
            # A limiter of its own: in the common thread pool, slow uploads would hold up all other requests.
            return await anyio.to_thread.run_sync(partial(work, cast(BinaryIO, body)), limiter=anyio.CapacityLimiter(1))
        finally:
            pump.cancel()
            # Until it has ended: to answer, the middleware may read the rest of the body.
            await asyncio.wait([pump])


class _RequestBody:
    """A stream for one reading thread, fed by the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._room = asyncio.Semaphore(GROUPS_WAITING)
        # Pieces as they arrived, in groups: joining them would copy the body, and one by one they would wake the
        # reading thread and the event loop more often. No pieces are the end of the body.
        self._groups: queue.SimpleQueue[list[bytes] | BaseException] = queue.SimpleQueue()
        self._pieces: deque[bytes] = deque()
        self._piece = b""
        self._at = 0
        self._ended = False

    async def pump(self, request: Request) -> None:
        """Move the body into the queue, in groups of about 1 MiB, as fast as it is read."""
        end: list[bytes] | BaseException = []
        group: list[bytes] = []
        size = 0
        try:
            async for piece in request.stream():
                if piece:
                    group.append(piece)
                    size += max(len(piece), COUNTED_BYTES)
                if size >= GROUP_BYTES:
                    await self._room.acquire()
                    self._groups.put(group)
                    group, size = [], 0
            if group:
                self._groups.put(group)
        except BaseException as error:  # noqa: BLE001 - raised again where the body is read
            end = error
        finally:
            self._groups.put(end)

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, at least one before the end; raise the error that broke off the body."""
        if size < 0:
            return b"".join(iter(partial(self.read, GROUP_BYTES), b""))
        if self._at == len(self._piece) and not self._ended:
            self._next()
        start, self._at = self._at, min(self._at + size, len(self._piece))
        return self._piece[start : self._at]

    def _next(self) -> None:
        if not self._pieces:
            self._next_group()
        self._piece, self._at = (self._pieces.popleft(), 0) if self._pieces else (b"", 0)

    def _next_group(self) -> None:
        group = self._groups.get()
        if isinstance(group, BaseException):
            self._groups.put(group)  # each later read raises it too
            raise group
        if not group:
            self._ended = True
            return
        self._pieces.extend(group)
        self._loop.call_soon_threadsafe(self._room.release)
