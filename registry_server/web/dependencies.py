"""What an endpoint needs to know of a request: which registry it is for, and who asks."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query, Request

from datapkg.errors import NotLoggedIn
from datapkg.format.hashing import check_hash
from registry_server.services import accounts
from registry_server.services.browse import DEFAULT_LIMIT, MAX_LIMIT
from registry_server.services.policy import ANONYMOUS, Actor
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


# Not `def`: a quick question to the database costs less than a thread.
TheRegistry = Annotated[Registry, Depends(_registry)]
TheActor = Annotated[Actor, Depends(_actor)]
TheHash = Annotated[str, Depends(_hash)]
Cursor = Annotated[str | None, Query(max_length=500, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="how many at most")]
DEFAULT_PAGE = DEFAULT_LIMIT
