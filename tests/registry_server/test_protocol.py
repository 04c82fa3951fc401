"""The connections of a registry: bodies of requests, however their bytes arrive."""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import h11
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from registry_server.web.protocol import TimedConnection

BODY = random.Random(1).randbytes(3_000_000)


async def tell_hash(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the hash of the body, or before it was read."""
    request = Request(scope, receive)
    sha256 = hashlib.sha256()
    if scope["path"] == "/unread":
        await PlainTextResponse("unread")(scope, receive, send)
        return
    async for piece in request.stream():
        assert isinstance(piece, bytes)
        sha256.update(piece)
    await PlainTextResponse(sha256.hexdigest())(scope, receive, send)


def head(length: int | None, path: str = "/") -> bytes:
    framing = f"Content-Length: {length}" if length is not None else "Transfer-Encoding: chunked"
    return f"POST {path} HTTP/1.1\r\nHost: here\r\n{framing}\r\n\r\n".encode()


def cut(data: bytes, seed: int) -> Iterable[bytes]:
    """Cut bytes at random places, also after the first and before the last one."""
    places = sorted({1, len(data) - 1, *random.Random(seed).sample(range(1, len(data)), 20)})
    return (data[start:stop] for start, stop in zip([0, *places], [*places, len(data)], strict=True))


def answers(pieces: Iterable[bytes], count: int) -> list[str]:
    """Send pieces to a server over one connection; return the texts of its answers."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[str]:
        async def send() -> None:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.001)  # so that each arrives by itself

        sending = asyncio.create_task(send())
        found = []
        for _ in range(count):
            response = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(response.partition(b"content-length: ")[2].split(b"\r\n")[0])
            found.append((await reader.readexactly(length)).decode())
        await sending
        return found

    return asyncio.run(_served(talk))


async def _served(talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[list[str]]]) -> list[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        protocol = partial(TimedConnection, timeout_s=20)
        config = uvicorn.Config(tell_hash, http=protocol, ws="none", lifespan="off", log_config=None)  # type: ignore[arg-type]
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        try:
            return await talk(reader, writer)
        finally:
            writer.close()
            server.should_exit = True
            await serving


@pytest.mark.parametrize("seed", range(4))
def test_bodies_are_received_as_they_were_sent(seed: int) -> None:
    second = BODY[: 1_000 * (seed + 1)]
    sent = head(len(BODY)) + BODY + head(0) + head(len(second)) + second
    wanted = [hashlib.sha256(each).hexdigest() for each in (BODY, b"", second)]
    assert answers(cut(sent, seed), 3) == wanted


def test_chunked_bodies_are_received_as_they_were_sent() -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in cut(BODY, 5))
    assert answers(cut(head(None) + chunks + b"0\r\n\r\n", 6), 1) == [hashlib.sha256(BODY).hexdigest()]


def test_a_body_that_nobody_reads_does_not_reach_the_next_request() -> None:
    sent = head(len(BODY), "/unread") + BODY + head(3) + b"abc"
    assert answers(cut(sent, 7), 2) == ["unread", hashlib.sha256(b"abc").hexdigest()]


def test_the_middle_of_a_body_is_not_copied_by_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed, receive = [], h11.Connection.receive_data

    def counted(connection: h11.Connection, data: bytes) -> None:
        parsed.append(len(data))
        receive(connection, data)

    monkeypatch.setattr(h11.Connection, "receive_data", counted)
    assert answers(cut(head(len(BODY)) + BODY, 8), 1) == [hashlib.sha256(BODY).hexdigest()]
    assert sum(parsed) < len(BODY) / 2
