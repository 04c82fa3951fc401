"""A way to a registry on which things go wrong: what a healthy server will not do."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests import http_server


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

    class Handler(http_server.Handler):
        def _handle(self) -> None:
            body = self._request_body()
            way.seen.append((self.command, self.path))
            kind = way.fault(self.command, self.path)
            if kind in ("404", "500", "503"):
                self.answer(int(kind), b"<h1>Bad day</h1>", {"Content-Type": "text/html"})
            elif kind == "drop":
                self.close_connection = True
            elif kind == "slow":
                time.sleep(3)
                self.close_connection = True
            elif kind == "redirect":
                self.answer(302, b"", {"Location": "http://localhost:9/elsewhere"})
            elif kind == "moved" or kind.startswith("to "):
                target = kind.removeprefix("to ") if kind != "moved" else "http://localhost:9"
                self.answer(301, b"", {"Location": target + self.path})
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
            # Half a body under the length of the whole one: the connection breaks off.
            announced = length or str(len(data) if kind == "half" else len(changed))
            self.answer(answer.status, changed, {**kept, "Content-Length": announced})
            self.close_connection = self.close_connection or kind == "half"

    with http_server.serving(Handler) as way.url:
        yield way
