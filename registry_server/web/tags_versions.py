"""Tags and versions over HTTP."""

from __future__ import annotations

from fastapi import APIRouter

from datapkg.format import wire
from registry_server.services import tags_versions
from registry_server.web.dependencies import TheActor, TheRegistry
from registry_server.web.schemas import Reply, Sent

router = APIRouter(tags=["tags and versions"])


@router.get(wire.TAGS)
def tags(registry: TheRegistry, actor: TheActor, user: str, name: str) -> Reply[wire.TagList]:
    """All tags of a package."""
    return tags_versions.tags(registry, actor, user, name)


@router.put(wire.TAG)
def put_tag(
    registry: TheRegistry, actor: TheActor, user: str, name: str, tag: str, state: Sent[wire.Pointed]
) -> Reply[wire.TagList]:
    """Makes a tag name a state, whatever it named before."""
    return tags_versions.put_tag(registry, actor, user, name, tag, state.hash)


@router.delete(wire.TAG)
def delete_tag(registry: TheRegistry, actor: TheActor, user: str, name: str, tag: str) -> Reply[wire.TagList]:
    """Removes a tag."""
    return tags_versions.remove_tag(registry, actor, user, name, tag)


@router.get(wire.VERSIONS)
def versions(registry: TheRegistry, actor: TheActor, user: str, name: str) -> Reply[wire.VersionList]:
    """All versions of a package, in the order of PEP 440."""
    return tags_versions.versions(registry, actor, user, name)


@router.put(wire.VERSION)
def put_version(
    registry: TheRegistry, actor: TheActor, user: str, name: str, version: str, state: Sent[wire.Pointed]
) -> Reply[wire.VersionList]:
    """Gives a state a version, for good."""
    return tags_versions.put_version(registry, actor, user, name, version, state.hash)
