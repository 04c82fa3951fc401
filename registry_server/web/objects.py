"""Manifests and objects over HTTP: one with ranges and conditions, or many small ones in one body."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from functools import partial
from typing import TypeVar

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from datapkg.errors import InvalidInput
from datapkg.format import wire
from registry_server.services import downloads, signed_urls
from registry_server.services.downloads import Served
from registry_server.services.registry import Registry, WouldWait
from registry_server.services.reply_sizes import SLOW_BYTES
from registry_server.web.concurrency_limits import Makers
from registry_server.web.conditional_requests import RequestedRange, etag, wanted_part
from registry_server.web.dependencies import TheHash, ThePackage, TheSignedPackage
from registry_server.web.errors import error_response
from registry_server.web.schemas import Reply, Sent

router = APIRouter(tags=["objects"])

T = TypeVar("T")
MAPS_AT_ONCE = 4
YEAR_S = 365 * 24 * 3600  # the longest time that HTTP/1.1 allowed (RFC 2616, 14.21); an object never changes
BYTES = "application/octet-stream"


def _gives(content_type: str) -> dict[int | str, dict[str, object]]:
    """Return the OpenAPI entry of a response that is bytes."""
    return {200: {"content": {content_type: {"schema": {"type": "string", "format": "binary"}}}}}


@router.get(wire.MANIFEST, response_class=Response, responses=_gives(wire.MANIFEST_TYPE))
async def read_manifest(request: Request, package: ThePackage, hash: TheHash) -> Response:
    """Return a manifest, which is one state of the package."""
    served = await asked(package.registry, partial(downloads.manifest, package, hash))
    return await reply(request, served, wire.MANIFEST_TYPE)


@router.get(wire.MANIFEST_CHUNKS, response_class=Response, responses=_gives(wire.CHUNKS_TYPE))
async def read_manifest_chunks(request: Request, package: ThePackage, hash: TheHash) -> Response:
    """Return the chunk map of a manifest, to download only its new chunks; empty for a short one."""
    served = await asked(package.registry, partial(downloads.manifest, package, hash))
    return await _chunk_map(request, served, "manifest", downloads.manifest_chunks)


@router.get(wire.OBJECT, response_class=Response, responses=_gives(BYTES))
async def read_object(request: Request, package: TheSignedPackage, hash: TheHash) -> Response:
    """Return an object of the package, or a range of its bytes; or 307 to an address of the registry's storage."""
    served = await asked(package.registry, partial(downloads.object, package, hash))
    may_redirect = request.method == "GET" and not request.scope.get("asked_by_head")
    if may_redirect and (url := await asked(package.registry, served.signed_url)):
        return Response(status_code=307, headers={"location": url, "cache-control": "no-store"})  # the address expires
    return await reply(request, served, BYTES)


@router.get(wire.OBJECT_CHUNKS, response_class=Response, responses=_gives(wire.CHUNKS_TYPE))
async def read_object_chunks(request: Request, package: ThePackage, hash: TheHash) -> Response:
    """Return the chunk map of an object, which verifies ranges of its bytes."""
    served = await asked(package.registry, partial(downloads.object, package, hash))
    return await _chunk_map(request, served, "object", downloads.object_chunks)


async def asked(registry: Registry, ask: Callable[[], T]) -> T:
    """Return what a function returns that looks for an object: at once, or in a thread where that may have to wait.

    All other requests would wait for a storage that it asks, or for a writer of the database before it notes damage.
    """
    if not registry.has_storage:
        with contextlib.suppress(WouldWait):
            return ask()
    return await anyio.to_thread.run_sync(ask)


async def _chunk_map(request: Request, served: Served, kind: str, make: Callable[[Served], bytes]) -> Response:
    """Return a chunk map; few are made at a time, since making one reads the whole object."""
    # In a thread: that of an object of 100 GB has 60 MB.
    data = await anyio.to_thread.run_sync(downloads.kept_chunks, served, kind)
    if data is None:
        maps: Makers[bytes] = request.app.state.maps
        data = await maps.get(f"{kind}:{served.hash}", lambda: make(served))
    return Response(data, headers={"cache-control": _lasting(served)}, media_type=wire.CHUNKS_TYPE)


