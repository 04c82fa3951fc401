"""Pushing over HTTP: start, query what is missing, upload objects, publish."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, BinaryIO

import anyio.to_thread
from fastapi import APIRouter, BackgroundTasks, Query, Request

from datapkg.format import push_wire, wire
from registry_server.services import direct_uploads, publish, uploads
from registry_server.services.policy import PushRequest
from registry_server.web.bodies import read_in_thread
from registry_server.web.dependencies import TheHash, ThePackage, ThePush
from registry_server.web.schemas import Reply, Sent

ObjectSize = Annotated[int, Query(ge=1, lt=1 << 60, description="bytes of the object")]
router = APIRouter(tags=["push"])


def _takes(content_type: str) -> dict[str, object]:
    """Return the OpenAPI entry of a body that is bytes."""
    schema = {"type": "string", "format": "binary"}
    return {"requestBody": {"required": True, "content": {content_type: {"schema": schema}}}}


@router.post(push_wire.PUSHES)
def start(package: ThePackage, wanted: Sent[push_wire.PushStart]) -> Reply[push_wire.PushStarted]:
    """Start a push."""
    return uploads.start(package, wanted, direct_uploads.least_bytes(package.registry))


@router.post(push_wire.PUSH_MISSING)
def missing(push: ThePush, wanted: Sent[wire.HashList]) -> Reply[push_wire.Missing]:
    """Return the objects that have to be sent."""
    return uploads.missing(push, wanted.hashes)


@router.put(push_wire.PUSH_OBJECT, openapi_extra=_takes("application/octet-stream"))
async def put_object(
    request: Request, push: ThePush, hash: TheHash, offset: Annotated[int | None, Query(ge=0)] = None
) -> Reply[push_wire.Stored]:
    """Upload one object; with `offset`, its bytes from there on, keeping what arrives if the upload is interrupted."""
    return await _store(request, push, partial(uploads.put_object, push, hash, offset))


@router.get(push_wire.PUSH_OBJECT)
def received(push: ThePush, hash: TheHash) -> Reply[push_wire.Received]:
    """Return how many bytes of an object arrived in an interrupted upload."""
    return uploads.received(push, hash)


@router.put(push_wire.PUSH_DELTA, openapi_extra=_takes(push_wire.DELTA_TYPE))
async def put_delta(request: Request, push: ThePush, hash: TheHash) -> Reply[push_wire.Stored]:
    """Upload one object as a delta: its new bytes, and ranges of objects that the package has."""
    return await _store(request, push, partial(uploads.put_delta, push, hash))


@router.post(push_wire.PUSH_DIRECT)
def start_direct(push: ThePush, hash: TheHash, size: ObjectSize) -> Reply[push_wire.DirectUpload]:
    """Return where to send the next parts of an object past the registry; none when all have arrived."""
    return direct_uploads.wanted(push, hash, size)


@router.put(push_wire.PUSH_DIRECT)
async def complete_direct(request: Request, push: ThePush, hash: TheHash, size: ObjectSize) -> Reply[push_wire.Stored]:
    """Verify the parts of an object that were sent past the registry, and store it."""
    return await read_in_thread(request, push.user, lambda _: direct_uploads.complete(push, hash, size))


@router.post(push_wire.PUSH_OBJECTS, openapi_extra=_takes(wire.FRAMES))
async def put_objects(request: Request, push: ThePush) -> Reply[push_wire.Stored]:
    """Upload many small objects in one body of frames; with `Prefer: return=minimal`, no hash is returned."""
    stored = await _store(request, push, partial(uploads.put_batch, push))
    return push_wire.Stored(hashes=[]) if push_wire.MINIMAL in request.headers.getlist("prefer") else stored


async def _store(
    request: Request, push: PushRequest, store: Callable[[BinaryIO], push_wire.Stored]
) -> push_wire.Stored:
    length = request.headers.get("content-length", "")
    size = int(length) if length.isdecimal() else 0
    # Before the first byte of the body is read. In a thread: it looks at the disk, and counts what the user has sent.
    await anyio.to_thread.run_sync(uploads.check_push, push, size)
    return await read_in_thread(request, push.user, store)


@router.post(push_wire.PUBLISH_CHECK)
def check_publish(push: ThePush, asked: Sent[push_wire.PublishCheck]) -> Reply[push_wire.PublishChecked]:
    """Raise what publishing would raise, before anything was sent; change nothing."""
    return publish.check(push, asked)


@router.post(push_wire.PUBLISH)
def publish_push(
    push: ThePush, request: Sent[push_wire.Publish], background: BackgroundTasks
) -> Reply[push_wire.Published]:
    """Make what was pushed a state of the package, and move `latest` to it."""
    return publish.publish(push, request, background.add_task)
