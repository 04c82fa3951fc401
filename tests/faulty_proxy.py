"""A way to a registry on which things go wrong: what a healthy server will not do."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Fault:
    """What happens to the next `times` answers whose path holds `where`."""

    kind: str
    where: str = "/"
    times: int = 1_000_000
    method: str = ""


@dataclass
class Way:
    """The proxy: its address, the faults, and what it saw."""

    url: str
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)

    def fault(self, method: str, path: str) -> str:
        """The kind of fault that happens now, or nothing."""
        for fault in self.faults:
            if fault.where in path and fault.method in ("", method) and fault.times > 0:
                fault.times -= 1
                return fault.kind
        return ""


def _truncate(body: bytes) -> bytes:
    return body[: len(body) // 2]


def _flip(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1]) if body else body


CHANGES: dict[str, Callable[[bytes], bytes]] = {"flip": _flip, "half": _truncate, "garbage": lambda body: b"<html>no"}


@contextmanager
def faulty_way(target: str) -> Iterator[Way]:
    """Runs a proxy to `target` on a free port of this machine."""
    way = Way("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self._request_body()
            way.seen.append((self.command, self.path))
            kind = way.fault(self.command, self.path)
            if kind in ("404", "500", "503"):
                self._answer(int(kind), b"<h1>Bad day</h1>", {"Content-Type": "text/html"})
            elif kind == "drop":
                self.close_connection = True
            elif kind == "slow":
                time.sleep(3)
                self.close_connection = True
            elif kind == "redirect":
                self._answer(302, b"", {"Location": "http://localhost:9/elsewhere"})
            elif kind == "moved" or kind.startswith("to "):
                target = kind.removeprefix("to ") if kind != "moved" else "http://localhost:9"
                self._answer(301, b"", {"Location": target + self.path})
            else:
                self._pass_on(body, kind)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _handle  # noqa: N815 - the names of http.server

        def _request_body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                pieces = []
                while size := int(self.rfile.readline(), 16):
                    pieces.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(pieces)
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _pass_on(self, body: bytes, kind: str) -> None:
            parts = urlsplit(target)
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
            dropped = ("host", "connection", "transfer-encoding", "content-length")
            headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
            if kind == "whole":  # as a server that knows of no ranges
                headers.pop("Range", None)
            connection.request(self.command, self.path, body=body or None, headers=headers)
            answer = connection.getresponse()
            data = answer.read()
            kept = {
                name: value for name, value in answer.getheaders() if name.lower() not in (*dropped, "date", "server")
            }
            length = answer.headers.get("Content-Length") if self.command == "HEAD" else None
            connection.close()
            changed = CHANGES.get(kind, lambda same: same)(data)
            announced = len(data) if kind == "half" else len(changed)
            self._answer(answer.status, changed, kept, int(length) if length else announced)

        def _answer(self, status: int, body: bytes, headers: dict[str, str], announced: int | None = None) -> None:
            size = len(body) if announced is None else announced
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            if size != len(body) and self.command != "HEAD":
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    way.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield way
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