@router.post(wire.OBJECTS_READ, response_class=StreamingResponse, responses=_gives(wire.FRAMES))
def read_objects(package: ThePackage, wanted: Sent[wire.HashList]) -> StreamingResponse:
    """Return many small objects in one body of frames; objects damaged at the registry are omitted."""
    found = downloads.objects_of(package, wanted.hashes)
    return StreamingResponse(
        _gathered(package.registry, found), media_type=wire.FRAMES, headers={"cache-control": "no-store"}
    )


@router.post(wire.OBJECTS_URLS)
def sign_objects(package: ThePackage, wanted: Sent[wire.HashList]) -> Reply[wire.ObjectUrls]:
    """Return addresses of objects that need no token, good for some hours; those of a public package always are."""
    return wire.ObjectUrls(urls=signed_urls.addresses(package, wanted.hashes))


async def reply(request: Request, served: Served, content_type: str) -> Response:
    """Return the bytes of an object or manifest: all, a range, or 304 if the client has them."""
    part = wanted_part(
        served.hash,
        served.size,
        range=request.headers.get("range"),
        if_range=request.headers.get("if-range"),
        if_none_match=request.headers.get("if-none-match"),
    )
    headers = _headers(served, part)
    if part.kind == "unchanged":
        return Response(status_code=304, headers=headers)
    if part.kind == "unsatisfiable":
        return error_response(request, _no_such_range(served), status=416, headers=headers)
    status = 206 if part.kind == "part" else 200
    headers["content-length"] = str(part.stop - part.start)
    if request.scope.get("asked_by_head"):
        return Response(status_code=status, headers=headers, media_type=content_type)
    # Read the first piece before the headers are sent: a damaged object becomes an error response.
    first, pieces = await _begun(served, part)
    if len(first) == part.stop - part.start:
        pieces.close()
        return Response(first, status, headers=headers, media_type=content_type)
    return StreamingResponse(_streamed(first, pieces), status, headers=headers, media_type=content_type)


async def _begun(served: Served, part: RequestedRange) -> tuple[bytes, Generator[bytes, None, None]]:
    """Return the first piece of a range, and the others."""
    if served.size <= SLOW_BYTES and not served.registry.has_storage:
        with contextlib.suppress(WouldWait):
            pieces = served.pieces(part.start, part.stop)
            return next(pieces, b""), pieces
    pieces = served.pieces(part.start, part.stop)
    return await _next(pieces), pieces


def _headers(served: Served, part: RequestedRange) -> dict[str, str]:
    if part.kind == "unsatisfiable":
        return {"content-range": f"bytes */{served.size}", "cache-control": "no-store"}
    headers = {
        "etag": etag(served.hash),
        "accept-ranges": "bytes",
        "cache-control": _lasting(served),
    }
    if part.kind == "part":
        headers["content-range"] = f"bytes {part.start}-{part.stop - 1}/{served.size}"
    return headers


def _lasting(served: Served) -> str:
    # A private object may be cached by its reader, never by a cache that serves others.
    return f"{'public' if served.public else 'private'}, max-age={YEAR_S}, immutable"


def _no_such_range(served: Served) -> InvalidInput:
    return InvalidInput(f"the object has {served.size:,} bytes, none of them in the requested range", size=served.size)


async def _next(pieces: Iterator[bytes]) -> bytes:
    return await anyio.to_thread.run_sync(next, pieces, b"")


async def _streamed(first: bytes, pieces: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    try:
        yield first
        del first
        while piece := await _next(pieces):
            yield piece
    finally:
        pieces.close()


def _gathered(registry: Registry, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in larger pieces: each piece costs a switch between threads."""
    buffer = bytearray()
    with registry.replies.one() as replies:
        for piece in pieces:
            buffer += piece
            if len(buffer) >= replies.piece_bytes:
                yield bytes(buffer)
                buffer.clear()
        yield bytes(buffer)
