"""Tags and versions over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from datapkg.format import wire
from registry_server.services import tags_versions
from registry_server.web.dependencies import ThePackage
from registry_server.web.schemas import Reply, Sent

router = APIRouter(tags=["tags and versions"])


@router.get(wire.TAGS)
def tags(package: ThePackage) -> Reply[wire.TagList]:
    """Return all tags of a package."""
    return tags_versions.tags(package)


@router.put(wire.TAG)
def put_tag(package: ThePackage, tag: str, state: Sent[wire.Pointed]) -> Reply[wire.TagList]:
    """Add or move a tag."""
    return tags_versions.put_tag(package, tag, state.hash)


@router.delete(wire.TAG)
def delete_tag(
    package: ThePackage,
    tag: str,
    hash: Annotated[str | None, Query(max_length=100, description="only if it still names this state")] = None,
) -> Reply[wire.TagList]:
    """Delete a tag."""
    return tags_versions.remove_tag(package, tag, hash)


@router.get(wire.VERSIONS)
def versions(package: ThePackage) -> Reply[wire.VersionList]:
    """Return all versions of a package, in PEP 440 order."""
    return tags_versions.versions(package)


@router.put(wire.VERSION)
def put_version(package: ThePackage, version: str, state: Sent[wire.Pointed]) -> Reply[wire.VersionList]:
    """Give a state a version, which never moves."""
    return tags_versions.put_version(package, version, state.hash)


@router.put(wire.YANK)
def yank(package: ThePackage, version: str, yank: Sent[wire.Yank]) -> Reply[wire.VersionList]:
    """Withdraw a version: ranges no longer mean it; its own name and hash still do."""
    return tags_versions.set_yanked(package, version, yank.reason)


@router.delete(wire.YANK)
def unyank(package: ThePackage, version: str) -> Reply[wire.VersionList]:
    """Undo the yank of a version."""
    return tags_versions.set_yanked(package, version, None)
