"""Bodies of requests on their way from the event loop to the thread that reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, cast

import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect

from registry_server.web import bodies


class SentPieces:
    """The part of a request that is read: its body in pieces, which may break off."""

    def __init__(self, pieces: Iterable[bytes], error: BaseException | None = None) -> None:
        self._pieces, self._error, self.taken = pieces, error, 0

    async def stream(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            self.taken += 1
            yield piece
        if self._error:
            raise self._error


def reading(sent: SentPieces, work: Callable[[Any], Any]) -> Any:
    async def run() -> Any:
        body = bodies._RequestBody(asyncio.get_running_loop())
        pump = asyncio.create_task(body.pump(cast(Request, sent)))
        try:
            return await asyncio.to_thread(work, body)
        finally:
            pump.cancel()
            await asyncio.wait([pump])

    return asyncio.run(run())


@pytest.mark.parametrize("length", [1, 7, 64 << 10, (3 << 20) + 1])
def test_a_body_is_read_as_it_was_sent(length: int) -> None:
    pieces = [bytes([number % 251]) * length for number in range(5)] + [b""]
    whole = b"".join(pieces)
    assert reading(SentPieces(pieces), lambda body: body.read()) == whole
    found = reading(SentPieces(pieces), lambda body: list(iter(lambda: body.read(100_000), b"")))
    assert b"".join(found) == whole
    assert max(map(len, found)) <= 100_000


def test_a_body_that_breaks_off_is_never_taken_for_a_whole_one() -> None:
    def work(body: Any) -> bytes:
        found = body.read(10)
        for _ in range(2):  # again, however often it is read
            with pytest.raises(ClientDisconnect):
                while body.read(bodies.GROUP_BYTES):
                    pass
        return bytes(found)

    assert reading(SentPieces([b"begun" * bodies.GROUP_BYTES], ClientDisconnect()), work) == b"begunbegun"


def test_a_body_in_tiny_pieces_does_not_fill_the_memory() -> None:
    sent = SentPieces(b"ab" for _ in range(10_000_000))
    most = bodies.GROUPS_WAITING * bodies.GROUP_BYTES // bodies.COUNTED_BYTES

    def work(body: Any) -> int:
        assert body.read(1) == b"a"
        before = -1
        while before != sent.taken:  # until no more is taken in advance
            before = sent.taken
            assert body.read(0) == b""
            asyncio.run(asyncio.sleep(0.2))
        return sent.taken

    assert reading(sent, work) <= 2 * most
