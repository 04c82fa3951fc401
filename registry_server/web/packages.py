"""Packages over HTTP: list, show, resolve, log, checks and delete."""

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
    q: Annotated[str, Query(description="words that must all match")] = "",
    user: Annotated[str | None, Query(max_length=100, description="only packages of this user")] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> Reply[wire.PackagePage]:
    """List packages that may be read; with `q`, those that match every word, best first."""
    find = partial(browse.find_packages, registry, actor, query=q, user=user, cursor=cursor, limit=limit)
    return await search(request, q, find)


@router.get(wire.PACKAGE)
def package(package: ThePackage) -> Reply[wire.PackageInfo]:
    """Return one package."""
    return browse.info(package)


@router.delete(wire.PACKAGE)
def delete_package(
    package: ThePackage,
    created_at: Annotated[
        str | None, Query(max_length=100, description="only if it is still that of this time")
    ] = None,
) -> Reply[wire.Deleted]:
    """Delete a package with all its states, log, tags, versions and grants."""
    return browse.delete(package, created_at)


@router.get(wire.RESOLVE)
def resolve(
    package: ThePackage,
    state: Annotated[str | None, Query(max_length=300, description="hash, version, tag, range or `{date}`")] = None,
    packages: Annotated[bool, Query(description="with the packages whose nodes it contains")] = False,
) -> Reply[wire.Resolved]:
    """Return the full hash that a state means now; without a state, of the tag `latest`."""
    return browse.resolve(package, state, with_packages=packages)


@router.get(wire.CHECKS)
def checks(package: ThePackage, hash: str) -> Reply[wire.StateChecks]:
    """Return the checks of a state's tables: their definitions, and their outcomes when the state was built."""
    return browse.checks(package, hash)


@router.get(wire.LOG)
def log(
    package: ThePackage,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> Reply[wire.LogPage]:
    """List the pushes of a package, newest first."""
    return browse.log(package, cursor=cursor, limit=limit)
