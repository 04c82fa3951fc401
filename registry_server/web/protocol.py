"""HTTP connections with time limits for the head of a request and for reading a response."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.h11_impl import H11Protocol

# A slow reader has to take at least this much in each `timeout_s`.
PROGRESS_BYTES = 64 << 10


class TimedConnection(H11Protocol):
    """A connection that closes if the head of a request is not complete `timeout_s` after connecting or its first byte.

    It aborts if a response waits for its reader and less than `PROGRESS_BYTES` of it, or of its rest, are read in
    `timeout_s`. The middleware times bodies of requests, and uvicorn idle connections.
    """

    def __init__(self, *, timeout_s: float, **options: Any) -> None:
        super().__init__(**options)
        self._timeout_s = timeout_s
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Produce nothing ahead of a slow reader: wait until the system has taken what was written.
        transport.set_write_buffer_limits(high=0)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if not self._add_to_body(data):
            super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._expect_head()
        else:
            self._head_timer = _stopped(self._head_timer)

    def _add_to_body(self, data: bytes) -> bool:
        """Add bytes from the middle of a body with a length to what the app receives next; return False for others.

        h11 would copy them four times. What it counts down is not public; where it does not have that, it gets all.
        """
        reader = getattr(self.conn, "_reader", None)
        left = getattr(reader, "_remaining", 0)
        is_body = self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.SEND_RESPONSE
        if not is_body or left <= len(data) or self.conn.trailing_data != (b"", False):
            return False
        reader._remaining = left - len(data)  # type: ignore[union-attr]
        # Bytes are taken as they are, while a bytearray is copied when the app receives it.
        self.cycle.body = self.cycle.body + data if self.cycle.body else data  # type: ignore[assignment]
        if len(self.cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self.cycle.message_event.set()
        return True

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
            self.transport.abort()  # `close` would wait until the rest is read


def _stopped(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Cancel a timer and return None, the value without one."""
    if timer is not None:
        timer.cancel()
    return None
