"""Request bodies of any size, read by a worker thread while they arrive."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from functools import partial
from typing import BinaryIO, TypeVar, cast

import anyio
import anyio.to_thread
from fastapi import Request

from registry_server.web.concurrency_limits import Slots

PIECE_BYTES = 1 << 20
PIECES_WAITING = 4
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
            await asyncio.wait([pump])


class _RequestBody:
    """A stream for one reading thread, fed by the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._room = asyncio.Semaphore(PIECES_WAITING)
        self._pieces: queue.SimpleQueue[bytes | BaseException] = queue.SimpleQueue()
        self._piece = memoryview(b"")
        self._ended = False

    async def pump(self, request: Request) -> None:
        """Move the body into the queue, in pieces of about 1 MiB, as fast as it is read."""
        end: bytes | BaseException = b""
        try:
            buffer = bytearray()
            async for piece in request.stream():
                buffer += piece
                if len(buffer) >= PIECE_BYTES:
                    await self._room.acquire()
                    self._pieces.put(bytes(buffer))
                    buffer.clear()
            if buffer:
                self._pieces.put(bytes(buffer))
        except BaseException as error:  # noqa: BLE001 - raised again where the body is read
            end = error
        finally:
            self._pieces.put(end)

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, at least one before the end; raise the error that broke off the body."""
        if not self._piece and not self._ended:
            self._next()
        if size < 0:
            pieces = []
            while self._piece:
                pieces.append(bytes(self._piece))
                self._next()
            return b"".join(pieces)
        taken = bytes(self._piece[:size])
        self._piece = self._piece[size:]
        return taken

    def _next(self) -> None:
        piece = self._pieces.get()
        self._piece = memoryview(b"")
        if isinstance(piece, BaseException):
            self._pieces.put(piece)
            raise piece
        if not piece:
            self._ended = True
            self._pieces.put(piece)
            return
        self._piece = memoryview(piece)
        self._loop.call_soon_threadsafe(self._room.release)
