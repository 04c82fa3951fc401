"""Pushing over HTTP: what is missing, the objects, and the step that publishes them."""

from __future__ import annotations

from fastapi import APIRouter, Request

from datapkg.format import wire
from registry_server.services import publish, uploads
from registry_server.web.bodies import read_in_thread
from registry_server.web.dependencies import TheActor, TheHash, TheRegistry
from registry_server.web.schemas import Reply, Sent

router = APIRouter(tags=["push"])


def _takes(content_type: str) -> dict[str, object]:
    """How OpenAPI says that a body is bytes."""
    schema = {"type": "string", "format": "binary"}
    return {"requestBody": {"required": True, "content": {content_type: {"schema": schema}}}}


@router.post(wire.PUSHES)
def start(
    registry: TheRegistry, actor: TheActor, user: str, name: str, wanted: Sent[wire.PushStart]
) -> Reply[wire.PushStarted]:
    """Begins a push."""
    return uploads.start(registry, actor, user, name, wanted)


@router.post(wire.PUSH_MISSING)
def missing(
    registry: TheRegistry, actor: TheActor, user: str, name: str, push: str, wanted: Sent[wire.HashList]
) -> Reply[wire.Missing]:
    """Those of the objects that have to be sent."""
    return uploads.missing(registry, actor, user, name, push, wanted.hashes)


@router.put(wire.PUSH_OBJECT, openapi_extra=_takes("application/octet-stream"))
async def put_object(
    request: Request, registry: TheRegistry, actor: TheActor, user: str, name: str, push: str, hash: TheHash
) -> Reply[wire.Stored]:
    """Sends one object of any size."""
    uploads.check_push(registry, actor, user, name, push)
    return await read_in_thread(
        request,
        user,
        lambda body: uploads.put_object(registry, actor, user, name, push, hash, body),
    )


@router.put(wire.PUSH_DELTA, openapi_extra=_takes(wire.DELTA_TYPE))
async def put_delta(
    request: Request, registry: TheRegistry, actor: TheActor, user: str, name: str, push: str, hash: TheHash
) -> Reply[wire.Stored]:
    """Sends one object as what is new in it, beside stretches of objects that the package has."""
    uploads.check_push(registry, actor, user, name, push)
    return await read_in_thread(
        request,
        user,
        lambda body: uploads.put_delta(registry, actor, user, name, push, hash, body),
    )


@router.post(wire.PUSH_OBJECTS, openapi_extra=_takes(wire.FRAMES))
async def put_objects(
    request: Request, registry: TheRegistry, actor: TheActor, user: str, name: str, push: str
) -> Reply[wire.Stored]:
    """Sends many small objects in one body of frames."""
    uploads.check_push(registry, actor, user, name, push)
    return await read_in_thread(request, user, lambda body: uploads.put_batch(registry, actor, user, name, push, body))


@router.post(wire.PUBLISH_CHECK)
def check_publish(
    registry: TheRegistry, actor: TheActor, user: str, name: str, push: str, asked: Sent[wire.PublishCheck]
) -> Reply[wire.PublishChecked]:
    """Refuses what publishing would refuse, before anything was sent; changes nothing."""
    return publish.check(registry, actor, user, name, push, asked)


@router.post(wire.PUBLISH)
def publish_push(
    registry: TheRegistry, actor: TheActor, user: str, name: str, push: str, request: Sent[wire.Publish]
) -> Reply[wire.Published]:
    """Makes what was pushed a state of the package, and moves `latest` to it."""
    return publish.publish(registry, actor, user, name, push, request)
