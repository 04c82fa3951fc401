"""Who asks, and whether anybody answers, over HTTP."""

from __future__ import annotations

from fastapi import APIRouter

from datapkg.format import wire
from registry_server.web.dependencies import TheActor
from registry_server.web.schemas import Reply

router = APIRouter(tags=["accounts"])


@router.get(wire.ME)
async def me(actor: TheActor) -> Reply[wire.Me]:
    """The user whose token this is; nobody without one."""
    return wire.Me(user=actor.name)


@router.get(wire.HEALTH)
async def health() -> dict[str, str]:
    """Whether the registry answers."""
    return {"status": "ok"}
