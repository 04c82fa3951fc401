"""A way to a registry on which things go wrong: what a healthy server will not do."""

from __future__ import annotations

import http.client
import io
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from datapkg.format import wire
from datapkg.format.frames import encode_frames, read_frames
from tests import http_server

# Kinds of faults: an answer of the proxy's own; the connection; the body of the registry's answer, or of the request.
STATUSES = ("404", "429", "500", "502", "503", "504", "429 after 1", "503 after 1")
# Beside these, a "late" request is passed on whole, after a while.
CONNECTIONS = ("drop", "lost", "slow", "stall", "throttle", "cut", "half", "cut upload")
PIECES = 20
STALL_S = 3.0


@dataclass
class Fault:
    """What happens to the next `times` answers whose path holds `where`, after `skip` of them."""

    kind: str
    where: str = "/"
    times: int = 1_000_000
    method: str = ""
    skip: int = 0


@dataclass
class Way:
    """The proxy: its address, the faults, and what it saw; `chance` decides which byte it is."""

    url: str
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    happened: list[str] = field(default_factory=list)

    def fault(self, method: str, path: str) -> str:
        """The kind of fault that happens now, or nothing."""
        for fault in self.faults:
            if fault.where in path and fault.method in ("", method) and fault.times > 0:
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                self.happened.append(fault.kind)
                return fault.kind
        return ""


def _truncate(body: bytes, _: random.Random) -> bytes:
    return body[: len(body) // 2]


def _flip(body: bytes, _: random.Random) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1]) if body else body


def _flip_any(body: bytes, chance: random.Random) -> bytes:
    if not body:
        return body
    at = chance.randrange(len(body))
    return body[:at] + bytes([body[at] ^ 1 << chance.randrange(8)]) + body[at + 1 :]


def _reorder(body: bytes, chance: random.Random) -> bytes:
    frames = list(read_frames(io.BytesIO(body)))
    chance.shuffle(frames)
    return b"".join(encode_frames(frames))


def _repeat(body: bytes, chance: random.Random) -> bytes:
    frames = list(read_frames(io.BytesIO(body)))
    return b"".join(encode_frames([*frames, *frames[:1]]))


CHANGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flip": _flip,
    "flip any": _flip_any,
    "half": _truncate,
    "garbage": lambda body, _: b"<html>no",
    "more": lambda body, _: body + b"more",
    "reorder": _reorder,
    "repeat": _repeat,
}
OF_FRAMES = ("reorder", "repeat")


@contextmanager
def faulty_way(target: str, port: int = 0) -> Iterator[Way]:
    """Runs a proxy to `target` on a port of this machine, by default a free one."""
    way = Way("")

    class Handler(http_server.Handler):
        def _handle(self) -> None:
            body = self._request_body()
            way.seen.append((self.command, self.path))
            kind = way.fault(self.command, self.path)
            if kind in (*STATUSES, "403"):
                status, _, after = kind.partition(" after ")
                more = {"Retry-After": after} if after else {}
                self.answer(int(status), b"<h1>Bad day</h1>", {"Content-Type": "text/html", **more})
            elif kind == "drop":
                self.close_connection = True
            elif kind == "slow":
                time.sleep(STALL_S)
                self.close_connection = True
            elif kind == "redirect":
                self.answer(302, b"", {"Location": "http://localhost:9/elsewhere"})
            elif kind == "moved" or kind.startswith("to "):
                target = kind.removeprefix("to ") if kind != "moved" else "http://localhost:9"
                self.answer(301, b"", {"Location": target + self.path})
            else:
                time.sleep(STALL_S if kind == "late" else 0)
                self._pass_on(_flip_any(body, way.chance) if kind == "flip upload" else body, kind)

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
            try:
                if kind == "cut upload":
                    self._cut_upload(connection, body, headers)
                    return
                connection.request(self.command, self.path, body=body or None, headers=headers)
                answer = connection.getresponse()
                data = answer.read()
            except (OSError, http.client.HTTPException):  # the registry was killed
                self.close_connection = True
                return
            finally:
                connection.close()
            kept = {
                name: value for name, value in answer.getheaders() if name.lower() not in (*dropped, "date", "server")
            }
            length = answer.headers.get("Content-Length") if self.command == "HEAD" else None
            if kind == "lost":
                self.close_connection = True
                return
            is_right = kind in CHANGES and (kind not in OF_FRAMES or answer.headers.get("Content-Type") == wire.FRAMES)
            changed = CHANGES[kind](data, way.chance) if is_right else data
            # Half a body under the length of the whole one: the connection breaks off.
            announced = length or str(len(data) if kind == "half" else len(changed))
            with self._sending(kind):
                self.answer(answer.status, changed, {**kept, "Content-Length": announced})
            self.close_connection = self.close_connection or kind == "half"

        def _cut_upload(self, connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str]) -> None:
            """Send a beginning of the body, and hang up on both sides."""
            connection.putrequest(self.command, self.path)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                connection.putheader(name, value)
            connection.endheaders(body[: way.chance.randrange(len(body) + 1)])
            time.sleep(0.05)
            self.close_connection = True

        @contextmanager
        def _sending(self, kind: str) -> Iterator[None]:
            """Inside, what is written goes out as the fault wants it."""
            if kind not in ("stall", "throttle", "cut"):
                yield
                return
            true, self.wfile = self.wfile, io.BytesIO()
            yield
            data, self.wfile = self.wfile.getvalue(), true
            stop = way.chance.randrange(len(data)) if kind != "throttle" else len(data)
            size = max(1, stop // PIECES)
            with suppress(OSError):
                for at in range(0, stop, size):
                    true.write(data[at : min(at + size, stop)])
                    time.sleep(0.01 if kind == "throttle" else 0)
                time.sleep(STALL_S if kind == "stall" else 0)
            self.close_connection = self.close_connection or kind != "throttle"

    with http_server.serving(Handler, port) as way.url:
        yield way
