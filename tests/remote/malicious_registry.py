"""A fake registry with one package that answers correctly except where a test replaces an answer."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from datapkg.format.frames import encode_frames
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.parsed import FileNode, Manifest

Serve = Callable[[socket.socket], None]
SMALL, OTHER, BIG = b"small" * 100, b"other" * 300, bytes(range(256)) * 5000
PIECE = b"\0" * 65536


@contextmanager
def server(serve: Serve, received: list[bytes] | None = None) -> Iterator[str]:
    """Answer every connection on a free local port with `serve`, and append the requests to `received`."""
    requests = [] if received is None else received
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def one(connection: socket.socket) -> None:
            with connection:
                try:
                    connection.settimeout(10)
                    requests.append(connection.recv(65536))
                    serve(connection)
                except OSError:
                    pass

        def loop() -> None:
            listener.settimeout(0.1)
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
                threading.Thread(target=one, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()


def answer(body: bytes, status: str = "200 OK", *headers: bytes, length: bytes | None = None) -> bytes:
    """Return a whole HTTP response; `length` overrides Content-Length, and b"" omits it."""
    size = str(len(body)).encode() if length is None else length
    lines = [b"HTTP/1.1 " + status.encode(), *([b"Content-Length: " + size] if size else []), *headers]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""]) + body


def answering(value: object, status: str = "200 OK") -> Serve:
    whole = answer(json.dumps(value).encode(), status, b"Content-Type: application/json")
    return lambda connection: connection.sendall(whole)


def package(**sizes: int) -> Manifest:
    """Return a manifest of three files; `sizes` overrides the stated sizes."""
    files = {"small": SMALL, "other": OTHER, "big": BIG}
    nodes = [
        FileNode(path=name, file_name=name, hash=hash_bytes(data), size=sizes.get(name, len(data)))
        for name, data in files.items()
    ]
    return Manifest.make(nodes, {})


@dataclass
class MaliciousRegistry:
    """A registry with one package that replaces some of its answers.

    `replaced` has the false answers by kind: resolve, manifest, batch, object, chunks, or all. `endless` is repeated
    after each of them until the client hangs up; `sent` counts their bytes.
    """

    manifest: Manifest = field(default_factory=package)
    replaced: dict[str, bytes] = field(default_factory=dict)
    endless: bytes = b""
    sent: int = 0
    received: list[bytes] = field(default_factory=list)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve and yield the URL; answers not in `replaced` are correct."""
        with server(self._serve, self.received) as url:
            yield url

    def _serve(self, connection: socket.socket) -> None:
        head = self.received[-1]
        kind, valid = self._valid_answer(head.split(b" ")[1].decode("latin-1"), head)
        false_answer = self.replaced.get(kind, self.replaced.get("all"))
        connection.sendall(valid if false_answer is None else false_answer)
        self.sent += len(valid if false_answer is None else false_answer)
        if false_answer is not None and self.endless:
            with contextlib.suppress(OSError):
                while self.sent < 1 << 28:
                    connection.sendall(self.endless)
                    self.sent += len(self.endless)

    def _valid_answer(self, path: str, head: bytes) -> tuple[str, bytes]:
        if "/resolve" in path:
            return "resolve", answer(json.dumps(self.resolved()).encode())
        if path.endswith("/chunks"):
            return "chunks", answer(b'{"error": null}', "404 Not Found")
        if "/manifests/" in path:
            return "manifest", answer(self.manifest.data)
        if path.endswith("/objects/read"):
            pairs = [(hash_bytes(data), data) for data in (SMALL, OTHER)]
            return "batch", answer(b"".join(encode_frames(pairs)))
        return "object", answer(b"" if head.startswith(b"HEAD") else BIG, length=str(len(BIG)).encode())

    def resolved(self, **changed: object) -> dict[str, object]:
        """Return the answer about the state."""
        size = len(self.manifest.data)
        state = {"package": "alice/iris", "hash": self.manifest.hash, "manifest_size": size, "bytes_logical": 1}
        return {**state, **changed}
