"""The user of a token, and the health of the registry, over HTTP."""

from __future__ import annotations

from fastapi import APIRouter

from datapkg.format import wire
from registry_server.web.dependencies import TheActor
from registry_server.web.schemas import Reply

router = APIRouter(tags=["accounts"])


@router.get(wire.ME)
async def me(actor: TheActor) -> Reply[wire.Me]:
    """Return the user of the token, or null without a token."""
    return wire.Me(user=actor.name)


@router.get(wire.HEALTH)
async def health() -> dict[str, str]:
    """Return that the registry answers."""
    return {"status": "ok"}
