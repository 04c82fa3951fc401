"""A file server over plain HTTP, and a proxy for any address that counts every byte."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

PIECE = 1 << 20


@dataclass
class Wire:
    """A proxy address for another one, and the numbers of bytes received from there and sent, including headers."""

    url: str
    received: int = 0
    sent: int = 0

    def add(self, size: int, is_sent: bool) -> None:
        """Count bytes of one direction."""
        if is_sent:
            self.sent += size
        else:
            self.received += size

    def since(self, before: int) -> int:
        """Return the number of bytes received since then, once all bytes in transit have arrived."""
        seen = -1
        while seen != self.received + self.sent:
            seen = self.received + self.sent
            time.sleep(0.05)
        return self.received - before


@contextlib.contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """Serve the files of a folder, and ranges of them, like any web server."""
    app = Starlette(routes=[Mount("/", StaticFiles(directory=folder))])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def counted(url: str, late_s: float = 0) -> Iterator[Wire]:
    """Run a proxy that counts what the tool on this side received, and hands bytes on `late_s` after they came."""
    host = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        wire = Wire(f"http://127.0.0.1:{listening.getsockname()[1]}")
        there = (host.hostname or "", host.port or 80)
        threading.Thread(target=_accept, args=(listening, there, wire, late_s), daemon=True).start()
        try:
            yield wire
        finally:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def delayed(url: str, round_trip_s: float) -> Iterator[str]:
    """Run a proxy that hands every byte on half a round trip later, without slowing the stream; yield its address."""
    with counted(url, round_trip_s / 2) as wire:
        yield wire.url


def _accept(listening: socket.socket, there: tuple[str, int], wire: Wire, late_s: float) -> None:
    """Open a connection to the target for each incoming one, until the listener is closed."""
    while True:
        try:
            near, _ = listening.accept()
            far = socket.create_connection(there)
        except OSError:
            return
        for each in (near, far):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for ends in ((near, far, True), (far, near, False)):
            target, more = (_pass_late, (late_s,)) if late_s else (_pass, ())
            threading.Thread(target=target, args=(*ends, wire, *more), daemon=True).start()


def _pass(source: socket.socket, target: socket.socket, is_sent: bool, wire: Wire) -> None:
    """Forward bytes until one side is done, then close both for this direction."""
    buffer = memoryview(bytearray(PIECE))
    with contextlib.suppress(OSError):
        while count := source.recv_into(buffer):
            wire.add(count, is_sent)
            target.sendall(buffer[:count])
    _close(source, target, is_sent)


def _pass_late(source: socket.socket, target: socket.socket, is_sent: bool, wire: Wire, late_s: float) -> None:
    """Forward bytes as `_pass` does, each piece `late_s` after it came."""
    pieces: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def send() -> None:
        with contextlib.suppress(OSError):
            while True:
                due, piece = pieces.get()
                time.sleep(max(0.0, due - time.monotonic()))
                if not piece:
                    break
                target.sendall(piece)
        _close(source, target, is_sent)

    threading.Thread(target=send, daemon=True).start()
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE):
            wire.add(len(piece), is_sent)
            pieces.put((time.monotonic() + late_s, piece))
    pieces.put((time.monotonic() + late_s, b""))


def _close(source: socket.socket, target: socket.socket, is_sent: bool) -> None:
    for end, how in ((source, socket.SHUT_RD), (target, socket.SHUT_WR)):
        with contextlib.suppress(OSError):
            end.shutdown(how)
    if not is_sent:
        source.close()
        target.close()
