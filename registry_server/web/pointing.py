"""Tags and versions over HTTP."""

from __future__ import annotations

from fastapi import APIRouter

from datapkg.format import wire
from registry_server.services import pointing
from registry_server.web.asking import TheActor, TheRegistry
from registry_server.web.messages import Reply, Sent

router = APIRouter(tags=["tags and versions"])


@router.get(wire.TAGS)
def tags(registry: TheRegistry, actor: TheActor, user: str, name: str) -> Reply[wire.TagList]:
    """All tags of a package."""
    return pointing.tags(registry, actor, user, name)


@router.put(wire.TAG)
def put_tag(
    registry: TheRegistry, actor: TheActor, user: str, name: str, tag: str, state: Sent[wire.Pointed]
) -> Reply[wire.TagList]:
    """Makes a tag name a state, whatever it named before."""
    return pointing.put_tag(registry, actor, user, name, tag, state.hash)


@router.delete(wire.TAG)
def delete_tag(registry: TheRegistry, actor: TheActor, user: str, name: str, tag: str) -> Reply[wire.TagList]:
    """Removes a tag."""
    return pointing.remove_tag(registry, actor, user, name, tag)


@router.get(wire.VERSIONS)
def versions(registry: TheRegistry, actor: TheActor, user: str, name: str) -> Reply[wire.VersionList]:
    """All versions of a package, in the order of PEP 440."""
    return pointing.versions(registry, actor, user, name)


@router.put(wire.VERSION)
def put_version(
    registry: TheRegistry, actor: TheActor, user: str, name: str, version: str, state: Sent[wire.Pointed]
) -> Reply[wire.VersionList]:
    """Gives a state a version, for good."""
    return pointing.put_version(registry, actor, user, name, version, state.hash)
