"""A connection on which a request has to begin in time, and a reply has to be read in time."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# A reader that is waited for has to take this much in every `timeout_s`.
PROGRESS_BYTES = 64 << 10


class TimedConnection(H11Protocol):
    """Closes where the head of a request is not whole `timeout_s` after its first byte, or after connecting.

    Ends where a reply waits to be read and `PROGRESS_BYTES` of it, or all, are not taken in `timeout_s`. Bodies of
    requests are timed at the edge, and a connection between two requests by uvicorn.
    """

    def __init__(self, *, timeout_s: float, **options: Any) -> None:
        super().__init__(**options)
        self._timeout_s = timeout_s
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Nothing is made ahead of a reader: what the system does not take at once is waited for.
        transport.set_write_buffer_limits(high=0)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._expect_head()
        else:
            self._head_timer = _stopped(self._head_timer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_timer = _stopped(self._head_timer)
        self._read_timer = _stopped(self._read_timer)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        self._read_timer = _stopped(self._read_timer)
        super().resume_writing()

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self._timeout_s, self.transport.close)

    def _expect_reading(self) -> None:
        self._read_timer = _stopped(self._read_timer)
        waiting = self.transport.get_write_buffer_size()
        self._read_timer = self.loop.call_later(self._timeout_s, self._check_reading, waiting)

    def _check_reading(self, before: int) -> None:
        if before - self.transport.get_write_buffer_size() >= PROGRESS_BYTES:
            self._expect_reading()
        else:
            self.transport.abort()  # `close` would wait for what is not read


def _stopped(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Cancel a timer, and return what stands for none."""
    if timer is not None:
        timer.cancel()
    return None
