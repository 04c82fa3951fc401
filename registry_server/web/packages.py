"""Packages over HTTP: lists, what one is, which state is meant, its log, its deletion."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request

from datapkg.format import wire
from registry_server.services import browse
from registry_server.web.concurrency_limits import search
from registry_server.web.dependencies import DEFAULT_PAGE, Cursor, Limit, TheActor, ThePackage, TheRegistry
from registry_server.web.schemas import Reply

SEARCHES_AT_ONCE = 2

router = APIRouter(tags=["packages"])


@router.get(wire.PACKAGES)
async def find_packages(
    request: Request,
    registry: TheRegistry,
    actor: TheActor,
    q: Annotated[str, Query(description="words that all have to be found")] = "",
    user: Annotated[str | None, Query(max_length=100, description="only packages of this user")] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> Reply[wire.PackagePage]:
    """Packages that may be read; with `q`, those where every word was found, best first."""
    find = partial(browse.find_packages, registry, actor, query=q, user=user, cursor=cursor, limit=limit)
    return await search(request, q, find)


@router.get(wire.PACKAGE)
def package(package: ThePackage) -> Reply[wire.PackageInfo]:
    """One package."""
    return browse.info(package)


@router.delete(wire.PACKAGE)
def delete_package(package: ThePackage) -> Reply[wire.Deleted]:
    """Removes a package with all its states, log, tags, versions and grants."""
    return browse.delete(package)


@router.get(wire.RESOLVE)
def resolve(
    package: ThePackage,
    state: Annotated[str | None, Query(max_length=300, description="`sha256:…`, a version, a tag or a range")] = None,
) -> Reply[wire.Resolved]:
    """The full hash that a state means now; none is the tag `latest`."""
    return browse.resolve(package, state)


@router.get(wire.CHECKS)
def checks(package: ThePackage, hash: str) -> Reply[wire.StateChecks]:
    """The checks of a state's tables: how each is defined, and what it came to when the state was made."""
    return browse.checks(package, hash)


@router.get(wire.LOG)
def log(
    package: ThePackage,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> Reply[wire.LogPage]:
    """The pushes of a package, newest first."""
    return browse.log(package, cursor=cursor, limit=limit)
