"""A client of the registry's app in this process, which can also send malformed requests."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI
from sqlalchemy import select
from starlette.routing import BaseRoute

from datapkg.errors import DatapkgError, from_wire
from datapkg.format import wire
from datapkg.format.frames import encode_frames
from datapkg.format.manifest.parsed import FileNode, Manifest
from datapkg.objects.packs import PackedObjects
from registry_server.app import create_app
from registry_server.db.tables import wheels
from registry_server.services import accounts
from registry_server.services.check import check
from registry_server.services.policy import THE_OPERATOR
from registry_server.services.registry import Registry, open_registry
from registry_server.settings import Settings


@dataclass
class Answer:
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> DatapkgError:
        """The exception that a client would raise for this response."""
        return from_wire(self.json()["error"], self.status)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Client:
    """Sends requests to an app as one user, or anonymously."""

    app: FastAPI
    token: str | None = None
    name: str = ""

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        *,
        sends: Any = None,
        headers: Mapping[str, str] | None = None,
        pause_s: float = 0,
    ) -> Answer:
        """Send a request; `sends` is a JSON body; several pieces are sent as a chunked body, `pause_s` before each."""
        sent = {"host": "registry.test", **(headers or {})}
        if self.token:
            sent.setdefault("authorization", f"Bearer {self.token}")
        if sends is not None:
            body = json.dumps(sends).encode()
            sent.setdefault("content-type", "application/json")
        pieces = [body] if isinstance(body, bytes) else list(body or [])
        if isinstance(body, bytes):
            sent.setdefault("content-length", str(len(body)))
        elif body is not None:
            sent.setdefault("transfer-encoding", "chunked")
        return asyncio.run(self._run(method, path, pieces, sent, pause_s))

    async def _run(
        self, method: str, path: str, pieces: list[bytes], headers: Mapping[str, str], pause_s: float
    ) -> Answer:
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        waiting = list(pieces)
        started: dict[str, Any] = {}
        got: list[bytes] = []

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(pause_s)
            if waiting:
                piece = waiting.pop(0)
                return {"type": "http.request", "body": piece, "more_body": bool(waiting)}
            if not pieces and not started.get("asked"):
                started["asked"] = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await asyncio.sleep(3600)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                started.update(message)
            else:
                got.append(message.get("body", b""))

        await self.app(scope, receive, send)
        found = {name.decode().lower(): value.decode("latin-1") for name, value in started["headers"]}
        return Answer(started["status"], found, b"".join(got))

    def get(self, path: str, **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def post(self, path: str, sends: Any = None, **options: Any) -> Answer:
        return self.request("POST", path, sends=sends, **options)

    def put(self, path: str, sends: Any = None, **options: Any) -> Answer:
        return self.request("PUT", path, sends=sends, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        return self.request("DELETE", path, **options)

    def start(self, package: str, manifest: Manifest) -> dict[str, Any]:
        """Start a push."""
        answer = self.post(
            f"{wire.PACKAGES}/{package}/pushes", {"manifest": manifest.hash, "hashes": list(manifest.objects())}
        )
        assert answer.status == 200, answer.text
        started: dict[str, Any] = answer.json()
        return started

    def push(self, package: str, contents: Contents, **publish: Any) -> Answer:
        """Push as a client does, and return the response to the last step.

        The parent is the latest state, unless it is given.
        """
        started = self.start(package, contents.manifest)
        base = f"{wire.PACKAGES}/{package}/pushes/{started['push']}"
        sent = self.post(f"{base}/objects", body=b"".join(encode_frames(contents.needed(started["missing"]))))
        assert sent.status == 200, sent.text
        publish.setdefault("parent", started["latest"])
        return self.post(f"{base}/publish", {"manifest": contents.manifest.hash, **publish})

    def publish(self, package: str, files: Mapping[str, bytes], **publish: Any) -> str:
        """Push, assert success, and return the hash."""
        contents = Contents(files)
        answer = self.push(package, contents, **publish)
        assert answer.status == 200, answer.text
        return contents.manifest.hash


@dataclass
class Contents:
    """Files by node path, as a manifest and its objects."""

    files: Mapping[str, bytes]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        nodes = [FileNode(path=path, hash=sha256(data), size=len(data)) for path, data in self.files.items()]
        self.manifest = Manifest.make(nodes, dict(self.meta))
        self.bodies = {sha256(data): data for data in [*self.files.values(), self.manifest.data]}

    def needed(self, hashes: Iterable[str]) -> list[tuple[str, bytes]]:
        return [(hash, self.bodies[hash]) for hash in hashes]


@functools.cache
def _empty_database() -> bytes:
    """Return the database of a new registry; migrating one for each test would take longer than most tests."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=Path(folder))
        open_registry(settings, create=True).close()
        return settings.database.read_bytes()


@functools.cache
def _routes() -> list[BaseRoute]:
    """Return the routes of the app, which FastAPI analyses at the first request; apps differ only in their state."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(data=Path(folder)))
        app.state.registry.close()
        return app.router.routes


class House:
    """A registry in this process, in a folder, with a client for each user."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = Settings(data=folder / "registry", public_url="https://data.example.org", **settings)
        if not self.settings.data.exists():
            self.settings.data.mkdir(parents=True)
            self.settings.database.write_bytes(_empty_database())
        self.app = create_app(self.settings)
        self.app.router.routes[:] = _routes()
        self.nobody = Client(self.app)

    @property
    def registry(self) -> Registry:
        found: Registry = self.app.state.registry
        return found

    @registry.setter
    def registry(self, registry: Registry) -> None:
        self.app.state.registry = registry

    def user(self, name: str) -> Client:
        """Add a user and return a client for them."""
        return Client(self.app, accounts.add_user(self.registry, THE_OPERATOR, name), name)

    def damage(self, hash: str) -> None:
        """Flip a bit of an object in its file."""
        place = PackedObjects(self.settings.data).locate(hash)
        place.path.chmod(0o600)
        with place.path.open("r+b") as file:
            file.seek(place.offset)
            first = file.read(1)
            file.seek(place.offset)
            file.write(bytes([first[0] ^ 1]))

    def close(self) -> None:
        self.registry.close()


def check_clean(house: House) -> int:
    """Assert that a check of the registry finds nothing wrong; return at how many objects but wheels it looked."""
    found = check(house.registry, THE_OPERATOR)
    assert found.is_clean, found
    return found.checked - len(wheel_objects(house))


def wheel_objects(house: House) -> set[str]:
    """Return the objects that are thin wheels, one for each state and version, which are kept for ever."""
    with house.registry.db.read() as connection:
        return set(connection.execute(select(wheels.c.object)).scalars())


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
