"""Who may read a package, over HTTP."""

from __future__ import annotations

from fastapi import APIRouter

from datapkg.format import wire
from registry_server.services import sharing
from registry_server.web.asking import TheActor, TheRegistry
from registry_server.web.messages import Reply, Sent

router = APIRouter(tags=["access"])


@router.get(wire.ACCESS)
def access(registry: TheRegistry, actor: TheActor, user: str, name: str) -> Reply[wire.Access]:
    """Who may read a package."""
    return sharing.access(registry, actor, user, name)


@router.put(wire.GRANT)
def grant(
    registry: TheRegistry,
    actor: TheActor,
    user: str,
    name: str,
    who: str,
    request: Sent[wire.GrantRequest | None] = None,
) -> Reply[wire.Access]:
    """Lets a user, or `public`, read a package; `public` has to be confirmed."""
    confirmed = request is not None and request.confirm
    return sharing.grant(registry, actor, user, name, who, confirmed=confirmed)


@router.delete(wire.GRANT)
def revoke(registry: TheRegistry, actor: TheActor, user: str, name: str, who: str) -> Reply[wire.Access]:
    """Takes that right away."""
    return sharing.revoke(registry, actor, user, name, who)
