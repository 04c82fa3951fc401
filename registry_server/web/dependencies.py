"""What endpoints take from a request: the registry, who asks, and the package or push in the path."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query, Request

from datapkg.errors import NotLoggedIn
from datapkg.format.hashing import check_hash
from registry_server.services import accounts, signed_urls
from registry_server.services.browse import DEFAULT_LIMIT, MAX_LIMIT
from registry_server.services.policy import ANONYMOUS, Actor, PackageRequest, PushRequest
from registry_server.services.registry import Registry


async def _registry(request: Request) -> Registry:
    found: Registry = request.app.state.registry
    return found


async def _actor(request: Request) -> Actor:
    header = request.headers.get("authorization")
    if header is None:
        return ANONYMOUS
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotLoggedIn("the Authorization header is not of the form 'Bearer dpk_…'", hint="datapkg login")
    return accounts.authenticate(request.app.state.registry, token.strip())


async def _hash(hash: Annotated[str, Path()]) -> str:
    return check_hash(hash)


# All are `async def`: FastAPI would run a `def` in a thread, which costs more than the one query that `_actor` makes.
# That one never waits: SQLite's readers wait for no writer, and there are connections for all threads and this one.
TheRegistry = Annotated[Registry, Depends(_registry)]
TheActor = Annotated[Actor, Depends(_actor)]
TheHash = Annotated[str, Depends(_hash)]
Signed = Annotated[str | None, Query(description="signature of an address that needs no token")]


async def _package(registry: TheRegistry, actor: TheActor, user: str, name: str) -> PackageRequest:
    return PackageRequest(registry, actor, user, name)


async def _push(registry: TheRegistry, actor: TheActor, user: str, name: str, push: str) -> PushRequest:
    return PushRequest(registry, actor, user, name, push)


async def _signed_package(
    request: Request, registry: TheRegistry, hash: TheHash, user: str, name: str, signed: Signed = None
) -> PackageRequest:
    if signed is None:
        return PackageRequest(registry, await _actor(request), user, name)
    return signed_urls.reader(registry, user, name, hash, signed)


ThePackage = Annotated[PackageRequest, Depends(_package)]
TheSignedPackage = Annotated[PackageRequest, Depends(_signed_package)]
ThePush = Annotated[PushRequest, Depends(_push)]
Cursor = Annotated[str | None, Query(max_length=500, description="`next` of the previous page")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="maximum number of entries")]
DEFAULT_PAGE = DEFAULT_LIMIT
